"""Buckets and streams on real NATS: one process makes them, and makes them again; the others open them and wait."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import BucketNotFoundError
from support.conditions import until
from support.processes.nats import nats_server, server_pid, stopped

from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import recent_audio
from antiphon.runtime.agent_sessions.keeper import LeaseKeeper
from antiphon.runtime.nats import buckets, connection, store_keeper, stores
from antiphon.runtime.nats.store_keeper import StoreKeeper
from antiphon.runtime.nats.stores import REGION_STORES, Made, StoreError
from antiphon.schemas import subjects
from antiphon.schemas.audio import AudioFrame, pack_frame
from antiphon.schemas.messages import Lease
from antiphon.testing.stores import make_stores

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
AGAIN_WITHIN = 2.0
"""Seconds in which all stores are there again."""
STREAMS = {store.stream for store in REGION_STORES.values()}


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Client]:
    client = await connection.connect(url, "test")
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def keeper_of(url: str) -> AsyncIterator[StoreKeeper]:
    async with client_of(url) as client:
        keeper = StoreKeeper(client, REGION_STORES)
        running = asyncio.create_task(keeper.run())
        try:
            await asyncio.wait_for(keeper.ready.wait(), 10)
            yield keeper
        finally:
            await tasks.end(running)


async def until_whole(client: Client, within: float = AGAIN_WITHIN, without: str = "") -> None:
    """All stores are there, and in time."""
    async with asyncio.timeout(within):
        while True:
            try:
                if await stores.present_streams(client) >= STREAMS - {without}:
                    return
            except (NatsError, OSError):
                pass
            await asyncio.sleep(0.02)


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[Client]:
    """A server that has seen no `setup` yet."""
    with nats_server(tmp_path / "bare", stores=False) as url:
        async with client_of(url) as client:
            yield client


async def test_each_store_is_made_as_the_table_says_and_kept_the_second_time(bare: Client) -> None:
    made = {name: [await stores.ensure(bare, store) for _ in range(2)] for name, store in REGION_STORES.items()}
    assert made == {name: [Made.CREATED, Made.KEPT] for name in REGION_STORES}


async def test_what_an_older_version_made_is_changed_and_words_on_disk_are_deleted(bare: Client) -> None:
    js = bare.jetstream()
    kept = await js.create_key_value(bucket=subjects.BUCKET_SLOTS, history=1)
    await kept.put("0.1", b"epoch")
    await js.create_key_value(bucket=subjects.BUCKET_LEASES, ttl=600, history=1)
    assert await stores.ensure(bare, REGION_STORES[subjects.BUCKET_SLOTS]) is Made.UPDATED
    assert await stores.ensure(bare, REGION_STORES[subjects.BUCKET_LEASES]) is Made.REPLACED
    assert (await (await buckets.bucket(js, subjects.BUCKET_SLOTS)).get("0.1")).value == b"epoch"
    config = (await js.stream_info("KV_antiphon-leases")).config
    assert (config.storage, config.allow_direct) == (StorageType.MEMORY, True)


async def test_what_can_t_be_made_is_said_with_the_way_out(bare: Client) -> None:
    js = bare.jetstream()
    await js.add_stream(StreamConfig(name="mine", subjects=["$KV.antiphon-relays.>"]))
    with pytest.raises(StoreError, match=r"antiphon-relays can't be made: subjects overlap.*nats stream rm"):
        await stores.ensure(bare, REGION_STORES[subjects.BUCKET_RELAYS])
    await js.create_key_value(bucket=subjects.BUCKET_SLOTS, storage=StorageType.MEMORY)
    with pytest.raises(StoreError, match="antiphon-slots is kept in memory and should be in file"):
        await stores.ensure(bare, REGION_STORES[subjects.BUCKET_SLOTS])


async def test_a_store_in_the_way_keeps_no_other_store_from_being_made(
    bare: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await bare.jetstream().add_stream(StreamConfig(name="mine", subjects=["$KV.antiphon-transceivers.>"]))
    running = asyncio.create_task(StoreKeeper(bare, REGION_STORES).run())
    await until_whole(bare, 5, without="KV_antiphon-transceivers")
    await tasks.end(running)
    assert caplog.text.count("antiphon-transceivers can't be made") == 1


async def test_a_deleted_store_is_made_again(bare: Client, nats_url: str) -> None:
    async with client_of(nats_url) as client, keeper_of(nats_url):
        js = client.jetstream()
        for name in STREAMS:
            await js.delete_stream(name)
        await until_whole(client)


async def test_a_server_that_comes_back_empty_gets_them_again(tmp_path: Path) -> None:
    with nats_server(tmp_path / "first", stores=False) as url:
        port = int(url.rpartition(":")[2])
        keeping = keeper_of(url)
        await keeping.__aenter__()
        os.kill(server_pid(tmp_path / "first"), signal.SIGKILL)
    with nats_server(tmp_path / "second", port, stores=False):
        async with client_of(url) as client:
            await until_whole(client)
        await keeping.__aexit__(None, None, None)


async def test_what_is_gone_after_a_pause_of_the_server_is_made_again(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats", stores=False) as url:
        async with client_of(url) as client, keeper_of(url):
            await client.jetstream().delete_stream(subjects.STREAM_RECENT_AUDIO)
            with stopped(server_pid(tmp_path / "nats")):
                await asyncio.sleep(4.0)  # longer than the server may be silent: the connections are given up
            await until(lambda: client.is_connected, 10)
            await until_whole(client)


async def test_the_command_makes_them_and_ends_with_a_signal(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats", stores=False) as url:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "antiphon.cli", "setup"],
            env=os.environ | {"ANTIPHON_NATS_URL": url},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with client_of(url) as client:
                await until_whole(client, 20)
        finally:
            process.terminate()
            _, log = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    assert f"all {len(REGION_STORES)} buckets and streams are there" in log.decode()


# ---- those who open them ---------------------------------------------------------------------------------


async def test_a_bucket_that_is_missing_is_said_once_and_found_when_it_comes(
    bare: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    js = bare.jetstream()
    for _ in range(3):
        with pytest.raises(BucketNotFoundError):
            await buckets.bucket(js, subjects.BUCKET_RELAYS)
    waiting = asyncio.create_task(buckets.bucket(js, subjects.BUCKET_RELAYS, wait=20))
    await store_keeper.make(bare)
    await (await waiting).put("r", b"1")
    assert caplog.text.count("bucket antiphon-relays is missing: start `antiphon setup`") == 1
    assert caplog.text.count("bucket antiphon-relays is there") == 1


async def test_a_lease_is_written_as_soon_as_there_is_a_bucket(tmp_path: Path) -> None:
    async def take(lease: Lease) -> bool:
        return True

    with nats_server(tmp_path, stores=False) as url:
        async with client_of(url) as client:
            keeper = LeaseKeeper(client, "echo", take, lambda session: None, lambda: 10)
            await keeper.start()
            await keeper.hold(
                Lease(session_id="rtc_call", agent="echo", instance=keeper.instance, input_rate=24000, session={})
            )
            assert keeper.holds("rtc_call")
            assert "KV_antiphon-leases" not in await stores.present_streams(client), "no agent makes a bucket"
            make_stores(url)
            await until(lambda: not keeper.table["rtc_call"].dirty, 10)
            await keeper.close()


async def test_all_entries_are_read_without_those_that_were_deleted(nats_url: str) -> None:
    async with client_of(nats_url) as client:
        kv = await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)
        assert await buckets.entries(client, subjects.BUCKET_LEASES, "echo.*") == []
        for number in range(40):
            await kv.put(f"echo.{number}", str(number).encode())
        await kv.put("other.1", b"not ours")
        await kv.delete("echo.7")
        found = await buckets.entries(client, subjects.BUCKET_LEASES, "echo.*")
        assert {entry.key: entry.value for entry in found} == {
            f"echo.{number}": str(number).encode() for number in range(40) if number != 7
        }
        assert {entry.key for entry in await buckets.read_all(client.jetstream(), subjects.BUCKET_LEASES)} == {
            "other.1",
            subjects.LEASE_STORAGE_KEY,
            *(entry.key for entry in found),
        }


async def test_a_watch_gives_what_is_there_and_what_comes(nats_url: str) -> None:
    async with client_of(nats_url) as client:
        kv = await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)
        await kv.put("echo.1", b"before")
        async with buckets.watched(client, subjects.BUCKET_LEASES, "echo.*") as written, asyncio.timeout(10):
            assert (await anext(written)).value == b"before"
            await kv.put("other.1", b"not ours")
            await kv.delete("echo.1")
            await kv.put("echo.2", b"after")
            assert (await anext(written)).key == "echo.2"


# ---- what NATS can allow an agent --------------------------------------------------------------------------

OTHERS_AUDIO = subjects.audio_in("other", "rtc_other")
OF_ECHO = json.dumps(
    {
        "publish": [
            "$KV.antiphon-leases.echo.*",
            "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.antiphon-leases.echo.*",
            "$JS.API.CONSUMER.CREATE.KV_antiphon-leases.*.$KV.antiphon-leases.echo.*",
            f"$JS.API.CONSUMER.CREATE.antiphon-recent-audio.*.{subjects.audio_in('echo', 'rtc_echo')}",
        ],
        "subscribe": ["_INBOX.>"],
    }
)
USERS = f"""
authorization {{ users = [
  {{ user: all, password: all }}
  {{ user: echo, password: echo, permissions: {OF_ECHO} }}
] }}
"""


@pytest.fixture
async def agent_and_all(tmp_path: Path) -> AsyncIterator[tuple[Client, Client]]:
    """The connection of the agent `echo`, and one that may do everything; both have a lease and a frame in NATS."""
    with nats_server(tmp_path / "nats", settings=USERS, stores=False) as url:
        everything = url.replace("nats://", "nats://all:all@")
        make_stores(everything)
        async with client_of(everything) as client, client_of(url.replace("nats://", "nats://echo:echo@")) as echo:
            kv = await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)
            for agent in ("echo", "other"):
                await kv.put(subjects.lease_key(agent, f"rtc_{agent}"), f"words of {agent}".encode())
                frame = AudioFrame(
                    sequence=7, first_sample=0, captured_ns=0, rate=24000, flags=0, generation=0, pcm=bytes(960)
                )
                await client.publish(subjects.audio_in(agent, f"rtc_{agent}"), pack_frame(frame))
            while not await recent_audio.read(client, "other", "rtc_other"):
                pass  # the stream takes frames a moment after NATS has them
            yield echo, client


async def test_an_agent_needs_no_more_rights_than_for_its_own_leases_and_its_callers_audio(
    agent_and_all: tuple[Client, Client],
) -> None:
    echo, _ = agent_and_all
    kv = await buckets.bucket(echo.jetstream(), subjects.BUCKET_LEASES, "echo._")
    assert (await kv.get("echo.rtc_echo")).value == b"words of echo"
    found = await buckets.entries(echo, subjects.BUCKET_LEASES, subjects.lease_keys("echo"))
    assert [entry.value for entry in found] == [b"words of echo"]
    assert [frame.sequence for frame in await recent_audio.read(echo, "echo", "rtc_echo")] == [7]
    await kv.put("echo.rtc_echo", b"new words")


@pytest.mark.parametrize(
    ("subject", "config"),
    [
        ("CONSUMER.CREATE.KV_antiphon-leases.x.$KV.antiphon-leases.other.*", "$KV.antiphon-leases.other.*"),
        ("CONSUMER.CREATE.KV_antiphon-leases.x.$KV.antiphon-leases.echo.*", "$KV.antiphon-leases.other.*"),
        ("CONSUMER.CREATE.KV_antiphon-leases.x.$KV.antiphon-leases.echo.*", ["$KV.antiphon-leases.>"]),
        ("CONSUMER.CREATE.KV_antiphon-leases.x.$KV.antiphon-leases.>", "$KV.antiphon-leases.>"),
        ("CONSUMER.CREATE.KV_antiphon-leases.x", "$KV.antiphon-leases.>"),
        ("CONSUMER.CREATE.KV_antiphon-leases", "$KV.antiphon-leases.>"),
        ("CONSUMER.DURABLE.CREATE.KV_antiphon-leases.x", "$KV.antiphon-leases.>"),
        ("DIRECT.GET.KV_antiphon-leases.$KV.antiphon-leases.other.rtc_other", None),
        ("DIRECT.GET.KV_antiphon-leases.$KV.antiphon-leases.>", None),
        ("STREAM.INFO.KV_antiphon-leases", None),
        ("STREAM.MSG.GET.KV_antiphon-leases", None),
        ("STREAM.DELETE.KV_antiphon-leases", None),
        ("STREAM.PURGE.KV_antiphon-leases", None),
        ("CONSUMER.CREATE.antiphon-recent-audio.x", ""),
        (f"CONSUMER.CREATE.antiphon-recent-audio.x.{OTHERS_AUDIO}", OTHERS_AUDIO),
    ],
)
async def test_nothing_of_another_agent_is_read_or_deleted(
    agent_and_all: tuple[Client, Client], subject: str, config: str | list[str] | None
) -> None:
    echo, client = agent_and_all
    received: list[bytes] = []

    async def receive(message: object) -> None:
        received.append(message.data)  # type: ignore[attr-defined]

    inbox = echo.new_inbox()
    await echo.subscribe(inbox, cb=receive)
    body: dict[str, object] = {}
    if config is not None:
        stream = next(token for token in subject.split(".") if token.startswith(("KV_", "antiphon-recent")))
        filtered = {"filter_subjects": config} if isinstance(config, list) else {"filter_subject": config}
        of = {"name": "x", "deliver_subject": inbox, "ack_policy": "none", "deliver_policy": "all"}
        body = {"stream_name": stream, "config": {**of, **filtered}}
    answer = echo.new_inbox()
    await echo.subscribe(answer, cb=receive)
    payload = json.dumps(body).encode() if body else b""
    await echo.publish(f"$JS.API.{subject}", payload, reply=answer)
    await connection.flush(echo)
    await asyncio.sleep(0.05)  # what would come comes at once
    await connection.flush(echo)
    assert b"words of other" not in b"".join(received)
    assert not any(b'"num_pending"' in each for each in received), "no consumer was made"
    kv = await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)
    assert (await kv.get("other.rtc_other")).value == b"words of other"


@pytest.mark.parametrize("folder", ["services", "sdk", "demo", "examples"])
def test_no_service_and_no_agent_makes_a_bucket_or_stream(folder: str) -> None:
    makers = ("create_key_value", "add_stream", "update_stream", "delete_stream", "STREAM.CREATE", "stores import")
    for path in (ROOT / folder).rglob("*"):
        if path.suffix in (".py", ".js", ".mjs") and not {"node_modules", "testing"} & set(path.parts):
            assert not [each for each in makers if each in path.read_text()], path
