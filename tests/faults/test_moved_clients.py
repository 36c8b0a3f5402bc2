"""Clients whose packets come from elsewhere, or to another relay, in mid-call: the call goes on.

Real stack, real clients; between them a NAT that forgets its ports, or a load balancer that re-hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.errors import NoRespondersError
from playwright.sync_api import Page, Route
from support.browsers.chromium import chromium_page, wait_for
from support.browsers.echo_call import longest_gap, packets_received, start_echo_call
from support.conditions import until
from support.models.sounds import tone
from support.models.voice import babble, write_microphone
from support.net.middlebox import Middlebox, middlebox, with_relay
from support.processes.more_relays import another_relay
from support.processes.relay_process import Datagrams
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.webrtc_client import Peer
from antiphon.cli.errors import CallError
from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import subjects
from antiphon.schemas.addresses import Address
from antiphon.schemas.messages import RelayStatistics, decode

pytestmark = [pytest.mark.realtime, pytest.mark.models]

CHECK_SECONDS = 2.7
"""Between two consent checks, of Chromium (2.66 s) and of `Peer` (2.5 s)."""
PATIENCE = 2.0
"""Seconds on top of what was measured, for machines that do more at once."""
FEW_PACKETS = 15
"""0.3 s of audio."""
HELLOS = 4
"""That a relay sends to a transceiver that is new to it; after these nobody tells it anything unasked."""

FLOWS_OF_A_TOKEN = 16


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as running:
        yield running


@pytest.fixture(scope="module")
def relay(stack: Stack) -> Address:
    return stack.relay()


@asynccontextmanager
async def peer_call(stack: Stack, box: Middlebox) -> AsyncIterator[tuple[Peer, Listener]]:
    """A call of our client through the box, in which it hears its own voice."""
    async with asyncio.timeout(30):
        while True:  # an agent that a busy machine has made late declines for some seconds
            listener = Listener()
            peer = Peer(listener.audio, listener.message)
            try:
                await peer.connect(stack.url, "echo", relay=box.address)
                break
            except CallError as error:
                await peer.close()
                print(error)
                if "did not take the call" not in str(error):
                    raise
                await asyncio.sleep(1)  # as the answer's Retry-After asks for
    try:
        peer.speak(tone(60))
        await until(lambda: listener.last_audible is not None)
        yield peer, listener
    finally:
        await peer.close()


async def until_heard_anew(listener: Listener) -> None:
    """Until the echo is heard for a second beyond now."""
    before = listener.last_audible
    assert before is not None
    await until(lambda: listener.last_audible is not None and listener.last_audible > before + 1, 30)


async def without_checks(peer: Peer) -> None:
    """From here on nothing but its media can make this client known."""
    await tasks.end(peer._tasks[0])


@asynccontextmanager
async def statistics_of(stack: Stack, name: str) -> AsyncIterator[Callable[[], RelayStatistics]]:
    """A relay's counters, asked for all the time."""
    client = await connection.connect(stack.nats_url, "test", stack.access("operator"))
    latest: list[RelayStatistics] = []

    async def ask() -> None:
        while True:
            with contextlib.suppress(NoRespondersError):  # it is announced a moment before it answers
                answer = await client.request(subjects.relay_stats(name), b"", timeout=30)
                latest[:] = [decode(answer.data, RelayStatistics)]
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    try:
        await until(lambda: latest)
        yield lambda: latest[0]
    finally:
        await tasks.end(asking)
        await client.close()


# ---- NAT -------------------------------------------------------------------------------------------------


async def test_a_call_goes_on_at_its_new_address_when_a_nat_forgets_the_old_one(stack: Stack, relay: Address) -> None:
    with middlebox(relay) as box:
        async with peer_call(stack, box) as (peer, listener):
            ports = box.ports()
            box.rebind()
            at = time.monotonic()
            await until(lambda: listener.last_audible is not None and listener.last_audible > at + 0.5, 30)
            assert not box.ports() & ports
            assert peer.speaking, "the caller had to stop first"
            assert not peer.closed.is_set()


def through(box: Middlebox) -> Callable[[Route], None]:
    """Let the page take the box for the one relay that its answer offers."""

    def fulfil(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=with_relay(reply.text(), box.address))

    return fulfil


def call(page: Page, stack: Stack, box: Middlebox) -> None:
    """The page's call through the box, with the echo heard."""
    page.route("**/v1/realtime/calls?*", through(box))
    start_echo_call(page, stack.url)


def test_chromium_hears_again_after_its_next_check_when_a_nat_forgets_its_port(
    stack: Stack, relay: Address, tmp_path: Path
) -> None:
    with middlebox(relay) as box, chromium_page(write_microphone(tmp_path / "babble.wav", babble(60))) as page:
        call(page, stack, box)
        ports, packets = box.ports(), packets_received(page)
        box.rebind()
        wait_for(page, f"arrivals.at(-1)[1] > {packets} + 50")
        gap = longest_gap(page)
        assert page.evaluate("antiphon.problem") is None
        assert not box.ports() & ports
    print(f"NAT rebinding: {gap:.2f} s without a packet")
    assert gap < CHECK_SECONDS + PATIENCE


# ---- a load balancer in front of two relays ---------------------------------------------------------------


@pytest.mark.nightly
async def test_a_call_that_is_hashed_to_another_relay_is_asked_for_and_loses_hardly_anything(
    stack: Stack, relay: Address, tmp_path: Path
) -> None:
    one_worker = {"ANTIPHON_RELAY_WORKERS": "1"}
    with another_relay(stack, tmp_path, settings=one_worker) as other, middlebox(relay) as box:
        async with statistics_of(stack, "another") as of_other:
            await until(lambda: of_other().hellos_sent >= HELLOS)
            async with peer_call(stack, box) as (peer, listener):
                await without_checks(peer)
                box.relay = other.udp
                await until(lambda: of_other().packets_to_transceivers > 80)
                assert of_other().flows_found == 1
                box.relay = relay  # and back, to one that still knows it
                there = of_other().packets_to_transceivers
                await until_heard_anew(listener)
                assert of_other().packets_to_transceivers - there < FEW_PACKETS
                assert (peer.lost_to_server or 0) < FEW_PACKETS


async def test_a_relay_that_joins_in_mid_call_knows_the_clients_of_the_others(
    stack: Stack, relay: Address, tmp_path: Path
) -> None:
    with middlebox(relay) as box:
        async with peer_call(stack, box) as (peer, _):
            await without_checks(peer)
            with another_relay(stack, tmp_path, settings={"ANTIPHON_RELAY_WORKERS": "1"}) as other:
                async with statistics_of(stack, "another") as of_other:
                    await until(lambda: of_other().hellos_sent >= HELLOS and of_other().flows_confirmed > 0)
                    box.relay = other.udp
                    await until(lambda: of_other().packets_to_transceivers > 80)
                    assert of_other().flows_found == 0
                    await until(lambda: of_other().packets_to_clients > 50)  # answers follow the client
                    assert (peer.lost_to_server or 0) < FEW_PACKETS
                    box.relay = relay


@pytest.mark.nightly
async def test_where_relays_do_not_learn_the_next_check_takes_the_call_to_another_one(
    stack: Stack, relay: Address, tmp_path: Path
) -> None:
    settings = {"ANTIPHON_RELAY_WORKERS": "1", "ANTIPHON_RELAY_LEARN": "0"}
    with another_relay(stack, tmp_path, settings=settings) as other, middlebox(relay) as box:
        async with statistics_of(stack, "another") as of_other, peer_call(stack, box) as (_, listener):
            box.relay = other.udp
            await until(lambda: of_other().packets_to_clients > 50)
            assert of_other().flows_found == 0
            assert of_other().hellos_sent == 0
            await until_heard_anew(listener)


def test_chromium_hardly_notices_a_load_balancer_that_takes_a_dead_relay_out(
    stack: Stack, relay: Address, tmp_path: Path
) -> None:
    with (
        another_relay(stack, tmp_path) as doomed,
        middlebox(doomed.udp) as box,
        chromium_page(write_microphone(tmp_path / "babble.wav", babble(60))) as page,
    ):
        call(page, stack, box)
        packets = packets_received(page)
        doomed.kill()
        box.relay = relay
        wait_for(page, f"arrivals.at(-1)[1] > {packets} + 50")
        gap = longest_gap(page)
        assert page.evaluate("antiphon.problem") is None
    print(f"dead relay taken out: {gap:.2f} s without a packet")
    assert gap < CHECK_SECONDS + PATIENCE


# ---- somebody on the way ----------------------------------------------------------------------------------


async def test_a_binding_request_that_is_replayed_from_many_addresses_is_answered_nowhere_and_harms_no_call(
    stack: Stack, relay: Address
) -> None:
    with middlebox(relay) as box:
        async with peer_call(stack, box) as (peer, listener), statistics_of(stack, "local") as of_relay:
            before = of_relay().flows_confirmed
            others = [Datagrams() for _ in range(60)]
            try:
                for other in others:
                    other.send(box.last_request, relay)
                await until(lambda: of_relay().flows_half_open > 0)
                # A worker counts the flows that it has, and none of these is confirmed.
                assert of_relay().flows_half_open <= FLOWS_OF_A_TOKEN * of_relay().workers
                assert of_relay().flows_confirmed <= before
                await until_heard_anew(listener)
                assert [other.waiting() for other in others] == [[]] * len(others)
            finally:
                for other in others:
                    other.close()
            assert peer.speaking
