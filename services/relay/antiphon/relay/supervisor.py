"""The forwarding worker's life: started, told, asked, replaced when it dies, ended with us.

The sockets stay open here, so what clients send while a dead worker is replaced waits in the kernel, and
the new worker's hello brings the flows back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import time
from typing import Final, Literal

from antiphon.relay.channel import MAX_LINE, Ask, Ready, Routes, Start, Statistics, pack, unpack

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 0.5
SHORT_LIFE_SECONDS: Final = 5.0
"""Workers that die younger, one after the other, are replaced only after a pause."""
PAUSE_SECONDS: Final = 1.0


class Supervisor:
    """Owns one worker process at a time; `run` until cancelled."""

    def __init__(self, start: Start, public: list[socket.socket], tunnel: socket.socket) -> None:
        self._start = start
        self._public = public
        self._tunnel = tunnel
        self._routes: Routes | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asking = asyncio.Lock()
        self._answer: asyncio.Future[Statistics] | None = None
        self.path: Literal["batched", "portable", "none"] = "none"

    async def run(self) -> None:
        """Keep a worker alive."""
        short_lives = 0
        while True:
            began = time.monotonic()
            status = await self._one_life()
            log.error("forwarding worker died with status %s: starting another", status)
            short_lives = short_lives + 1 if time.monotonic() - began < SHORT_LIFE_SECONDS else 0
            if short_lives > 1:
                await asyncio.sleep(PAUSE_SECONDS)

    def set_routes(self, routes: Routes) -> None:
        """Tell the worker, and every worker after it, where transceivers are."""
        self._routes = routes
        self._say(pack(routes))

    async def statistics(self) -> Statistics | None:
        """The worker's counters; None if it doesn't answer within half a second."""
        async with self._asking:
            self._answer = asyncio.get_running_loop().create_future()
            self._say(pack(Ask()))
            try:
                return await asyncio.wait_for(self._answer, ANSWER_SECONDS)
            except TimeoutError:
                return None
            finally:
                self._answer = None

    async def _one_life(self) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = [theirs.fileno(), self._tunnel.fileno(), *(each.fileno() for each in self._public)]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "antiphon.relay.worker"),
                *("--control", str(descriptors[0]), "--tunnel", str(descriptors[1])),
                *(word for fd in descriptors[2:] for word in ("--public", str(fd))),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE)
        try:
            self._say(pack(self._start))
            if self._routes is not None:
                self._say(pack(self._routes))
            with contextlib.suppress(ConnectionError):
                while line := await reader.readline():
                    self._hear(line)
            return await process.wait()
        finally:
            self.path = "none"
            self._writer.close()  # tells the worker to end, if it is not it that did
            self._writer = None
            try:
                await asyncio.wait_for(process.wait(), 1)
            except TimeoutError:
                process.kill()
                await process.wait()

    def _hear(self, line: bytes) -> None:
        match unpack(line):
            case Ready(path, reason):
                self.path = "batched" if path == "batched" else "portable"
                log.info("forwarding by the %s loop%s", path, f": {reason}" if reason else "")
            case Statistics() as statistics if self._answer is not None and not self._answer.done():
                self._answer.set_result(statistics)

    def _say(self, line: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line)
