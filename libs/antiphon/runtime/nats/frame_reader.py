"""Reads messages of a few subscriptions where the socket is read, and passes all else on to nats-py, unchanged.

nats-py's way of a message is a stream reader, a task, regular expressions and a coroutine: four copies and 30 calls. A
`FrameReader` stands between the connection and that stream reader from the first byte on, so it always knows where a
message begins. It reads plain `MSG` lines of subscriptions that have a handler here. Every other line, such as INFO,
PING and errors, and every other message, goes on as it came. So connecting, TLS, the credential, permissions, limits
and requests are nats-py's affair as before. Whatever this reader does not understand goes on as well, with all that
follows: then nats-py says what is wrong with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from antiphon.runtime.nats import forwarded

log = logging.getLogger(__name__)

Handler = Callable[[bytes, bytes], None]
"""Called with subject and payload, where bytes are read; must not block."""

ROOM: Final = 1 << 18
"""Octets that are read at once."""
MAX_LINE: Final = 4096
"""Octets of a line that waits for its end here; a longer one goes on to nats-py, which has its own limit."""
MAX_READ: Final = 1 << 16
"""Octets of a payload that is read here; longer ones go on. With a line it fits into `ROOM`."""
_PASSED_ON: Final = (b"HMSG ", b"INFO ", b"PING", b"PONG", b"+OK", b"-ERR")
_EVERYTHING: Final = 1 << 62


class FrameReader(asyncio.BufferedProtocol):
    """The protocol of one connection, in front of the one that it would have.

    Owner: the transport of the connection, for as long as that lives; called on its loop. What waits here is at most
    one incomplete line, or one incomplete message with a handler.
    """

    def __init__(
        self, inner: asyncio.Protocol, handlers: Mapping[bytes, Handler], received: Callable[[], None]
    ) -> None:
        """`handlers`: by the subscription's number as NATS writes it. `received()` is called whenever bytes came."""
        self._inner, self._handlers, self._received = inner, handlers, received
        self._memory = bytearray(ROOM)
        self._view = memoryview(self._memory)
        self._have = 0
        """Octets at the beginning of the memory that wait for more."""
        self._foreign = 0
        """Octets to come that go on unread."""

    # ---- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._have :]

    def buffer_updated(self, nbytes: int) -> None:
        self._received()
        memory, end = self._memory, self._have + nbytes
        at = self._pass_on(0, end, self._foreign) if self._foreign else 0
        handlers, find = self._handlers, memory.find
        while at < end:
            line_end = find(b"\r\n", at, end)
            if line_end < 0:
                if end - at <= MAX_LINE:
                    break
                at = self._pass_on(at, end, _EVERYTHING)
            elif memory.startswith(b"MSG ", at):
                words = bytes(self._view[at + 4 : line_end]).split(b" ")
                payload = line_end + 2
                size = int(words[-1]) if words[-1].isdigit() else -1
                short = len(words) == 3 and 0 <= size <= MAX_READ and line_end - at <= MAX_LINE
                handler = handlers.get(words[1]) if short else None
                if handler is None:
                    at = self._pass_on(at, end, payload + size + 2 - at if size >= 0 else _EVERYTHING)
                    continue
                if payload + size + 2 > end:
                    break
                data = bytes(self._view[payload : payload + size])
                if data.startswith(forwarded.ANSWERS):  # maybe JetStream's, for another client: not for us to judge
                    at = self._pass_on(at, end, payload + size + 2 - at)
                    continue
                at = payload + size + 2
                try:
                    handler(words[0], data)
                except Exception:  # it costs this message only
                    log.exception("a message on %s could not be handled", words[0].decode(errors="replace"))
            else:
                at = self._pass_on(at, end, self._length(at, line_end))
        rest = end - at
        if rest and at:
            memory[:rest] = memory[at:end]
        self._have = rest

    def _length(self, at: int, line_end: int) -> int:
        """Of the line that begins at `at`, with its payload if it has one."""
        line = bytes(self._view[at:line_end])
        if not line.startswith(_PASSED_ON):
            return _EVERYTHING
        length = line_end + 2 - at
        if line.startswith(b"HMSG "):
            size = line.rpartition(b" ")[2]
            return length + int(size) + 2 if size.isdigit() else _EVERYTHING
        return length

    def _pass_on(self, at: int, end: int, length: int) -> int:
        """Give so many octets from `at` on to nats-py, those to come included; returns where the next ones begin."""
        here = min(length, end - at)
        self._foreign = length - here if length < _EVERYTHING else _EVERYTHING
        self._inner.data_received(bytes(self._view[at : at + here]))
        return at + here
