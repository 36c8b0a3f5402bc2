"""Flows in the bucket `antiphon-flows`: transceivers keep it, relays look there instead of asking all transceivers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest
from nats.js.errors import KeyDeletedError, KeyNotFoundError
from nats.js.kv import KeyValue
from support.processes.relay_process import Datagrams, fake_transceiver, relay_process, until
from support.processes.transceiver_process import transceiver_process

from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import messages, subjects, tunnel
from antiphon.schemas.messages import FlowOwner, decode, encode
from antiphon.testing.stores import make_stores

pytestmark = pytest.mark.process

MEDIA = b"\x80\x6f" + bytes(160)
OTHER = FlowOwner(cluster=0, slot=9, epoch=9)


async def test_a_call_that_was_moved_here_is_looked_up_in_the_bucket(nats_url: str) -> None:
    client = await connection.connect(nats_url, "test")
    async with (
        relay_process(nats_url, settings={"ANTIPHON_RELAY_FIND": "kv"}) as relay,
        fake_transceiver(nats_url) as owner,
    ):
        await relay.knows(routes=1)
        with closing(Datagrams()) as known, closing(Datagrams()) as stranger, closing(Datagrams()) as stale:
            asked = await client.subscribe(subjects.FLOW_FIND)
            stranger.send(MEDIA, relay.address)  # no entry names it
            await relay.dropped("unknown_client", 1)
            bucket = await buckets.bucket(client.jetstream(), subjects.BUCKET_FLOWS)
            its = FlowOwner(cluster=owner.cluster, slot=owner.slot, epoch=owner.epoch)
            await bucket.put(subjects.flow_key(tunnel.pack_header(known.address)), encode(its))
            await bucket.put(subjects.flow_key(tunnel.pack_header(stale.address)), encode(OTHER))
            for each in (stranger, stale, known):
                each.send(MEDIA, relay.address)
            packet, _ = await owner.receive()
            assert (packet.client, packet.payload) == (known.address, MEDIA)
            await relay.dropped("unknown_client", 3)
            statistics = await relay.statistics()
            assert asked.pending_msgs == 0, "the transceivers were asked all the same"
    await client.close()
    assert (statistics.flows_found, statistics.flows_confirmed) == (1, 1)


def says(bucket: KeyValue, key: str, expected: FlowOwner | None) -> Callable[[], Awaitable[bool]]:
    """Whether the bucket names this owner for a client."""

    async def look() -> bool:
        try:
            entry = await bucket.get(key)
        except (KeyNotFoundError, KeyDeletedError):
            return expected is None
        return expected is not None and decode(entry.value or b"", FlowOwner) == expected

    return look


async def test_a_transceiver_keeps_its_clients_in_the_bucket_until_their_calls_end(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_KEEP_FLOWS="1") as bench:
        peer, session = await bench.call()
        other, other_session = await bench.call()
        keys = {each: subjects.flow_key(header) for header, each in bench.clients.items()}
        announced = bench.announcement
        ours = FlowOwner(cluster=announced.cluster, slot=announced.slot, epoch=announced.epoch)
        bucket = await buckets.bucket(bench.client.jetstream(), subjects.BUCKET_FLOWS)
        await until(says(bucket, keys[peer], ours), "the first client is in it")
        await until(says(bucket, keys[other], ours), "the second client is in it")
        await bench.client.jetstream().delete_stream(f"KV_{subjects.BUCKET_FLOWS}")
        make_stores(nats_url)
        await until(says(bucket, keys[peer], ours), "it is in a bucket that was made anew")
        await until(says(bucket, keys[other], ours), "the second one too")
        await bucket.put(keys[other], encode(OTHER))
        await asyncio.gather(*(bench.control(each, messages.HangUp()) for each in (session, other_session)))
        await until(says(bucket, keys[peer], None), "it is removed")
        await until(says(bucket, keys[other], OTHER), "what another transceiver has is left alone")
