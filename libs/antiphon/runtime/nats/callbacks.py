"""Callbacks of subscriptions that go on being called, and subscriptions that end without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

log = logging.getLogger(__name__)

NO_GROUP: Final = "no-group"
"""Queue group of an endpoint that one process alone serves. In a group the server would give half of the requests to a
connection of that process that is lost, and of which the server does not know it yet."""


def contained(subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Callable[[Msg], Awaitable[None]]:
    """The callback, without the cancellation of what it waits for, which would end its subscription."""

    async def call(message: Msg) -> None:
        try:
            await callback(message)
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is None or this.cancelling():
                raise
            log.error("nats: what the callback of %s waited for was cancelled", subject)

    return call


async def stop_answering(client: Client, subscription: Subscription) -> None:
    """End a subscription that answers requests: those that the server has already delivered are still answered.

    `Subscription.unsubscribe` drops them, and their senders wait for their whole time limit. Ends without an error
    in every state of the connection.
    """
    try:
        await subscription.drain()  # type: ignore[no-untyped-call]
    except (errors.Error, TimeoutError):  # no connection, or one that pauses
        client._remove_sub(subscription._id)
        subscription._stop_processing()
        with contextlib.suppress(errors.Error, OSError):
            await client._send_unsubscribe(subscription._id)
