"""The registers of the copy leases on a NATS server: what is late for a lost one, and two processes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from nats.aio.client import Client

from antiphon.runtime.nats import connection
from antiphon.schemas import subjects
from antiphon.schemas.messages import CopyLease, LeaseRegister
from antiphon.testing.stores import make_hub_stores
from antiphon.transceiver.copies.lease_bucket import LeaseBucket
from antiphon.transceiver.copies.quorum_lease import Request

pytestmark = pytest.mark.process

IDENTITY = (1, 2, 3)


class Hub(NamedTuple):
    client: Client


def lease(holder: str, number: int) -> CopyLease:
    return CopyLease(cluster=1, slot=2, epoch=3, holder=holder, holder_cluster=1, generation=1, number=number)


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    make_hub_stores(nats_url)
    connected = await connection.connect(nats_url, "test")
    yield connected
    await connected.close()


async def lose(client: Client, nats_url: str, number: int) -> None:
    await client.jetstream().delete_stream(f"KV_{subjects.copy_lease_bucket(number)}")
    await asyncio.to_thread(make_hub_stores, nats_url)


async def test_a_write_that_is_late_for_a_lost_register_counts_for_nothing(client: Client, nats_url: str) -> None:
    register = LeaseBucket([Hub(client)], 3, "owner").registers[0]
    before = await register.read(IDENTITY)
    assert before.entry is None
    await lose(client, nats_url, 1)
    late = Request(0, LeaseRegister(registers=3, lease=lease("owner", 1)), before.token, 0)
    assert await register.write(IDENTITY, late) is None
    now = await register.read(IDENTITY)
    assert now.entry is None
    assert now.token != before.token


async def test_a_register_that_came_back_empty_is_filled_by_the_owner_and_takes_part_again(
    client: Client, nats_url: str
) -> None:
    bucket = LeaseBucket([Hub(client)], 3, "owner")
    number = await bucket.swap(lease("owner", 1), 0)
    assert number == 1
    await lose(client, nats_url, 3)
    async with asyncio.timeout(20):
        while (await bucket.registers[2].read(IDENTITY)).entry is None:
            number = await bucket.swap(lease("owner", number + 1), number)
            assert number is not None
    await lose(client, nats_url, 1)
    found = await LeaseBucket([Hub(client)], 3, "other").read(IDENTITY)
    assert found is not None
    assert found[1] == number


async def test_of_two_processes_one_has_the_lease(client: Client, nats_url: str) -> None:
    one, two = (LeaseBucket([Hub(client)], 3, name) for name in ("one", "two"))
    number = await one.swap(lease("one", 1), 0)
    assert number is not None
    outcomes = await asyncio.gather(
        one.swap(lease("one", 2), number), two.swap(lease("two", 2), number), return_exceptions=True
    )
    given = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(given) <= 1
    for bucket in (one, two):
        found = await bucket.read(IDENTITY)
        assert found is not None
        assert found == await LeaseBucket([Hub(client)], 3, "third").read(IDENTITY)


async def test_a_process_with_another_number_of_registers_has_no_lease(client: Client, nats_url: str) -> None:
    number = await LeaseBucket([Hub(client)], 3, "owner").swap(lease("owner", 1), 0)
    assert number is not None
    with pytest.raises(TimeoutError):
        await LeaseBucket([Hub(client)], 1, "other").swap(lease("other", 2), number)
