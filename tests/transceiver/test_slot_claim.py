"""The epoch of a slot counts on from the process before, also where NATS has lost its store.

One that went back would be taken for an earlier process, and nobody would place calls there.
"""

from __future__ import annotations

import pytest

from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import messages, subjects
from antiphon.transceiver.failover.slot_claim import claim_slot, keep_claim
from antiphon.transceiver.net.endpoint import TransceiverIdentity

pytestmark = pytest.mark.process


@pytest.mark.parametrize(("slot", "first"), [(3101, 43487), (3102, 65535)])
async def test_a_claim_that_was_lost_is_written_again_and_counted_on(nats_url: str, slot: int, first: int) -> None:
    client = await connection.connect(nats_url, "test")
    js = client.jetstream()
    await keep_claim(js, TransceiverIdentity(0, slot, first))
    await keep_claim(js, TransceiverIdentity(0, slot, first + 9 & 0xFFFF))  # there is one: nothing changes
    assert await claim_slot(js, 0, slot) == TransceiverIdentity(0, slot, first + 1 & 0xFFFF)
    await client.close()


async def test_without_a_claim_what_was_announced_is_counted_on(nats_url: str) -> None:
    client = await connection.connect(nats_url, "test")
    js, slot = client.jetstream(), 3103
    said = messages.TransceiverAnnouncement(
        cluster=0, slot=slot, epoch=43487, tunnel_address="127.0.0.1:1", state="ready", sessions=0, capacity=1
    )
    live = await buckets.bucket(js, subjects.BUCKET_TRANSCEIVERS)
    await live.put(subjects.slot_key(0, slot), messages.encode(said))
    assert await claim_slot(js, 0, slot) == TransceiverIdentity(0, slot, 43488)
    await client.close()
