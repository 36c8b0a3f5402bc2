"""Plays the transceiver and its caller against an agent on NATS, in real time: for benches, replay and tests.

A call here is a clock that sends a frame of the caller every 20 ms, plays a frame of the agent every 20 ms, reports the
playout and carries out flushes, pauses and resumes as the transceiver does. Only the network is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final

import nats.errors
import numpy as np
import numpy.typing as npt
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.runtime import tasks, telemetry
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import FRAME_MS, AudioFrame, FrameFlag, pack_frame, unpack_frame

INPUT_RATE: Final = 16000
INPUT_FRAME: Final = INPUT_RATE * FRAME_MS // 1000
_REPORT_FRAMES: Final = 10
_LOUD: Final = 300
"""Of 32767: above it is speech, in a recording without noise."""
_numbers = itertools.count()


class FakeTransceiver:
    """One call: `async with` claims it, starts its clock, and ends both.

    Owned by the test or bench that makes it; used on one event loop, many at once if needed. Its records grow for as
    long as the call.
    """

    def __init__(
        self,
        client: Client,
        agent: str,
        session: dict[str, Any] | None = None,
        claimed: bool = False,
        locked: Sequence[str] = (),
    ) -> None:
        """`client` outlives the call. `claimed`: the call has, or had, an agent already. `locked`: as in the claim."""
        self.id = f"rtc_fake{time.monotonic_ns()}x{next(_numbers)}"
        self._claimed = claimed
        self.events: list[dict[str, Any]] = []
        """What came on the data channel."""
        self.arrivals: list[float] = []
        """`time.monotonic()` of each of `events`."""
        self.frames: list[AudioFrame] = []
        """What the agent sent."""
        self.frame_times_ns: list[int] = []
        self.played = bytearray()
        """What was played to the caller: s16le at the agent's rate, without the silence between replies."""
        self.turn_reports: list[messages.ReportTurn] = []
        self.flushes: list[messages.Flush] = []
        self.flush_times: list[float] = []
        self.paused = False
        self.pause_times: list[float] = []
        """`time.monotonic()` of each pause."""
        self.resume_times: list[float] = []
        self.hung_up = asyncio.Event()
        self.instance = ""
        """The process that has claimed the call."""
        self.speech_end_ns = 0
        """When the last loud sample of the last `say` was sent (Unix, ns)."""
        self.speech_begin = 0.0
        """`time.monotonic()` at which the first loud sample of the last `say` was sent."""
        self.sent = 0
        """Frames of the caller."""
        self._client, self._agent, self._session = client, agent, session or {}
        self._locked = list(locked)
        self._speech: deque[tuple[bytes, bool, bool]] = deque()
        """Frames to be sent, and whether they are the first loud one and the last one."""
        self._queue: deque[AudioFrame] = deque()
        self._generation = self._played_generation = self._played_samples = self._since_report = 0
        self._changed = asyncio.Condition()
        self._subscriptions: list[Subscription] = []
        self._clock: asyncio.Task[None] | None = None
        self._said = asyncio.Event()
        self._cues: deque[tuple[int, dict[str, Any]]] = deque()
        """Events of the client, and the frame before which each is sent."""

    async def __aenter__(self) -> FakeTransceiver:
        for subject, callback in (
            (subjects.audio_out(self._agent, self.id), self._on_audio),
            (subjects.data_out(self._agent, self.id), self._on_data),
            (subjects.session_control(self._agent, self.id), self._on_control),
        ):
            self._subscriptions.append(await self._client.subscribe(subject, cb=callback))
        try:
            reply = messages.ClaimReply(accepted=True) if self._claimed else await self.claim()
            if not reply.accepted:
                raise RuntimeError(f"the agent {self._agent} refused the call: {reply.message}")
        except Exception:
            await self._unsubscribe()
            raise
        self.instance = reply.instance
        await self.event(messages.Connected(setup_ms=1))
        await self.event(messages.MediaStarted(setup_ms=2))
        self._clock = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.stop_sending()
        await self.event(messages.Ended(reason="client_closed"))
        await self._unsubscribe()
        await connection.flush(self._client)

    def microphone(self, pcm: bytes) -> bytes:
        """What the caller's microphone picks up while the caller says `pcm`; a subclass may add sounds."""
        return pcm

    def speaker(self, frame: AudioFrame | None) -> None:
        """What the caller's side plays now, each 20 ms; None for nothing. For subclasses."""

    async def claim(self) -> messages.ClaimReply:
        """Ask the agent to take the call; its answer, which may be a refusal. `TimeoutError` after 2 s."""
        claim = messages.Claim(session_id=self.id, agent=self._agent, session=self._session, locked=self._locked)
        subject = subjects.agent_claim(self._agent)
        headers = telemetry.trace_headers() or None
        answer = await self._client.request(subject, messages.encode(claim), timeout=2, headers=headers)
        return messages.decode(answer.data, messages.ClaimReply)

    async def stop_sending(self) -> None:
        """No more frames of the caller, and nothing is played, as if the transceiver had died."""
        if self._clock:
            await tasks.end(self._clock)
            self._clock = None

    async def say(self, speech: npt.NDArray[np.int16]) -> None:
        """Send speech (mono at `INPUT_RATE`) in real time; returns when its last loud sample is out."""
        loud = np.flatnonzero(np.abs(speech.astype(np.int32)) > _LOUD)
        first, last = int(loud[0]) // INPUT_FRAME, int(loud[-1])
        frames = -(-(last + 1) // INPUT_FRAME)
        padded = np.zeros(frames * INPUT_FRAME, dtype="<i2")
        padded[: last + 1] = speech[: last + 1]
        self._said.clear()
        for number in range(frames):
            pcm = padded[number * INPUT_FRAME : (number + 1) * INPUT_FRAME].tobytes()
            self._speech.append((pcm, number == first, number == frames - 1))
        await self._said.wait()

    async def play(self, samples: npt.NDArray[np.int16]) -> None:
        """Send samples (mono at `INPUT_RATE`) exactly as they are, in real time; returns when the last is out."""
        frames = -(-len(samples) // INPUT_FRAME)
        padded = np.zeros(frames * INPUT_FRAME, dtype="<i2")
        padded[: len(samples)] = samples
        self._said.clear()
        for number in range(frames):
            pcm = padded[number * INPUT_FRAME : (number + 1) * INPUT_FRAME].tobytes()
            self._speech.append((pcm, number == 0, number == frames - 1))
        await self._said.wait()

    def script(self, samples: npt.NDArray[np.int16], cues: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Before the call begins: its caller from the first frame on, and what the client sends before which frame.

        So that it is the same call, frame by frame, however often it is played. `script_over` waits for its end.
        """
        size = INPUT_FRAME * 2
        pcm = samples.astype("<i2").tobytes()
        self._speech.extend((pcm[at : at + size].ljust(size, b"\0"), at == 0, False) for at in range(0, len(pcm), size))
        self._cues.extend(sorted(cues, key=lambda cue: cue[0]))

    async def script_over(self) -> None:
        """Return when all of the script was sent."""
        while self._speech or self._cues:  # noqa: ASYNC110 - the caller's own clock counts
            await asyncio.sleep(FRAME_MS / 1000)

    async def quiet(self, seconds: float) -> None:
        """Return when the caller was silent for so long."""
        until = self.sent + round(seconds * 1000 / FRAME_MS)
        while self.sent < until:  # noqa: ASYNC110 - the caller's own clock counts
            await asyncio.sleep(FRAME_MS / 1000)

    async def send(self, event: dict[str, Any]) -> None:
        """A message of the client on the data channel."""
        message = messages.DataMessage.of(messages.EVENTS_CHANNEL, json.dumps(event))
        await self._client.publish(subjects.data_in(self._agent, self.id), messages.encode(message))

    async def event(self, event: messages.Message) -> None:
        """Publish a session event as the transceiver does."""
        await self._publish(subjects.session_event(self._agent, self.id), messages.encode(event))

    @property
    def answered(self) -> bool:
        """Each response that was announced is done."""
        return len(self.of_type("response.done")) >= len(self.of_type("response.created"))

    def of_type(self, type_: str) -> list[dict[str, Any]]:
        """The realtime events of this type so far, oldest first."""
        return [event for event in self.events if event["type"] == type_]

    async def until(self, condition: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait until `condition` holds, tried after each frame and message; `TimeoutError` shows the last events."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            seen = ", ".join(event["type"] for event in self.events[-12:])
            raise TimeoutError(f"not within {timeout:.0f} s; the last events: {seen}") from None

    async def wait_for(self, type_: str, count: int = 1, timeout: float = 20.0) -> dict[str, Any]:
        """The event of this type that is number `count`, counted from 1; `TimeoutError` if it does not come."""
        await self.until(lambda: len(self.of_type(type_)) >= count, timeout)
        return self.of_type(type_)[count - 1]

    async def _publish(self, subject: str, data: bytes) -> None:
        with contextlib.suppress(nats.errors.Error):  # NATS is away: lost, as in the transceiver
            await self._client.publish(subject, data)

    # ---- inside ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        noise = np.random.default_rng(1)
        due = time.monotonic()
        for sequence in itertools.count():
            while self._cues and self._cues[0][0] <= sequence:
                await self.send(self._cues.popleft()[1])
            now_ns = time.time_ns()
            if self._speech:
                pcm, first, last = self._speech.popleft()
                if first:
                    self.speech_begin = time.monotonic()
                if last:
                    self.speech_end_ns = now_ns
                    self._said.set()
            else:
                pcm = noise.normal(0, 4, INPUT_FRAME).astype("<i2").tobytes()
            pcm = self.microphone(pcm)
            frame = AudioFrame(sequence, sequence * INPUT_FRAME, now_ns, INPUT_RATE, 0, 0, pcm)
            await self._publish(subjects.audio_in(self._agent, self.id), pack_frame(frame))
            self.sent = sequence + 1
            await self._play()
            due += FRAME_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _play(self) -> None:
        if not self._queue or self.paused:
            self.speaker(None)
            return
        frame = self._queue.popleft()
        self.speaker(frame)
        self.played += frame.pcm
        started = frame.generation != self._played_generation
        if started:
            self._played_generation, self._played_samples, self._since_report = frame.generation, 0, 0
        self._played_samples += len(frame.pcm) // 2
        self._since_report += 1
        ended = bool(frame.flags & FrameFlag.END_OF_UTTERANCE)
        if started or ended or self._since_report >= _REPORT_FRAMES:
            self._since_report = 0
            report = messages.Playout(
                generation=frame.generation,
                played_samples=self._played_samples,
                rate=24000 if frame.rate == 24000 else 16000,
                queued_ms=len(self._queue) * FRAME_MS,
                state="started" if started else "ended" if ended else "playing",
            )
            await self.event(report)
        async with self._changed:
            self._changed.notify_all()

    async def _on_audio(self, msg: Msg) -> None:
        frame = unpack_frame(msg.data)
        self.frames.append(frame)
        self.frame_times_ns.append(time.time_ns())
        if frame.generation >= self._generation:
            self._queue.append(frame)
        async with self._changed:
            self._changed.notify_all()

    async def _on_data(self, msg: Msg) -> None:
        message = messages.decode(msg.data, messages.DataMessage)
        self.events.append(json.loads(message.payload()))
        self.arrivals.append(time.monotonic())
        async with self._changed:
            self._changed.notify_all()

    async def _on_control(self, msg: Msg) -> None:
        control = messages.decode_any(msg.data, messages.CONTROL, "Control")
        if isinstance(control, messages.ReportTurn):  # needs no answer
            self.turn_reports.append(control)
        else:
            await msg.respond(messages.encode(messages.ControlReply(ok=True)))
        if isinstance(control, messages.Flush):
            self.paused = False
            self.flushes.append(control)
            self.flush_times.append(time.monotonic())
            dropped = [f for f in self._queue if f.generation < control.generation]
            self._queue = deque(f for f in self._queue if f.generation >= control.generation)
            self._generation = max(self._generation, control.generation)
            await self.event(
                messages.Flushed(
                    generation=self._played_generation,
                    played_samples=self._played_samples,
                    rate=24000,
                    dropped_ms=len(dropped) * FRAME_MS,
                )
            )
        elif isinstance(control, messages.Pause):
            self.paused = True
            self.pause_times.append(time.monotonic())
        elif isinstance(control, messages.Resume):
            self.paused = False
            self.resume_times.append(time.monotonic())
        elif isinstance(control, messages.HangUp):
            self.hung_up.set()
        async with self._changed:
            self._changed.notify_all()

    async def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        self._subscriptions.clear()
