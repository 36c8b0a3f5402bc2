"""A hub of three servers and two regions, by the files of deploy/nats: what crosses, and what goes on when it can't."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest
from nats.aio.msg import Msg
from support.conditions import POLL, until
from support.processes.regions import Server, World, world

from antiphon.runtime import tasks
from antiphon.runtime.nats import buckets, connection, stores
from antiphon.runtime.nats.call_owner import ask_owner
from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.hub import HubConnection, connect_hub
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.store_keeper import StoreKeeper
from antiphon.schemas import subjects
from antiphon.schemas.subjects import BUCKET_NUMBERS, CROSSES, SUBJECTS
from antiphon.transceiver.copies.lease_bucket import LeaseBucket
from antiphon.transceiver.copies.owned_lease import Copies, OwnedLease

pytestmark = pytest.mark.process

FENCE = re.compile(r"antiphon\.v1\.transceiver\.\d\.1\d{4}\.announce")
OF_THE_ASKED = ("transceiver_open", "cluster_call", "copy_store")
"""Rows whose subject names the cluster that is asked, not the one that speaks."""
COPY_STORE = "antiphon.v1.copy.<cluster>.store"
ROWS = {"copy_store": COPY_STORE, **{name: row.pattern for name, row in SUBJECTS.items()}}
LEASE = (1, 1, 1)
STAYING = (
    "antiphon.v1.anything", "antiphon.v1.transceiver.2.1.calls", "antiphon.v1.transceiver.2.1.drain",
    "$KV.antiphon-leases.echo.s1", "$KV.antiphon-numbers.ingress.1", "$SRV.PING", "_INBOX.x.y", "_INBOX_agent.echo.x.y",
    "_INBOX_bridge.x.y", "_INBOX_signaling.x", "_INBOX_signaling_register.x.y", "_INBOX_relay.x.y", "a.subject",
)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = 30, every: float = POLL) -> None:
    """By a deadline of its own: nats-py makes a time-out of its own of the cancellation by `asyncio.timeout`."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition.__qualname__}: not within {seconds:.0f} s")
        await asyncio.sleep(every)


_FENCES = itertools.count(10000)


class Heard:
    """The subjects of what a client has received."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    @property
    def said(self) -> set[str]:
        """Without fences."""
        return {each for each in self.subjects if not FENCE.fullmatch(each)}

    async def take(self, message: Msg) -> None:
        self.subjects.append(message.subject)


async def _pass_a_fence(speaking: BusClient, cluster: int, listening: Heard) -> None:
    """Return when what was said before has arrived, or never will."""
    fence = subjects.transceiver_announce(cluster, next(_FENCES))

    async def said() -> bool:
        await speaking.publish(fence, b"")
        await speaking.flush()
        return fence in listening.subjects

    await _until(said)


def _subject(name: str, cluster: int, relay: str) -> str:
    parts = {"cluster": str(cluster), "slot": "1", "name": relay, "agent": "echo", "id": "s1", "kind": "open"}
    return re.sub(r"<([a-z]+)>", lambda match: parts.get(match[1], "x"), ROWS[name])


@pytest.mark.parametrize("direction", ["eu to us", "us to eu"])
async def test_what_the_table_says_crosses_and_nothing_else(running: World, direction: str) -> None:
    here, there = direction.split(" to ")
    own, other = {"eu": (1, 2), "us": (2, 1)}[here]
    said = {name: _subject(name, other if name in OF_THE_ASKED else own, f"{here}-relay") for name in ROWS}
    async with running.regions[here].client() as speaking, running.regions[there].client() as listening:
        heard = Heard()
        for subject in (*said.values(), *STAYING, "antiphon.v1.transceiver.*.*.announce", ">"):
            await listening.subscribe(subject, cb=heard.take)
        await listening.flush()
        await _pass_a_fence(speaking, own, heard)
        for subject in (*said.values(), *STAYING):
            await speaking.publish(subject, b"")
        await speaking.flush()
        await _pass_a_fence(speaking, own, heard)
    arrived = heard.said
    assert {name for name, subject in said.items() if subject in arrived} == CROSSES
    assert arrived == {said[name] for name in CROSSES}


def test_every_row_that_crosses_is_there() -> None:
    assert ROWS.keys() >= CROSSES


async def test_a_call_is_placed_in_another_region_and_the_answer_comes_back(running: World) -> None:
    transceiver = User("transceiver", cluster=2)

    async def answer(message: Msg) -> None:
        await message.respond(b"answer")

    async with running.us.client(transceiver, "us") as owner, running.eu.client(User("signaling"), "eu") as asking:
        opening = subjects.transceiver_open(2, 1)
        await owner.subscribe(opening, cb=answer)
        await owner.subscribe(subjects.cluster_calls(2), cb=answer)
        await owner.flush()
        assert await _answer(asking, opening) == b"answer"
        answered = await ask_owner(asking, "hang_up", "rtc_1", b"", 5, elsewhere=(2, 3))
        assert answered.data == b"answer"
        with pytest.raises(nats.errors.NoRespondersError):
            await asking.request(subjects.call_hang_up("rtc_1"), b"", timeout=5)
        assert not owner.refused
        assert not asking.refused


async def _answer(client: BusClient, subject: str) -> bytes:
    answers: list[bytes] = []

    async def asked() -> bool:
        try:
            answers.append((await client.request(subject, b"", timeout=1)).data)
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            return False
        return True

    await _until(asked)
    return answers[0]


async def test_who_has_a_region_s_credential_hears_no_call_of_another_and_speaks_in_none(
    running: World, tmp_path: Path
) -> None:
    """A server of the thief's own, without the denials of ours, and plain clients of NATS behind it."""
    thief = running.eu.of_a_thief(tmp_path / "thief", lambda text: re.sub(r"(?s)stays: \[.*?\]", "stays: []", text))
    try:
        async with thief.client() as ear, running.us.client() as inside:
            heard, taken = Heard(), Heard()
            own = {_subject(name, 2, "us-relay") for name in ROWS} | {*STAYING, "_INBOX_signaling.us.x.y"}
            for subject in (
                *own,
                ">",
                "antiphon.v1.>",
                "antiphon.v1.transceiver.*.*.announce",
                "_INBOX_signaling.us.>",
            ):
                await ear.subscribe(subject, cb=heard.take)
            for subject in (*own, ">", "antiphon.v1.transceiver.*.*.announce", "_INBOX_signaling.us.*.*"):
                await inside.subscribe(subject, cb=taken.take)
            await ear.flush()
            await _pass_a_fence(inside, 2, heard)
            for subject in own:
                await inside.publish(subject, b"")
            await _pass_a_fence(inside, 2, heard)
            inbox = "_INBOX_signaling.us.x.y"
            announced = {
                _subject(n, 2, "us-relay") for n in ("transceiver_announce", "relay_announce", "cluster_moved")
            }
            assert heard.said == announced
            await _pass_a_fence(inside, 2, taken)
            await _pass_a_fence(ear, 1, taken)
            taken.subjects.clear()
            for subject in own:
                await ear.publish(subject, b"")
            await _pass_a_fence(ear, 1, taken)
            # It may ask, as its region may; it can't stand for a transceiver or a relay of another region.
            asks = {_subject(name, 2, "") for name in (*OF_THE_ASKED, "cluster_moved")}
            assert taken.said - {inbox} == asks
    finally:
        thief.kill()


async def test_a_region_s_credential_is_none_of_a_client(running: World, tmp_path: Path) -> None:
    seed = tmp_path / "nkey"
    text = running.hub[0].users.seed_file(User("leaf", "eu")).read_text()
    seed.write_text(re.search(r'"(.*)"', text)[1])  # type: ignore[index]
    seed.chmod(0o400)
    access = running.hub_of("relay").access._replace(credentials=seed)
    with pytest.raises(nats.errors.AuthorizationError):
        await connection.connect_once(running.hub[0].url, "thief", access)


# ---- cut off -------------------------------------------------------------------------------------------


async def test_a_region_starts_alone_empty_and_without_a_hub(tmp_path: Path) -> None:
    """Its server too: it waits for no hub, and `setup` makes the stores."""
    with world(tmp_path, only="eu") as alone:
        await _works_alone(alone.eu)


async def _works_alone(region: Server) -> None:
    async with (
        region.client(User("transceiver", cluster=1), "eu") as transceiver,
        region.client(User("bridge", "concierge")) as bridge,
        region.client(User("setup")) as setup,
    ):
        announced = await buckets.bucket(transceiver.jetstream(), subjects.BUCKET_TRANSCEIVERS)
        await announced.put("1.1", b"here")
        assert (await announced.get("1.1")).value == b"here"
        slots = await buckets.bucket(transceiver.jetstream(), subjects.BUCKET_SLOTS)
        await slots.put("1.1", b"epoch")
        async with buckets.watched(bridge, subjects.BUCKET_LEASES, "concierge.*") as changes:
            leases = await buckets.bucket(bridge.jetstream(), subjects.BUCKET_LEASES, "concierge.s1")
            await leases.put("concierge.s1", b"lease")
            async with asyncio.timeout(5):
                assert (await anext(changes)).value == b"lease"
        await leases.delete("concierge.s1")
        keeping = asyncio.create_task(StoreKeeper(setup, stores.REGION_STORES).run())
        await setup.request("$JS.API.STREAM.DELETE.KV_antiphon-relays", b"", timeout=2)

        async def is_there() -> bool:
            return "KV_antiphon-relays" in await stores.present_streams(setup)

        await _until(is_there, 5)
        await tasks.end(keeping)  # nats-py may lose a single cancellation


# ---- the hub -------------------------------------------------------------------------------------------


@asynccontextmanager
async def _hub(running: World, role: str) -> AsyncIterator[HubConnection]:
    hub = connect_hub(running.hub_of(role), role)
    try:
        yield hub
    finally:
        await hub.close()


async def test_a_number_is_given_once_in_all_regions(running: World) -> None:
    async with _hub(running, "relay") as one, _hub(running, "relay") as two:
        first, second = await one.connected(), await two.connected()
        for client in (first, second):
            assert not client.refused
        await (await buckets.bucket(first.jetstream(), BUCKET_NUMBERS)).create("ingress.7", b"eu-relay")
        with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
            await (await buckets.bucket(second.jetstream(), BUCKET_NUMBERS)).create("ingress.7", b"us-relay")


class Owner:
    """Renews one lease, as a transceiver does."""

    def __init__(self, bucket: LeaseBucket) -> None:
        self._bucket = bucket
        self._lease = OwnedLease(LEASE, "owner")

    async def renews(self) -> bool:
        """Whether a majority has taken it."""
        lease, now = self._lease, time.monotonic()
        try:
            if lease.must_read:
                lease.read(await self._bucket.read(LEASE), now)
            if (write := lease.due(now)) is None:
                await asyncio.sleep(POLL)
                return False
            try:
                number = await self._bucket.swap(write.lease, write.revision)
            except BaseException:
                lease.unanswered(write)
                raise
        except BUS_ERRORS:
            await asyncio.sleep(POLL)
            return False
        assert lease.copies is not Copies.LOST
        lease.refused(write) if number is None else lease.written(write, number)
        return number is not None


async def test_leases_are_granted_by_any_two_servers_of_the_hub_and_by_no_single_one(running: World) -> None:
    first, second, third = running.hub
    where = running.hub_of("transceiver")
    others = where._replace(urls=(*where.urls[1:], where.urls[0]))
    one, two = connect_hub(where, "transceiver"), connect_hub(others, "transceiver")
    bucket = LeaseBucket([one, two], 3, "owner")
    try:
        for hub in (one, two):
            assert not (await hub.connected()).refused
        owner = Owner(bucket)
        await _until(owner.renews)
        first.kill()  # our first connection and those of both regions were with it
        await _until(owner.renews)
        async with running.eu.client() as speaking, running.us.client() as listening:
            heard = Heard()
            await listening.subscribe("antiphon.v1.transceiver.*.*.announce", cb=heard.take)
            await listening.flush()
            await _pass_a_fence(speaking, 1, heard)  # the regions are joined by another server of the hub
        with third.standing_still():
            assert not await owner.renews()
            await _works_alone(running.eu)
            assert not await owner.renews()
        await _until(owner.renews)
        first.start_again()
        third.kill()
        third.loses_its_disk()
        third.start_again()

        async def third_has_it_again() -> bool:
            await owner.renews()
            with suppress(*BUS_ERRORS):
                return (await bucket.registers[2].read(LEASE)).entry is not None
            return False

        await _until(third_has_it_again)
        second.kill()
        await _until(owner.renews)
        second.start_again()
        await _until(owner.renews)
    finally:
        await bucket.close()
        await one.close()
        await two.close()


async def test_a_region_that_is_cut_off_goes_on_alone_and_joins_again(running: World) -> None:
    """The hub stands still: its connections stay open and nothing passes. New processes connect, watch and write."""
    async with running.eu.client() as speaking, running.us.client() as listening:
        heard = Heard()
        await listening.subscribe("antiphon.v1.transceiver.*.*.announce", cb=heard.take)
        await listening.flush()
        await _pass_a_fence(speaking, 1, heard)
        with running.hub_standing_still():
            await _works_alone(running.eu)
            await until(lambda: "Stale Connection" in running.eu.log)  # and after it has noticed
            await _works_alone(running.eu)
        await _pass_a_fence(speaking, 1, heard)
