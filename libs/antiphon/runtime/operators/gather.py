"""Asks every owner of calls of this region for its calls, over NATS. The request does not leave the region."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.runtime.operators.call_gathering import CallGathering, CallPage, ExpectedOwner
from antiphon.schemas import messages, subjects

WAIT: Final = 1.0
"""Seconds for all owners to answer."""
MAX_WAITING: Final = 2048
"""Answers that wait to be read; further ones are dropped."""


async def gather_calls(
    client: Client, asked: messages.ListCalls, expected: Collection[ExpectedOwner], wait: float = WAIT
) -> CallPage:
    """One page of calls: ends when all expected owners have answered, or after `wait` seconds.

    A request for one call ends with the answer that has it. An error of nats-py where NATS is away.
    """
    gathering = CallGathering(asked, expected)
    only = asked.session_ids[0] if len(asked.session_ids) == 1 else None
    received: asyncio.Queue[Msg] = asyncio.Queue(MAX_WAITING)

    async def on_answer(message: Msg) -> None:
        if not received.full():
            received.put_nowait(message)

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=on_answer)
    try:
        await client.publish(subjects.CALLS_LIST, messages.encode(asked), reply=inbox)
        async with asyncio.timeout(wait):
            while not gathering.complete:
                message = await received.get()
                if (message.headers or {}).get("Status") == "503":
                    break  # no owner is there
                gathering.take(message.data)
                if only is not None and gathering.found(only):
                    break
    except TimeoutError:
        pass
    finally:
        await subscription.unsubscribe()
    return gathering.page()
