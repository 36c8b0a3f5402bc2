"""What a hostile plug-in, or another taken-over part, gets out of replies, which NATS checks no permission for.

Real server, the real file of permissions, the real credential of the attacker: agent `echo`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from support.conditions import until
from support.processes.nats_roles import EVERYBODY, GuardedNats, guarded_nats

from antiphon.runtime.agent_sessions.bucket import LeaseBucket
from antiphon.runtime.agent_sessions.lease_table import HeldLease
from antiphon.runtime.nats import buckets, service_discovery
from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.permissions import User, permissions_of
from antiphon.runtime.nats.stores import REGION_STORES
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode, encode

pytestmark = pytest.mark.process

A = "antiphon.v1."
OWN = "$KV.antiphon-leases.echo.x"
ECHO = User("agent", "echo")
VICTIMS = (
    "$KV.antiphon-slots.7.7",
    "$KV.antiphon-sessions.7.7.7.rtc",
    "$KV.antiphon-leases.other.rtc",
    f"{A}session.other.rtc.control",
    f"{A}call.rtc.hang_up",
    f"{A}agent.other.claim",
    "_INBOX_setup.x.y",
    "$JS.API.STREAM.DELETE.KV_antiphon-leases",
)
"""No role of `EVERYBODY` but `setup` may publish these; those that a role may, are left out for it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedNats]:
    with guarded_nats(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
async def echo(server: GuardedNats) -> AsyncIterator[BusClient]:
    async with server.client(ECHO) as client:
        yield client


@pytest.fixture
async def transceiver(server: GuardedNats) -> AsyncIterator[BusClient]:
    async with server.client(User("transceiver")) as client:
        yield client


def matches(subject: str, pattern: str) -> bool:
    tokens, parts = subject.split("."), pattern.split(".")
    for token, part in zip(tokens, parts, strict=False):
        if part == ">":
            return True
        if part not in ("*", token):
            return False
    return len(tokens) == len(parts)


def loops(user: User) -> list[str]:
    """Subjects on which the user can send itself messages."""
    permissions = permissions_of(user)
    found = []
    for one in permissions.publish:
        subject = one.replace("*", "w").replace(">", "w.w")
        if any(matches(subject, other) for other in permissions.subscribe):
            found.append(subject)
    for one in permissions.subscribe:
        subject = one.replace("*", "w").replace(">", "w.w")
        if any(matches(subject, other) for other in permissions.publish):
            found.append(subject)
    return found


async def ignore(_: Msg) -> None:
    pass


@pytest.mark.parametrize("user", [each for each in EVERYBODY if each.role != "setup"], ids=lambda user: user.title)
async def test_a_message_to_itself_opens_no_other_subject_to_a_role(server: GuardedNats, user: User) -> None:
    own = permissions_of(user).publish
    victims = [each for each in VICTIMS if not any(matches(each, pattern) for pattern in own)]
    assert len(victims) >= len(VICTIMS) - 2
    async with server.client(user) as client:
        for subject in loops(user):
            await client.subscribe(subject, cb=ignore)
        await client.flush()
        for subject in loops(user):
            for victim in victims:
                await client.publish(subject, b"x", reply=victim)
        await client.flush()
        for victim in victims:
            await client.publish(victim, b"anything")
        await client.flush()
        assert {subject for verb, subject in client.refused if verb == "publish"} == set(victims)


async def test_a_worker_s_request_opens_no_other_subject_to_it(server: GuardedNats) -> None:
    """Another role may send it a message with a reply of its choice."""
    async with server.client(User("worker")) as worker, server.client(User("bridge", "concierge")) as bridge:
        await worker.subscribe(f"{A}worker.stt", cb=ignore)
        await worker.flush()
        await bridge.publish(f"{A}worker.stt", b"x", reply=VICTIMS[0])
        await bridge.flush()
        await worker.flush()
        await worker.publish(VICTIMS[0], b"anything")
        await worker.flush()
        assert ("publish", VICTIMS[0]) in worker.refused


# ---- answers of ours


async def test_a_service_answers_to_inboxes_only(
    echo: BusClient, transceiver: BusClient, caplog: pytest.LogCaptureFixture
) -> None:
    carried_out: list[bytes] = []

    async def control(message: Msg) -> None:
        carried_out.append(message.data)
        await message.respond(b"an answer with the service's rights")

    subject, victim = f"{A}session.echo.s1.control", "$KV.antiphon-sessions.0.1.1.rtc"
    await transceiver.subscribe(subject, cb=control)
    await transceiver.flush()
    with caplog.at_level(logging.WARNING, "antiphon.runtime.nats.client"):
        for reply in (victim, f"{A}call.s1.hang_up", "$SRV.PING", "_INBOXES.x"):
            await echo.publish(subject, b"hostile", reply=reply)
        answer = await echo.request(subject, b"genuine", timeout=2)
    assert answer.data == b"an answer with the service's rights"
    assert carried_out == [b"genuine"]
    assert transceiver.refused_messages == 4
    assert len(caplog.records) == 1, "a flood of them has one line in ten seconds"
    kv = await buckets.bucket(transceiver.jetstream(), subjects.BUCKET_SESSIONS)
    with pytest.raises(KeyNotFoundError):
        await kv.get("0.1.1.rtc")


async def test_the_register_answers_to_inboxes_only(server: GuardedNats, transceiver: BusClient) -> None:
    await service_discovery.register(transceiver, "antiphon-transceiver")
    async with server.client(User("operator")) as operator:
        for verb in ("PING", "INFO", "STATS"):
            await operator.publish(f"$SRV.{verb}", b"", reply="$KV.antiphon-slots.0.99")
        found = await service_discovery.instances(operator, "antiphon-transceiver", 5, lambda answers: bool(answers))
        assert found
    assert transceiver.refused_messages == 3
    assert not transceiver.refused
    with pytest.raises(KeyNotFoundError):
        await (await buckets.bucket(transceiver.jetstream(), subjects.BUCKET_SLOTS)).get("0.99")


async def test_answers_of_a_store_are_no_requests(echo: BusClient, server: GuardedNats) -> None:
    """The answer to a put reads as a message with all fields left out: as a hang-up, for one."""
    heard: list[bytes] = []

    async def take(message: Msg) -> None:
        heard.append(message.data)

    called, controlled = f"{A}call.s2.hang_up", f"{A}session.theirs.s2.control"
    async with server.client(User("transceiver")) as transceiver, server.client(User("signaling")) as signaling:
        await transceiver.subscribe(called, cb=take)
        await transceiver.subscribe(controlled, cb=take)
        await transceiver.flush()
        for target in (called, controlled):
            await echo.publish(OWN, b"mine", reply=target)
            await echo.publish(f"$JS.API.DIRECT.GET.KV_antiphon-leases.{OWN}", b"", reply=target)
            await echo.publish(f"$JS.API.DIRECT.GET.KV_antiphon-leases.{OWN}none", b"", reply=target)
            await echo.publish(f"$JS.API.CONSUMER.CREATE.KV_antiphon-leases.q.{OWN}", b"{}", reply=target)
        await until(lambda: transceiver.refused_messages == 8)
        await signaling.publish(called, encode(messages.HangUp()))
        await until(lambda: bool(heard))
        assert heard == [encode(messages.HangUp())]


async def test_the_next_inbox_is_not_to_be_guessed_from_those_before(echo: BusClient) -> None:
    replies: list[str] = []

    async def answer(message: Msg) -> None:
        replies.append(message.reply)
        await message.respond(b"")

    beat = f"{A}agent.echo.beat"
    await echo.subscribe(beat, cb=ignore)
    for _ in range(3):
        with pytest.raises((nats.errors.TimeoutError, nats.errors.NoRespondersError)):
            await echo.request(beat, b"", timeout=0.01)
    tokens = [echo.new_inbox().rpartition(".")[2] for _ in range(50)]
    assert len({token[:8] for token in tokens}) == 50
    assert {len(token) for token in tokens} == {22}


# ---- values in buckets


async def forge(echo: BusClient, target: str, value: bytes, headers: dict[str, str] | None = None) -> None:
    """Have NATS put a value of the attacker's choice there."""
    await echo.jetstream().publish(OWN, value, headers=headers)
    await echo.publish(f"$JS.API.DIRECT.GET.KV_antiphon-leases.{OWN}", b"", reply=target)
    await echo.flush()


async def revision_of(kv: KeyValue, key: str) -> int:
    try:
        return (await kv.get(key)).revision or 0
    except KeyNotFoundError:
        return 0


async def stored(reader: Client, target: str, sequence: int) -> None:
    """Wait until something newer than that sequence is there."""
    bucket, key = target.removeprefix("$KV.").split(".", 1)
    kv = await buckets.bucket(reader.jetstream(), bucket, probe=key)
    async with asyncio.timeout(5):
        while (await revision_of(kv, key)) <= sequence:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("headers", [None, {"KV-Operation": "DEL"}, {"KV-Operation": "PURGE"}, {"Nats-TTL": "1h"}])
async def test_a_value_that_nats_wrote_for_another_client_reads_as_empty_at_its_real_revision(
    echo: BusClient, transceiver: BusClient, headers: dict[str, str] | None
) -> None:
    kv = await buckets.bucket(transceiver.jetstream(), subjects.BUCKET_SESSIONS)
    revision = await kv.put("0.1.5.rtc", b"genuine")
    await forge(
        echo, "$KV.antiphon-sessions.0.1.5.rtc", b'{"version":1,"epoch":1,"holder":"x","claimed_at":9e9}', headers
    )
    await stored(transceiver, "$KV.antiphon-sessions.0.1.5.rtc", revision)
    entry = await kv.get("0.1.5.rtc")
    assert not entry.value
    (read,) = [
        each for each in await buckets.read_all(transceiver.jetstream(), "antiphon-sessions") if each.key == "0.1.5.rtc"
    ]
    assert read.value == b""
    assert await kv.update("0.1.5.rtc", b"mine again", last=entry.revision) > revision
    assert (await kv.get("0.1.5.rtc")).value == b"mine again"
    assert transceiver.refused_messages > 0


async def test_a_consumer_s_reader_sees_them_empty_too(echo: BusClient, server: GuardedNats) -> None:
    async with server.client(User("agent", "theirs")) as theirs:
        target = "$KV.antiphon-leases.theirs.s9"
        lease = messages.Lease(session_id="s9", agent="theirs", instance="")
        revision = (await theirs.jetstream().publish(target, encode(lease))).seq
        async with buckets.watched(theirs, subjects.BUCKET_LEASES, "theirs.*") as written:
            await forge(echo, target, encode(lease.model_copy(update={"instance": "the attacker"})))
            await stored(theirs, target, revision)
            async with asyncio.timeout(5):
                async for entry in written:
                    if entry.revision > revision:
                        assert entry.value == b""
                        break
        (found,) = await buckets.entries(theirs, subjects.BUCKET_LEASES, "theirs.s9")
        assert found.value == b""


async def test_a_lease_is_written_again_by_its_holder(echo: BusClient, server: GuardedNats) -> None:
    async with server.client(User("agent", "theirs")) as theirs:
        lost: list[str] = []
        bucket = LeaseBucket(theirs, "theirs", "one", lambda _, holder: lost.append(holder))
        held = HeldLease(messages.Lease(session_id="s8", agent="theirs", instance="one"), 0, dirty=True, written=-1e9)
        await bucket.write(held)
        target = "$KV.antiphon-leases.theirs.s8"
        for value, headers in ((encode(held.lease), {"KV-Operation": "DEL"}), (b"garbage", None)):
            await forge(echo, target, value, headers)
            await stored(theirs, target, held.revision)
            held.dirty = True
            await bucket.check_and_write(held)
            assert held.dirty, "it looked what is there"
            await bucket.check_and_write(held)
        await echo.publish(OWN, b"", reply=target)  # and the bare answer to a put
        await stored(theirs, target, held.revision)
        held.dirty = True
        await bucket.check_and_write(held)
        await bucket.check_and_write(held)
        (found,) = await buckets.entries(theirs, "antiphon-leases", "theirs.s8")
        assert decode(found.value, messages.Lease).instance == "one"
        assert not lost


async def test_no_put_empties_a_bucket(echo: BusClient, transceiver: BusClient) -> None:
    """A header tells a stream to drop all that it had before, the entries of everybody."""
    kv = await buckets.bucket(transceiver.jetstream(), subjects.BUCKET_SLOTS)
    await kv.put("0.6", b"genuine")
    for what in ("all", "sub"):
        with pytest.raises(Exception, match="rollup"):
            await echo.jetstream().publish(OWN, b"x", headers={"Nats-Rollup": what})
    assert (await kv.get("0.6")).value == b"genuine"
    for store in REGION_STORES.values():
        assert not store.config().get("allow_rollup_hdrs")


async def test_odd_keys_stop_no_reader(echo: BusClient, transceiver: BusClient) -> None:
    kv = await buckets.bucket(transceiver.jetstream(), subjects.BUCKET_SESSIONS)
    await kv.put("0.1.1.rtc_a", b"genuine")
    for key in ("0.1.1.a!", "0.1.1.ä", "odd", "a.b.c.d", "a.b.c.seat"):
        await echo.publish(OWN, b"mine", reply=f"$KV.antiphon-sessions.{key}")
    await echo.flush()
    await stored(transceiver, "$KV.antiphon-sessions.a.b.c.seat", 0)
    names = await buckets.keys(transceiver.jetstream(), subjects.BUCKET_SESSIONS)
    assert {"0.1.1.rtc_a", "odd", "a.b.c.d", "a.b.c.seat"} <= set(names)
    assert not any("!" in name or "ä" in name for name in names)
    assert len(await buckets.read_all(transceiver.jetstream(), subjects.BUCKET_SESSIONS)) == len(names)


async def test_a_consumer_puts_nothing_into_a_bucket(echo: BusClient, transceiver: BusClient) -> None:
    await echo.jetstream().publish(OWN, b"mine")
    target = "$KV.antiphon-slots.0.8"
    config = {"name": "d", "deliver_subject": target, "deliver_policy": "all", "ack_policy": "none"}
    body = json.dumps({"stream_name": "KV_antiphon-leases", "config": {**config, "filter_subject": OWN}}).encode()
    await echo.request(f"$JS.API.CONSUMER.CREATE.KV_antiphon-leases.d.{OWN}", body, timeout=2)
    await echo.jetstream().publish(OWN, b"mine again")
    kv = await buckets.bucket(transceiver.jetstream(), subjects.BUCKET_SLOTS)
    with pytest.raises(KeyNotFoundError):
        await kv.get("0.8")
