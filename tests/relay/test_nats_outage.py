"""A relay while NATS is away, when it comes back empty, and what it takes from it at its start."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from support.net.swallowing_proxy import swallowing_proxy
from support.peers.relay_calls import MEDIA, call, client_socket, media
from support.processes.nats import nats_server, server_pid, stopped
from support.processes.relay_process import (
    RelayProcess,
    fake_transceiver,
    relay_process,
    until,
)

from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import subjects
from antiphon.schemas.messages import encode
from antiphon.schemas.tunnel import pack_header

pytestmark = pytest.mark.process


@pytest.mark.nightly
async def test_forwarding_goes_on_without_nats(tmp_path: Path) -> None:
    server = nats_server(tmp_path / "nats")
    url = server.__enter__()
    stopped = False
    try:
        async with relay_process(url) as relay, fake_transceiver(url) as owner:
            await relay.knows(routes=1)
            with client_socket() as alice, client_socket() as bob:
                await call(alice, relay, owner)
                server.__exit__(None, None, None)
                stopped = True
                await call(bob, relay, owner)  # a token is all that a new flow needs
                away_since = time.monotonic()
                while time.monotonic() < away_since + buckets.ANNOUNCE_TTL + 2:
                    await media(alice, relay, owner)
                    await asyncio.sleep(0.1)
                with client_socket() as carol:
                    await call(carol, relay, owner)
    finally:
        if not stopped:
            server.__exit__(None, None, None)


async def test_a_relay_comes_back_to_a_nats_that_forgot_everything(tmp_path: Path) -> None:
    with nats_server(tmp_path / "first") as url:
        port = int(url.rpartition(":")[2])
        fake = fake_transceiver(url)
        running = relay_process(url)
        owner, relay = await fake.__aenter__(), await running.__aenter__()
        await relay.knows(routes=1)
    try:
        with nats_server(tmp_path / "second", port):
            async with fake_transceiver(url, slot=2):
                await relay.knows(routes=2)
            client = await connection.connect(url, "test")
            kept = await buckets.bucket(client.jetstream(), subjects.BUCKET_RELAYS)

            async def is_kept() -> bool:
                return "test" in await kept.keys() if (await kept.status()).values else False

            await until(is_kept, "the relay is in the new bucket")
            await client.close()
            with client_socket() as alice:
                await call(alice, relay, owner)
            await running.__aexit__(None, None, None)
            await fake.__aexit__(None, None, None)
    finally:
        if relay.is_running():
            relay.kill()


async def test_an_announcement_that_is_not_renewed_ends_the_forwarding(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket() as client:
            await call(client, relay, owner)
            owner.announcing = False
            await relay.knows(routes=0)
            client.send(MEDIA, relay.address)
            await relay.dropped("unknown_client")
            owner.datagrams.send(pack_header(client.address) + MEDIA, relay.tunnel)
            await relay.dropped("unannounced_sender")
            assert client.waiting() == []


async def test_a_transceiver_in_the_bucket_is_known_from_the_start(nats_url: str) -> None:
    async with fake_transceiver(nats_url) as owner:
        owner.announcing = False
        client = await connection.connect(nats_url, "test")
        kept = await buckets.bucket(client.jetstream(), subjects.BUCKET_TRANSCEIVERS)
        await kept.put(subjects.slot_key(owner.cluster, owner.slot), encode(owner.announcement()))
        await client.close()
        async with relay_process(nats_url) as relay:
            await relay.knows(routes=1)
            assert await owner.hello() == relay.tunnel


async def test_a_relay_hears_the_bus_again_after_nats_stood_still_within_a_flush(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as url:
        async with relay_process(url) as relay, fake_transceiver(url):
            await relay.knows(routes=1)
            with stopped(server_pid(tmp_path / "nats")):
                # An announcement each second, whose flush gives up after one more: after two of them for certain.
                await asyncio.sleep(2.2)
            began = time.monotonic()
            async with fake_transceiver(url, slot=2):
                await relay.knows(routes=2)
                assert time.monotonic() - began < 5


async def test_a_relay_notices_a_way_to_nats_that_swallows_everything(nats_url: str) -> None:
    async with (
        swallowing_proxy(nats_url) as proxy,
        relay_process(proxy.url) as relay,
        fake_transceiver(nats_url),
    ):
        await relay.knows(routes=1)
        proxy.swallow()
        began = time.monotonic()
        async with fake_transceiver(nats_url, slot=2):
            await relay.knows(routes=2)
            assert time.monotonic() - began < 6
