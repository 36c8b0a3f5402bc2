"""A Pipecat transport: a Pipecat pipeline behind our media plane, one pipeline per session.

    @agent.session
    async def talk(session: Session) -> None:
        transport = AntiphonTransport(session)
        pipeline = Pipeline([transport.input(), ..., transport.output()])
        await transport.run(PipelineWorker(pipeline))

Needs the extra `pipecat` (pipecat-ai, BSD-2-Clause), which nothing else here imports. An `InterruptionFrame`
flushes the transceiver, so that nothing queued is played, and `on_interrupted` says what was played.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    CancelFrame,
    ClientConnectedFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner

from antiphon.agent.events import DataReceived, TelephoneEvent
from antiphon.agent.session import EVENTS_CHANNEL, Session

AHEAD: Final = 0.2
"""Seconds of speech in the transceiver. Pipecat takes a write for playback, so what waits there is kept short."""
PAUSE: Final = 0.1
"""Nothing written for so long: the reply is over."""
_KEYS: Final = {entry.value: entry for entry in KeypadEntry}


class AntiphonTransport(BaseTransport):  # type: ignore[misc]  # untyped where it is not installed
    """The transport of one session.

    Event handlers: `on_client_connected(transport)`, `on_client_disconnected(transport)` and `on_interrupted(transport,
    played)` with a `Played`.
    """

    def __init__(self, session: Session, params: TransportParams | None = None, channel: str = EVENTS_CHANNEL) -> None:
        """`channel`: the data channel of transport messages."""
        super().__init__()
        self.session, self.channel = session, channel
        self.params = params or TransportParams(audio_in_enabled=True, audio_out_enabled=True)
        self._input = _Input(self, self.params)
        self._output = _Output(self, self.params)
        for name in ("on_client_connected", "on_client_disconnected", "on_interrupted"):
            self._register_event_handler(name)

    def input(self) -> BaseInputTransport:
        return self._input

    def output(self) -> BaseOutputTransport:
        return self._output

    async def run(self, worker: PipelineWorker) -> None:
        """Run the pipeline for as long as the session; whichever ends first ends the other."""
        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(worker)

        async def cancel_at_the_end() -> None:
            await self.session.over.wait()
            await runner.cancel()

        ending = asyncio.create_task(cancel_at_the_end())
        try:
            await runner.run()
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    async def notify(self, event: str, *arguments: Any) -> None:
        await self._call_event_handler(event, *arguments)


class _Input(BaseInputTransport):  # type: ignore[misc]
    """The caller's audio, keys and messages as frames."""

    def __init__(self, transport: AntiphonTransport, params: TransportParams) -> None:
        super().__init__(params)
        self._transport = transport
        self._receiving: list[Any] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        if self._receiving:
            return
        await self._transport.notify("on_client_connected")
        await self.push_frame(ClientConnectedFrame())
        await self.set_transport_ready(frame)
        self._receiving = [self.create_task(self._audio()), self.create_task(self._events())]

    async def stop(self, frame: EndFrame) -> None:
        await super().stop(frame)
        await self._stop_receiving()

    async def cancel(self, frame: CancelFrame) -> None:
        await super().cancel(frame)
        await self._stop_receiving()

    async def cleanup(self) -> None:
        await super().cleanup()
        await self._stop_receiving()

    async def _stop_receiving(self) -> None:
        listening, self._receiving = self._receiving, []
        for task in listening:
            await self.cancel_task(task)

    async def _audio(self) -> None:
        async for frame in self._transport.session.audio(self.sample_rate):
            await self.push_audio_frame(InputAudioRawFrame(frame.pcm, frame.rate, 1))

    async def _events(self) -> None:
        transport = self._transport
        async for event in transport.session.events():
            match event:
                case TelephoneEvent() if event.key in _KEYS:
                    await self.push_frame(InputDTMFFrame(button=_KEYS[event.key]))
                case DataReceived(channel=transport.channel):
                    await self.broadcast_frame(InputTransportMessageFrame, message=_message(event.payload))
        await transport.notify("on_client_disconnected")


class _Output(BaseOutputTransport):  # type: ignore[misc]
    """Speech, in one SDK speech per reply, and messages."""

    def __init__(self, transport: AntiphonTransport, params: TransportParams) -> None:
        super().__init__(params)
        self._transport = transport
        self._written: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._speaking: Any = None

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        if self._speaking is None:
            self._speaking = self.create_task(self._speak())
            await self.set_transport_ready(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        await super().cancel(frame)
        await self._stop_speaking()

    async def cleanup(self) -> None:
        await super().cleanup()
        await self._stop_speaking()

    async def _stop_speaking(self) -> None:
        speaking, self._speaking = self._speaking, None
        if speaking is not None:
            await self.cancel_task(speaking)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            while not self._written.empty():
                self._written.get_nowait()
            played = await self._transport.session.flush()
            if played is not None:
                await self._transport.notify("on_interrupted", played)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        if self._transport.session.over.is_set():
            return False
        await self._written.put(frame.audio)
        return True

    async def send_message(self, frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame) -> None:
        await self._transport.session.send(frame.message, self._transport.channel)

    async def _speak(self) -> None:
        while True:
            pcm = await self._written.get()
            async with self._transport.session.speak(self.sample_rate, AHEAD) as speech:
                await speech.write(pcm)
                while (more := await self._more()) is not None:
                    await speech.write(more)

    async def _more(self) -> bytes | None:
        try:
            async with asyncio.timeout(PAUSE):
                return await self._written.get()
        except TimeoutError:
            return None


def _message(payload: str | bytes) -> Any:
    """JSON where it is some."""
    try:
        return json.loads(payload)
    except ValueError:
        return payload
