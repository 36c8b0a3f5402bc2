"""Alerts: an authentic one ends the call, a forged one does not, one in the handshake only if nothing follows."""

from __future__ import annotations

import asyncio
import struct

import pytest
from support.peers.session_call import HEADER, RELAY, Call

from antiphon.rtc.dtls.record_layer import ALERT
from antiphon.schemas import messages
from antiphon.transceiver.session.alerts import GIVEN_UP_AFTER

pytestmark = pytest.mark.virtual


def forged(level: int, description: int, epoch: int = 0, number: int = 5) -> bytes:
    return struct.pack("!BHHHIHBB", ALERT, 0xFEFD, epoch, 0, number, 2, level, description)


def alert(call: Call, payload: bytes) -> None:
    assert call.peer._records is not None
    call.registry.receive(HEADER + call.peer._records.seal(ALERT, payload), RELAY, call.loop.time(), 0)


@pytest.mark.parametrize("payload", [b"\1\0", b"\2\0"] + [bytes((2, each)) for each in (10, 20, 40, 49, 80, 90, 255)])
async def test_close_notify_and_every_authentic_fatal_alert_end_the_call_at_once(call: Call, payload: bytes) -> None:
    alert(call, payload)
    assert call.ended == "client_closed"
    (ended,) = call.event_of(messages.Ended)
    assert isinstance(ended, messages.Ended)
    assert ended.cause == ("" if not payload[1] else f"the client sent the fatal DTLS alert {payload[1]}")


@pytest.mark.parametrize("payload", [b"\1\x5a", b"\1\x64", b"", b"\2", b"\2\x50\0", b"\0\x50", b"\3\x50"])
async def test_other_warnings_and_what_is_no_alert_do_not(call: Call, payload: bytes) -> None:
    alert(call, payload)
    await asyncio.sleep(3)
    assert call.ended is None


@pytest.mark.parametrize("epoch", [0, 1, 2])
async def test_a_forged_alert_does_not_end_a_call(call: Call, epoch: int) -> None:
    for description in (0, 20, 49, 80):
        for level in (1, 2):
            call.registry.receive(HEADER + forged(level, description, epoch, 90), RELAY, call.loop.time(), 0)
    await asyncio.sleep(3)
    assert call.ended is None


@pytest.mark.parametrize("passive", [False, True], ids=["client", "server"])
async def test_forged_alerts_do_not_end_a_handshake_that_goes_on(passive: bool) -> None:
    call = Call(passive=passive)

    def beside(data: bytes) -> bool:
        if 19 < data[0] < 64:
            for number, description in enumerate((40, 0, 80)):
                now = call.loop.time()
                call.registry.receive(HEADER + forged(2, description, 0, number), RELAY, now, 0)
                call.registry.receive(HEADER + forged(2, 40, 0, 1000 + number) + data[:40], RELAY, now, 0)
        return False

    call.drop_up = beside
    await call.connect()
    assert call.ended is None
    await call.stop()


async def test_an_alert_after_which_the_client_is_silent_ends_the_handshake() -> None:
    call = Call()
    call.drop_up = lambda data: 19 < data[0] < 64
    call.peer.begin(call.answer)
    await call.until(lambda: call.session.ice.path is not None)
    call.registry.receive(HEADER + forged(2, 49), RELAY, call.loop.time(), 0)
    await asyncio.sleep(GIVEN_UP_AFTER - 0.5)
    assert call.ended is None
    await asyncio.sleep(1)
    assert call.ended == "dtls_failed"
    assert "alert 49" in str(call.event_of(messages.SessionError)[0])
    await call.stop()
