"""A NAT gives the client another port: it is received from there at once, and sent to once it has answered us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import HEADER, RELAY, MovingCall, loudness

from antiphon.rtc import stun
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.ice.client_addresses import MAX_UNCHECKED

pytestmark = pytest.mark.virtual


def address(number: int) -> bytes:
    return tunnel.pack_header(Address("198.51.100.7", 7000 + number))


@pytest.fixture
async def call() -> AsyncIterator[MovingCall]:
    """Both speak; the client's checks are as rare as Firefox's, so that none comes in the time of a test."""
    call = MovingCall()
    await call.connect()
    call.drop_up = lambda data: data[:2] == b"\0\1"
    call.peer.speak(tone(30))
    for frame in speech(25):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(1)
    yield call
    await call.stop()


@pytest.mark.parametrize("to", [address(1), tunnel.pack_header(Address("2001:db8::1", 9))], ids=["port", "IPv6"])
async def test_speech_goes_on_both_ways_from_the_new_port_before_any_check(call: MovingCall, to: bytes) -> None:
    heard = len(call.heard)
    call.header = to
    await asyncio.sleep(0.5)
    assert sum(level > 4000 for level in loudness(call.heard[heard:])) > 22, "all of it but what the network has"
    assert call.session.ice.path == Path(to, RELAY)
    assert not call.session.ice.limited
    assert call.session.state.path_header == to
    before = len(call.peer.frames)
    await asyncio.sleep(1)
    assert len(call.peer.frames) - before > 45
    assert b"" in call.sent_to[to], "a bare header: the relay learns the flow by it"


async def test_a_client_that_answers_no_check_of_ours_is_received_and_answered_after_its_own(call: MovingCall) -> None:
    call.peer.answers_checks = False
    heard = len(call.heard)
    call.header = address(1)
    await asyncio.sleep(3)
    assert sum(level > 4000 for level in loudness(call.heard[heard:])) > 140
    assert call.session.ice.path == Path(HEADER, RELAY)
    call.drop_up = lambda data: False
    call.peer.check()
    await asyncio.sleep(0.2)
    assert call.session.ice.path == Path(address(1), RELAY)


async def test_an_observer_that_is_faster_than_the_client_takes_no_downlink(call: MovingCall) -> None:
    """Each packet of the client comes from the observer's address first, which can't answer our checks."""
    real = call._to_session

    def overtaken(data: bytes) -> None:
        if 127 < data[0] < 192:
            call.arrives(address(1), data)
        real(data)

    call._to_session = overtaken  # type: ignore[method-assign]
    frames, heard = len(call.peer.frames), len(call.heard)
    await asyncio.sleep(5)
    assert call.session.ice.path == Path(HEADER, RELAY)
    assert len(call.peer.frames) - frames > 240
    assert len(call.heard) - heard > 240
    assert all(data == b"" or data[:2] == b"\0\1" for data in call.sent_to[address(1)]), "checks alone"
    assert len(call.sent_to[address(1)]) < 30
    assert call.ended is None


async def test_a_replay_from_elsewhere_makes_nothing_known(call: MovingCall) -> None:
    taken: list[bytes] = []
    real = call._to_session

    def recorded(data: bytes) -> None:
        taken.append(data)
        real(data)

    call._to_session = recorded  # type: ignore[method-assign]
    await asyncio.sleep(1)
    for number in range(100):
        for data in taken[-5:]:
            call.arrives(address(number), data)
        await asyncio.sleep(0.02)
    assert call.session.ice.headers == (HEADER,)
    assert list(call.sent_to) == [HEADER]
    assert call.registry.counters.unknown_client > 100


async def test_packets_of_unknown_addresses_are_looked_for_within_a_rate_and_forged_ones_do_nothing(
    call: MovingCall,
) -> None:
    srtp = call.session.state.srtp
    assert srtp is not None
    ahead = (srtp.remote_index + 100 & 0xFFFF).to_bytes(2, "big")
    forged = bytes([0x80, 111]) + ahead + bytes(4) + srtp.remote_ssrc.to_bytes(4, "big") + bytes(80)
    refused = call.session.statistics().packets_refused
    for number in range(3000):
        call.arrives(address(number), forged)
    assert 0 < call.session.statistics().packets_refused - refused <= 400
    assert call.session.ice.headers == (HEADER,)
    assert call.session.statistics().packets_over_budget == 0


async def test_addresses_without_a_check_are_few_and_displace_no_checked_one(call: MovingCall) -> None:
    call.peer.answers_checks = False
    for number in range(20):
        call.header = address(number)
        await asyncio.sleep(0.1)
    assert len(call.session.ice.headers) <= 1 + MAX_UNCHECKED
    assert HEADER in call.session.ice.headers
    assert sum(call.registry.owner_of(address(number)) is not None for number in range(20)) <= MAX_UNCHECKED


async def test_a_check_of_ours_on_the_new_port_is_within_what_came_from_there(call: MovingCall) -> None:
    call.peer.answers_checks = False
    came = 0
    call.header = to = address(3)
    real = call._to_session

    def counted(data: bytes) -> None:
        nonlocal came
        came += len(data)
        real(data)
        assert sum(map(len, call.sent_to.get(to, ()))) <= came

    call._to_session = counted  # type: ignore[method-assign]
    await asyncio.sleep(3)
    requests = [data for data in call.sent_to[to] if stun.message_type(data) == stun.BINDING_REQUEST]
    assert 8 <= len(requests) <= 14
