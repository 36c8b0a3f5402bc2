"""The NATS client of every process: what it sends and receives, over a `ReconnectingClient`.

The changes, and what nats-py does instead:

- `MAX_UNSENT` bounds what is published while the server reads nothing.
- A message whose handling raises is reported. In nats-py it ends the reading task.
- Messages that JetStream sends for another client are dropped, unless they come to an inbox (`is_forwarded`).
- A request whose answer would go elsewhere than to an inbox is dropped: the answer would have our rights.
- A value in a bucket that NATS wrote for another client is delivered empty, and is therefore believed by no reader.
- Tokens of inboxes are random. nats-py counts them up: one who has answered two requests could answer the next ones.

Clients are made by `connection.connect` and `connection.connect_once` alone (`tests/schemas/test_architecture.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import (
    DEFAULT_SUB_PENDING_BYTES_LIMIT,
    DEFAULT_SUB_PENDING_MSGS_LIMIT,
    Subscription,
)

from antiphon.runtime.nats import forwarded
from antiphon.runtime.nats.access import OPEN, Access
from antiphon.runtime.nats.callbacks import NO_GROUP, contained
from antiphon.runtime.nats.forwarded_filter import ForwardedFilter
from antiphon.runtime.nats.inbox_tokens import RandomTokens
from antiphon.runtime.nats.liveness import Patience
from antiphon.runtime.nats.reconnecting_client import ReconnectingClient
from antiphon.runtime.nats.transport import BusTransport

log = logging.getLogger(__name__)

MAX_UNSENT: Final = 4 << 20
"""Bytes that wait for the server. Above it `publish` waits for `ROOM_SECONDS` and then raises."""
ROOM_SECONDS: Final = 0.1


class BusClient(ReconnectingClient):
    """A client of NATS, from `connect` to `close`. Owned by its process; called on the loop that made it only."""

    def __init__(self, access: Access = OPEN, patience: Patience | None = None, reads_frames: bool = False) -> None:
        super().__init__(access, patience, reads_frames)
        self.dropped = 0
        """Messages that `publish` refused because the server did not read the earlier ones."""
        self._filter = ForwardedFilter(access)
        self._nuid = RandomTokens()

    @property
    def refused_messages(self) -> int:
        """Messages that were dropped, and values that were emptied, because another client had NATS send them to us."""
        return self._filter.refused_messages

    def new_register_inbox(self) -> str:
        """A unique inbox for answers of the services register."""
        return f"{self._access.register_inbox_prefix}.{self._nuid.next().decode()}"

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if reply or headers or data.startswith(forwarded.ANSWERS):
            if self.is_forwarded(sid, reply, data, headers):
                return
            if (place := self._filter.emptied(subject, reply, headers)) is not None:
                headers, data = place, b""
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception as error:  # costs this message only: the parser has left it behind
            log.error("nats: a message could not be handed on", exc_info=error)

    def is_forwarded(self, sid: int, reply: bytes, data: bytes, headers: bytes | None) -> bool:
        """Whether a message is to be dropped: NATS sends it for another client, or its answer would go to no inbox."""
        return self._filter.drops(self._subs.get(sid), reply, data, headers)

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """`OutboundBufferLimitError` without a connection, or while the server does not read earlier messages."""
        if self.is_connected and self.unsent() > MAX_UNSENT:
            await self._wait_for_room()
        await super().publish(subject, payload, reply, headers)

    async def _wait_for_room(self) -> None:
        deadline = time.monotonic() + ROOM_SECONDS
        while self.is_connected and self.unsent() > MAX_UNSENT:
            if time.monotonic() >= deadline:
                self.dropped += 1
                raise errors.OutboundBufferLimitError
            await asyncio.sleep(ROOM_SECONDS / 10)

    def unsent(self) -> int:
        """Bytes that were published and are not in the kernel's buffer yet."""
        waiting = self._transport.unsent() if isinstance(self._transport, BusTransport) else 0
        return self._pending_data_size + waiting

    async def subscribe(
        self,
        subject: str,
        queue: str = "",
        cb: Callable[[Msg], Awaitable[None]] | None = None,
        future: asyncio.Future[Any] | None = None,
        max_msgs: int = 0,
        pending_msgs_limit: int = DEFAULT_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_SUB_PENDING_BYTES_LIMIT,
    ) -> Subscription:
        """As nats-py's. A cancellation of what a callback waits for does not end its subscription.

        `queue` `NO_GROUP`: no queue group, where nats.micro has no way to say so.
        """
        queue = "" if queue == NO_GROUP else queue
        callback = None if cb is None else contained(subject, cb)
        return await super().subscribe(
            subject, queue, callback, future, max_msgs, pending_msgs_limit, pending_bytes_limit
        )
