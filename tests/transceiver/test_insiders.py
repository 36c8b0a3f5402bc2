"""A hostile plug-in writes over every key that a call, its transceivers and its relay have on NATS. Real processes.

NATS has the file of permissions, the transceivers and the attacker their credentials. The test itself is agent,
signaling and clients, with all rights.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from nats.js.client import JetStreamContext
from nats.js.errors import KeyNotFoundError
from support.models.sounds import speech, tone
from support.peers.transceiver_peer import CarriedPeer
from support.processes.nats_roles import GuardedNats, guarded_nats
from support.processes.several_transceivers import Several, several_transceivers
from support.processes.transceiver_process import ENVIRONMENT, Line

from antiphon.runtime.nats import buckets
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.stores import REGION_STORES
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto

pytestmark = pytest.mark.process

OWN = "$KV.antiphon-leases.echo.x"
READ = f"$JS.API.DIRECT.GET.KV_antiphon-leases.{OWN}"
CRYPTO = CheckpointCrypto(bytes.fromhex(ENVIRONMENT["ANTIPHON_PASSWORD_KEY"]), "f" * 16)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GuardedNats]:
    with guarded_nats(tmp_path, master=True) as running:
        yield running


@pytest.fixture
async def several(server: GuardedNats) -> AsyncIterator[Several]:
    own = server.environment(User("transceiver")) | {"ANTIPHON_KEEP_FLOWS": "1"}
    async with several_transceivers(server.master_url, Access("signaling"), **own) as running:
        yield running


@pytest.fixture
async def attacker(server: GuardedNats) -> AsyncIterator[BusClient]:
    async with server.client(User("agent", "echo")) as client:
        yield client


def js(several: Several) -> JetStreamContext:
    return several.client.jetstream(timeout=2)


async def all_keys(several: Several) -> list[str]:
    """As subjects, of all buckets; of the endpoints also the claims that a take-over will make."""
    found = []
    for store in REGION_STORES.values():
        if store.kind == "bucket":
            found += [f"$KV.{store.name}.{key}" for key in await buckets.keys(js(several), store.name)]
    claims = [subjects.endpoint_claim_key(*identity) for identity in several.endpoints]
    return [*found, *(f"$KV.{subjects.BUCKET_SESSIONS}.{key}" for key in claims)]


HOW = ("an answer to a put", "a value", "a value that looks right", "a mark of deletion", "no value")


async def write_over(attacker: BusClient, targets: list[str], how: str, victim: str) -> None:
    """Have NATS write over these keys."""
    if how == "an answer to a put":
        for target in targets:
            await attacker.publish(OWN, b"mine", reply=target)
    else:
        value, headers = {
            "a value": (b"garbage", None),
            "a value that looks right": (victim.encode() + bytes(60), None),
            "a mark of deletion": (b"", {"KV-Operation": "DEL"}),
            "no value": (b"", None),
        }[how]
        await attacker.jetstream().publish(OWN, value, headers=headers)
        for target in targets:
            await attacker.publish(READ if how != "no value" else f"{READ}none", b"", reply=target)
    await attacker.flush()
    await attacker.request(READ, b"", timeout=5)  # the server has done all that came before
    assert not attacker.refused


async def is_sealed(several: Several, key: str) -> bool:
    bucket = await buckets.bucket(js(several), subjects.BUCKET_SESSIONS)
    try:
        CRYPTO.open(key, (await bucket.get(key)).value or b"")
    except (KeyNotFoundError, InvalidTag, ValueError):
        return False
    return True


async def is_sealed_again(several: Several, session_id: str) -> None:
    """Wait until there is a checkpoint of the session which a transceiver has written, and no other."""
    deadline = time.monotonic() + 30
    while True:
        keys = [key for key in await buckets.keys(js(several), subjects.BUCKET_SESSIONS) if key.endswith(session_id)]
        if any([await is_sealed(several, key) for key in keys]):
            return
        assert time.monotonic() < deadline, f"no checkpoint of {session_id}"
        await asyncio.sleep(0.05)


async def flows_are_there(several: Several) -> None:
    """Wait until all that stands in the bucket of flows are owners of clients."""
    deadline = time.monotonic() + 20
    while True:
        found = await buckets.read_all(js(several), subjects.BUCKET_FLOWS)
        with contextlib.suppress(MalformedError):
            if [messages.decode(entry.value, messages.FlowOwner) for entry in found]:
                return
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


async def talk(several: Several, peer: CarriedPeer, line: Line) -> None:
    """Audio passes both ways."""
    said, heard = len(line.frames), len(peer.frames)
    peer.speak(tone(0.3))
    await several.say(line, speech(0.3, generation=max((frame.generation for frame in line.frames), default=0)))

    def loud(frames: list) -> bool:  # type: ignore[type-arg]
        return any(max(memoryview(frame.pcm).cast("h")) > 4000 for frame in frames)

    await several.until(lambda: loud(line.frames[said:]), "the caller is heard")
    await several.until(lambda: loud(peer.frames[heard:]), "the agent is heard")


async def test_a_call_goes_on_and_is_taken_over_whatever_a_plug_in_has_nats_write(
    several: Several, attacker: BusClient
) -> None:
    first = await several.spawn()
    second = await several.spawn()
    peer, line = await several.call_on(first.slot)
    for how in HOW:
        await flows_are_there(several)
        targets = [each for each in await all_keys(several) if not each.endswith(".echo.x")]
        for part in ("transceivers", "slots", "sessions", "relays", "flows", "leases"):
            assert part == "leases" or any(each.startswith(f"$KV.antiphon-{part}.") for each in targets), part
        await write_over(attacker, [*targets, "$KV.antiphon-leases.storage"], how, first.holder)
        await talk(several, peer, line)
        peer.send_text(how)  # changes the session, so that it is written
        await is_sealed_again(several, line.session_id)
        assert line.ended is None
        assert not [event for event in line.events if isinstance(event, messages.TakenOver)]
    third = await several.spawn()  # with slots that nothing can be read of any more
    assert third.slot not in (first.slot, second.slot)
    other, other_line = await several.call_on(third.slot)
    await talk(several, other, other_line)
    await several.until(lambda: peer.acknowledged, "the messages are acknowledged")
    await is_sealed_again(several, line.session_id)
    several.processes[0].kill()
    await several.until(lambda: any(isinstance(event, messages.TakenOver) for event in line.events), "it is taken over")
    await talk(several, peer, line)
    assert line.ended is None
    assert other_line.ended is None
    claim = subjects.endpoint_claim_key(first.cluster, first.slot, first.epoch)
    assert await is_sealed(several, claim)


async def test_a_claim_that_a_plug_in_forges_takes_no_endpoint_away(several: Several, attacker: BusClient) -> None:
    first = await several.spawn()
    peer, line = await several.call_on(first.slot)
    claim = f"$KV.{subjects.BUCKET_SESSIONS}.{subjects.endpoint_claim_key(first.cluster, first.slot, first.epoch)}"
    bucket = await buckets.bucket(js(several), subjects.BUCKET_SESSIONS)
    for value in (b"e" * 16, b"garbage", CRYPTO.seal("0.0.0.seat", b"")):  # of another key: nobody else's is believed
        await bucket.put(claim.removeprefix(f"$KV.{subjects.BUCKET_SESSIONS}."), value)
        stranger = several.endpoints[first.cluster, first.slot, first.epoch].model_copy(
            update={"holder": "e" * 16, "lifeline": None}
        )
        subject = subjects.transceiver_announce(first.cluster, first.slot)
        await several.client.publish(subject, messages.encode(stranger))
        await talk(several, peer, line)
    assert line.ended is None
    assert attacker.is_connected
