"""The handshake of a session and the first speech: over a path that loses, and with clients that do not play along."""

from __future__ import annotations

import array
import asyncio

import pytest
from support.net.emulator import Conditions
from support.peers.session_call import Call

from antiphon.rtc.dtls import records
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.ice.agent import HANDSHAKE_CREDIT

pytestmark = pytest.mark.virtual

FRAME = array.array("h", [8000, -8000] * 240).tobytes()
SLOW = Conditions(delay=0.05)


def frame(number: int) -> AudioFrame:
    return AudioFrame(number, 480 * number, 0, 24000, 0, 0, FRAME)


def is_finished(data: bytes) -> bool:
    return any(records.epoch(each) == 1 and each[0] == records.HANDSHAKE for each in records.split(data))


def media(datagrams: list[bytes]) -> list[bytes]:
    return [data for data in datagrams if 127 < data[0] < 192]


@pytest.mark.parametrize("passive", [False, True], ids=["client", "server"])
@pytest.mark.parametrize("loss", [0.15, 0.4])
async def test_a_session_connects_over_a_path_that_loses(loss: float, passive: bool) -> None:
    for seed in range(6):
        call = Call(Conditions(loss=loss, delay=0.05, jitter=0.02), seed, passive)
        began = call.loop.time()
        await call.connect(channel=False)
        assert call.loop.time() - began < (1.5 if loss < 0.2 else 14.0)
        await call.stop()


async def start(call: Call) -> None:
    """As `connect`, without a wait."""
    for number in range(30):
        call.session.speak(frame(number), call.loop.time())
    call.peer.begin(call.answer)


async def test_speech_follows_our_finished_and_does_not_wait_for_the_clients() -> None:
    call = Call(SLOW)
    await start(call)
    await call.until(lambda: any(map(is_finished, call.sent)))
    finished_at = call.loop.time()
    await call.until(lambda: bool(media(call.sent)))
    assert call.loop.time() - finished_at < 0.03
    assert not call.session.connected
    await call.until(lambda: bool(call.peer.frames))
    assert call.loop.time() - finished_at < 0.15
    await call.until(lambda: bool(call.event_of(messages.Connected)))
    await call.until(lambda: call.peer.loudest > 4000)
    await call.stop()


async def test_a_session_that_is_the_dtls_server_speaks_after_the_handshake_only() -> None:
    call = Call(SLOW, passive=True)
    await start(call)
    await call.until(lambda: bool(media(call.sent)))
    assert call.session.connected
    await call.stop()


async def test_speech_goes_on_in_one_stream_when_the_handshake_ends() -> None:
    """No sequence number twice, none left out: a number used twice under one key gives the keystream away."""
    call = Call(SLOW)
    await start(call)
    await call.until(lambda: len(media(call.sent)) >= 25)
    numbers = [int.from_bytes(data[2:4], "big") for data in media(call.sent) if not 64 <= data[1] & 0x7F < 96]
    assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))]
    assert len(set(media(call.sent))) == len(media(call.sent))
    await call.stop()


async def test_nothing_is_accepted_before_the_clients_finished() -> None:
    """The client has all keys by then, and talks: what it sends is taken once its Finished is there."""
    call = Call(SLOW)
    call.drop_up = is_finished
    await start(call)
    await call.until(lambda: call.peer.connected.is_set())
    arrived = 0

    def count(data: bytes) -> bool:
        nonlocal arrived
        arrived += 127 < data[0] < 192
        return is_finished(data)

    call.drop_up = count
    await call.until(lambda: arrived > 10)
    assert media(call.sent)
    assert not call.session.connected
    assert not call.heard
    assert not call.event_of(messages.MediaStarted)
    assert not call.event_of(messages.Connected)
    call.drop_up = lambda data: False
    await call.until(lambda: bool(call.event_of(messages.MediaStarted)))
    kinds = [type(event) for event in call.events]
    assert kinds.index(messages.Connected) < kinds.index(messages.MediaStarted)
    await call.stop()


async def test_a_handshake_that_fails_behind_our_finished_ends_the_call_and_nothing_else() -> None:
    call = Call(SLOW)
    call.drop_up = is_finished
    await start(call)
    await call.until(lambda: bool(media(call.sent)))
    await asyncio.sleep(17)
    assert call.ended == "dtls_failed"
    assert not call.heard
    assert not call.event_of(messages.Connected)
    sent = len(call.sent)
    await asyncio.sleep(2)
    assert len(call.sent) == sent
    await call.stop()


async def test_a_client_whose_certificate_is_not_the_one_it_named_gets_no_speech() -> None:
    call = Call(SLOW, extra=lambda offer: offer.replace("sha-256 " + offer.split("sha-256 ")[1][:2], "sha-256 00"))
    await start(call)
    await call.until(lambda: call.ended is not None)
    assert call.ended == "dtls_failed"
    assert not media(call.sent)
    await call.stop()


@pytest.mark.parametrize("passive", [False, True], ids=["client", "server"])
async def test_a_client_that_is_silent_after_its_check_draws_no_more_than_is_allowed(passive: bool) -> None:
    """It could have written another's address into the check."""
    call = Call(SLOW, passive=passive)
    call.drop_up = lambda data: data[0] > 3 and (not passive or len(call.sent) > 2)
    await start(call)
    await asyncio.sleep(16)
    handshake = [data for data in call.sent if 19 < data[0] < 64]
    assert 12 <= len(handshake) <= 26
    assert sum(map(len, handshake)) < HANDSHAKE_CREDIT
    assert not media(call.sent)
    await call.stop()


async def test_the_timing_wheel_forgets_a_handshake_that_is_over() -> None:
    call = Call(SLOW)
    await call.connect(channel=False)
    await asyncio.sleep(0.1)
    visits = len(call.wheel)
    call.session.end("hang_up", call.loop.time())
    assert len(call.wheel) == 0
    assert visits <= 1  # of the input
    await call.stop()


async def test_a_client_that_is_deaf_for_two_seconds_is_connected_within_three() -> None:
    call = Call()
    deaf_until = call.loop.time() + 2.0
    call.drop_down = lambda data: 19 < data[0] < 64 and call.loop.time() < deaf_until
    began = call.loop.time()
    await call.connect(channel=False)
    assert call.loop.time() - began < 3.0
    await call.stop()
