"""The frame path through nats-py: many messages per write, and handlers that are called where bytes are read.

The one place that leans on nats-py beyond its public interface. `publish` there wakes a flusher task per
message, and a subscription with a callback has a task and a queue of its own; at 50 frames per second and
session that costs more than the frames. `tests/transceiver/test_nats_direct.py` is the contract; where a part
of it is missing, the public way is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from nats.aio.client import Client
from nats.aio.subscription import Subscription

log = logging.getLogger(__name__)

MAX_UNSENT: Final = 1 << 20
"""Bytes that may wait in the socket's buffer: about 20 ms of 1000 sessions. More is late audio: dropped."""


class Received(NamedTuple):
    """A message as the frame path needs it."""

    subject: str
    data: bytes


Handler = Callable[[Received], None]


def publish_all(client: Client, waiting: list[tuple[str, bytes]]) -> bool:
    """Write the messages behind what the client itself has to write, in one go.

    False, and nothing written, while there is no connection or the server does not keep up. Subjects must
    be valid and payloads below the server's limit: nothing is checked here.
    """
    transport = client._transport
    if not client.is_connected or transport is None:
        return False
    writer: Any = getattr(transport, "_io_writer", None)
    if writer is not None and writer.transport.get_write_buffer_size() > MAX_UNSENT:
        return False
    commands = client._pending
    for subject, payload in waiting:
        commands.append(f"PUB {subject}  {len(payload)}\r\n".encode())
        commands.append(payload)
        commands.append(b"\r\n")
    client._pending = []
    client._pending_data_size = 0
    transport.write(b"".join(commands))
    return True


class _Dispatch:
    """Stands where a client hands on what it has read: our subscriptions' messages go straight to their handlers.

    What it saves per message: a `Msg`, a look for headers, a queue and a task's wakeup.
    """

    def __init__(self, client: Client) -> None:
        self.handlers: dict[int, Handler] = {}
        self._client = client
        self._process = client._process_msg

    async def __call__(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        handler = self.handlers.get(sid)
        if handler is None:
            await self._process(sid, subject, reply, data, headers)
            return
        if sid not in self._client._subs:  # unsubscribed: what was on its way is nobody's
            del self.handlers[sid]
            return
        try:
            handler(Received(subject.decode(), data))
        except Exception:  # nats-py would take it for a broken connection
            log.exception("a message on %s could not be handled", subject.decode())


async def subscribe(client: Client, subject: str, handler: Handler) -> Subscription:
    """A subscription whose messages are handed over as they are read, without a task of its own."""
    dispatch = client._process_msg
    if not isinstance(dispatch, _Dispatch):
        dispatch = client._process_msg = _Dispatch(client)  # type: ignore[method-assign]
    subscription = await client.subscribe(subject)
    dispatch.handlers[subscription._id] = handler
    return subscription


async def unsubscribe(client: Client, subscription: Subscription) -> None:
    """The end of a subscription made here."""
    dispatch = client._process_msg
    if isinstance(dispatch, _Dispatch):
        dispatch.handlers.pop(subscription._id, None)
    await subscription.unsubscribe()
