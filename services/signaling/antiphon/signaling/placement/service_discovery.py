"""Which services answer in the NATS services register right now.

An announcement says that its author lived up to five seconds ago; an answer in the register says that it lives now.
A health check needs the latter. All requests within one second share one ping of the register.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Set
from typing import Final

import nats.errors
from nats.aio.client import Client

from antiphon.runtime.nats.service_discovery import AGENT_SERVICE, TROUBLE, Answers, Instance, ping

log = logging.getLogger(__name__)

TRANSCEIVER_SERVICE: Final = "antiphon-transceiver"
RELAY_SERVICE: Final = "antiphon-relay"
SIGNALING_SERVICE: Final = "antiphon-signaling"
PINGED: Final = (AGENT_SERVICE, TRANSCEIVER_SERVICE, RELAY_SERVICE, SIGNALING_SERVICE)

FRESH_FOR: Final = 1.0
"""Seconds for which a table is used again."""
SETTLE: Final = 0.1
"""Seconds without an answer after which a ping is complete, once each name and all instances of last time answered."""
LONGEST: Final = 0.75
"""Seconds that a ping takes at most."""
MAX_TROUBLE: Final = 500
"""Characters that are shown of a trouble."""


class ServiceTable:
    """The answers to one ping of the register. Made by `ServiceDiscovery`, never changed afterwards."""

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.instances: Counter[str] = Counter()
        """Answers per service name."""
        self.agents: set[str] = set()
        """The names of the agents that answered."""
        self.troubles: dict[str, str] = {}
        """By agent: why it could not serve a caller, as one of its processes says."""
        self.websocket_owners: set[str] = set()
        """Ids of the signaling processes that take calls over WebSocket."""
        self.ids: set[str] = set()
        """The register's own names of all instances that answered."""
        for instance in instances:
            self.instances[instance.service] += 1
            self.ids.add(instance.id)
            if instance.service == SIGNALING_SERVICE and instance.metadata.get("calls") == "websocket":
                self.websocket_owners.add(instance.id)
            if instance.service == AGENT_SERVICE and (agent := instance.metadata.get("agent")):
                self.agents.add(agent)
                if trouble := instance.metadata.get(TROUBLE):
                    self.troubles[agent] = trouble[:MAX_TROUBLE]


class ServiceDiscovery:
    """Pings the register, at most once per `FRESH_FOR`.

    Owned by `Backend`, for the process's lifetime; called from handlers on the event loop.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._table = ServiceTable()
        self._pinged_at = -FRESH_FOR

    async def table(self, client: Client | None) -> ServiceTable:
        """A table no older than `FRESH_FOR`; an empty one while NATS is not connected."""
        if client is None or not client.is_connected:
            return ServiceTable()
        async with self._lock:
            if time.monotonic() - self._pinged_at >= FRESH_FOR:
                try:
                    self._table = await _ping(client, self._table.ids)
                except nats.errors.Error as error:
                    log.warning("the services register can't be asked: %s", error or type(error).__name__)
                    return ServiceTable()
                self._pinged_at = time.monotonic()
            return self._table


async def _ping(client: Client, expected: Set[str]) -> ServiceTable:
    """`expected`: the ids of the instances that answered last time; one that is gone costs `LONGEST` once."""
    services: set[str] = set()
    ids: set[str] = set()
    seen = 0

    def patience(answers: Answers) -> float:
        nonlocal seen
        for instance in answers.instances[seen:]:
            services.add(instance.service)
            ids.add(instance.id)
        seen = len(answers.instances)
        complete = len(services) + answers.absent >= len(PINGED) and expected <= ids
        return SETTLE if complete else math.inf

    return ServiceTable((await ping(client, PINGED, LONGEST, patience)).instances)
