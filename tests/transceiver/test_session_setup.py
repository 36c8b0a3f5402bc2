"""From an offer to the first frame: handshakes through an impaired network, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from support.peers.session_call import Call

from antiphon.schemas import messages

pytestmark = pytest.mark.virtual


async def test_a_session_nobody_comes_to_ends_by_its_setup_timeout() -> None:
    call = Call()
    await asyncio.sleep(7.5)
    assert call.ended is None
    await asyncio.sleep(1)
    assert call.ended == "setup_timeout"
    await call.stop()


async def test_a_session_whose_client_has_checked_and_says_no_more_ends_as_well() -> None:
    call = Call(passive=True)
    call.drop_up = lambda data: data[0] > 3
    call.peer.begin(call.answer)
    await asyncio.sleep(10)
    assert call.ended is None
    await asyncio.sleep(21)
    assert call.ended in ("setup_timeout", "dtls_failed")
    await call.stop()


async def test_a_handshake_that_stands_still_ends_the_session() -> None:
    call = Call()
    call.drop_up = lambda data: 19 < data[0] < 64
    call.peer.begin(call.answer)
    await asyncio.sleep(17)
    assert call.ended == "dtls_failed"
    await call.stop()


async def test_a_client_with_another_certificate_than_its_offer_named_is_refused() -> None:
    call = Call(extra=lambda offer: offer.replace("sha-256 " + offer.split("sha-256 ")[1][:2], "sha-256 00"))
    call.peer.begin(call.answer)
    await asyncio.sleep(1)
    assert call.ended == "dtls_failed"
    assert "fingerprint" in str(call.event_of(messages.SessionError)[0])
    assert not call.event_of(messages.Connected)
    await call.stop()


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("passive", [False, True], ids=["client", "server"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_any_one_datagram_of_the_handshake_may_be_lost(direction: str, passive: bool, lost: int) -> None:
    call = Call(passive=passive)
    seen = 0

    def drop(data: bytes) -> bool:
        nonlocal seen
        seen += 19 < data[0] < 64
        return 19 < data[0] < 64 and seen == lost + 1

    if direction == "up":
        call.drop_up = drop
    else:
        call.drop_down = drop
    await call.connect()
    await call.stop()
