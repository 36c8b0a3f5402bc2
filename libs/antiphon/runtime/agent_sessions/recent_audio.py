"""The last seconds of every caller, kept by NATS itself: for an agent that takes a session over.

One memory stream beside the audio subjects, which `antiphon setup` makes (`stores`): publishers and subscribers notice
nothing of it. Read by a consumer of one session alone, so that NATS can keep agents from the callers of others.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from nats.aio.client import Client

from antiphon.runtime.nats import buckets
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import subjects
from antiphon.schemas.audio import AudioFrame, unpack_frame
from antiphon.schemas.errors import MalformedError

_READ_WITHIN: Final = 0.5


async def read(client: Client, agent: str, session_id: str) -> list[AudioFrame]:
    """What the caller said last to this agent, oldest frame first; empty if NATS keeps none.

    Takes half a second at most.
    """
    frames: list[AudioFrame] = []
    reading = buckets.consumer(client, subjects.STREAM_RECENT_AUDIO, subjects.audio_in(agent, session_id), "all")
    with contextlib.suppress(*BUS_ERRORS):
        async with asyncio.timeout(_READ_WITHIN), reading as (subscription, waiting):
            while waiting > 0:
                message = await subscription.next_msg(_READ_WITHIN)
                with contextlib.suppress(MalformedError):
                    frames.append(unpack_frame(message.data))
                waiting = message.metadata.num_pending
    return frames
