"""A conversation with its shell in virtual time: agent, voice, recogniser and transceiver answer as a test says.

Nothing of a service runs as a process here: what is tested is `ConversationRunner` with all its tasks, on a loop whose
clock jumps.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from antiphon.inference_bridge.agents import ReplyPart, Request
from antiphon.inference_bridge.agents.client_mcp import McpServers, McpUsingAgent
from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.conversation import (
    response_playback,
    response_tasks,
    runner,
    speech_frames,
    transcriptions,
)
from antiphon.inference_bridge.conversation import turn_spans as turn_spans_module
from antiphon.inference_bridge.conversation.client_commands import ClientCommands
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.state import State
from antiphon.inference_bridge.conversation.response_playback import Speech
from antiphon.inference_bridge.conversation.runner import ConversationRunner
from antiphon.inference_bridge.conversation.speech_frames import FRAME
from antiphon.inference_bridge.conversation.turn_spans import TurnSpans
from antiphon.inference_bridge.input.vad_pipeline import VadPipeline
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.realtime_protocol.client_events import read_client_event
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.locked_settings import LockedSettings
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.tts.phrase_cache import PhraseCache
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE
from antiphon.inference_bridge.turns.detector import MaybeDone, Resumed, SpeechStarted, TurnEnded, Utterance
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.runtime.agent_sessions.session_bus import ControlOutcome
from antiphon.schemas import messages

Part = ReplyPart | float | Exception
"""What an agent says, or seconds that it waits."""


class Agent:
    """Answers with `answers`, one after the other, then with the last; keeps what it was asked and told."""

    def __init__(self, answers: list[Sequence[Part]]) -> None:
        self.answers = answers
        self.requests: list[Request] = []
        self.told: list[str] = []

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        for part in answer:
            if isinstance(part, float):
                await asyncio.sleep(part)
            elif isinstance(part, Exception):
                raise part
            else:
                yield part

    def played(self, text: str) -> None:
        self.told.append(text)

    def greeting_played(self, text: str) -> None:
        self.told.append(text)

    def saved(self) -> Any:
        return None

    def restore(self, saved: Any) -> None: ...

    def ended(self) -> None: ...


class _Result:
    """Model work that takes some time."""

    def __init__(self, result: Any, seconds: float) -> None:
        self.work_ms = seconds * 1000
        self._task = asyncio.create_task(asyncio.sleep(seconds, result))

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield from self._task.__await__())

    def promote(self, urgency: Urgency) -> None: ...

    def cancel(self) -> None: ...


class _Voice:
    """60 ms of speech for each letter or digit; nothing for other signs."""

    def synthesize(
        self, clause: str, speed: float, urgency: Urgency, owner: str = "", voice: str = "", language: str = ""
    ) -> Any:
        letters = sum(character.isalnum() for character in clause)
        return _Result(np.full(letters * SPEECH_RATE * 60 // 1000, 9, dtype="<i2"), 0.05)


class _Recogniser:
    """Reads the words that the test has written into the audio."""

    def __init__(self) -> None:
        self.asked = 0

    def transcribe(self, pcm: bytes, prompt: str, urgency: Urgency, owner: str = "", language: str = "") -> Any:
        self.asked += 1
        return _Result(pcm.decode(), 0.15)


class _Transceiver:
    """Plays the frames of the newest generation, holds them, flushes them. In place of a `SessionBus`."""

    def __init__(self) -> None:
        self.session_id, self.agent, self.paused = "call", "agent", False
        self.played: list[tuple[float, int, bool]] = []
        """Each frame played: when, its generation, whether it is speech."""
        self.flushes = 0
        self.hung_up = ""
        self.transfers: list[tuple[float, str]] = []
        """When which agent was asked for."""
        self.reports: list[messages.ReportTurn] = []
        self.on_playout: Callable[[messages.Playout], None] = lambda event: None
        self._queue: list[tuple[int, bytes, int]] = []
        self._held = False
        self._floor = self._playing = self._samples = 0

    async def publish_frame(self, pcm: bytes, rate: int, first: int, generation: int, flags: int = 0) -> None:
        if generation >= self._floor:
            self._queue.append((generation, pcm, int(flags)))

    async def pause(self) -> bool:
        self.paused = self._held = True
        return True

    async def resume(self) -> bool:
        self.paused = self._held = False
        return True

    async def flush(self, generation: int) -> Any:
        await self.flush_and_wait(generation, 0)

    async def flush_and_wait(self, generation: int, seconds: float) -> messages.Flushed:
        self.flushes += 1
        self.paused = self._held = False
        self._floor = generation
        self._queue = [frame for frame in self._queue if frame[0] >= generation]
        await asyncio.sleep(0.005)
        return messages.Flushed(generation=self._playing, played_samples=self._samples, rate=SPEECH_RATE, dropped_ms=0)

    async def report_turn(self, report: messages.ReportTurn) -> None:
        self.reports.append(report)

    async def hang_up(self, reason: str = "") -> None:
        self.hung_up = reason

    async def transfer(self, agent: str, handed: Any = None) -> ControlOutcome:
        self.transfers.append((asyncio.get_running_loop().time(), agent))
        return ControlOutcome.DONE

    async def run(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(0.02)
            ticks += 1
            ended = False
            if self._queue and not self._held:
                generation, pcm, flags = self._queue.pop(0)
                if generation != self._playing:
                    self._playing, self._samples = generation, 0
                self._samples += FRAME
                self.played.append((asyncio.get_running_loop().time(), generation, any(pcm)))
                ended = bool(flags)
            if self._playing and (ended or ticks % 10 == 0):
                state: Any = "ended" if ended else "playing"
                left = len(self._queue) * 20
                self.on_playout(
                    messages.Playout(
                        generation=self._playing,
                        state=state,
                        played_samples=self._samples,
                        queued_ms=left,
                        rate=SPEECH_RATE,
                    )
                )


class VirtualConversation:
    """One call. Made in a coroutine test of the tier `virtual`; `close` at its end."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        answers: list[Sequence[Part]],
        settings: SessionSettings | None = None,
        patience_ms: int = 2500,
        turn_spans: TurnSpans | None = None,
        profile: AgentProfile | None = None,
        session: dict[str, Any] | None = None,
        speculates: bool = False,
        mcp: McpServers | None = None,
        **state: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.loop = loop
        turn_spans = turn_spans or TurnSpans()
        clock = SimpleNamespace(
            monotonic=loop.time, time=loop.time, time_ns=lambda: int(loop.time() * 1e9), perf_counter=time.perf_counter
        )
        for module in (response_playback, response_tasks, runner, speech_frames, transcriptions, turn_spans_module):
            monkeypatch.setattr(module, "time", clock)
        self.events: list[dict[str, Any]] = []
        self.events_sent_at: list[float] = []
        """When somebody waited for the events to be sent."""
        self.agent = Agent(answers)
        self.beside: list[Agent] = []
        """Agents of responses out of band; they answer as `agent` would."""
        self.bus = _Transceiver()
        self.stt = _Recogniser()
        self.realtime = Realtime(lambda event: self.events.append(json.loads(json.dumps(event))))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._executor = ThreadPoolExecutor(1)
        pipeline = VadPipeline(SimpleNamespace(), self._executor, TurnSettings())  # type: ignore[arg-type]
        speech = Speech(self.stt, _Voice(), PhraseCache())
        self.runner = ConversationRunner(
            State(idle_since=loop.time(), **state),
            self.bus,  # type: ignore[arg-type]
            self.realtime,
            self.agent if mcp is None else McpUsingAgent(self.agent, mcp),
            self._another_agent,
            speech,
            settings or SessionSettings(),
            SpeechSupport(),
            "Be brief.",
            patience_ms,
            0,
            pipeline,
            None,
            self._spawn,
            turn_spans,
            lambda: None,
            self.bus.hang_up,
            self._events_sent,
            profile or AgentProfile("agent", lambda _: self.agent, speculates=speculates),
            session,
        )
        self.bus.on_playout = self.runner.responses.playout
        self._commands = ClientCommands(self.runner, self.realtime, lambda: None, LockedSettings(), SpeechSupport())
        self._spawn(self.bus.run())
        self._spawn(self._tick())

    async def _events_sent(self) -> None:
        self.events_sent_at.append(self.loop.time())

    def _another_agent(self) -> Agent:
        self.beside.append(Agent(self.agent.answers))
        return self.beside[-1]

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.runner.feed(events.Tick())

    async def close(self) -> None:
        """End all tasks."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._executor.shutdown()

    def send(self, **event: Any) -> None:
        """An event of the client; what is wrong with it becomes an `error` event."""
        try:
            self._commands.apply(read_client_event(json.dumps(event)))
        except ClientError as error:
            self.realtime.error(error)

    def types(self, text: str) -> None:
        """The client puts a text of the user on record."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.send(type="conversation.item.create", item=item)

    def returns(self, call_id: str, output: str) -> None:
        """The client puts the output of a function on record, and wants an answer."""
        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        self.send(type="conversation.item.create", item=item)
        self.send(type="response.create")

    async def says(self, text: str, seconds: float = 0.8, silence: float = 0.4) -> None:
        """The caller speaks, and is silent until the turn ends."""
        listener, began = self.runner.transcriptions, self.loop.time()
        await asyncio.sleep(0.1)
        listener.on_turn_event(SpeechStarted(int(began * 16000)))
        await asyncio.sleep(seconds - 0.1)
        first, end = int(began * 16000), int(self.loop.time() * 16000)
        utterance = Utterance(text.encode(), first, end, seconds * 1000)
        await asyncio.sleep(0.16)
        listener.on_turn_event(MaybeDone(utterance))
        await asyncio.sleep(silence - 0.16)
        listener.on_turn_event(TurnEnded(utterance))

    async def goes_on(self, first: str, whole: str) -> None:
        """The caller speaks, pauses, and speaks on; the turn is all of it."""
        listener, began = self.runner.transcriptions, self.loop.time()
        listener.on_turn_event(SpeechStarted(int(began * 16000)))
        await asyncio.sleep(0.5)
        listener.on_turn_event(MaybeDone(Utterance(first.encode(), int(began * 16000), int(began * 16000) + 8000, 500)))
        await asyncio.sleep(0.5)
        listener.on_turn_event(Resumed())
        await asyncio.sleep(0.5)
        utterance = Utterance(whole.encode(), int(began * 16000), int(began * 16000) + 24000, 1000)
        listener.on_turn_event(MaybeDone(utterance))
        listener.on_turn_event(TurnEnded(utterance))

    def of(self, *types: str) -> list[dict[str, Any]]:
        """Events to the client of these types."""
        return [event for event in self.events if event["type"] in types]

    @property
    def ends(self) -> list[tuple[str, str]]:
        """Each `response.done`: its status and its words."""
        found = []
        for event in self.of("response.done"):
            said = [part for item in event["response"]["output"] for part in item.get("content", ())]
            words = " ".join(part.get("transcript") or part.get("text") or "" for part in said)
            found.append((event["response"]["status"], words))
        return found

    def spoken_ms(self, since: float = 0.0) -> int:
        """Milliseconds of speech, without pauses, that the caller has received."""
        return 20 * sum(speech for at, _, speech in self.bus.played if at >= since)
