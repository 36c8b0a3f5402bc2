"""What one client may send: a flood of its own costs it its call, and what others send in its name costs it nothing."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.models.sounds import tone
from support.net.emulator import run_virtual
from support.peers.session_call import HEADER, KEYRING, PASSWORD_KEY, RELAY, Call

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.rtc.rtp import rtcp
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.schemas import messages, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.session.budget import CHECKS, HANDSHAKE, MEDIA, RECORDS, PacketBudget
from antiphon.transceiver.session.state import SessionState

pytestmark = pytest.mark.virtual

STEP = 0.01


async def flood(seconds: float, per_second: int, send: Callable[[int], None]) -> None:
    """Call `send(number)` so often, in batches."""
    for step in range(round(seconds / STEP)):
        for number in range(int(per_second * STEP)):
            send(step * int(per_second * STEP) + number)
        await asyncio.sleep(STEP)


def junk_speech(call: Call) -> Callable[[int], None]:
    """Opus of random-looking bytes in the client's own SRTP."""
    payload_type = call.session.state.rtp.payload_type

    def send(number: int) -> None:
        stream = call.peer.rtp
        stream.sequence = stream.sequence + 1 & 0xFFFF
        call.peer.send_rtp(
            pack_rtp(payload_type, False, stream.sequence, number * 960 & 0xFFFFFFFF, stream.ssrc, b"\xf8" + bytes(60))
        )

    return send


async def test_a_client_that_floods_is_told_and_loses_its_call(call: Call) -> None:
    call.peer.unplug_microphone()
    send = junk_speech(call)
    await flood(8, 1500, send)
    assert call.ended is None, "a burst of some seconds costs packets, not the call"
    dropped = call.session.statistics().packets_over_budget
    assert dropped > 8 * (1500 - MEDIA.rate) - MEDIA.burst - MEDIA.rate
    await flood(4, 1500, send)
    await asyncio.sleep(0.5)
    assert call.ended == "over_budget"
    assert [json.loads(text)["error"]["code"] for text in call.peer.texts if "error" in text] == ["over_budget"]
    assert call.peer.closed.is_set()
    final = call.event_of(messages.Ended)[0]
    assert isinstance(final, messages.Ended)
    assert final.statistics is not None
    assert final.statistics.packets_over_budget >= dropped


async def test_what_a_client_could_not_send_for_5_s_is_taken_at_once(call: Call) -> None:
    waiting: list[bytes] = []
    transmit, call.peer.transmit = call.peer.transmit, waiting.append
    call.peer.speak(tone(5))
    await asyncio.sleep(5)
    assert len(waiting) > 240
    call.peer.transmit = transmit
    for datagram in waiting:
        transmit(datagram)
    await asyncio.sleep(0.5)
    assert call.session.statistics().packets_over_budget == 0
    assert call.session.statistics().packets_lost == 0


async def test_what_waited_while_the_process_stood_still_is_taken(call: Call) -> None:
    call.peer.speak(tone(10))
    call.stop_process()
    await asyncio.sleep(7)
    call.continue_process()
    await asyncio.sleep(0.5)
    assert call.session.statistics().packets_over_budget == 0
    assert call.ended is None


async def test_packets_that_others_send_in_a_client_s_name_cost_it_nothing(call: Call) -> None:
    rtp = struct.pack("!BBHII", 0x80, call.session.state.rtp.payload_type, 9, 9, 9) + bytes(60)
    record = b"\x17\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x30" + bytes(48)
    check = pack_binding_request(f"{call.session.state.ufrags[0]}:x", "guess", use_candidate=True)
    forged = (rtp, record, check)

    def send(number: int) -> None:
        call.registry.receive(HEADER + forged[number % 3], RELAY, call.loop.time(), 0)

    received = call.session.statistics().packets_received
    await flood(12, 3000, send)
    statistics = call.session.statistics()
    assert statistics.packets_over_budget == 0
    assert statistics.packets_received > received + 12 * 45
    assert call.ended is None


async def test_new_sources_paths_and_credentials_bring_no_new_budget(call: Call) -> None:
    call.peer.unplug_microphone()
    payload_type, answer = call.session.state.rtp.payload_type, call.peer.answer
    relays = [("127.0.0.1", 4000 + number) for number in range(8)]
    call.session._output.datagram = lambda path, data: None  # type: ignore[method-assign]
    sent = 0
    assert call.peer._srtp is not None
    keys = call.peer._srtp.state
    sources = {ssrc: Srtp(replace(keys, local_index=0, rtcp_index=0), ssrc) for ssrc in range(100, 105)}

    def checked_at(header: bytes, relay: tuple[str, int]) -> None:
        check = pack_binding_request(f"{answer.ufrag}:x", answer.password, use_candidate=False)
        call.registry.receive(header + check, relay, call.loop.time(), 0)

    headers = [tunnel.pack_header(Address("192.0.2.1", 6000 + number)) for number in range(4)]
    for header in headers:
        checked_at(header, RELAY)

    def send(number: int) -> None:
        nonlocal sent
        ssrc, sequence = 100 + number % 5, sent & 0xFFFF
        packet = pack_rtp(payload_type, False, sequence, sent * 960, ssrc, b"\xf8" + bytes(60))
        header, relay = headers[number % 4], relays[number % 8]
        call.registry.receive(header + sources[ssrc].protect(packet), relay, call.loop.time(), 0)
        sent += 1

    for _ in range(3):
        new, _ = KEYRING.mint(0, 0, 0, 1.8e9)
        call.registry.restart_ice(call.session, new)
        answer.ufrag, answer.password = new, ice_password(PASSWORD_KEY, new)
        await flood(1, 2000, send)
    taken = sent - call.session.statistics().packets_over_budget
    assert taken <= MEDIA.burst + 3.2 * MEDIA.rate


async def test_checks_with_the_right_password_are_answered_within_the_budget(call: Call) -> None:
    answer = call.peer.answer

    def send(number: int) -> None:
        header = tunnel.pack_header(Address("192.0.2.1", 20_000 + number % 100))
        check = pack_binding_request(f"{answer.ufrag}:x", answer.password, use_candidate=False)
        call.registry.receive(header + check, RELAY, call.loop.time(), 0)

    answered = len([data for data in call.sent if data[0] < 4])
    call.session._output.datagram = lambda path, data: call.sent.append(data)  # type: ignore[method-assign]
    await flood(3, 2000, send)
    answered = len([data for data in call.sent if data[0] < 4]) - answered
    assert answered <= CHECKS.burst + 3.2 * CHECKS.rate
    assert call.session.statistics().packets_over_budget > 5000


def test_datagrams_of_a_handshake_that_never_ends_are_few() -> None:
    async def main() -> None:
        call = Call()
        call.peer.begin(call.answer)
        call.drop_up = lambda data: 19 < data[0] < 64
        await call.until(lambda: call.session.ice.path is not None)
        steps: list[object] = []
        call.session._take_turn_of_process = lambda step, now: steps.append(step)
        client_hello = b"\x16\xfe\xfd" + bytes(8) + b"\x00\x20" + bytes(32)

        def send(number: int) -> None:
            call.registry.receive(HEADER + client_hello, RELAY, call.loop.time(), 0)

        await flood(2, 1000, send)
        assert 0 < len(steps) <= HANDSHAKE.burst + 2.2 * HANDSHAKE.rate
        await call.stop()

    run_virtual(main())


def test_a_datagram_of_many_records_counts_as_many() -> None:
    budget = PacketBudget()
    taken = 0
    for _ in range(200):
        if budget.records.admits(1.0):
            budget.records.spend(30)
            taken += 30
    assert taken < RECORDS.burst + 30


async def test_the_process_that_takes_over_counts_on(call: Call) -> None:
    call.peer.unplug_microphone()
    await flood(6, 1500, junk_speech(call))
    strikes = call.session.budget.strikes(call.loop.time())
    assert strikes >= 5
    state = SessionState.from_bytes(call.session.export(call.loop.time()))
    assert state.strikes == strikes
    assert PacketBudget(state.strikes, 100.0).strikes(101.0) == strikes
    assert PacketBudget(state.strikes, 100.0).strikes(116.0) == 0


async def test_a_client_s_keys_are_as_many_events_as_an_agent_can_use() -> None:
    call = Call(
        extra=lambda offer: offer.replace("a=rtpmap:111", "a=rtpmap:126 telephone-event/8000\r\na=rtpmap:111", 1)
    )
    await call.connect(channel=False)
    call.session._client_events.poll(call.loop.time())
    for number in range(2000):
        call.session._client_events.event(messages.TelephoneEvent(event=number % 10, duration_ms=20))
    assert len(call.event_of(messages.TelephoneEvent)) <= 200
    assert call.session.statistics().events_dropped >= 1800
    await call.stop()


async def test_long_reports_at_once_are_few(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them costs as much as ten packets of speech."""
    read: list[int] = []
    unpack = rtcp.unpack_compound

    def noted(compound: bytes) -> rtcp.Compound:
        read.append(len(compound))
        return unpack(compound)

    monkeypatch.setattr(rtcp, "unpack_compound", noted)
    ssrc = call.peer.rtp.ssrc
    nack = struct.pack("!BBHII", 0x81, 205, 2 + 290, ssrc, 7) + struct.pack("!HH", 1, 0xFFFF) * 290
    short = struct.pack("!BBHI", 0x80, 201, 1, ssrc) + struct.pack("!BBHI", 0x81, 202, 1, ssrc)
    call.peer.unplug_microphone()
    for _ in range(100):  # libsrtp's window for reports is 128
        call.peer.send_rtcp(short)
    await asyncio.sleep(2)
    assert read.count(len(short)) >= 100
    assert call.session.statistics().packets_over_budget == 0
    for _ in range(600):
        call.peer.send_rtcp(nack)
    await asyncio.sleep(0.5)
    assert 10 <= read.count(len(nack)) <= 2 * MEDIA.burst // 30


def test_a_report_that_asks_for_everything_is_read_in_bounds() -> None:
    """5000 numbers fit into one packet, and the same one again and again."""
    for bases in (range(0, 5100, 17), [1] * 300):
        asked = b"".join(struct.pack("!HH", base, 0xFFFF) for base in bases)
        nack = struct.pack("!BBHII", 0x81, 205, 2 + len(asked) // 4, 1, 7) + asked
        steps = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal steps
            steps += event == "c_call"

        sys.setprofile(count)
        try:
            read = rtcp.unpack_compound(nack)
        finally:
            sys.setprofile(None)
        assert len(read.nacked) <= rtcp.MAX_NACKED
        assert steps < 200
