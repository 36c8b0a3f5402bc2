"""Connecting to NATS: the options of a connection, the same for all processes, and what is logged about it.

What the processes publish is in `antiphon.schemas.messages`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from nats.aio.client import Client

from antiphon.runtime.nats.access import OPEN, Access
from antiphon.runtime.nats.callbacks import NO_GROUP as NO_GROUP
from antiphon.runtime.nats.callbacks import stop_answering as stop_answering
from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.connection_errors import RefusedError as RefusedError
from antiphon.runtime.nats.liveness import Patience
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL as DEFAULT_NATS_URL
from antiphon.runtime.nats.transport import CONNECT_SECONDS

log = logging.getLogger(__name__)

REPORT_EVERY = 30.0
"""Seconds between two lines about the same kind of connection error."""
MAX_SUBJECTS = 16
"""Subjects that are not allowed and have a line of their own in the log; the others share one."""
ONCE_SECONDS = 3.0
"""Seconds for making a connection that is used for a request or two."""


class ErrorReports:
    """Which errors of a connection are logged: nats-py reports one per attempt, four times a second.

    The first of its kind is, then one in `REPORT_EVERY` seconds, with the number of those in between. Each subject
    that is not allowed is a kind, up to `MAX_SUBJECTS` of them. Owned by one connection of `connect`, called by its
    callbacks.
    """

    def __init__(self) -> None:
        self._kinds: dict[object, tuple[float, int]] = {}  # time of the last line, errors since

    def text_for(self, error: Exception, now: float) -> str | None:
        """The text for the log; None: this error is not logged."""
        kind: object = type(error)
        if isinstance(error, RefusedError) and (len(self._kinds) < MAX_SUBJECTS or str(error) in self._kinds):
            kind = str(error)
        reported, left_out = self._kinds.get(kind, (float("-inf"), 0))
        if now - reported < REPORT_EVERY:
            self._kinds[kind] = reported, left_out + 1
            return None
        self._kinds[kind] = now, 0
        text = str(error) or type(error).__name__
        return f"{text} ({left_out} more since the last line)" if left_out else text

    def forget(self) -> None:
        """The connection works again: the next error is logged at once."""
        self._kinds.clear()


async def connect(
    url: str | Sequence[str],
    name: str,
    access: Access = OPEN,
    patience: Patience | None = None,
    log_name: str = "nats",
    reads_frames: bool = False,
) -> BusClient:
    """Connect, and reconnect for as long as the process lives; waits until the server, or one of several, answers.

    Waits also while the server refuses the credential: it may read its users a moment later. The log says so once.

    While NATS is away nothing is kept for later: late audio is worthless and announcements repeat. `client` says how
    a connection is lost. `reads_frames`: what `nats_fast_path.subscribe` gets is read past nats-py.
    """

    reports = ErrorReports()

    async def on_error(error: Exception) -> None:
        if (text := reports.text_for(error, time.monotonic())) is not None:
            level = logging.ERROR if isinstance(error, RefusedError) else logging.WARNING
            log.log(level, "%s: %s", log_name, text.removeprefix("nats: "))

    async def on_disconnect() -> None:
        if not client.is_closed:  # nats-py calls this after our own `close` too
            log.warning("%s: connection lost, reconnecting", log_name)

    async def on_reconnect() -> None:
        reports.forget()
        log.info("%s: connected again", log_name)

    client = BusClient(access, patience, reads_frames)
    await client.connect(
        url if isinstance(url, str) else [*url],
        name=name,
        dont_randomize=True,  # of several the nearest stands first
        error_cb=on_error,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.25,
        connect_timeout=CONNECT_SECONDS,
        pending_size=0,
    )
    return client


async def connect_once(url: str, name: str, access: Access = OPEN) -> BusClient:
    """Connect for a request or two: one attempt, and none when the connection is lost.

    `OSError`, `TimeoutError` or an error of nats-py when there is no server.
    """

    async def on_error(error: Exception) -> None:
        log.debug("nats: %s", error)

    client = BusClient(access)
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
    """Return when all earlier subscriptions and messages have reached the server."""
    await client.flush()


async def require_allowed(client: Client) -> None:
    """Return when the server has all earlier subscriptions; `RefusedError` if it does not allow one of them."""
    await client.flush()
    if (refused := refusal(client)) is not None:
        raise refused


def refusal(client: Client, *published: str) -> RefusedError | None:
    """The first subscription that the server has not allowed, or message on one of these subjects; None: no such."""
    for (verb, subject), refused in client.refused.items() if isinstance(client, BusClient) else ():
        if verb == "subscribe" or subject in published:
            return refused
    return None


def unsent(client: Client) -> int:
    """Bytes that wait for the server; 0 without a connection, where nothing is kept."""
    return client.unsent() if isinstance(client, BusClient) and client.is_connected else 0


def local_host_towards(url: str) -> str:
    """The local IP address from which packets to `url`'s host leave: the default of what services announce."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    family, _, _, _, where = socket.getaddrinfo(parts.hostname, parts.port or 4222, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(where)  # a datagram socket: sends nothing, only asks the routing table
        return str(probe.getsockname()[0])
