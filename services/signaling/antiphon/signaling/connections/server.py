"""uvicorn's server on our acceptor, without its signal handlers and with a bounded log."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import time
from collections.abc import Iterator
from typing import Final

import uvicorn

from antiphon.signaling.connections.acceptor import Acceptor
from antiphon.signaling.connections.http_protocol import HttpProtocol

LINE_SECONDS: Final = 1.0


class Server(uvicorn.Server):
    """Serves on an `Acceptor`. uvicorn's signal handlers would end the process with another status than 0.

    Made and run by `_serve`, once per process.
    """

    def __init__(self, config: uvicorn.Config, acceptor: Acceptor) -> None:
        super().__init__(config)
        self._acceptor = acceptor
        logging.getLogger("uvicorn.error").addFilter(LineASecond())

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_serve`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        self.servers = []
        table = self._acceptor.table
        self._acceptor.start(functools.partial(HttpProtocol, self.config, self.server_state, table))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and let the running requests end."""
        self._acceptor.close()
        await super().shutdown(sockets)


class LineASecond(logging.Filter):
    """Lets one line a second pass: peers decide how often their requests are invalid. Owned by uvicorn's logger."""

    def __init__(self) -> None:
        super().__init__()
        self._next = float("-inf")
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; the next one says how many were not."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return False
        if self._left_out:
            record.msg = f"{record.msg} (%d more lines left out)"
            record.args = (*record.args, self._left_out) if isinstance(record.args, tuple) else (self._left_out,)
        self._next, self._left_out = now + LINE_SECONDS, 0
        return True
