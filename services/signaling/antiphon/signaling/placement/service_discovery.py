"""Who answers in the NATS services register right now: the roll call.

Announcements say who was there up to five seconds ago; the register says who answers. A health check wants
to know the latter. One roll call serves everybody who asks within a second.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Set
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from antiphon.runtime.nats.service_discovery import AGENT_SERVICE, TROUBLE

log = logging.getLogger(__name__)

TRANSCEIVER_SERVICE: Final = "antiphon-transceiver"
RELAY_SERVICE: Final = "antiphon-relay"
PINGED: Final = (AGENT_SERVICE, TRANSCEIVER_SERVICE, RELAY_SERVICE)

FRESH_FOR: Final = 1.0
"""Seconds for which a roll call is served again."""
SETTLE: Final = 0.1
"""Seconds without an answer after which all have answered, once each name and who answered last time has been heard."""
LONGEST: Final = 0.75
MAX_ANSWERS: Final = 4096
MAX_TROUBLE: Final = 500
"""Characters."""


class ServiceTable:
    """What one roll call found."""

    def __init__(self) -> None:
        self.instances: Counter[str] = Counter()
        """Answers per service name."""
        self.agents: set[str] = set()
        """The names of the agents that answered."""
        self.troubles: dict[str, str] = {}
        """By agent: why it would disappoint a caller, as one of its processes says."""
        self.ids: set[str] = set()
        """Of all that answered: the register's own names for instances."""

    def take(self, data: bytes) -> str | None:
        """Note one PING response; its service name, or None for something else."""
        try:
            said = json.loads(data)
            name = said["name"]
            metadata = said.get("metadata", {}) if name == AGENT_SERVICE else {}
            agent, trouble = metadata.get("agent"), metadata.get(TROUBLE)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        if name not in PINGED:
            return None
        self.instances[name] += 1
        self.ids.add(str(said.get("id", "")))
        if isinstance(agent, str) and agent:
            self.agents.add(agent)
            if isinstance(trouble, str) and trouble:
                self.troubles[agent] = trouble[:MAX_TROUBLE]
        return str(name)


class ServiceDiscovery:
    """Calls the roll, at most once per `FRESH_FOR`."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._table = ServiceTable()
        self._called_at = -FRESH_FOR

    async def table(self, client: Client | None) -> ServiceTable:
        """A roll call no older than `FRESH_FOR`; an empty one when NATS is not connected."""
        if client is None or not client.is_connected:
            return ServiceTable()
        async with self._lock:
            if time.monotonic() - self._called_at >= FRESH_FOR:
                try:
                    self._table = await _call(client, self._table.ids)
                except nats.errors.Error as error:
                    log.warning("the services register can't be asked: %s", error or type(error).__name__)
                    return ServiceTable()
                self._called_at = time.monotonic()
            return self._table


async def _call(client: Client, expected: Set[str]) -> ServiceTable:
    """`expected`: the ids of those that should answer; gone ones cost `LONGEST` once."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    try:
        for name in PINGED:
            await client.publish(f"$SRV.PING.{name}", b"", reply=inbox)
        return await _collect(answers, expected)
    finally:
        await answers.unsubscribe()


async def _collect(answers: Subscription, expected: Set[str]) -> ServiceTable:
    roll = ServiceTable()
    deadline = time.monotonic() + LONGEST
    nobody = 0
    for _ in range(MAX_ANSWERS):
        # A name without any instance is heard of too: the server itself answers for it, with status 503.
        heard = len(roll.instances) + nobody
        left = deadline - time.monotonic()
        try:
            complete = heard >= len(PINGED) and expected <= roll.ids
            answer = await answers.next_msg(timeout=max(min(left, SETTLE) if complete else left, 0.001))
        except nats.errors.TimeoutError:
            break
        if (answer.headers or {}).get("Status") == "503":
            nobody += 1
        else:
            roll.take(answer.data)
    return roll
