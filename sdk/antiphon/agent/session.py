"""The session of an agent that speaks: speeches and their interruption, messages, tools, hanging up."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client

from antiphon.agent.captions import CallerCaptions, SpeechCaption, typed_shown
from antiphon.agent.events import SpeechStarted, SpeechStopped, ToolFailed, ToolResult
from antiphon.agent.playback import Played
from antiphon.agent.server_tools import CallableTool
from antiphon.agent.shadow_session import ShadowSession, as_payload
from antiphon.agent.speech import Speech
from antiphon.agent.transcript import Transcript
from antiphon.agent.turn_reports import TurnReports
from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.agent_sessions.handed_call import handed_call
from antiphon.runtime.agent_sessions.session_bus import ControlOutcome, SessionBus
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.messages import Lease

log = logging.getLogger("antiphon.agent")

EVENTS_CHANNEL: Final = messages.EVENTS_CHANNEL
_FLUSHED_SECONDS: Final = 0.5
_TRANSFER_SECONDS: Final = 5.0
"""A claim takes 2.5 s at most, the checkpoint of the session one more."""
MAX_TOOLS_AT_WORK: Final = 16


@dataclass(frozen=True)
class AgentServices:
    """What a session uses of its agent."""

    tools: Mapping[str, CallableTool]
    save: Callable[[str, dict[str, Any]], None]
    """Keeps the state of a session for the instance that takes it over."""
    verify: Callable[[str], None]
    """Another instance seems to act for a session: see whether its lease is still ours."""
    instance: str
    """Our name among the processes of this agent."""


class Session(ShadowSession):
    """A call, given to the function under `@agent.session`.

    It lasts until the call ends or the function returns. Use it from the agent's event loop, in any task.
    """

    def __init__(
        self, client: Client, lease: Lease, services: AgentServices, detect_speech: bool = True, captions: bool = True
    ) -> None:
        super().__init__(client, lease, detect_speech)
        self._captions = captions
        self.handed: messages.HandedCall | None = lease.handed
        """What the agent before gave along: its name, a summary, the conversation. None: the call began with us."""
        self._transcript = Transcript(lease.handed)
        self._caller_captions = CallerCaptions()
        self.tools: Mapping[str, CallableTool] = services.tools
        """Those of the agent, by name."""
        self._services = services
        self._turn_reports = TurnReports(self.id, lease.agent, lease.trace)
        self._bus = SessionBus(client, lease.agent, self.id, self.over, services.instance)
        self._generation = leases.first_generation(self._lease.takeovers)
        self._turn = asyncio.Lock()
        self._speech: Speech | None = None
        self._calls: dict[str, asyncio.Task[Any]] = {}
        self._transferred: asyncio.Future[None] | None = None
        """The transfer that is asked for: done when it has failed."""

    # ---- speaking

    @property
    def speaking(self) -> bool:
        """A speech is being written or played."""
        return self._speech is not None

    def speak(self, rate: int = 24000, ahead: float = 2.0) -> Speech:
        """`async with session.speak() as speech: await speech.write(pcm)`; one speech at a time, the next one waits.

        The block ends when its last sample was played, or when `flush` interrupts it. `rate`: 8000, 11025, 16000,
        22050, 24000, 44100 or 48000 Hz. `ahead`: seconds of speech that may wait in the transceiver before `write`
        waits; 0.1 to 25.
        """
        if not 0.1 <= ahead <= 25:
            raise ValueError(f"speech {ahead} s ahead: from 0.1 to 25")
        caption = SpeechCaption() if self._captions else None
        began = time.time_ns()

        def first_frame(speech: Speech) -> None:
            self._report(self._turn_reports.first_frame(speech.generation, began, time.time_ns()))

        return Speech(rate, ahead, self._bus, self._begin, self._abandon, self._left, caption, first_frame)

    async def say(self, pcm: bytes, words: str = "", rate: int = 24000) -> Played:
        """Speak one piece of audio; returns what was played of it."""
        async with self.speak(rate) as speech:
            await speech.write(pcm, words)
        return speech.heard

    async def flush(self) -> Played | None:
        """Stop speaking, now: it fades out within 20 ms. Returns what was played; None if there was no speech.

        The block of the speech is left; its `heard` is exact. A speech that waits for its turn begins.
        """
        speech = self._speech
        if speech is None or speech.over:
            return None
        if speech.interrupted:
            return await speech.known()
        speech.interrupt()
        estimate = speech.estimate(time.monotonic())
        flushed = await self._bus.flush_and_wait(speech.generation + 1, _FLUSHED_SECONDS)
        if flushed is not None:
            speech.flushed(flushed)
        else:
            speech.cut(estimate, confirmed=False)
        await speech.leave_from_inside()
        return speech.heard

    async def pause(self) -> None:
        """Hold the speech at the exact sample."""
        if self._speech is not None:
            self._speech.pause(time.monotonic())
        await self._bus.pause()

    async def resume(self) -> None:
        """Play on from the exact sample."""
        if self._speech is not None:
            self._speech.resume(time.monotonic())
        await self._bus.resume()

    async def _begin(self, speech: Speech) -> int:
        await self._turn.acquire()
        self._speech = speech
        self._generation += 1
        if self._bus.paused:
            speech.pause(time.monotonic())
        if self.over.is_set():
            speech.close()
        return self._generation

    def _abandon(self, speech: Speech) -> None:
        """Its block has failed: drop what of it waits in the transceiver."""
        if not self.over.is_set():
            self.start(self._bus.flush(speech.generation + 1), "flush")

    async def _send_again(self, speech: Speech, stopped_at: float) -> None:
        """The transceiver was killed at this time, and what waited in it is lost: send it to its successor."""
        self._generation += 1
        generation, paused = self._generation, self._bus.paused
        await self._bus.flush(generation)  # drops what has reached the successor meanwhile
        if paused:
            await self._bus.pause()
        await speech.send_again(stopped_at, generation)

    def _left(self) -> None:
        if self._speech is not None:
            self._transcript.add("assistant", self._speech.heard.text)
            self._report(self._turn_reports.over(self._speech.heard.complete))
        self._speech = None
        self._turn.release()

    def _report(self, report: messages.ReportTurn | None) -> None:
        if report is not None and not self.over.is_set():
            self.start(self._bus.report_turn(report), "turn report")

    def _closing(self) -> None:
        self._turn_reports.close()

    # ---- everything else to the transceiver and its client

    async def send(self, content: str | bytes | dict[str, Any] | list[Any], channel: str = EVENTS_CHANNEL) -> None:
        """A message to the client, on one of its data channels. Text and bytes go as they are, the rest as JSON."""
        await self._bus.publish_data(as_payload(content), channel)

    async def caption(self, text: str, final: bool = True) -> None:
        """Show the caller's words in the client's transcript: all of the utterance so far. `final`: it is over."""
        if final:
            self._transcript.add("user", text)
        for event in self._caller_captions.words(text, final):
            await self.send(event)

    async def hang_up(self, reason: str = "hang_up") -> None:
        """End the call, at once. To have the last words played, leave their `speak` block first.

        Repeated until the transceiver answers, 30 s at most: a caller without an agent hears
        silence. It may come before the transceiver has opened the session, which is never opened then.
        """
        await self._bus.hang_up(reason)

    async def transfer(self, agent: str, summary: str = "", silent: bool = False) -> bool:
        """Give the call to another agent, at once. True: it has the call, and this session is over (`transferred`).

        It gets `summary` and the conversation as far as we know its words (`say`, `caption`, typed ones): its
        `session.handed`. `silent`: it does not greet, and answers what the caller has said last.

        False: no instance of it has taken the call, which stays here; `TransferFailed` says why. What waits of our
        speech is not played: to have the last words played, leave their `speak` block first.
        """
        handed = handed_call(self._transcript.items, summary, silent)
        outcome = self._transferred = asyncio.get_running_loop().create_future()
        try:
            if await self._bus.transfer(agent, handed) not in (ControlOutcome.DONE, ControlOutcome.NO_ANSWER):
                return self.why == "transferred"
            over = asyncio.ensure_future(self.over.wait())
            try:
                await asyncio.wait((outcome, over), timeout=_TRANSFER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await tasks.end(over)
        finally:
            self._transferred = None
        return self.why == "transferred"

    async def ask_person(self, summary: str = "") -> bool:
        """Tell the operator's system, by the webhook `call.person_asked`, that a person should take the call.

        The call stays here until that system transfers it; if it refuses, `TransferFailed` comes without an agent's
        name. False: the request could not be made.
        """
        return await self._bus.ask_person(summary[:4000])

    def save(self) -> None:
        """Keep `state` for an instance that takes the session over; MalformedError if it is no JSON or above 32 KiB."""
        self._services.save(self.id, self.state)

    # ---- tools

    def call_tool(self, name: str, arguments: str | Mapping[str, Any], call_id: str = "") -> str:
        """Run a tool beside everything else; its `ToolResult` or `ToolFailed` comes as an event. Returns the call id.

        `arguments`: a mapping, or the JSON text of a language model.
        """
        call_id = call_id or f"call_{secrets.token_hex(8)}"
        if name not in self.tools:
            known = ", ".join(sorted(self.tools)) or "none"
            self._notify(ToolFailed(call_id, name, f"there is no tool {name!r}; there are: {known}"))
        elif len(self._calls) >= MAX_TOOLS_AT_WORK:
            self._notify(ToolFailed(call_id, name, f"{MAX_TOOLS_AT_WORK} tools are at work already"))
        else:
            task = self.start(self._run_tool(self.tools[name], arguments, call_id), f"tool {name}")
            self._calls[call_id] = task
            task.add_done_callback(lambda _: self._calls.pop(call_id, None))
        return call_id

    def cancel_tool(self, call_id: str) -> None:
        """Stop a tool; no event comes of it."""
        if task := self._calls.get(call_id):
            task.cancel()

    async def _run_tool(self, tool: CallableTool, arguments: str | Mapping[str, Any], call_id: str) -> None:
        began = time.monotonic()
        try:
            attributes = {
                names.OPERATION: names.EXECUTE_TOOL,
                names.TOOL_NAME: tool.name,
                names.TOOL_CALL_ID: call_id,
                names.OWNED_BY: "agent",
            }
            with spans.current(f"{names.EXECUTE_TOOL} {tool.name}", attributes=attributes):
                output = await tool.call(self, arguments)
        except Exception as error:
            text = str(error) or type(error).__name__
            log.warning("%s: tool %s: %s", self.id, tool.name, text)
            self._notify(ToolFailed(call_id, tool.name, text))
        else:
            self._notify(ToolResult(call_id, tool.name, output, time.monotonic() - began))

    # ---- for the agent

    @property
    def bus(self) -> SessionBus:
        """What a takeover uses to silence the holder before."""
        return self._bus

    # ---- from the transceiver

    async def _typed(self, text: str) -> None:
        self._transcript.add("user", text)
        if self._captions:
            for event in typed_shown(text):
                await self.send(event)

    def _received(self, frame: AudioFrame, event: SpeechStarted | SpeechStopped | None) -> None:
        self._turn_reports.received(frame, event, time.time_ns())

    def _handle(self, event: messages.Message) -> None:
        speech = self._speech
        match event:
            case messages.Statistics():
                self._turn_reports.statistics(event.round_trip_ms)
            case messages.Playout() if speech is not None and event.generation == speech.generation:
                speech.playout(event, time.monotonic())
            case messages.TakenOver(handed_over=False) if speech is not None and not speech.over:
                stopped_at = self._liveness.frames_stopped_at(time.monotonic())
                self.start(self._send_again(speech, stopped_at), "speech again")
            case messages.Flushed():
                if self._bus.received_flushed(event):
                    return
                # another instance has flushed, and may hold the session by now
                self._services.verify(self.id)
                if speech is not None and not speech.over:
                    speech.interrupt()
                    speech.flushed(event)
            case messages.ClaimExpired(instance=instance) if instance == self._services.instance:
                log.warning("%s: was accepted too late, dropped", self.id)
                self.finish("lost")
            case messages.TransferFailed():
                log.warning("%s: not transferred: %s", self.id, event.message)
                if self._transferred is not None and not self._transferred.done():
                    self._transferred.set_result(None)
            case messages.Ended() | messages.Transferred() if speech is not None:
                speech.close()
