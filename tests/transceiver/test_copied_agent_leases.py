"""The lease of a call's agent comes with the copy: an instance of the other region goes on with the conversation."""

from __future__ import annotations

import asyncio

import pytest
from nats.js.errors import KeyNotFoundError

from antiphon.runtime.agent_sessions.keeper import LeaseKeeper
from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import messages, subjects
from antiphon.transceiver.copies.agent_leases import AgentLeases

pytestmark = pytest.mark.process

CALL = "rtc_abcdefghijklmnopqrstuvwx"
THERE = messages.Lease(
    session_id=CALL, agent="concierge", instance="bridge-of-the-lost-region", state={"said": ["Two tickets."]}
)


async def test_an_agent_of_the_second_region_takes_an_adopted_call_with_the_conversation(nats_url: str) -> None:
    taken: asyncio.Future[messages.Lease] = asyncio.get_running_loop().create_future()

    async def take(lease: messages.Lease) -> bool:
        taken.set_result(lease)
        return True

    client = await connection.connect(nats_url, "test")
    keeper = LeaseKeeper(client, "concierge", take, lambda _: None, lambda: 5)
    await keeper.start()
    try:
        leases = AgentLeases(client)
        bucket = await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)
        await leases.free(messages.encode(THERE).decode(), "concierge", "rtc_another")
        with pytest.raises(KeyNotFoundError):
            await bucket.get(subjects.lease_key("concierge", CALL))
        while not keeper.table.instances.is_warmed_up:  # noqa: ASYNC110  # it has looked for free leases at its start
            await asyncio.sleep(0.05)
        await leases.free(messages.encode(THERE).decode(), "concierge", CALL)
        await leases.wake("concierge", CALL)
        lease = await asyncio.wait_for(taken, 5)
        assert lease.state == THERE.state
        assert lease.takeovers == THERE.takeovers + 1
        assert '"said":["Two tickets."]' in await leases.read("concierge", CALL), "as it goes with the next copy"
        await leases.free(messages.encode(THERE).decode(), "concierge", CALL)
        assert keeper.holds(CALL), "nothing is written over"
        assert await leases.read("concierge", "rtc_another") == ""
    finally:
        await keeper.close()
        await client.close()
