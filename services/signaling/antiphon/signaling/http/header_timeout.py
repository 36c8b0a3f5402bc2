"""A time limit for the headers of a request: connections that send none, or send them too slowly, are closed.

uvicorn waits for a request's headers without a limit, so silent connections would use up the file descriptors of the
process. Other limits are elsewhere: of bodies in `request_body`, of idle connections after an answer in uvicorn
(`timeout_keep_alive`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0
"""Seconds for the headers of one request, from the start of the connection or from their first byte."""
MAX_CONNECTIONS: Final = 4096
"""Connections at once; further ones are closed unread."""


class HeaderTimeoutProtocol(H11Protocol):
    """One connection, as uvicorn serves it, with a limit on the time that a request's headers take.

    Made by uvicorn for each connection, which owns it; called on the event loop only.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer, or close a connection above `MAX_CONNECTIONS`."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Stop the timer when the headers are complete; start it with the first byte of the next ones."""
        super().data_received(data)
        if self._in_request():
            self._stop_timer()
        elif self._deadline is None:  # not renewed by each byte
            self._start_timer()

    def on_response_complete(self) -> None:
        """The next headers have their own time."""
        super().on_response_complete()
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _in_request(self) -> bool:
        """The headers of a request are complete, and its answer is not completely written."""
        cycle: Any = self.cycle
        return self.transport.get_protocol() is not self or (cycle is not None and not cycle.response_complete)

    def _start_timer(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_timeout(self) -> None:
        self._deadline = None
        if not self._in_request() and not self.transport.is_closing():
            self.transport.close()
