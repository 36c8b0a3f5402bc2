"""Relay processes of several clusters on one NATS server, and calls from one of them into another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import nats.errors
from support.processes.relay_process import (
    Datagrams,
    FakeTransceiver,
    RelayProcess,
    binding_request,
    fake_transceiver,
    mint,
    relay_process,
    until,
)

from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address

BACKBONE_KEY = "6b" * 32


@asynccontextmanager
async def relay_of(nats_url: str, cluster: int, **settings: str) -> AsyncIterator[RelayProcess]:
    """A relay with a backbone; its ingress number is 100 more than its cluster's."""
    own = {
        "ANTIPHON_RELAY_NAME": f"relay-{cluster}",
        "ANTIPHON_CLUSTER": str(cluster),
        "ANTIPHON_RELAY_BACKBONE_BIND": "127.0.0.1:0",
        "ANTIPHON_RELAY_INGRESS": str(100 + cluster),
        "ANTIPHON_BACKBONE_KEY": BACKBONE_KEY,
        "ANTIPHON_RELAY_DRAIN_SECONDS": "0",
    }
    async with relay_process(nats_url, settings=own | settings) as running:
        yield running


@asynccontextmanager
async def relays_of(nats_url: str, *clusters: int, **settings: str) -> AsyncIterator[list[RelayProcess]]:
    """One for each cluster, all started at once."""
    async with AsyncExitStack() as running:
        each = [relay_of(nats_url, cluster, **settings) for cluster in clusters]
        yield list(await asyncio.gather(*map(running.enter_async_context, each)))


@asynccontextmanager
async def transceiver_of(nats_url: str, cluster: int) -> AsyncIterator[FakeTransceiver]:
    """In slot 1 of the cluster, epoch 1."""
    async with fake_transceiver(nats_url) as made:
        made.cluster = cluster
        yield made


async def shows(relay: RelayProcess, **expected: int) -> None:
    """Wait until its statistics have these values."""

    async def shown() -> bool:
        with contextlib.suppress(nats.errors.Error):
            said = await relay.statistics()
            return all(getattr(said, name) == value for name, value in expected.items())
        return False

    await until(shown, f"{relay.name} shows {expected}")


async def check_reaches(
    client: Datagrams, token: str, relay: RelayProcess, owner: FakeTransceiver
) -> tuple[tunnel.Tunnelled, Address]:
    """The client's checks, until one comes to this transceiver; it is answered."""
    found: list[tuple[tunnel.Tunnelled, Address]] = []

    async def reached() -> bool:
        client.send(binding_request(token), relay.address)
        with contextlib.suppress(TimeoutError):
            found.append(await owner.receive(0.2))
        return bool(found)

    await until(reached, "a check of the client comes to the transceiver")
    packet, through = found[0]
    owner.datagrams.send(packet.header + b"\1\1answer", through)
    await client.receive()
    return packet, through


def token_of(owner: FakeTransceiver) -> str:
    """Names this transceiver."""
    return mint(owner.slot, owner.epoch, owner.cluster)
