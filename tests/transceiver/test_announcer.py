"""A transceiver announces itself each second, whatever the store behind NATS does with its announcements."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js.api import StreamConfig
from support.conditions import until
from support.processes.nats import nats_server

from antiphon.runtime import tasks
from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import messages, subjects
from antiphon.testing.stores import make_stores
from antiphon.transceiver.bus.announcer import Announcer, Liveness, Site
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity

pytestmark = pytest.mark.process

DENIED = """
authorization { users = [
  { user: all, password: all }
  { user: t, password: t, permissions: { publish: { deny: ["$KV.antiphon-transceivers.>"] } } }
] }
"""
"""What the user `t` writes into the bucket is never answered."""


@asynccontextmanager
async def announcing(
    url: str, store_lost: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[Announcer, list[float], list[messages.TransceiverAnnouncement]]]:
    """One that runs, when its announcements came, and what they said."""
    client, times, said = await connection.connect(url, "test"), list[float](), list[messages.TransceiverAnnouncement]()
    socket: Any = SimpleNamespace()
    endpoints = Endpoints(Endpoint(TransceiverIdentity(0, 1, 1), "127.0.0.1:1", socket))
    admission: Any = SimpleNamespace(draining=False, announced=0, connect_ms=0.0)
    liveness, site = Liveness("", None), Site("eu", messages.Place(latitude=50.11, longitude=8.68))

    async def lost(_: TransceiverIdentity) -> None:
        store_lost()

    each = Announcer(client, endpoints, 100, admission, lambda: 0.0, liveness, lost, site)

    async def received(message: Msg) -> None:
        times.append(time.monotonic())
        said.append(messages.decode(message.data, messages.TransceiverAnnouncement))
        each.came_back()

    await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=received)
    running = asyncio.create_task(each.run())
    try:
        yield each, times, said
    finally:
        await tasks.end(running)
        await client.close()


async def _refuse_everything(url: str) -> None:
    """The store answers each write with an error, as it does when its disk is full."""
    client = await connection.connect(url, "test")
    js = client.jetstream()
    await buckets.bucket(js, subjects.BUCKET_TRANSCEIVERS)
    config: StreamConfig = (await js.stream_info(f"KV_{subjects.BUCKET_TRANSCEIVERS}")).config
    config.max_msg_size = 1
    await js.update_stream(config)
    await client.close()


@pytest.mark.parametrize("store", ["silent", "refusing"])
async def test_announcements_go_out_each_second_while_the_store_takes_none(tmp_path: Path, store: str) -> None:
    with nats_server(tmp_path / "nats", settings=DENIED if store == "silent" else "", stores=store != "silent") as url:
        if store == "refusing":
            await _refuse_everything(url)
        else:
            make_stores(url.replace("nats://", "nats://all:all@"))
            url = url.replace("nats://", "nats://t:t@")
        async with announcing(url) as (each, times, _):
            await until(lambda: len(times) >= 5, 10)
            assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 1.5
            # A process that misses announcements of others may believe that: its own come back.
            assert each.bus_answers(asyncio.get_running_loop().time())


async def test_what_is_announced_stands_in_the_bucket_for_those_who_come_later(nats_url: str) -> None:
    async with announcing(nats_url) as (_, _, said):
        await until(lambda: said, 10)
        client = await connection.connect(nats_url, "test")
        kept = await buckets.bucket(client.jetstream(), subjects.BUCKET_TRANSCEIVERS)
        async with asyncio.timeout(5):
            js, name = client.jetstream(), subjects.BUCKET_TRANSCEIVERS
            while subjects.slot_key(0, 1) not in await buckets.keys(js, name):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        entry = await kept.get(subjects.slot_key(0, 1))
        assert messages.decode(entry.value or b"", messages.TransceiverAnnouncement) == said[0]
        await client.close()


async def test_an_announcement_says_in_which_region_it_stands(nats_url: str) -> None:
    async with announcing(nats_url) as (_, _, said):
        await until(lambda: said, 10)
        assert (said[0].region, said[0].place) == ("eu", messages.Place(latitude=50.11, longitude=8.68))


async def test_a_store_that_began_anew_is_noticed_once(nats_url: str) -> None:
    losses: list[float] = []
    async with announcing(nats_url, lambda: losses.append(time.monotonic())) as (_, times, _):
        await until(lambda: len(times) >= 3)
        assert losses == []
        client = await connection.connect_once(nats_url, "test")
        await client.jetstream().delete_stream(f"KV_{subjects.BUCKET_TRANSCEIVERS}")
        make_stores(nats_url)
        await client.close()
        await until(lambda: len(losses) == 1)
        announced = len(times)
        await until(lambda: len(times) >= announced + 2)
        assert len(losses) == 1
