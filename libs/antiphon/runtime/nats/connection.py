"""How a process joins the bus: the options of its connection to NATS, the same for all services.

What they publish is in `antiphon.schemas.messages`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from urllib.parse import urlsplit

from nats.aio.client import Client

from antiphon.runtime.nats.client import CONNECT_SECONDS, BusClient
from antiphon.runtime.nats.client import stop_answering as stop_answering
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL as DEFAULT_NATS_URL

log = logging.getLogger(__name__)

COMPLAIN_EVERY = 30.0
"""Seconds between two lines about the same kind of connection error."""
ONCE_SECONDS = 3.0
"""For a connection that is made for one question."""


class Complaints:
    """Which errors of a connection are worth a line: the library tells one per attempt, four times a second.

    The first of its kind, then one in `COMPLAIN_EVERY` seconds, with the number of those in between.
    """

    def __init__(self) -> None:
        self._kinds: dict[type[Exception], tuple[float, int]] = {}  # when said last, how many since

    def text_for(self, error: Exception, now: float) -> str | None:
        """What to log of this error; None: nothing."""
        said, unsaid = self._kinds.get(type(error), (float("-inf"), 0))
        if now - said < COMPLAIN_EVERY:
            self._kinds[type(error)] = said, unsaid + 1
            return None
        self._kinds[type(error)] = now, 0
        text = str(error) or type(error).__name__
        return f"{text} ({unsaid} more since the last line)" if unsaid else text

    def forget(self) -> None:
        """It goes well again: the next error is news."""
        self._kinds.clear()


async def connect(url: str, name: str) -> BusClient:
    """Connect, and reconnect for as long as the process lives; waits until a server is there.

    While NATS is away nothing is kept for later: late audio is worthless and announcements repeat. What else may
    happen to a connection, and what follows, is in `client`.
    """

    complaints = Complaints()

    async def on_error(error: Exception) -> None:
        if (text := complaints.text_for(error, time.monotonic())) is not None:
            log.warning("nats: %s", text)

    async def on_disconnect() -> None:
        if not client.is_closed:  # the library says so as well when we leave
            log.warning("nats: connection lost, reconnecting")

    async def on_reconnect() -> None:
        complaints.forget()
        log.info("nats: connected again")

    client = BusClient()
    await client.connect(
        url,
        name=name,
        error_cb=on_error,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.25,
        connect_timeout=CONNECT_SECONDS,
        pending_size=0,
    )
    return client


async def connect_once(url: str, name: str) -> BusClient:
    """Connect for a question or two: one attempt, and no other one when the connection is lost.

    `OSError`, `TimeoutError` or an error of nats-py when there is no server.
    """

    async def on_error(error: Exception) -> None:
        log.debug("nats: %s", error)

    client = BusClient()
    connecting = client.connect(
        url,
        name=name,
        error_cb=on_error,
        allow_reconnect=False,
        connect_timeout=CONNECT_SECONDS,
    )
    async with asyncio.timeout(ONCE_SECONDS):
        await connecting
    return client


async def flush(client: Client) -> None:
    """Return when all that was subscribed and published before has reached the server."""
    await client.flush()


def local_host_towards(url: str) -> str:
    """The local IP address from which packets to `url`'s host leave: what to announce unless told otherwise."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    family, _, _, _, where = socket.getaddrinfo(parts.hostname, parts.port or 4222, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(where)  # a datagram socket: sends nothing, only asks the routing table
        return str(probe.getsockname()[0])
