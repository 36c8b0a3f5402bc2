"""A real Pipecat pipeline on `antiphon.agent.pipecat`. It has packages of its own: `make pipecat-test`."""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

pytest.importorskip("pipecat", reason="the extra pipecat is not installed: make pipecat-test")

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    OutputTransportMessageFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from support.conditions import until
from support.processes.nats import nats_server

from antiphon.agent import Agent, Played, Session
from antiphon.agent.pipecat import AntiphonTransport
from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame, unpack_frame

pytestmark = pytest.mark.process


def tone(seconds: float, rate: int = 24000) -> bytes:
    return array("h", (round(8000 * math.sin(2764.6 * n / rate)) for n in range(round(seconds * rate)))).tobytes()


class Brain(FrameProcessor):  # type: ignore[misc]  # untyped where it is not installed
    """Says ten seconds of a tone when it hears a key; is interrupted by a message; counts the caller's audio."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_ms = 0.0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.heard_ms += frame.num_frames / frame.sample_rate * 1000
        elif isinstance(frame, InputDTMFFrame):
            await self.push_frame(OutputTransportMessageFrame(message={"pressed": frame.button.value}))
            for _ in range(100):
                await self.push_frame(TTSAudioRawFrame(tone(0.1), 24000, 1))
        elif isinstance(frame, InputTransportMessageFrame) and direction is FrameDirection.DOWNSTREAM:
            await self.push_frame(InterruptionFrame())
        await self.push_frame(frame, direction)


class Line:
    """The transceiver's side of one call: a clock, a queue, flushes."""

    def __init__(self, client: Client, session_id: str) -> None:
        self.client, self.id = client, session_id
        self.played = bytearray()
        self.data: list[dict[str, Any]] = []
        self.hung_up = asyncio.Event()
        self._queue: list[AudioFrame] = []
        self._generation = self._playing = self._samples = 0

    async def open(self) -> None:
        await self.client.subscribe(subjects.audio_out("pipecat", self.id), cb=self._audio)
        await self.client.subscribe(subjects.data_out("pipecat", self.id), cb=self._message)
        await self.client.subscribe(subjects.session_control("pipecat", self.id), cb=self._control)
        claim = messages.Claim(session_id=self.id, agent="pipecat")
        await self.client.request(subjects.agent_claim("pipecat"), messages.encode(claim), timeout=5)

    async def run(self) -> None:
        due = time.monotonic()
        for number in range(10**6):
            frame = AudioFrame(number, number * 320, 1, 16000, 0, 0, bytes(640))
            await self.client.publish(subjects.audio_in("pipecat", self.id), pack_frame(frame))
            if self._queue:
                spoken = self._queue.pop(0)
                self.played += spoken.pcm
                if spoken.generation != self._playing:
                    self._playing, self._samples = spoken.generation, 0
                self._samples += len(spoken.pcm) // 2
                ended = bool(spoken.flags & 4)
                if ended or number % 5 == 0:
                    await self.event(
                        messages.Playout(
                            generation=self._playing,
                            played_samples=self._samples,
                            rate=24000,
                            queued_ms=20 * len(self._queue),
                            state="ended" if ended else "playing",
                        )
                    )
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def event(self, event: messages.Message) -> None:
        await self.client.publish(subjects.session_event("pipecat", self.id), messages.encode(event))

    async def send(self, text: str) -> None:
        await self.client.publish(
            subjects.data_in("pipecat", self.id), messages.encode(messages.DataMessage.of("oai-events", text))
        )

    @property
    def queued(self) -> int:
        return len(self._queue)

    async def _audio(self, message: Msg) -> None:
        frame = unpack_frame(message.data)
        if frame.generation >= self._generation:
            self._queue.append(frame)

    async def _message(self, message: Msg) -> None:
        import json

        self.data.append(json.loads(messages.decode(message.data, messages.DataMessage).payload()))

    async def _control(self, message: Msg) -> None:
        control = messages.decode_any(message.data, messages.CONTROL, "Control")
        await message.respond(messages.encode(messages.ControlReply(ok=True)))
        if isinstance(control, messages.Flush):
            self._generation = control.generation
            dropped = len(self._queue)
            self._queue = [frame for frame in self._queue if frame.generation >= control.generation]
            await self.event(
                messages.Flushed(
                    generation=self._playing, played_samples=self._samples, rate=24000, dropped_ms=20 * dropped
                )
            )
        elif isinstance(control, messages.HangUp):
            self.hung_up.set()


async def test_a_pipeline_hears_speaks_is_interrupted_and_ends_with_its_call(tmp_path: Path) -> None:
    agent = Agent("pipecat", input_rate=16000)
    brain = Brain()
    interruptions: list[Played] = []
    said: list[str] = []

    @agent.session
    async def talk(session: Session) -> None:
        transport = AntiphonTransport(session)

        @transport.event_handler("on_interrupted")  # type: ignore[untyped-decorator]
        async def interrupted(_: AntiphonTransport, heard: Played) -> None:
            interruptions.append(heard)

        @transport.event_handler("on_client_disconnected")  # type: ignore[untyped-decorator]
        async def gone(_: AntiphonTransport) -> None:
            said.append("gone")

        pipeline = Pipeline([transport.input(), brain, transport.output()])
        await transport.run(PipelineWorker(pipeline, enable_rtvi=False))
        said.append("left")

    with nats_server(tmp_path / "nats") as url:
        client = await connection.connect(url, "line")
        async with agent.serving(url):
            line = Line(client, "rtc_pipecat")
            await line.open()
            clock = asyncio.create_task(line.run())
            await until(lambda: brain.heard_ms > 200)
            await line.event(messages.TelephoneEvent(event=7, duration_ms=80))
            await until(lambda: len(line.played) > 48000)
            assert line.data == [{"pressed": "7"}]
            assert line.queued < 40, "back pressure: not ten seconds at once"
            heard_before = brain.heard_ms
            await line.send('{"type": "stop"}')
            await until(lambda: interruptions)
            played = len(line.played)
            assert abs(interruptions[0].samples - played // 2) <= 960
            await until(lambda: brain.heard_ms > heard_before + 500)
            assert len(line.played) - played < 48000 * 0.1, "silent since the interruption"
            await line.event(messages.Ended(reason="client_closed"))
            await until(lambda: not agent.sessions)
            await tasks.end(clock)
        await client.close()
    assert said[-1] == "left"
