"""A session and its client through an impaired network, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from support.emulator import Conditions, Link, run_virtual, virtual_loop
from support.sounds import speech, tone
from support.transceiver_peer import CarriedPeer

from antiphon.schemas import messages, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.schemas.route_token import RouteKeyring, ice_password
from antiphon.transceiver import sdp
from antiphon.transceiver.dtls_handshake import Certificate
from antiphon.transceiver.ice_lite import Path
from antiphon.transceiver.registry import Registry
from antiphon.transceiver.rtp import pack_rtp
from antiphon.transceiver.session import Session
from antiphon.transceiver.state import RTP_AHEAD, RtpState, SessionState
from antiphon.transceiver.wheel import Wheel

KEYRING = RouteKeyring.from_text("A:00112233445566778899aabbccddeeff")
PASSWORD_KEY = bytes(range(16))
HEADER = tunnel.pack_header(Address("192.0.2.1", 5000))
RELAY = ("127.0.0.1", 4000)
CERTIFICATE = Certificate()
GOOD = Conditions()
BAD = Conditions(loss=0.05, jitter=0.030)


class Call:
    """A session of ours, the client, and the network between them."""

    def __init__(
        self, conditions: Conditions = GOOD, seed: int = 1, passive: bool = False, extra: Callable[[str], str] = str
    ) -> None:
        self.heard: list[AudioFrame] = []
        self.events: list[messages.Message] = []
        self.data: list[messages.DataMessage] = []
        self.sent: list[bytes] = []
        self.loop = virtual_loop()
        self.uplink, self.downlink = Link(conditions, seed), Link(conditions, seed + 1000)
        self.wheel = Wheel(self.loop.time())
        self.registry = Registry()
        self.drop_up: Callable[[bytes], bool] = lambda data: False
        self.drop_down: Callable[[bytes], bool] = lambda data: False
        self.peer = CarriedPeer(self._from_client)
        text = self.peer.offer()
        if passive:  # the client insists on being the DTLS client
            text = text.replace("a=setup:actpass", "a=setup:active")
        offer = sdp.read_offer(extra(text))
        ufrag, _ = KEYRING.mint(0, 0, 0, 1.8e9)
        state = SessionState(
            session_id="rtc_test",
            agent="a",
            ufrags=[ufrag],
            remote_fingerprints=list(offer.fingerprints),
            input_rate=16000,
            rtp=RtpState(7, offer.opus_payload_type, 100, 4294966000),
            data_port=offer.data_port,
            data_max_message=offer.data_max_message,
            telephone=offer.telephone,
            audio_level_id=offer.audio_level_id,
        )
        self.session = Session(
            state,
            CERTIFICATE,
            PASSWORD_KEY,
            offer.client,
            self,
            self.loop.time(),
            self.wheel.add,
            self.wheel.remove,
        )
        self.registry.add(self.session)
        ours = sdp.Answer(ufrag, ice_password(PASSWORD_KEY, ufrag), CERTIFICATE.fingerprint, 7, 1)
        self.answer = sdp.write_answer(offer, ours)
        self._clock = asyncio.create_task(self._tick())

    # ---- the outlet

    def datagram(self, path: Path, data: bytes) -> None:
        assert path == Path(HEADER, RELAY)
        self.sent.append(data)
        if not self.drop_down(data):
            for at in self.downlink.arrivals(self.loop.time()):
                self.loop.call_at(at, self.peer.receive, data)

    def audio(self, frame: AudioFrame) -> None:
        self.heard.append(frame)

    def event(self, event: messages.Message) -> None:
        self.events.append(event)

    def message(self, message: messages.DataMessage) -> None:
        self.data.append(message)

    def milestone(self, name: str, now: float) -> None:
        pass

    # ---- the network and the clock

    def _from_client(self, data: bytes) -> None:
        if not self.drop_up(data):
            for at in self.uplink.arrivals(self.loop.time()):
                self.loop.call_at(at, self._to_session, data)

    def _to_session(self, data: bytes) -> None:
        self.registry.receive(HEADER + data, RELAY, self.loop.time())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            now = self.loop.time()
            self.wheel.run(now, self.loop.time)
            self.session.poll(now)

    # ---- what tests do

    async def connect(self, channel: bool = True) -> None:
        self.peer.begin(self.answer)
        self.loop.real_time = True  # OpenSSL's retransmission timer reads the wall clock
        async with asyncio.timeout(20):
            await self.peer.connected.wait()
            await self.until(lambda: bool(self.event_of(messages.Connected)))
        self.loop.real_time = False
        assert self.peer.failure is None
        if channel:
            async with asyncio.timeout(30):
                await self.peer.channel_open.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - conditions are looked at, as a test would
            await asyncio.sleep(0.005)

    def event_of(self, kind: type[messages.Message]) -> list[messages.Message]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def ended(self) -> str | None:
        found = self.event_of(messages.Ended)
        assert len(found) <= 1
        assert not found or self.events[-1] is found[0], "something came after the end"
        return found[0].reason if found and isinstance(found[0], messages.Ended) else None

    async def stop(self) -> None:
        await self.peer.vanish()
        self.session.end("hang_up", self.loop.time())
        self._clock.cancel()
        await asyncio.gather(self._clock, return_exceptions=True)


def loudness(frames: list[AudioFrame]) -> list[int]:
    return [max(map(abs, memoryview(frame.pcm).cast("h"))) for frame in frames]


@pytest.mark.parametrize("passive", [False, True], ids=["we are the DTLS client", "we are the DTLS server"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_call_with_5_percent_loss_and_30_ms_jitter_carries_audio_and_data(seed: int, passive: bool) -> None:
    async def main() -> None:
        call = Call(BAD, seed, passive)
        await call.connect()
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
        await call.stop()

    run_virtual(main())


def test_frames_are_numbered_without_holes_and_their_positions_are_the_elapsed_media() -> None:
    async def main() -> None:
        call = Call(BAD, 5)
        await call.connect(channel=False)
        await asyncio.sleep(60)
        assert [frame.sequence for frame in call.heard] == list(range(len(call.heard)))
        assert [frame.first_sample for frame in call.heard] == [320 * n for n in range(len(call.heard))]
        assert len(call.heard) == pytest.approx(60 * 50, abs=30)
        await call.stop()

    run_virtual(main())


def test_a_client_hears_something_every_150_ms_also_while_its_agent_is_silent() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
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
        await call.stop()

    run_virtual(main())


def test_close_notify_of_the_client_ends_the_session_at_once() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        await call.peer.close()
        await asyncio.sleep(0.1)
        assert call.ended == "client_closed"
        await call.stop()

    run_virtual(main())


def test_hanging_up_tells_the_client() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        call.session.control(messages.HangUp(), call.loop.time())
        await asyncio.sleep(0.1)
        assert call.ended == "hang_up"
        assert call.peer.closed.is_set()
        await call.stop()

    run_virtual(main())


def test_a_client_that_vanishes_is_missed_after_30_s() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        await call.peer.vanish()
        await asyncio.sleep(29)
        assert call.ended is None
        await asyncio.sleep(2)
        assert call.ended == "client_vanished"
        await call.stop()

    run_virtual(main())


def test_a_client_that_is_silent_for_5_s_is_suspect_until_it_is_heard_again() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        call.drop_up = lambda data: True
        await asyncio.sleep(4.5)
        assert not call.event_of(messages.Suspect)
        await asyncio.sleep(1)
        assert [event.silent_s > 4 for event in call.event_of(messages.Suspect)] == [True]  # type: ignore[attr-defined]
        call.drop_up = lambda data: False
        await asyncio.sleep(1)
        assert [event.silent_s > 4 for event in call.event_of(messages.Suspect)] == [True, False]  # type: ignore[attr-defined]
        assert call.ended is None
        await call.stop()

    run_virtual(main())


def test_an_ice_restart_changes_the_credentials_and_nothing_else() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        old = call.session.state.ufrags[0]
        dtls, srtp = call.session.state.dtls, call.session.state.srtp
        for _ in range(5):  # offers whose answers were lost do not pile up
            new, _ = KEYRING.mint(0, 0, 0, 1.8e9)
            call.registry.restart_ice(call.session, new)
        assert call.session.state.ufrags == [new, old]
        await asyncio.sleep(6)
        assert call.ended is None
        assert not call.event_of(messages.Suspect), "the old credentials count until the new ones are used"
        call.peer._answer.ufrag, call.peer._answer.password = new, ice_password(PASSWORD_KEY, new)
        await asyncio.sleep(6)
        assert call.session.state.ufrags == [new]
        call.peer._answer.ufrag, call.peer._answer.password = old, ice_password(PASSWORD_KEY, old)
        refused = call.registry.counters.refused_checks
        await asyncio.sleep(6)
        assert call.registry.counters.refused_checks > refused
        assert call.session.state.dtls is dtls
        assert call.session.state.srtp is srtp
        call.peer.send_text("still here")
        await asyncio.sleep(0.5)
        assert [message.text for message in call.data] == ["still here"]
        assert call.session.state.sdp_version == 6
        await call.stop()

    run_virtual(main())


def test_agent_and_client_are_told_of_a_drain() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        call.session.announce_draining(30.0)
        await asyncio.sleep(0.5)
        assert call.event_of(messages.Draining) == [messages.Draining(seconds=30.0)]
        assert json.loads(call.peer.texts[-1])["type"] == "antiphon.draining"
        assert call.ended is None
        await call.stop()

    run_virtual(main())


def test_telephone_keys_and_audio_levels_become_events_and_are_no_loss() -> None:
    async def main() -> None:
        def extra(offer: str) -> str:
            return offer.replace(
                "a=sendrecv\r\n",
                "a=sendrecv\r\na=rtpmap:110 telephone-event/48000\r\n"
                "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n",
            ).replace("SAVPF 111", "SAVPF 111 110")

        call = Call(extra=extra)
        assert "a=rtpmap:110 telephone-event/48000" in call.answer
        assert "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level" in call.answer
        await call.connect(channel=False)
        await asyncio.sleep(1)
        peer = call.peer
        assert peer._srtp is not None
        rtp = peer._rtp
        for number in range(8):  # a key of 120 ms, its end said three times
            ended = number >= 5
            payload = bytes([5, 0x80 if ended else 0]) + (960 * min(number + 1, 6)).to_bytes(2, "big")
            packet = pack_rtp(110, not number, rtp.sequence, 777, rtp.ssrc, payload)
            rtp.sequence += 1
            peer._send(peer._srtp.protect(packet))
        level = bytes([0xBE, 0xDE, 0, 1, 0x10, 0x80 | 30, 0, 0])
        for _ in range(10):
            plain = pack_rtp(111, False, rtp.sequence, rtp.timestamp, rtp.ssrc, b"\xf8\xff\xfe")
            rtp.sequence, rtp.timestamp = rtp.sequence + 1, rtp.timestamp + 960
            peer._send(peer._srtp.protect(bytes([plain[0] | 16]) + plain[1:12] + level + plain[12:]))
        await asyncio.sleep(1)
        assert call.event_of(messages.TelephoneEvent) == [messages.TelephoneEvent(event=5, duration_ms=120.0)]
        assert call.event_of(messages.AudioLevel) == [messages.AudioLevel(level_dbov=-30, voice=True)]
        statistics = call.session.statistics()
        assert statistics.packets_lost == 0
        assert statistics.frames_concealed == 0
        await call.stop()

    run_virtual(main())


@pytest.mark.parametrize("crashed", [False, True], ids=["handed over", "taken over after a crash"])
@pytest.mark.parametrize("sequence", [100, 65500], ids=["young", "after the sequence number has wrapped"])
def test_a_session_goes_on_in_another_process_from_its_written_state(sequence: int, crashed: bool) -> None:
    async def main() -> None:
        call = Call()
        call.session.state.rtp.sequence = call.peer._rtp.sequence = sequence
        await call.connect()
        call.peer.speak(tone(0.5))
        for frame in speech(1.0):
            call.session.speak(frame, call.loop.time())
        call.peer.send_text("to the first")
        call.session.send_message("oai-events", "from the first")
        await asyncio.sleep(2)
        assert call.session.state.srtp is not None
        assert (call.session.state.srtp.local_index > 65535) == (sequence > 60000)
        assert (call.session.state.srtp.remote_index > 65535) == (sequence > 60000)
        events = len(call.events)
        call.peer.send_text("just before")
        written = call.session.export(call.loop.time())
        call.session.vanish()
        call.registry.remove(call.session)
        assert len(call.events) == events

        state = SessionState.from_bytes(written)
        state.handed_over = not crashed
        heard, said = len(call.peer.frames), len(call.heard)
        old = call.session
        call.session = Session(
            state,
            None,
            PASSWORD_KEY,
            old.dtls_client,
            call,
            call.loop.time(),
            call.wheel.add,
            call.wheel.remove,
        )
        call.registry.add(call.session)
        call.session.restore(call.loop.time())
        call.session.resume(call.loop.time())
        call.registry.adopt(call.session)
        call.peer.speak(tone(1.0))
        for frame in speech(1.0, generation=9):
            call.session.speak(frame, call.loop.time())
        call.peer.send_text("to the second")
        call.session.send_message("oai-events", "from the second")
        await asyncio.sleep(8)
        assert call.ended is None
        assert sum(level > 4000 for level in loudness(call.heard[said:])) > 45
        assert sum(level > 4000 for level in loudness(call.peer.frames[heard:])) > 45
        assert [message.text for message in call.data] == ["to the first", "just before", "to the second"]
        assert call.peer.texts == ["from the first", "from the second"]
        assert len(call.event_of(messages.MediaStarted)) == 1
        assert len(call.event_of(messages.Connected)) == 1
        numbers = [frame.sequence for frame in call.heard]
        assert numbers == list(range(len(numbers)))
        await call.stop()

    run_virtual(main())


def test_nothing_is_sent_beyond_what_a_stored_checkpoint_reserves() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        call.session.checkpoints.begin(lambda: None)
        call.session.checkpoints.write(call.loop.time())
        at_first = call.session.state.rtp.packets
        for generation in range(2):  # twice what the queue holds: it is never stored that this is being sent
            for frame in speech(29.0, generation=generation):
                call.session.speak(frame, call.loop.time())
            await asyncio.sleep(30)
        assert call.session.state.rtp.packets == at_first + RTP_AHEAD
        call.peer.send_text("heard, and not acknowledged")
        await asyncio.sleep(3)
        assert call.data[0].text == "heard, and not acknowledged"
        assert not call.peer.acknowledged
        call.session.checkpoints.write(call.loop.time())
        call.session.checkpoints.stored()
        await asyncio.sleep(20)
        assert call.session.state.rtp.packets == at_first + 2 * 1450
        assert call.peer.acknowledged
        assert len(call.data) == 1
        await call.stop()

    run_virtual(main())


def test_messages_under_way_when_a_process_dies_arrive_once_and_in_order() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        call.session.send_message("oai-events", "before")
        await asyncio.sleep(2)
        call.drop_down = lambda data: 19 < data[0] < 64
        for number in range(5):
            call.session.send_message("oai-events", f"lost on the way {number}")
        await asyncio.sleep(0.5)
        written = call.session.checkpoints.write(call.loop.time())
        call.drop_down = lambda data: False
        call.session.send_message("oai-events", "after the checkpoint")  # delivered, and not in it
        await asyncio.sleep(0.05)
        call.session.vanish()
        call.registry.remove(call.session)
        state = SessionState.from_bytes(written)
        call.session = Session(
            state, None, PASSWORD_KEY, True, call, call.loop.time(), call.wheel.add, call.wheel.remove
        )
        call.registry.add(call.session)
        call.session.restore(call.loop.time())
        call.session.resume(call.loop.time())
        call.registry.adopt(call.session)
        call.session.send_message("oai-events", "from the next")
        await asyncio.sleep(20)
        lost = [f"lost on the way {number}" for number in range(5)]
        assert [text for text in call.peer.texts if text != "after the checkpoint"] == [
            "before",
            *lost,
            "from the next",
        ]
        assert call.peer.texts.count("after the checkpoint") <= 1
        call.peer.send_text("up")
        await asyncio.sleep(2)
        assert [message.text for message in call.data] == ["up"]
        await call.stop()

    run_virtual(main())


def test_checks_alone_keep_a_silent_client_s_session() -> None:
    async def main() -> None:
        call = Call()
        call.drop_up = lambda data: 127 < data[0] < 192
        await call.connect()
        await asyncio.sleep(70)
        assert call.ended is None
        await call.stop()

    run_virtual(main())


def test_a_session_nobody_comes_to_ends_by_its_setup_timeout() -> None:
    async def main() -> None:
        call = Call()
        await asyncio.sleep(29)
        assert call.ended is None
        await asyncio.sleep(2)
        assert call.ended == "setup_timeout"
        await call.stop()

    run_virtual(main())


def test_a_handshake_that_stands_still_ends_the_session() -> None:
    async def main() -> None:
        call = Call()
        call.drop_up = lambda data: 19 < data[0] < 64
        call.peer.begin(call.answer)
        await asyncio.sleep(17)
        assert call.ended == "dtls_failed"
        await call.stop()

    run_virtual(main())


def test_a_client_with_another_certificate_than_its_offer_named_is_refused() -> None:
    async def main() -> None:
        call = Call(extra=lambda offer: offer.replace("sha-256 " + offer.split("sha-256 ")[1][:2], "sha-256 00"))
        call.peer.begin(call.answer)
        call.loop.real_time = True
        await asyncio.sleep(1)
        assert call.ended == "dtls_failed"
        assert "fingerprint" in str(call.event_of(messages.SessionError)[0])
        assert not call.event_of(messages.Connected)
        await call.stop()

    run_virtual(main())


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("passive", [False, True], ids=["client", "server"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_any_one_datagram_of_the_handshake_may_be_lost(direction: str, passive: bool, lost: int) -> None:
    async def main() -> None:
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

    run_virtual(main())


def test_what_an_agent_says_on_a_channel_before_it_is_open_arrives_in_order() -> None:
    async def main() -> None:
        call = Call()
        for number in range(300):
            call.session.send_message("oai-events", str(number))
        await call.connect()
        await asyncio.sleep(5)
        assert call.peer.texts == [str(number) for number in range(44, 300)]  # the oldest went first
        await call.stop()

    run_virtual(main())


def test_what_waits_for_a_channel_is_bounded_in_bytes() -> None:
    async def main() -> None:
        call = Call()
        for _ in range(100):
            call.session.send_message("oai-events", "x" * 100_000)
        assert sum(len(kept) for _, kept in call.session._channels._early) <= 1 << 20
        await call.stop()

    run_virtual(main())


def test_a_channel_that_is_full_refuses_and_says_so() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        call.drop_down = lambda data: True
        for _ in range(40):
            call.session.send_message("oai-events", "x" * 60_000)
        assert any("unsent" in str(event) for event in call.event_of(messages.SessionError))
        call.session.send_message("oai-events", "x" * 70_000)
        assert call.ended is None
        await call.stop()

    run_virtual(main())


def test_a_flush_is_heard_within_two_frames() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
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
        await call.stop()

    run_virtual(main())


def test_pause_holds_at_a_frame_and_resume_goes_on_from_the_next() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
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
        await call.stop()

    run_virtual(main())


def test_nothing_follows_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        for frame in speech(1.0):
            call.session.speak(frame, call.loop.time())
        now = call.loop.time()
        call.session.end("hang_up", now)
        sent = len(call.sent)
        call.session.end("internal", now)
        call.session.control(messages.Flush(generation=9), now)
        call.session.send_message("oai-events", "late")
        for frame in speech(40.0):
            call.session.speak(frame, now)
        await asyncio.sleep(5)  # the client still talks
        assert call.ended == "hang_up"
        assert [data for data in call.sent[sent:] if data[0] > 3] == []
        assert call.wheel.due() is None
        await call.stop()

    run_virtual(main())
    assert not caplog.records


def test_a_session_that_fails_inside_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        call = Call()
        await call.connect()

        def broken(packet: bytes, now: float) -> bool:
            raise ZeroDivisionError

        call.session.media_in.receive = broken  # type: ignore[method-assign]
        await asyncio.sleep(0.1)
        assert call.ended == "internal"
        assert call.wheel.due() is None
        await call.stop()

    run_virtual(main())
    assert "rtc_test failed" in caplog.text


def test_silence_of_a_muted_client_arrives_on_time() -> None:
    async def main() -> None:
        call = Call()
        await call.connect(channel=False)
        call.peer.speak(tone(2.0))
        await asyncio.sleep(1)
        call.drop_up = lambda data: 127 < data[0] < 192  # mid-word
        at = call.loop.time()
        before = len(call.heard)
        await call.until(lambda: bool(call.heard[-1].flags & FrameFlag.SILENCE))
        assert call.loop.time() - at < 0.160
        await asyncio.sleep(1)
        assert len(call.heard) - before == pytest.approx((call.loop.time() - at) * 50, abs=3)
        await call.stop()

    run_virtual(main())
