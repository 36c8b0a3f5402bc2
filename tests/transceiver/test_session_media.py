"""A session's audio through an impaired network, in virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import BAD, RELAY, Call, StartCall, loudness, unix_ns

from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.schemas import messages, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.audio import FrameFlag

pytestmark = pytest.mark.virtual


@pytest.mark.long
@pytest.mark.parametrize("passive", [False, True], ids=["we are the DTLS client", "we are the DTLS server"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_call_with_5_percent_loss_and_30_ms_jitter_carries_audio_and_data(
    start_call: StartCall, seed: int, passive: bool
) -> None:
    call = await start_call(BAD, seed, passive)
    call.peer.speak(tone(10.0))
    for frame in speech(10.0):
        call.session.speak(frame, call.loop.time())
    for number in range(20):
        call.peer.send_text(f"up {number}")
        call.session.send_message("oai-events", f"down {number}")
    await asyncio.sleep(60)
    assert [message.text for message in call.data] == [f"up {number}" for number in range(20)]
    assert call.peer.texts == [f"down {number}" for number in range(20)]
    assert sum(level > 4000 for level in loudness(call.heard)) > 460
    assert sum(level > 4000 for level in loudness(call.peer.frames)) > 460
    started = [event for event in call.events if isinstance(event, messages.Playout)]
    assert [event.state for event in started if event.state != "playing"] == ["started", "ended"]
    assert started[-1].played_samples == 240000
    statistics = call.session.statistics()
    assert 0.02 < statistics.packets_lost / statistics.packets_received < 0.09


async def test_a_client_on_ipv6_talks_and_listens(start_call: StartCall) -> None:
    call = await start_call(header=tunnel.pack_header(Address("2001:db8::7", 5000)))
    call.peer.speak(tone(1.0))
    for frame in speech(1.0):
        call.session.speak(frame, call.loop.time())
    call.peer.send_text("up")
    await asyncio.sleep(3)
    assert sum(level > 4000 for level in loudness(call.heard)) > 45
    assert sum(level > 4000 for level in loudness(call.peer.frames)) > 45
    assert [message.text for message in call.data] == ["up"]


async def test_replayed_and_forged_packets_are_in_the_statistics_of_the_call_also_at_its_end(call: Call) -> None:
    up: list[bytes] = []

    def keep_back(data: bytes) -> bool:
        up.append(data)
        return True

    call.drop_up = keep_back
    call.peer.send_text("kept back")
    await asyncio.sleep(0.1)
    media = next(data for data in up if data[0] >> 6 == 2)
    record = next(data for data in up if 19 < data[0] < 64)

    def deliver(*datagrams: bytes) -> None:
        for datagram in datagrams:
            now = call.loop.time()
            call.registry.receive(call.header + datagram, RELAY, now, unix_ns(now))

    def forged(datagram: bytes) -> bytes:
        return datagram[:-1] + bytes([datagram[-1] ^ 1])

    before = call.session.statistics()
    deliver(forged(media), b"\x80", media, media, media, forged(record), record, record)
    after = call.session.statistics()
    assert after.packets_replayed - before.packets_replayed == 2
    assert after.packets_refused - before.packets_refused == 2
    assert after.records_refused - before.records_refused == 2
    await call.stop()
    last = call.events[-1]
    assert isinstance(last, messages.Ended)
    assert last.statistics is not None
    counted = (last.statistics.packets_replayed, last.statistics.packets_refused, last.statistics.records_refused)
    assert counted == (after.packets_replayed, after.packets_refused, after.records_refused)
    assert call.session.statistics() == last.statistics


@pytest.mark.long
async def test_frames_carry_the_arrival_of_their_packets_through_the_whole_session(start_call: StartCall) -> None:
    call = await start_call(BAD, 3, channel=False)
    await asyncio.sleep(10)
    received = [frame for frame in call.heard if not frame.flags]
    assert len(received) > 300
    assert {frame.captured_ns for frame in received} <= set(call.arrivals_ns)


@pytest.mark.long
async def test_the_statistics_of_a_call_are_told_every_5_s(start_call: StartCall) -> None:
    call = await start_call(BAD, 3, channel=False)
    for frame in speech(3.0):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(21)
    told = [event for event in call.events if isinstance(event, messages.Statistics)]
    assert len(told) == 4
    assert [later.packets_received - earlier.packets_received for earlier, later in pairwise(told)] == [
        pytest.approx(237, abs=20)
    ] * 3
    assert told[-1].packets_lost == pytest.approx(50, abs=30)
    assert told[-1].frames_concealed > 0
    assert told[-1].packets_sent == 150
    assert 3 < told[-1].jitter_ms < 30
    assert told[-1].remote_packets_lost == pytest.approx(8, abs=8)


@pytest.mark.long
async def test_frames_are_numbered_without_holes_and_their_positions_are_the_elapsed_media(
    start_call: StartCall,
) -> None:
    call = await start_call(BAD, 5, channel=False)
    await asyncio.sleep(60)
    assert [frame.sequence for frame in call.heard] == list(range(len(call.heard)))
    assert [frame.first_sample for frame in call.heard] == [320 * n for n in range(len(call.heard))]
    assert len(call.heard) == pytest.approx(60 * 50, abs=30)


async def test_a_client_hears_something_every_150_ms_also_while_its_agent_is_silent(call: Call) -> None:
    longest, since, seen = 0.0, call.loop.time(), len(call.sent)
    spoken = call.session.state.rtp.packets
    until = since + 20
    while call.loop.time() < until:
        await asyncio.sleep(0.005)
        if len(call.sent) > seen:
            seen, since = len(call.sent), call.loop.time()
        longest = max(longest, call.loop.time() - since)
    assert longest <= 0.150
    assert call.session.state.rtp.packets == spoken, "the agent was not silent"
    signs = call.session.state.srtp.rtcp_index if call.session.state.srtp else 0
    assert signs < 20 * 12, "silence costs more than it is worth"
    for frame in speech(1.0):
        call.session.speak(frame, call.loop.time())
    before = signs
    await asyncio.sleep(0.9)
    assert call.session.state.srtp is not None
    assert call.session.state.srtp.rtcp_index - before <= 2, "speech is a sign of life itself"


async def test_telephone_keys_and_audio_levels_become_events_and_are_no_loss(start_call: StartCall) -> None:
    def extra(offer: str) -> str:
        return offer.replace(
            "a=sendrecv\r\n",
            "a=sendrecv\r\na=rtpmap:110 telephone-event/48000\r\n"
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n",
        ).replace("SAVPF 111", "SAVPF 111 110")

    call = await start_call(extra=extra, channel=False)
    assert "a=rtpmap:110 telephone-event/48000" in call.answer
    assert "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level" in call.answer
    await asyncio.sleep(1)
    peer = call.peer
    rtp = peer.rtp
    for number in range(8):  # a key of 120 ms, its end said three times
        ended = number >= 5
        payload = bytes([5, 0x80 if ended else 0]) + (960 * min(number + 1, 6)).to_bytes(2, "big")
        packet = pack_rtp(110, not number, rtp.sequence, 777, rtp.ssrc, payload)
        rtp.sequence += 1
        peer.send_rtp(packet)
    level = bytes([0xBE, 0xDE, 0, 1, 0x10, 0x80 | 30, 0, 0])
    for _ in range(10):
        plain = pack_rtp(111, False, rtp.sequence, rtp.timestamp, rtp.ssrc, b"\xf8\xff\xfe")
        rtp.sequence, rtp.timestamp = rtp.sequence + 1, rtp.timestamp + 960
        peer.send_rtp(bytes([plain[0] | 16]) + plain[1:12] + level + plain[12:])
    await asyncio.sleep(1)
    assert call.event_of(messages.TelephoneEvent) == [messages.TelephoneEvent(event=5, duration_ms=120.0)]
    assert call.event_of(messages.AudioLevel) == [messages.AudioLevel(level_dbov=-30, voice=True)]
    statistics = call.session.statistics()
    assert statistics.packets_lost == 0
    assert statistics.frames_concealed == 0


async def test_a_flush_is_heard_within_two_frames(call: Call) -> None:
    await asyncio.sleep(0.5)
    for frame in speech(10.0, generation=3):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(1)
    assert max(loudness(call.peer.frames[-5:])) > 4000
    call.session.control(messages.Flush(generation=4), call.loop.time())
    at = len(call.sent)
    await asyncio.sleep(0.5)
    media = [data for data in call.sent[at:] if 127 < data[0] < 192 and not 64 <= data[1] & 127 < 96]
    assert len(media) == 1  # the fade
    for frame in speech(1.0, generation=3):
        call.session.speak(frame, call.loop.time())  # too late: of the past
    await asyncio.sleep(0.5)
    assert max(loudness(call.peer.frames[-5:])) < 500
    flushed = call.event_of(messages.Flushed)[0]
    assert isinstance(flushed, messages.Flushed)
    assert (flushed.generation, flushed.rate) == (3, 24000)
    assert flushed.played_samples == pytest.approx(24000, abs=960)
    assert flushed.dropped_ms == pytest.approx(9000, abs=60)
    for frame in speech(1.0, generation=4):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(1.5)
    states = [event.state for event in call.events if isinstance(event, messages.Playout)]
    assert [state for state in states if state != "playing"] == ["started", "ended", "started", "ended"]


async def test_pause_holds_at_a_frame_and_resume_goes_on_from_the_next(call: Call) -> None:
    for frame in speech(2.0):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(1)
    call.session.control(messages.Pause(), call.loop.time())
    sent = call.session.state.rtp.packets
    await asyncio.sleep(3)
    assert call.session.state.rtp.packets == sent
    call.session.control(messages.Resume(), call.loop.time())
    await asyncio.sleep(2)
    assert call.session.state.rtp.packets == 100
    last = call.event_of(messages.Playout)[-1]
    assert isinstance(last, messages.Playout)
    assert (last.state, last.played_samples) == ("ended", 48000)


async def test_silence_of_a_muted_client_arrives_on_time(start_call: StartCall) -> None:
    call = await start_call(channel=False)
    call.peer.speak(tone(2.0))
    await asyncio.sleep(1)
    call.drop_up = lambda data: 127 < data[0] < 192  # mid-word
    at = call.loop.time()
    before = len(call.heard)
    await call.until(lambda: bool(call.heard[-1].flags & FrameFlag.SILENCE))
    assert call.loop.time() - at < 0.160
    await asyncio.sleep(1)
    assert len(call.heard) - before == pytest.approx((call.loop.time() - at) * 50, abs=3)
