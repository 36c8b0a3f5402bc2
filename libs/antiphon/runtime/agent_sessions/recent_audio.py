"""The last seconds of every caller, kept by NATS itself: for an agent that takes a session over.

One memory stream beside the audio subjects: publishers and subscribers notice nothing of it. Frames are dropped after
`KEPT_SECONDS`, and the stream has a byte limit. It costs nothing until an agent asks for it.
"""

from __future__ import annotations

import contextlib
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext

from antiphon.schemas import subjects
from antiphon.schemas.audio import AudioFrame, unpack_frame
from antiphon.schemas.errors import MalformedError

STREAM: Final = "antiphon-recent-audio"
KEPT_SECONDS: Final = 5.0
MAX_BYTES: Final = 128 << 20
"""Five seconds of some 600 callers at 24 kHz; above it the oldest frames go first."""
_READ_WITHIN: Final = 0.5


async def keep(js: JetStreamContext) -> None:
    """Have NATS keep the callers' frames from now on; harmless when it does already."""
    await js.add_stream(
        StreamConfig(
            name=STREAM,
            subjects=[subjects.ANY_AUDIO_IN],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.MEMORY,
            max_age=KEPT_SECONDS,
            max_bytes=MAX_BYTES,
            no_ack=True,
        )
    )


async def read(client: Client, agent: str, session_id: str) -> list[AudioFrame]:
    """What the caller said last to this agent, oldest frame first; empty if NATS keeps none.

    Takes half a second at most.
    """
    frames: list[AudioFrame] = []
    js = client.jetstream(timeout=_READ_WITHIN)
    with contextlib.suppress(nats.errors.Error, TimeoutError):
        subject = subjects.audio_in(agent, session_id)
        subscription = await js.subscribe(subject, stream=STREAM, ordered_consumer=True)
        try:
            while True:
                message = await subscription.next_msg(timeout=_READ_WITHIN)
                with contextlib.suppress(MalformedError):
                    frames.append(unpack_frame(message.data))
                if message.metadata.num_pending == 0:
                    break
        finally:
            await subscription.unsubscribe()
    return frames
