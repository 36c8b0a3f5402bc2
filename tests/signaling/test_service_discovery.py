"""A ping of the register waits for all instances of last time, and for one that is gone only once."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.runtime.nats import connection
from antiphon.runtime.nats.service_discovery import AGENT_SERVICE
from antiphon.signaling.placement import service_discovery
from antiphon.signaling.placement.service_discovery import PINGED, ServiceDiscovery

pytestmark = pytest.mark.process


class Answering:
    """An instance in the register that answers after `delay` seconds."""

    def __init__(self, client: Client, name: str, agent: str = "", delay: float = 0.0) -> None:
        self.client, self.name, self.agent, self.delay = client, name, agent, delay

    async def start(self) -> None:
        await self.client.subscribe(f"$SRV.PING.{self.name}", cb=self._on_ping)

    async def _on_ping(self, ping: Msg) -> None:
        await asyncio.sleep(self.delay)
        answer = {"name": self.name, "id": f"{self.name}-{self.agent}", "metadata": {"agent": self.agent}}
        await ping.respond(json.dumps(answer).encode())


async def test_an_agent_that_answers_slowly_stays_listed_and_a_gone_one_is_waited_for_once(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_discovery, "FRESH_FOR", 0.0)
    client, members = await connection.connect(nats_url, "test"), await connection.connect(nats_url, "test")
    try:
        for name in PINGED:
            await Answering(members, name, "prompt").start()
        slow_client = await connection.connect(nats_url, "test")
        slow = Answering(slow_client, AGENT_SERVICE, "slow")
        await slow.start()
        await connection.flush(members)
        await connection.flush(slow_client)
        discovery = ServiceDiscovery()

        async def agents() -> set[str]:
            return (await discovery.table(client)).agents

        async with asyncio.timeout(10):
            while await agents() != {"prompt", "slow"}:
                pass
        slow.delay = service_discovery.SETTLE * 3
        assert await agents() == {"prompt", "slow"}
        await slow_client.close()
        assert await agents() == {"prompt"}
        began = time.monotonic()
        assert await agents() == {"prompt"}
        assert time.monotonic() - began < service_discovery.LONGEST
    finally:
        await client.close()
        await members.close()
