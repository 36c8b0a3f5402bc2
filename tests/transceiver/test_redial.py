"""Two calls claim one client address: a client that dials anew from its port, and a caller that forges its source.

In virtual time, with two calls at one demultiplexer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import HEADER, RELAY, Call, MovingCall

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.schemas import messages, tunnel
from antiphon.schemas.addresses import Address
from antiphon.transceiver.ice.agent import LOST_SECONDS, Path

pytestmark = pytest.mark.virtual

ATTACKER = tunnel.pack_header(Address("198.51.100.66", 666))


class Beside(MovingCall):
    """One more call at the demultiplexer of another one."""

    def __init__(self, other: Call, header: bytes) -> None:
        super().__init__(seed=7, header=header)
        self.registry.remove(self.session)
        self.session.state.session_id = "rtc_beside"
        self.registry = other.registry
        self.registry.add(self.session)

    def spoofed_check(self) -> bytes:
        ours = self.session.state.ufrags[0]
        password = self.answer.split("a=ice-pwd:")[1].split("\r\n")[0]
        return pack_binding_request(f"{ours}:x", password, use_candidate=True)


@pytest.fixture
async def call() -> AsyncIterator[MovingCall]:
    """Connected, with an agent that speaks."""
    call = MovingCall()
    await call.connect()
    for frame in speech(25):
        call.session.speak(frame, call.loop.time())
    yield call
    await call.stop()


def media_to(call: MovingCall, header: bytes = HEADER) -> int:
    return sum(data[0] > 19 for data in call.sent_to.get(header, ()))


@pytest.mark.parametrize("answers", [True, False], ids=["answers our checks", "answers none"])
@pytest.mark.parametrize("pause", [5.0, 0.5, 0.0])
async def test_a_client_that_dials_anew_from_its_port_has_it_for_the_new_call(
    call: MovingCall, pause: float, answers: bool
) -> None:
    await call.peer.vanish()
    await asyncio.sleep(pause)
    again = Beside(call, HEADER)
    again.peer.answers_checks = answers
    await again.connect()
    await asyncio.sleep(0.3)
    before = media_to(call)
    again.peer.speak(tone(1))
    for frame in speech(1):
        again.session.speak(frame, again.loop.time())
    await asyncio.sleep(2)
    assert media_to(call) == before, "the old session goes on sending to the new one's client"
    assert again.registry.owner_of(HEADER) is again.session
    assert again.session.statistics().packets_received > 40
    assert len(again.peer.frames) > 40
    await asyncio.sleep(LOST_SECONDS)
    assert call.ended == "client_vanished"
    assert again.ended is None
    await again.stop()


async def test_a_caller_that_claims_another_s_address_in_checks_gets_nothing_of_it(call: MovingCall) -> None:
    """Its own handshake is done from its own address; it claims the other's address again and again."""
    attacker = Beside(call, ATTACKER)
    await attacker.connect()
    received, frames = call.session.statistics().packets_received, len(call.peer.frames)
    for _ in range(200):
        attacker.arrives(HEADER, attacker.spoofed_check())
        await asyncio.sleep(0.02)
    assert call.registry.owner_of(HEADER) is call.session
    assert call.session.statistics().packets_received - received > 180
    assert len(call.peer.frames) - frames > 180
    assert not call.event_of(messages.Ended)
    await attacker.stop()


@pytest.mark.parametrize("forging", ["checks", "media", "the last flight"])
async def test_a_silent_caller_s_address_is_not_taken_by_what_a_spoofed_source_can_send(
    call: MovingCall, forging: str
) -> None:
    """The victim listens only: nothing of it comes but checks and answers."""
    call.peer.unplug_microphone()
    call.drop_up = lambda data: data[0] > 3
    await asyncio.sleep(3)
    attacker = Beside(call, ATTACKER)
    if forging == "the last flight":
        attacker.arrives(HEADER, attacker.spoofed_check())
        real = attacker._to_session
        attacker._to_session = lambda data: (  # type: ignore[method-assign]
            attacker.arrives(HEADER, data) if 19 < data[0] < 64 else real(data)
        )
    await attacker.connect(channel=False)
    attacker.peer.unplug_microphone()
    frames, first = len(call.peer.frames), attacker.peer.rtp.sequence + 100
    for number in range(300):
        attacker.arrives(HEADER, attacker.spoofed_check())
        if forging == "media":
            rtp = attacker.peer.rtp
            packet = pack_rtp(111, False, first + number & 0xFFFF, number * 960, rtp.ssrc, b"\xf8" + bytes(60))
            attacker.arrives(HEADER, attacker.peer.protect(packet))
        await asyncio.sleep(0.02)
    assert len(call.peer.frames) - frames > 250, "the victim hears its agent"
    assert call.session.ice.path == Path(HEADER, RELAY)
    await asyncio.sleep(10)
    assert call.ended is None
    await attacker.stop()


async def test_two_calls_whose_clients_share_a_port_both_go_on(call: MovingCall) -> None:
    call.peer.speak(tone(20))
    other = Beside(call, HEADER)
    await other.connect()
    other.peer.speak(tone(3))
    received = call.session.statistics().packets_received
    await asyncio.sleep(3)
    assert call.session.statistics().packets_received - received > 140
    assert other.session.statistics().packets_received > 140
    await other.stop()
    await asyncio.sleep(1)
    assert call.registry.owner_of(HEADER) is call.session
    assert call.ended is None


async def test_a_relay_s_word_that_a_client_is_another_transceiver_s_ends_the_call_soon(call: MovingCall) -> None:
    await call.peer.vanish()
    call.arrives(HEADER, b"", ("127.0.0.1", 4001))
    await asyncio.sleep(LOST_SECONDS + 2)
    assert call.ended is None, "another relay does not know"
    call.arrives(HEADER, b"")
    await asyncio.sleep(LOST_SECONDS + 0.5)
    assert call.ended == "client_vanished"


async def test_a_client_that_is_there_loses_nothing_by_that_word(call: MovingCall) -> None:
    call.peer.unplug_microphone()
    for _ in range(30):
        call.arrives(HEADER, b"")
        await asyncio.sleep(1)
    assert call.ended is None
    assert not call.event_of(messages.Suspect)
