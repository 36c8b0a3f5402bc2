"""A session in the hands of its agent: listens, speaks, is interrupted, calls tools, hangs up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import nats.errors

from antiphon.agent.events import ToolFailed, ToolResult
from antiphon.agent.playback import Played
from antiphon.agent.shadow_session import ShadowSession, as_payload
from antiphon.agent.speech import Speech
from antiphon.agent.tools import Tool
from antiphon.runtime import telemetry
from antiphon.runtime.agent_sessions import leases
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame

log = logging.getLogger("antiphon.agent")

EVENTS_CHANNEL: Final = messages.EVENTS_CHANNEL
_CONTROL_SECONDS: Final = 1.0
HANG_UP_SECONDS: Final = 30.0
"""As long as the transceiver itself waits for a client, or for an agent that is gone. Only time with a connection to
NATS counts: when NATS comes back after minutes, calls without an agent are still to be ended."""
_AGAIN_SECONDS: Final = 0.2
_MAX_UNANSWERED: Final = 3
"""Times that no transceiver has the session until it is taken for over: one that takes it over needs some 30 ms."""
_FLUSHED_SECONDS: Final = 0.5
MAX_TOOLS_AT_WORK: Final = 16


class Session(ShadowSession):
    """Given to the function under `@agent.session`."""

    tools: Mapping[str, Tool]
    """Those of the agent, by name."""
    _save: Callable[[str, dict[str, Any]], None]
    _doubt: Callable[[str], None]

    def prepare(
        self,
        tools: Mapping[str, Tool],
        save: Callable[[str, dict[str, Any]], None],
        doubt: Callable[[str], None],
        instance: str,
    ) -> None:
        """What the agent gives it before `open`."""
        self._instance = instance
        self.tools, self._save, self._doubt = tools, save, doubt
        self._generation = leases.first_generation(self._lease.takeovers)
        self._turn = asyncio.Lock()
        self._speech: Speech | None = None
        self._flushed: asyncio.Future[messages.Flushed] | None = None
        self._own_flushes = int(self._lease.takeovers > 0)  # the fence of a take-over
        self._paused = False
        self._unanswered = 0
        self._calls: dict[str, asyncio.Task[Any]] = {}

    # ---- speaking

    @property
    def speaking(self) -> bool:
        """A speech is being said or is still to be heard."""
        return self._speech is not None

    def speak(self, rate: int = 24000, ahead: float = 2.0) -> Speech:
        """`async with session.speak() as speech: await speech.write(pcm)`; one speech at a time, the next one waits.

        The block ends when its last sample was played, or when `flush` interrupts it. `rate`: 8000, 16000, 24000 or
        48000 Hz. `ahead`: seconds of speech that may wait in the transceiver before `write` waits; 0.1 to 25.
        """
        if not 0.1 <= ahead <= 25:
            raise ValueError(f"speech {ahead} s ahead: from 0.1 to 25")
        return Speech(rate, ahead, self._send_frame, self._begin, self._abandon, self._left)

    async def say(self, pcm: bytes, words: str = "", rate: int = 24000) -> Played:
        """Speak one piece of audio; returns what was heard of it."""
        async with self.speak(rate) as speech:
            await speech.write(pcm, words)
        return speech.heard

    async def flush(self) -> Played | None:
        """Stop speaking, now: it fades out within 20 ms. Returns what was heard; None if nothing was being said.

        The block of the speech is left; its `heard` is exact. One that waits for its turn begins.
        """
        speech = self._speech
        if speech is None or speech.over:
            return None
        if speech.interrupted:
            return await speech.known()
        speech.interrupt()
        self._paused = False
        estimate = speech.estimate(time.monotonic())
        self._flushed = asyncio.get_running_loop().create_future()
        self._own_flushes += 1
        await self._control(messages.Flush(generation=speech.generation + 1))
        try:
            async with asyncio.timeout(_FLUSHED_SECONDS):
                flushed = await asyncio.shield(self._flushed)
            speech.flushed(flushed)
        except TimeoutError:
            speech.cut(estimate, confirmed=False)
        await speech.leave_from_inside()
        return speech.heard

    async def pause(self) -> None:
        """Hold the speech at the exact sample."""
        self._paused = True
        if self._speech is not None:
            self._speech.pause(time.monotonic())
        await self._control(messages.Pause())

    async def resume(self) -> None:
        """Go on from the exact sample."""
        self._paused = False
        if self._speech is not None:
            self._speech.resume(time.monotonic())
        await self._control(messages.Resume())

    async def _begin(self, speech: Speech) -> int:
        await self._turn.acquire()
        self._speech = speech
        self._generation += 1
        if self.over.is_set():
            speech.close()
        return self._generation

    def _abandon(self, speech: Speech) -> None:
        """Its block has failed: what of it waits is not to be heard."""
        if not self.over.is_set():
            self._own_flushes += 1
            self.start(self._control(messages.Flush(generation=speech.generation + 1)), "flush")

    async def _say_again(self, speech: Speech, stopped_at: float) -> None:
        """The transceiver was killed at this time, and what waited in it is lost: send it to the one that goes on."""
        self._generation += 1
        generation, paused = self._generation, self._paused
        self._own_flushes += 1
        await self._control(messages.Flush(generation=generation))  # what came to the new one meanwhile
        if paused:
            await self._control(messages.Pause())
        await speech.send_again(stopped_at, generation)

    def _left(self) -> None:
        self._speech = None
        self._turn.release()

    async def _send_frame(self, frame: AudioFrame) -> None:
        if not self.over.is_set():
            await self._publish(subjects.audio_out(self.id), pack_frame(frame))

    # ---- everything else to the transceiver and its client

    async def send(self, content: str | bytes | dict[str, Any] | list[Any], channel: str = EVENTS_CHANNEL) -> None:
        """To the client, on one of its data channels; what is no text or bytes goes as JSON."""
        message = messages.DataMessage.of(channel, as_payload(content))
        await self._publish(subjects.data_out(self.id), messages.encode(message))

    async def hang_up(self, reason: str = "hang_up") -> None:
        """End the call, at once. To let the last words be heard, leave their `speak` block first.

        Asked for again until the transceiver answers, `HANG_UP_SECONDS` at most: a caller without an agent hears
        silence. It may be asked before the session is there; then there will be none.
        """
        control = messages.HangUp(reason=reason, instance=self._instance)
        unanswered, asked_at = 0.0, time.monotonic()
        while not await self._control(control) and not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_SECONDS):
                    await self.over.wait()
            now = time.monotonic()
            if self._client.is_connected:
                unanswered += now - asked_at
            asked_at = now
            if unanswered > HANG_UP_SECONDS:
                log.error("%s: could not be hung up: no transceiver answers", self.id)
                return

    def save(self) -> None:
        """Keep `state` for whoever takes the session over; MalformedError if it is no JSON or above 32 KiB."""
        self._save(self.id, self.state)

    # ---- tools

    def call_tool(self, name: str, arguments: str | Mapping[str, Any], call_id: str = "") -> str:
        """Run a tool beside everything else; its `ToolResult` or `ToolFailed` comes as an event. Returns the call id.

        `arguments`: a mapping, or the JSON text of a language model.
        """
        call_id = call_id or f"call_{secrets.token_hex(8)}"
        if name not in self.tools:
            known = ", ".join(sorted(self.tools)) or "none"
            self._tell(ToolFailed(call_id, name, f"there is no tool {name!r}; there are: {known}"))
        elif len(self._calls) >= MAX_TOOLS_AT_WORK:
            self._tell(ToolFailed(call_id, name, f"{MAX_TOOLS_AT_WORK} tools are at work already"))
        else:
            task = self.start(self._run_tool(self.tools[name], arguments, call_id), f"tool {name}")
            self._calls[call_id] = task
            task.add_done_callback(lambda _: self._calls.pop(call_id, None))
        return call_id

    def cancel_tool(self, call_id: str) -> None:
        """Its result is of no interest any more; no event comes."""
        if task := self._calls.get(call_id):
            task.cancel()

    async def _run_tool(self, tool: Tool, arguments: str | Mapping[str, Any], call_id: str) -> None:
        began = time.monotonic()
        try:
            output = await tool.call(self, arguments)
        except Exception as error:
            text = str(error) or type(error).__name__
            log.warning("%s: tool %s: %s", self.id, tool.name, text)
            self._tell(ToolFailed(call_id, tool.name, text))
        else:
            self._tell(ToolResult(call_id, tool.name, output, time.monotonic() - began))

    # ---- from the transceiver

    def _seen(self, event: messages.Message) -> None:
        speech = self._speech
        match event:
            case messages.Playout() if speech is not None and event.generation == speech.generation:
                speech.playout(event, time.monotonic())
            case messages.TakenOver(handed_over=False) if speech is not None and not speech.over:
                stopped_at = self._caller_clock.stopped_at(time.monotonic())
                self.start(self._say_again(speech, stopped_at), "speech again")
            case messages.Flushed():
                if self._own_flushes:
                    self._own_flushes -= 1
                    if self._flushed is not None and not self._flushed.done():
                        self._flushed.set_result(event)
                    return
                # not our doing: whoever flushes for this session may hold it by now
                self._doubt(self.id)
                if speech is not None and not speech.over:
                    speech.interrupt()
                    speech.flushed(event)
            case messages.ClaimExpired(instance=self._instance):
                log.warning("%s: was taken too late, dropped", self.id)
                self.finish("lost")
            case messages.Ended() if speech is not None:
                speech.close()

    async def _publish(self, subject: str, data: bytes) -> None:
        with contextlib.suppress(nats.errors.Error):  # NATS is away: lost, as on a bad line; the call goes on
            await self._client.publish(subject, data)

    async def _control(self, control: messages.Message) -> bool:
        """Ask the transceiver; a refusal or no answer is logged, the call goes on. False: it should be asked again."""
        if self.over.is_set():
            return True
        try:
            answer = await self._client.request(
                subjects.session_control(self.id),
                messages.encode(control),
                timeout=_CONTROL_SECONDS,
                headers=telemetry.trace_headers() or None,
            )
            reply = messages.decode(answer.data, messages.ControlReply)
            if not reply.ok:
                log.warning("%s: %s refused: %s", self.id, type(control).__name__, reply.message)
        except nats.errors.NoRespondersError:
            # no transceiver has the session, or one is just taking it over from another
            self._unanswered += 1
            log.warning("%s: no transceiver has it: %s", self.id, type(control).__name__)
            return self._unanswered >= _MAX_UNANSWERED
        except (nats.errors.Error, TimeoutError, MalformedError) as error:
            log.warning("%s: no answer to %s: %s", self.id, type(control).__name__, error or type(error).__name__)
            return False
        return True
