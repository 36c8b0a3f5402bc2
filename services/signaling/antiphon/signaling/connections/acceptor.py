"""Accepts connections of one listener, within the bounds of the connection table.

asyncio's own loop accepts without asking, and logs a line for each of up to 512 tries where no descriptor is left. This
one asks the table first, and where the system has none left it closes the oldest silent connection, waits, and says so
once a second at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Final

from antiphon.signaling.connections.connection_table import (
    HEAD_SECONDS,
    MAX_CONNECTIONS,
    ConnectionTable,
    Held,
    address_key,
)
from antiphon.signaling.trusted_proxies import TrustedProxies

log = logging.getLogger(__name__)

SPARE_DESCRIPTORS: Final = 80
"""Beside the connections: listener, NATS, logs, traces, certificates, the table's reserve of connections."""
PER_CONNECTION: Final = 2
"""Descriptors: its socket, and the file of the page that is being sent on it."""
_AT_ONCE: Final = 32
"""Connections that are accepted before other work of the event loop has its turn."""
_PAUSE_SECONDS: Final = 0.1
"""Without a descriptor: until the next try."""
_ROOM: Final = 8
"""Connections that are closed at once where no descriptor is left."""
_ROOM_SECONDS: Final = 0.005
"""Until they are closed, and their descriptors free."""
_SWEEP_SECONDS: Final = 0.5
_SHUTDOWN_SECONDS: Final = 2.0
"""For the other side's part of the end of TLS."""
_NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Factory = Callable[[Held], asyncio.Protocol]


def allow_connections() -> int:
    """Raise the limit of descriptors to what this process may have; the number of connections that then fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS * PER_CONNECTION + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(8, min(MAX_CONNECTIONS, (soft - SPARE_DESCRIPTORS) // PER_CONNECTION))


class Acceptor:
    """Accepts until `close`. Made by `_serve`, once per process; all on the event loop."""

    def __init__(
        self,
        listener: socket.socket,
        table: ConnectionTable,
        proxies: TrustedProxies,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`tls` is asked for each connection, so that a renewed certificate is the next connection's."""
        self.table = table
        self._listener, self._proxies, self._tls = listener, proxies, tls
        self._loop = asyncio.get_running_loop()
        self._factory: Factory | None = None
        self._begun: dict[Held, asyncio.Task[None]] = {}
        """Connections whose transport is not made yet: in their TLS handshake."""
        self._transports: dict[Held, asyncio.BaseTransport] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._next_line = float("-inf")
        self._unsaid = 0
        self._closed = False

    def start(self, factory: Factory) -> None:
        """Accept from now on; `factory` makes the protocol of a connection."""
        self._factory = factory
        self._listener.setblocking(False)
        self._listen()
        self._sweep()

    def close(self) -> None:
        """Accept no more; connections that run go on."""
        self._closed = True
        self._loop.remove_reader(self._listener.fileno())
        for timer in self._timers.values():
            timer.cancel()
        for task in list(self._begun.values()):
            task.cancel()

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._out_of_descriptors(error)
                return
            self._admit(client, peer[0])

    def _admit(self, client: socket.socket, host: str) -> None:
        key = "" if self._proxies.has(host) else address_key(host)
        held, closed = self.table.admit(key, self._loop.time(), tls=self._tls is not None)
        for each in closed:
            self._abort(each)
        if held is None:
            client.close()
            self._say("a connection was refused: all that its address may have, or all there may be, are busy")
            return
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._begun[held] = self._loop.create_task(self._begin(client, held))
        # In a callback, because a task that is cancelled before its first step never runs a line of its own.
        task.add_done_callback(functools.partial(self._has_begun, client, held))

    async def _begin(self, client: socket.socket, held: Held) -> None:
        """Make the transport: with TLS, when the handshake is done."""
        assert self._factory is not None
        factory = self._factory
        try:
            if self._tls is None:
                transport, _ = await self._loop.connect_accepted_socket(lambda: factory(held), client)
            else:
                transport, _ = await self._loop.connect_accepted_socket(
                    lambda: factory(held),
                    client,
                    ssl=self._tls(),
                    ssl_handshake_timeout=HEAD_SECONDS,
                    ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
                )
        except OSError as error:  # no TLS, a handshake too slow, a client that is gone
            log.debug("a connection ended in its handshake: %s", type(error).__name__)
            return
        if held in self.table:
            self._transports[held] = transport
        else:  # it had to go, or was lost, just now
            transport.abort()

    def _has_begun(self, client: socket.socket, held: Held, task: asyncio.Task[None]) -> None:
        self._begun.pop(held, None)
        if held not in self._transports:
            if task.cancelled() or task.exception() is not None:
                client.close()
            self.table.released(held)

    def _abort(self, held: Held) -> None:
        task = self._begun.get(held)
        if task is not None:
            task.cancel()
        transport = self._transports.pop(held, None)
        if isinstance(transport, asyncio.Transport):
            transport.abort()

    def _out_of_descriptors(self, error: OSError) -> None:
        """The newcomer waits in the kernel, and a level-triggered listener would call again at once: pause it."""
        pause = _PAUSE_SECONDS
        if error.errno not in _NONE_LEFT:
            self._say(f"a connection was not accepted: {error.strerror}")
        else:
            victims = [self.table.make_room(self._loop.time()) for _ in range(_ROOM)]
            for victim in filter(None, victims):
                self._abort(victim)
            if any(victims):
                pause = _ROOM_SECONDS
                self._say(f"{error.strerror}: the oldest silent connections are closed for new ones")
            else:
                self._say(f"{error.strerror}: new connections wait until one of {len(self.table)} ends")
        self._loop.remove_reader(self._listener.fileno())
        self._timers["listen"] = self._loop.call_later(pause, self._listen)

    def _say(self, text: str) -> None:
        """At most one line a second, without an address."""
        now = self._loop.time()
        if now < self._next_line:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more since the last line)" if self._unsaid else ""
        self._next_line, self._unsaid = now + 1.0, 0
        log.warning("%s%s", text, more)

    def _sweep(self) -> None:
        now = self._loop.time()
        for held, transport in list(self._transports.items()):
            if held not in self.table:
                del self._transports[held]
            elif transport.is_closing():
                self.table.ending(held, now)
        for held in self.table.overdue(now):
            self._abort(held)
        self._timers["sweep"] = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
