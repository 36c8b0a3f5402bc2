"""HTTP connections that do not come to the point are closed: silent ones, and ones whose headers trickle in.

uvicorn waits for a request's headers for as long as they take. Whoever opens connections and says nothing would hold
one descriptor each until there are none; bodies have their limit in `body`, idle connections after an answer theirs
in uvicorn (`timeout_keep_alive`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""For the headers of one request, from the connection's beginning or their first byte."""
MAX_CONNECTIONS: Final = 4096
"""At once; those above it are closed unread."""


class HeaderTimeoutProtocol(H11Protocol):
    """One connection, as uvicorn serves it, with a limit on the time that a request's headers take."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_request():
            self._come_to_the_point()
        elif self._deadline is None:  # not renewed by each byte
            self._expect_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._come_to_the_point()

    def connection_lost(self, exc: Exception | None) -> None:
        self._come_to_the_point()
        super().connection_lost(exc)

    def _in_request(self) -> bool:
        """A request's headers are read, and its answer is not all written."""
        cycle: Any = self.cycle
        return self.transport.get_protocol() is not self or (cycle is not None and not cycle.response_complete)

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _come_to_the_point(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self._in_request() and not self.transport.is_closing():
            self.transport.close()
