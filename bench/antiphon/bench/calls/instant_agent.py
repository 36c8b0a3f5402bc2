"""An agent that answers at once: the first quiet frame after a loud one gets a beep, with nothing in between."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import numpy as np
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.micro.request import Request

from antiphon.bench._lib.loudness import peak
from antiphon.cli.bus_client import on_the_bus
from antiphon.cli.up.running_stack import agent_for
from antiphon.runtime.nats import connection, service_discovery
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, FrameFlag, pack_frame, unpack_frame

INSTANT: Final = "bench-instant"
RATE: Final = 24000
_LOUD: Final = 1000
_SIZE: Final = RATE // 50
_FRAMES: Final = 25


class _Call:
    """One call of the agent; owned by the closure that claimed it, used from the event loop."""

    def __init__(self, client: Client, session_id: str) -> None:
        self._client, self._out = client, subjects.audio_out(INSTANT, session_id)
        self._was_loud = False
        self._generation = 0
        beep = (8000 * np.sin(2 * np.pi * 880 / RATE * np.arange(_SIZE * _FRAMES))).astype("<i2").tobytes()
        self._beep = [beep[at : at + _SIZE * 2] for at in range(0, len(beep), _SIZE * 2)]

    async def on_frame(self, message: Msg) -> None:
        frame = unpack_frame(message.data)
        loud = peak(frame.pcm) > _LOUD
        if self._was_loud and not loud:
            self._generation += 1
            for number, pcm in enumerate(self._beep):
                flags = FrameFlag.END_OF_UTTERANCE if number == _FRAMES - 1 else 0
                out = AudioFrame(number, number * _SIZE, frame.captured_ns, RATE, int(flags), self._generation, pcm)
                await self._client.publish(self._out, pack_frame(out))
        self._was_loud = loud


@contextlib.asynccontextmanager
async def instant_agent(url: str) -> AsyncIterator[None]:
    """Answers claims on the NATS server at `url` under the name `INSTANT`."""
    with agent_for(INSTANT, url) as access:
        async with on_the_bus(url, "antiphon-bench-conversation", "agent", access) as client, _answering(client):
            yield


@contextlib.asynccontextmanager
async def _answering(client: Client) -> AsyncIterator[None]:
    calls: dict[str, list[Subscription]] = {}

    async def claim(request: Request) -> None:
        asked = messages.decode(request.data, messages.Claim)
        call = _Call(client, asked.session_id)

        async def on_event(message: Msg) -> None:
            if isinstance(messages.decode_any(message.data, messages.SESSION_EVENT, "SessionEvent"), messages.Ended):
                for subscription in calls.pop(asked.session_id, []):
                    await subscription.unsubscribe()

        calls[asked.session_id] = [
            await client.subscribe(subjects.audio_in(INSTANT, asked.session_id), cb=call.on_frame),
            await client.subscribe(subjects.session_event(INSTANT, asked.session_id), cb=on_event),
        ]
        await connection.flush(client)
        reply = messages.ClaimReply(accepted=True, input_rate=RATE, instance=INSTANT)
        await request.respond(messages.encode(reply))

    service = await service_discovery.register(client, service_discovery.AGENT_SERVICE, {"agent": INSTANT})
    await service.add_endpoint(name="claim", subject=subjects.agent_claim(INSTANT), handler=claim, queue_group=INSTANT)
    await connection.flush(client)
    yield
    await service.stop()
