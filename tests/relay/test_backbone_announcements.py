"""A real relay process on the backbone: what it announces, whom it knows, its number, and all of it after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client
from support.processes.nats import nats_server
from support.processes.relay_process import RelayProcess, fake_transceiver, relay_process, until

from antiphon.runtime import tasks
from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import subjects
from antiphon.schemas.messages import NumberClaim, RelayAnnouncement, RelayStatistics, SlotMoved, decode, encode
from antiphon.schemas.slot_moves import AnnouncementKey, SlotMove
from antiphon.testing.stores import make_hub_stores

pytestmark = pytest.mark.process

BACKBONE = {"ANTIPHON_CLUSTER": "0", "ANTIPHON_RELAY_BACKBONE_BIND": "127.0.0.1:0", "ANTIPHON_RELAY_INGRESS": "7"}
KEY = AnnouncementKey(bytes(range(32)))


async def said(relay: RelayProcess, state: str = "ready") -> RelayAnnouncement:
    """What it announces next in this state."""
    client = await connection.connect(relay.nats_url, "test")
    try:
        subscription = await client.subscribe(subjects.relay_announce("test"))
        while True:
            announcement = decode((await subscription.next_msg(10)).data, RelayAnnouncement)
            if announcement.state == state:
                return announcement
    finally:
        await client.close()


async def shows(relay: RelayProcess, **expected: object) -> RelayStatistics:
    """Wait until its statistics have these values."""
    last: list[RelayStatistics] = []

    async def shown() -> bool:
        with contextlib.suppress(nats.errors.Error):
            last.append(await relay.statistics())
        return bool(last) and all(getattr(last[-1], name) == value for name, value in expected.items())

    await until(shown, f"the relay shows {expected}")
    return last[-1]


@asynccontextmanager
async def announced_relay(nats_url: str, name: str, cluster: int, subject: str = "") -> AsyncIterator[None]:
    """A relay of another cluster that is only announced, five times a second."""
    announcement = RelayAnnouncement(
        name=name,
        cluster=cluster,
        ingress=cluster + 100,
        public_addresses=["127.0.0.1:9"],
        tunnel_addresses=["127.0.0.1:9"],
        backbone_addresses=[f"127.0.0.{cluster}:9"],
    )
    client = await connection.connect(nats_url, "test")

    async def announce() -> None:
        while True:
            await client.publish(subject or subjects.relay_announce(name), encode(announcement))
            await asyncio.sleep(0.2)

    task = asyncio.create_task(announce())
    try:
        yield
    finally:
        await tasks.end(task)
        await client.close()


async def test_a_restarted_relay_announces_the_same_backbone_and_has_written_down_the_others(tmp_path: Path) -> None:
    file = tmp_path / "state"
    settings = BACKBONE | {
        "ANTIPHON_RELAY_STATE_FILE": str(file),
        "ANTIPHON_RELAY_PLACE": "50.11,8.68",
        "ANTIPHON_RELAY_WORKERS": "2",
        "ANTIPHON_RELAY_TCP_BIND": "127.0.0.1:0",
    }
    with nats_server(tmp_path / "nats") as url:
        async with relay_process(url, settings=settings) as relay, announced_relay(url, "far", 2):
            await shows(relay, relays=1, ingress=7)
            before = await said(relay)
            assert (before.cluster, before.ingress, before.taking_over) == (0, 7, False)
            assert before.place is not None
            assert (before.place.latitude, before.place.longitude) == (50.11, 8.68)
            assert len(set(before.backbone_addresses)) == len(before.tunnel_addresses) == 3

            async def written() -> bool:
                return bool(json.loads(file.read_text())["relays"])

            await until(written, "the other relay is in the state file")
            relay.kill()
            await relay.start()
            assert (await said(relay)).backbone_addresses == before.backbone_addresses
            assert json.loads(file.read_text())["relays"] == [[2, "far", 102, "ready", ["127.0.0.2:9"]]]


async def test_a_relay_takes_from_nats_what_concerns_it_and_nothing_else(nats_url: str) -> None:
    """Relays of other clusters under their own name, transceivers of its own cluster, moves that were signed."""
    settings = BACKBONE | {"ANTIPHON_CLUSTER_KEYS": f"2:{KEY.public}"}
    client = await connection.connect(nats_url, "test")
    async with (
        fake_transceiver(nats_url, slot=1) as far,
        fake_transceiver(nats_url, slot=2),
        announced_relay(nats_url, "ours", 0),
        announced_relay(nats_url, "thief", 3, subjects.relay_announce("victim")),
    ):
        far.cluster = 2
        kept = await buckets.bucket(client.jetstream(), subjects.BUCKET_TRANSCEIVERS)
        await kept.put(subjects.slot_key(2, 1), encode(far.announcement()))
        async with relay_process(nats_url, settings=settings) as relay:
            async with announced_relay(nats_url, "far", 2):
                await shows(relay, relays=1, routes=1)
                await publish(client, SlotMove((2, 1, 1), (0, 1, 1), 1000), AnnouncementKey(bytes(32)), 2)
                await publish(client, SlotMove((2, 2, 1), (0, 1, 1), 1000), KEY, 3)
                await publish(client, SlotMove((2, 3, 1), (0, 1, 1), 1000), KEY, 2)
                await shows(relay, relays=1, routes=1, moves=1)
            await shows(relay, relays=0, moves=1)  # an announcement counts for 5 s
    await client.close()


async def publish(client: Client, move: SlotMove, key: AnnouncementKey, subject: int) -> None:
    """Announce a move with this key's signature, as one of this cluster."""
    (cluster, slot, epoch), (to_cluster, to_slot, to_epoch), made_at = move
    message = SlotMoved(
        cluster=cluster,
        slot=slot,
        epoch=epoch,
        to_cluster=to_cluster,
        to_slot=to_slot,
        to_epoch=to_epoch,
        made_at=made_at,
        signature=key.sign(move),
    )
    await client.publish(subjects.cluster_moved(subject), encode(message))


async def test_a_relay_without_a_number_serves_its_cluster_and_tells_the_others_when_it_drains(nats_url: str) -> None:
    async with relay_process(nats_url, settings=BACKBONE | {"ANTIPHON_RELAY_INGRESS": ""}) as relay:
        announced = asyncio.create_task(said(relay, "draining"))
        assert (await said(relay)).ingress == 0
        ended = asyncio.create_task(asyncio.to_thread(relay.terminate))
        assert (await announced).backbone_addresses
        assert await ended == 0


async def test_a_process_that_takes_over_has_backbone_ports_of_its_own_and_says_when_it_has_the_port(
    nats_url: str, free_ports: int
) -> None:
    settings = BACKBONE | {"ANTIPHON_RELAY_BACKBONE_BIND": f"127.0.0.1:{free_ports}"}
    async with relay_process(nats_url, settings=settings) as old:
        assert (await said(old)).backbone_addresses == [f"127.0.0.1:{free_ports}"]
        client = await connection.connect(nats_url, "test")
        subscription = await client.subscribe(subjects.relay_announce("test"))
        async with relay_process(nats_url, bind=old.bind, beside=[old], settings=settings):
            states: list[bool] = []
            while not states or states[-1]:
                announcement = decode((await subscription.next_msg(10)).data, RelayAnnouncement)
                if announcement.backbone_addresses == [f"127.0.0.1:{free_ports + 1}"]:
                    states.append(announcement.taking_over)
            assert states[0]
            assert await asyncio.to_thread(old.terminate) == 0
        await client.close()


def _udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@pytest.fixture
def free_ports() -> int:
    """The first of two free ports in a row."""
    while True:
        with _udp() as one, _udp() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                two.bind(("127.0.0.1", port + 1))
                return port


async def test_a_number_is_claimed_at_the_hub_and_a_restarted_relay_has_it_again(nats_url: str, tmp_path: Path) -> None:
    with nats_server(tmp_path / "hub", stores=False) as hub_url:
        make_hub_stores(hub_url)
        client = await connection.connect(hub_url, "test")
        numbers = await buckets.bucket(client.jetstream(), subjects.BUCKET_NUMBERS)
        other = NumberClaim(holder="other", process="p", renewed_at=time.time())
        await numbers.create(subjects.ingress_key(1), encode(other))
        settings = BACKBONE | {"ANTIPHON_RELAY_INGRESS": "", "ANTIPHON_HUB_NATS_URL": hub_url}
        async with relay_process(nats_url, settings=settings) as relay:
            await shows(relay, ingress=2)
            claim = decode((await numbers.get(subjects.ingress_key(2))).value or b"", NumberClaim)
            assert claim.holder == "test"
            relay.kill()
            await relay.start()
            await shows(relay, ingress=2)
        await client.close()
