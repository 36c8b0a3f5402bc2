"""The frame path through nats-py: many messages per write, and handlers that are called where bytes are read.

This is the only file that uses nats-py beyond its public interface. Its `publish` wakes a flusher task per message, and
each of its subscriptions with a callback has a task and a queue. At 50 frames per second and session that costs more
than the frames (`antiphon bench transceiver`). `tests/transceiver/test_nats_fast_path.py` is the contract with nats-py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from nats.aio.client import Client
from nats.aio.subscription import Subscription

from antiphon.runtime.nats import forwarded
from antiphon.runtime.nats.client import BusClient

log = logging.getLogger(__name__)

MAX_UNSENT: Final = 1 << 20
"""Bytes that may wait in the socket's buffer: about 20 ms of 1000 sessions. More is late audio: dropped."""


class Received(NamedTuple):
    """A message as the frame path needs it."""

    subject: str
    data: bytes


Handler = Callable[[Received], None]


END: Final = b"\r\n"


def message_head(subject: str, length: int) -> bytes:
    """What stands before the payload of so many octets in the protocol of NATS; `END` follows it."""
    return f"PUB {subject}  {length}\r\n".encode()


def publish_all(client: Client, waiting: list[bytes]) -> bool:
    """Write the messages, each with its head and `END`, in one call, after what the client itself has to write.

    Returns False and writes nothing while there is no connection or the server does not keep up. The caller passes
    valid subjects and payloads below the server's limit: nothing is checked here.
    """
    transport = client._transport
    if not client.is_connected or transport is None:
        return False
    writer: Any = getattr(transport, "_io_writer", None)
    if writer is not None and writer.transport.get_write_buffer_size() > MAX_UNSENT:
        return False
    commands = client._pending
    commands += waiting
    client._pending = []
    client._pending_data_size = 0
    transport.write(b"".join(commands))
    return True


class _Dispatch:
    """Replaces a client's `_process_msg`: messages of our subscriptions go straight to their handlers.

    Where a `FrameReader` stands before nats-py only those come here that it passes on.

    Owner: the client that it was installed in, for as long as that lives. nats-py's read task calls it. It saves a
    `Msg`, the parsing of headers, a queue and a task's wakeup per message.
    """

    def __init__(self, client: Client) -> None:
        self.handlers: dict[int, Handler] = {}
        self._client = client
        self._process = client._process_msg
        self._is_forwarded = client.is_forwarded if isinstance(client, BusClient) else lambda *_: False

    async def __call__(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        handler = self.handlers.get(sid)
        if handler is None:
            await self._process(sid, subject, reply, data, headers)
            return
        if (reply or headers or data.startswith(forwarded.ANSWERS)) and self._is_forwarded(sid, reply, data, headers):
            return
        if sid not in self._client._subs:  # unsubscribed; this message was already on its way
            del self.handlers[sid]
            return
        try:
            handler(Received(subject.decode(), data))
        except Exception:  # nats-py would treat it as a broken connection
            log.exception("a message on %s could not be handled", subject.decode())


async def subscribe(client: Client, subject: str, handler: Handler) -> Subscription:
    """Subscribe; `handler` is called where the connection is read, and must not block."""
    dispatch = client._process_msg
    if not isinstance(dispatch, _Dispatch):
        dispatch = client._process_msg = _Dispatch(client)  # type: ignore[method-assign]
    subscription = await client.subscribe(subject)
    dispatch.handlers[subscription._id] = handler
    if isinstance(client, BusClient) and client.frames is not None:
        client.frames[_number(subscription)] = lambda subject, data: handler(Received(subject.decode(), data))
    return subscription


async def unsubscribe(client: Client, subscription: Subscription) -> None:
    """End a subscription that `subscribe` made."""
    dispatch = client._process_msg
    if isinstance(dispatch, _Dispatch):
        dispatch.handlers.pop(subscription._id, None)
    if isinstance(client, BusClient) and client.frames is not None:
        client.frames.pop(_number(subscription), None)
    await subscription.unsubscribe()


def _number(subscription: Subscription) -> bytes:
    return b"%d" % subscription._id
