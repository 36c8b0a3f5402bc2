"""What leases hold of calls: sealed with keys of its own, refused where it can't be trusted, and gone with the call."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError
from support.conditions import until
from support.processes.nats import nats_server

from antiphon.cli import keys
from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions.keeper import LeaseKeeper
from antiphon.runtime.agent_sessions.lease_crypto import LeaseCrypto, LeaseKeyError, SealedLeaseError, from_environment
from antiphon.runtime.nats import buckets, connection, store_keeper, stores
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import Lease

SENTENCE = "my account number is four seven eleven"
KEYS = "A:" + "5e" * 32
OTHERS = "A:" + "af" * 32
LEASE = Lease(
    session_id="rtc_call",
    agent="echo",
    instance="one",
    session={"instructions": "be kind"},
    state={"said": SENTENCE},
    takeovers=2,
)


# ---- the keys and the seal -------------------------------------------------------------------------------


@pytest.mark.pure
def test_a_sealed_lease_shows_its_holder_and_nothing_of_the_call() -> None:
    sealed = LeaseCrypto(KEYS).seal(LEASE)
    written = messages.encode(sealed)
    assert (sealed.session, sealed.state) == ({}, {})
    assert b"account" not in written
    assert b"kind" not in written
    assert (sealed.instance, sealed.takeovers) == ("one", 2)
    assert LeaseCrypto(KEYS).open(messages.decode(written, Lease)) == LEASE


@pytest.mark.pure
def test_a_rotated_key_opens_what_the_one_before_sealed_and_no_older_one() -> None:
    first = LeaseCrypto(KEYS).seal(LEASE)
    second = keys.rotated_lease_keys(KEYS)
    assert LeaseCrypto(second).open(first) == LEASE
    assert LeaseCrypto(second).seal(LEASE).sealed[0] == "B"
    with pytest.raises(SealedLeaseError, match="key 'A' is not in ANTIPHON_LEASE_KEY_FILE"):
        LeaseCrypto(keys.rotated_lease_keys(second)).open(first)


@pytest.mark.pure
@pytest.mark.parametrize(
    "changed",
    [
        {"session_id": "rtc_other"},
        {"agent": "other"},
        {"sealed": "A"},
        {"sealed": "A!!!!"},
        {"sealed": "A" + base64.b64encode(bytes(11)).decode()},
        {"sealed": "A" + base64.b64encode(bytes(60)).decode()},
        {"sealed": "", "state": {"said": "transfer everything"}},
        {"sealed": "", "session": {"instructions": "be unkind"}},
    ],
)
def test_a_lease_of_another_place_or_a_changed_one_or_one_in_clear_is_refused(changed: dict[str, object]) -> None:
    crypto = LeaseCrypto(KEYS)
    with pytest.raises(SealedLeaseError):
        crypto.open(crypto.seal(LEASE).model_copy(update=changed))


@pytest.mark.pure
def test_another_key_under_the_same_name_opens_nothing() -> None:
    with pytest.raises(SealedLeaseError, match="another key sealed it"):
        LeaseCrypto(OTHERS).open(LeaseCrypto(KEYS).seal(LEASE))


@pytest.mark.pure
@pytest.mark.parametrize(
    "text", ["", "A", "A:00", KEYS + ",", f"{KEYS},{KEYS}", "A:" + "0" * 63 + "g", KEYS.upper()[1:]]
)
def test_a_key_file_that_can_t_be_used_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lease"
    path.write_text(text)
    path.chmod(0o400)
    with pytest.raises(LeaseKeyError, match=f"ANTIPHON_LEASE_KEY_FILE {path}: expected one key"):
        from_environment({"ANTIPHON_LEASE_KEY_FILE": str(path)})


@pytest.mark.pure
def test_a_key_file_that_others_may_read_or_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    environment = {"ANTIPHON_LEASE_KEY_FILE": str(path)}
    with pytest.raises(LeaseKeyError, match="can't be read: No such file"):
        from_environment(environment)
    keys.write_secret(path, KEYS, None)
    assert from_environment(environment) is not None
    path.chmod(0o440)
    with pytest.raises(LeaseKeyError, match="chmod 0400"):
        from_environment(environment)


# ---- on NATS -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def server(directory: Path, on_disk: bool) -> AsyncIterator[tuple[str, Client]]:
    """NATS with leases in memory or on disk, and a connection that may do everything."""
    with nats_server(directory, stores=False) as url:
        client = await connection.connect(url, "setup")
        await store_keeper.make(client, stores.stores_for("file" if on_disk else "memory", 600))
        yield url, client
        await client.close()


@asynccontextmanager
async def instance(
    url: str, name: str, crypto: LeaseCrypto | None, taken: Callable[[Lease], object] = lambda lease: None
) -> AsyncIterator[LeaseKeeper]:
    async def take(lease: Lease) -> bool:
        taken(lease)
        return True

    client = await connection.connect(url, name)
    keeper = LeaseKeeper(client, "echo", take, lambda session: None, lambda: 10, name, crypto)
    await keeper.start()
    try:
        yield keeper
    finally:
        await tasks.end(*keeper._tasks)
        await client.close()


async def say(keeper: LeaseKeeper) -> None:
    await keeper.hold(LEASE.model_copy(update={"instance": keeper.instance, "state": {}}))
    keeper.save("rtc_call", {"said": SENTENCE})
    await until(lambda: not keeper.table["rtc_call"].dirty, 10)


def on_disk(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.rglob("*") if file.is_file())


@pytest.mark.process
@pytest.mark.parametrize("sealed", [False, True])
async def test_no_word_of_a_call_reaches_the_disk_of_nats(tmp_path: Path, sealed: bool) -> None:
    async with server(tmp_path, on_disk=sealed) as (url, client):
        async with instance(url, "one", LeaseCrypto(KEYS) if sealed else None) as keeper:
            await say(keeper)
            assert SENTENCE.encode() not in on_disk(tmp_path)
            assert (b'"instance":"one"' in on_disk(tmp_path)) == sealed, "else this test looks at the wrong place"
            await keeper.release("rtc_call")
        assert SENTENCE.encode() not in on_disk(tmp_path)
        left = await client.jetstream().get_last_msg("KV_antiphon-leases", "$KV.antiphon-leases.echo.rtc_call")
        assert left.data in (None, b""), "a marker that the lease was deleted, without anything of it"
        state = (await client.jetstream().stream_info("KV_antiphon-leases", subjects_filter=">")).state
        assert state.subjects == {"$KV.antiphon-leases.echo.rtc_call": 1, "$KV.antiphon-leases.storage": 1}


@pytest.mark.process
async def test_without_a_key_nothing_of_a_call_is_written_to_a_disk_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server(tmp_path, on_disk=True) as (url, client):
        async with instance(url, "one", None) as keeper:
            await say(keeper)
        kv = await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)
        lease = messages.decode((await kv.get("echo.rtc_call")).value or b"", Lease)
        assert (lease.instance, lease.session, lease.state) == ("one", {}, {})
        assert SENTENCE.encode() not in on_disk(tmp_path)
    assert caplog.text.count("ANTIPHON_LEASE_KEY_FILE is not set here") == 1


@pytest.mark.process
async def test_a_bucket_that_is_made_anew_on_disk_gets_no_word_in_clear(tmp_path: Path) -> None:
    async with server(tmp_path, on_disk=False) as (url, client), instance(url, "one", None) as keeper:
        await say(keeper)
        await store_keeper.make(client, stores.stores_for("file", 600))
        keeper.save("rtc_call", {"said": SENTENCE, "more": 1})
        await keeper.hold(LEASE.model_copy(update={"session_id": "rtc_new", "instance": "one"}))
        kv = await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)
        async with asyncio.timeout(10):
            for key in ("echo.rtc_call", "echo.rtc_new"):
                while True:
                    try:
                        assert b'"instance":"one"' in ((await kv.get(key)).value or b"")
                        break
                    except KeyNotFoundError:
                        await asyncio.sleep(0.05)
        assert SENTENCE.encode() not in on_disk(tmp_path)


@pytest.mark.process
async def test_an_instance_with_the_key_goes_on_with_what_was_said(tmp_path: Path) -> None:
    taken: list[Lease] = []
    two = LeaseCrypto(keys.rotated_lease_keys(KEYS))
    async with server(tmp_path, on_disk=True) as (url, _), instance(url, "two", two, taken.append):
        async with instance(url, "one", LeaseCrypto(KEYS)) as keeper:
            await say(keeper)
        await until(lambda: taken, 15)
    assert (taken[0].state, taken[0].session) == ({"said": SENTENCE}, LEASE.session)


@pytest.mark.process
@pytest.mark.parametrize(
    ("writer", "reader", "why"),
    [
        (KEYS, OTHERS, "another key sealed it"),
        (KEYS, None, "it is encrypted, and ANTIPHON_LEASE_KEY_FILE is not set here"),
        (None, KEYS, "it is in clear"),
    ],
    ids=["another key", "no key", "downgrade"],
)
async def test_a_lease_that_can_t_be_trusted_is_named_and_its_call_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, writer: str | None, reader: str | None, why: str
) -> None:
    caplog.set_level(logging.ERROR)
    taken: list[Lease] = []
    two = LeaseCrypto(reader) if reader else None
    async with server(tmp_path, on_disk=False) as (url, _), instance(url, "two", two, taken.append):
        async with instance(url, "one", LeaseCrypto(writer) if writer else None) as keeper:
            await say(keeper)
        await until(lambda: "lease echo.rtc_call is refused" in caplog.text, 15)
    assert why in caplog.text
    assert not taken
