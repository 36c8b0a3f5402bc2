"""The services register, on a real NATS server."""

from __future__ import annotations

import asyncio
import time

from antiphon.schemas import bus


async def test_a_health_check_finds_the_service_of_this_host(nats_url: str) -> None:
    client = await bus.connect(nats_url, "test")
    try:
        assert not await bus.answers_here(nats_url, "antiphon-relay", wait=0.2)
        service = await bus.register(client, "antiphon-relay")
        assert await bus.answers_here(nats_url, "antiphon-relay")
        assert not await bus.answers_here(nats_url, "antiphon-transceiver", wait=0.2)
        await service.stop()
        assert not await bus.answers_here(nats_url, "antiphon-relay", wait=0.2)
    finally:
        await client.close()


async def test_a_health_check_without_nats_fails_soon() -> None:
    begun = time.monotonic()
    assert not await bus.answers_here("nats://127.0.0.1:1", "antiphon-relay")
    assert time.monotonic() - begun < 4


async def test_instances_are_told_apart_by_their_metadata(nats_url: str) -> None:
    client = await bus.connect(nats_url, "test")
    try:
        await asyncio.gather(
            *(bus.register(client, bus.AGENT_SERVICE, {"agent": name}) for name in ("concierge", "echo"))
        )
        found = await bus.instances(client, bus.AGENT_SERVICE)
        assert sorted(metadata["agent"] for metadata in found) == ["concierge", "echo"]
    finally:
        await client.close()
