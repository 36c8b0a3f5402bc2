"""Prepared calls of our client through signaling, relay and transceiver, all real, with a client secret."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from antiphon.bench.calls.echo_agent import ECHO
from antiphon.bench.calls.own_stack import OwnStack, own_stack
from antiphon.cli.call.webrtc_client import Peer
from antiphon.cli.errors import RefusedCallError

pytestmark = pytest.mark.process

KEY = "sk-0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnStack]:
    directory = tmp_path_factory.mktemp("stack")
    with own_stack(directory, settings={"ANTIPHON_API_KEYS": KEY}) as running:
        running.relay()
        running.signaling(ECHO)
        running.echo()
        running.transceiver()
        running.until_healthy()
        yield running


def secret(stack: OwnStack) -> str:
    headers = {"Authorization": f"Bearer {KEY}"}
    return str(httpx.post(f"{stack.url}/v1/realtime/client_secrets", json={}, headers=headers).json()["value"])


def status(stack: OwnStack, session_id: str, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    return str(httpx.get(f"{stack.url}/v1/realtime/calls/{session_id}", headers=headers).json()["status"])


async def refused(stack: OwnStack, token: str) -> bool:
    peer = Peer(lambda _: None, lambda _: None)
    try:
        await peer.connect(stack.url, key=token)
    except RefusedCallError as error:
        return error.status == 401
    finally:
        await peer.close()
    return False


async def test_a_prepared_call_needs_no_http_at_the_click_and_is_its_secret_s_one_call(stack: OwnStack) -> None:
    token = secret(stack)
    tired, peer = Peer(lambda _: None, lambda _: None), Peer(lambda _: None, lambda _: None)
    await tired.prepare(stack.url, key=token)
    await peer.prepare(stack.url, key=token)  # a newer one, which takes the use over
    await peer.connect(stack.url, key=token)
    assert peer.used_prepared
    assert peer.answer_ms < 5
    assert peer.setup_ms > 0
    assert status(stack, peer.session_id, token) == "running"
    assert await refused(stack, token)
    await peer.close()
    assert await refused(stack, token), "also after its end"
    await tired.vanish()


@pytest.mark.nightly
async def test_where_nobody_answers_an_ordinary_call_is_placed_and_the_secret_is_good_for_it(
    tmp_path: Path,
) -> None:
    with own_stack(tmp_path, settings={"ANTIPHON_API_KEYS": KEY}) as stack:
        stack.relay()
        stack.signaling(ECHO)
        stack.echo()
        first = stack.transceiver()
        stack.until_healthy()
        token = secret(stack)
        peer = Peer(lambda _: None, lambda _: None)
        await peer.prepare(stack.url, key=token)
        stack.kill(first)
        stack.transceiver()
        async with asyncio.timeout(30):
            while not peer.connected.is_set():
                with contextlib.suppress(RefusedCallError):  # no transceiver is announced yet, but the one that is dead
                    await peer.connect(stack.url, key=token)
        assert not peer.used_prepared
        assert status(stack, peer.session_id, token) == "running"
        await peer.close()
        assert await refused(stack, token)
