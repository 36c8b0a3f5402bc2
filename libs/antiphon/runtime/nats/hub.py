"""The hub: the NATS servers that all regions share, and a service's second connection, to them.

What must have one truth everywhere is in the hub's buckets. A service that has no hub, or can't reach it, goes on with
what it knows. Of the standard library until a connection is made: a relay's settings are read before anything else is
imported; `hub_settings` is for services with pydantic-settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from antiphon.runtime.nats.access import HUB_PREFIX, Access, AccessError, from_environment
from antiphon.runtime.nats.server_url import checked_list
from antiphon.schemas.errors import MalformedError

if TYPE_CHECKING:
    from antiphon.runtime.nats.client import BusClient

log = logging.getLogger(__name__)

URL_VARIABLE: Final = f"{HUB_PREFIX}_URL"
ROLES: Final = ("relay", "transceiver", "setup")
"""Roles that have a connection to the hub; there each is the role `hub_<role>`, with rights of its own."""


def hub_role(role: str) -> str:
    """The role at the hub of a service that has this role in its region."""
    return f"hub_{role}"


class Hub(NamedTuple):
    """Where the hub is, and who we are there. A value; read once at the start."""

    urls: tuple[str, ...]
    """One for each server, the nearest first."""
    access: Access


def hub_access(role: str, environment: Mapping[str, str] = os.environ) -> Hub | None:
    """What `ANTIPHON_HUB_NATS_URL` and `ANTIPHON_HUB_NATS_*` say; None without an address: there is no hub.

    `AccessError` names what can't be used.
    """
    text = environment.get(URL_VARIABLE, "").strip()
    if not text:
        return None
    try:
        urls = checked_list(text)
    except MalformedError as error:
        raise AccessError(f"{URL_VARIABLE}: {error}") from None
    return Hub(urls, from_environment(hub_role(role), environment=environment, prefix=HUB_PREFIX))


class HubConnection:
    """The connection to the hub, which comes and goes; nothing waits for it.

    Owner: the process of a service, from `connect_hub` to `close`. Called on the loop that made it only.
    """

    def __init__(self, hub: Hub, name: str) -> None:
        """`name`: of the process, as the hub's server shows it."""
        self._connecting = asyncio.create_task(_connect(hub, name), name="hub")
        self._connecting.add_done_callback(_report)

    @property
    def client(self) -> BusClient | None:
        """Connected now; None: the hub can't be reached. Take it anew for each use."""
        client = self._made()
        return client if client is not None and client.is_connected else None

    async def connected(self) -> BusClient:
        """Wait for the first connection."""
        return await asyncio.shield(self._connecting)

    async def close(self) -> None:
        """End it, or the attempts to make it."""
        self._connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await asyncio.wait({self._connecting})
        if (client := self._made()) is not None:
            from antiphon.runtime.nats.errors import BUS_ERRORS

            with contextlib.suppress(*BUS_ERRORS):
                await client.close()

    def _made(self) -> BusClient | None:
        done = self._connecting
        return done.result() if done.done() and not done.cancelled() and done.exception() is None else None


def connect_hub(hub: Hub, name: str) -> HubConnection:
    """Begin to connect, and reconnect for as long as the process lives. Returns at once."""
    return HubConnection(hub, name)


async def _connect(hub: Hub, name: str) -> BusClient:
    from antiphon.runtime.nats import connection
    from antiphon.runtime.nats.liveness import HUB_PATIENCE

    client = await connection.connect(hub.urls, name, hub.access, HUB_PATIENCE, "nats of the hub")
    log.info("nats of the hub: connected")
    return client


def _report(connecting: asyncio.Task[BusClient]) -> None:
    if not connecting.cancelled() and (error := connecting.exception()) is not None:
        log.error("nats of the hub: no attempts any more", exc_info=error)
