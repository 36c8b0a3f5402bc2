"""The second connection, to the hub: its settings, and that it comes and goes without disturbing the first."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import pytest
from support.conditions import until
from support.processes.nats import nats_server, server_pid, stopped

from antiphon.runtime.nats import buckets, connection, setup, stores
from antiphon.runtime.nats.access import AccessError
from antiphon.runtime.nats.hub import connect_hub, hub_access
from antiphon.runtime.nats.hub_settings import HubSettings
from antiphon.schemas import subjects
from antiphon.testing.stores import make_hub_stores

pytestmark = pytest.mark.process

URL = "ANTIPHON_HUB_NATS_URL"


def test_without_an_address_there_is_no_hub() -> None:
    assert hub_access("relay", {}) is None
    assert hub_access("relay", {URL: " "}) is None
    assert HubSettings(hub_nats_url="").hub() is None


def test_both_readers_name_the_same_servers_and_a_role_of_its_own() -> None:
    found = hub_access("relay", {URL: "nats://one:4222, nats://two:4222"})
    assert found is not None
    assert found.urls == ("nats://one:4222", "nats://two:4222")
    assert found.access.inbox_prefix == "_INBOX_hub_relay"
    settings = HubSettings(hub_nats_url="nats://one:4222,nats://two:4222").hub()
    assert settings is not None
    assert settings.urls == found.urls


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({URL: "nats://one:4222,"}, f"{URL}: '' is no NATS address"),
        ({URL: "http://user:secret@one"}, f"{URL}: 'http://one' is no NATS address"),
        ({URL: "one", "ANTIPHON_HUB_NATS_CREDENTIALS": "/nowhere"}, "ANTIPHON_HUB_NATS_CREDENTIALS /nowhere can't be"),
        ({URL: "one", "ANTIPHON_HUB_NATS_TLS_CERT": "/nowhere"}, "ANTIPHON_HUB_NATS_TLS_KEY go together"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment: dict[str, str], said: str) -> None:
    with pytest.raises(AccessError, match=said):
        hub_access("relay", environment)


async def test_the_hub_comes_and_goes_and_the_region_notices_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not there at the start, then there, then standing still, then gone."""
    with nats_server(tmp_path / "region") as region_url:
        with nats_server(tmp_path / "hub", stores=False) as hub_url:
            pass
        port = int(hub_url.rpartition(":")[2])
        region = await connection.connect(region_url, "relay")
        lost: list[Exception] = []

        async def count(error: Exception) -> None:
            lost.append(error)

        region._error_cb = count
        found = hub_access("relay", {URL: hub_url})
        assert found is not None
        with caplog.at_level(logging.WARNING):
            hub = connect_hub(found, "relay")
            await until(lambda: "nats of the hub: " in caplog.text)
        assert hub.client is None
        with nats_server(tmp_path / "hub", port, stores=False) as hub_url:
            make_hub_stores(hub_url)
            client = await hub.connected()
            kv = await buckets.bucket(client.jetstream(), subjects.BUCKET_NUMBERS)
            await kv.create("ingress.1", b"relay")
            with stopped(server_pid(tmp_path / "hub")):
                await until(lambda: hub.client is None)
                await region.flush()
            await until(lambda: hub.client is not None)
            assert (await kv.get("ingress.1")).value == b"relay"
        await until(lambda: hub.client is None)
        await region.flush()
        assert region.is_connected
        assert not lost
        await hub.close()
        await region.close()


async def test_a_hub_that_comes_back_empty_has_its_buckets_again_by_the_command(tmp_path: Path) -> None:
    with nats_server(tmp_path / "first", stores=False) as url:
        port = int(url.rpartition(":")[2])
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "antiphon.cli", "setup", "--hub"],
            env=os.environ | {URL: url, "ANTIPHON_HUB_REPLICAS": "1", "ANTIPHON_NATS_URL": "nats://127.0.0.1:1"},
            stderr=asyncio.subprocess.PIPE,
        )
        await _until_whole(url, 20)
        os.kill(server_pid(tmp_path / "first"), signal.SIGKILL)
    with nats_server(tmp_path / "second", port, stores=False):
        await _until_whole(url, 2)
        process.terminate()
        _, log = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    assert "all 2 buckets and streams are there" in log.decode()


async def _until_whole(url: str, seconds: float) -> None:
    client = await connection.connect(url, "looks")
    async with asyncio.timeout(seconds):
        wanted = {store.stream for store in stores.hub_stores(1).values()}
        while await stores.present_streams(client) != wanted:  # noqa: ASYNC110 - another process makes them
            await asyncio.sleep(0.05)
    await client.close()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "ANTIPHON_HUB_NATS_URL: set it"),
        ({URL: "one,,two"}, "ANTIPHON_HUB_NATS_URL: '' is no NATS address"),
        ({URL: "one", "ANTIPHON_HUB_REPLICAS": "2"}, "ANTIPHON_HUB_REPLICAS: '2' is none of 1, 3 and 5"),
    ],
)
def test_the_command_names_a_setting_that_it_cannot_use(
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(URL, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert setup.main(hub=True) == setup.BAD_SETTINGS
    assert said in capsys.readouterr().err


def test_a_region_that_no_subject_can_hold_is_refused() -> None:
    assert HubSettings(region="eu-1").nats_access("signaling").inbox_prefix == "_INBOX_signaling.eu-1"
    assert HubSettings().nats_access("signaling").inbox_prefix == "_INBOX_signaling"
    for name in ("eu.1", "*", ">", "a b", "x" * 65):
        with pytest.raises(ValueError, match="ANTIPHON_REGION"):
            HubSettings(region=name)


async def test_an_attempt_to_connect_ends_with_the_process() -> None:
    found = hub_access("relay", {URL: "nats://127.0.0.1:1"})
    assert found is not None
    hub = connect_hub(found, "relay")
    await asyncio.sleep(0)
    await hub.close()
    assert hub.client is None
    assert all(task.get_name() != "hub" for task in asyncio.all_tasks())
