"""The subjects of one call, for sending: speech frames, data-channel messages, control requests."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Final

import nats.errors
from nats.aio.client import Client

from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE
from antiphon.runtime import telemetry
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, FrameFlag, pack_frame
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

_HANG_UP_TRIES: Final = 5
_AGAIN_SECONDS: Final = 0.2
_CONTROL_TIMEOUT = 1.0


class SessionBus:
    """What the bridge says on behalf of one session."""

    def __init__(self, client: Client, session_id: str) -> None:
        self.session_id = session_id
        self._client = client
        self._audio_out = subjects.audio_out(session_id)
        self._data_out = subjects.data_out(session_id)
        self._control = subjects.session_control(session_id)
        self._sequence = 0
        self._turns = asyncio.Lock()
        """Control requests keep their order."""
        self.paused = False
        """The transceiver holds our speech."""
        self.flushes = 0
        """Flushes of ours of which nothing was reported yet."""

    async def _publish(self, subject: str, data: bytes) -> None:
        """While NATS is away what is said is lost, as on a bad line; the call goes on when it is back."""
        try:
            await self._client.publish(subject, data)
        except nats.errors.Error as error:
            log.debug("%s: not sent: %s", self.session_id, error)

    async def frame(self, pcm: bytes, first_sample: int, generation: int, flags: FrameFlag | int = 0) -> None:
        """Publish 20 ms of speech at `SPEECH_RATE`."""
        frame = AudioFrame(self._sequence, first_sample, time.time_ns(), SPEECH_RATE, int(flags), generation, pcm)
        self._sequence += 1
        await self._publish(self._audio_out, pack_frame(frame))

    async def event(self, event: JsonObject) -> None:
        """To the client's data channel."""
        message = messages.DataMessage.of(messages.EVENTS_CHANNEL, json.dumps(event))
        await self._publish(self._data_out, messages.encode(message))

    async def flush(self, generation: int) -> bool:
        """Silence everything below `generation`, now."""
        self.paused = False
        self.flushes += 1
        return await self._request(messages.Flush(generation=generation))

    async def pause(self) -> bool:
        """Hold the speech at the exact sample; False if the transceiver did not."""
        self.paused = True
        return await self._request(messages.Pause())

    async def resume(self) -> bool:
        """Go on with the next sample."""
        self.paused = False
        return await self._request(messages.Resume())

    async def hang_up(self, reason: str) -> bool:
        """End the call; asked for again where nobody answers: the caller would hear silence."""
        for _ in range(_HANG_UP_TRIES):
            if await self._request(messages.HangUp(reason=reason)):
                return True
            await asyncio.sleep(_AGAIN_SECONDS)
        return False

    async def _request(self, control: messages.Message) -> bool:
        async with self._turns:
            return await self._ask(control)

    async def _ask(self, control: messages.Message) -> bool:
        try:
            answer = await self._client.request(
                self._control,
                messages.encode(control),
                timeout=_CONTROL_TIMEOUT,
                headers=telemetry.trace_headers() or None,
            )
            reply = messages.decode(answer.data, messages.ControlReply)
        except (nats.errors.Error, TimeoutError, MalformedError) as error:
            log.warning("%s: no answer to %s: %s", self.session_id, type(control).__name__, error)
            return False
        if not reply.ok:
            log.warning("%s: %s refused: %s", self.session_id, type(control).__name__, reply.message)
        return reply.ok
