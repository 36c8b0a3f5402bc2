"""The tone that tells callers of a recording: when it sounds, over speech and in silence, and after a takeover."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support.models.sounds import speech
from support.peers.session_call import Call

from antiphon.rtc.codec import CodecName
from antiphon.rtc.media.codecs import decoder_of
from antiphon.rtc.media.consent_tone import FREQUENCY, seconds_between
from antiphon.rtc.rtp.packet import unpack_rtp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.rtc.rtp.srtp_state import SrtpState
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.transceiver.media.sender import AudioSender
from antiphon.transceiver.session.state import RtpState, SessionState
from antiphon.transceiver.settings import Settings

pytestmark = pytest.mark.virtual

RATE = 8000
KEY = bytes(range(28))


class Caller:
    """A sender that is visited every 20 ms, and what its client would play."""

    def __init__(self, codec: CodecName, state: SessionState | None = None, every: float = 15.0) -> None:
        number = {"opus": 111, "PCMU": 0, "PCMA": 8}[codec]
        self.state = state or SessionState(
            "s", "a", ["u"], [], 16000, RtpState(7, number, 100, 0, codec=codec), consent_tone=every
        )
        self.events: list[messages.Message] = []
        self.packets: list[tuple[float, bytes]] = []
        self.now = 0.0
        self.sender = AudioSender(self.state, self, 1_700_000_000.0)
        self.sender.connect(Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", KEY, KEY), 7), self._sent)
        self._client = Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", KEY, KEY), 1)
        self._decoder = decoder_of(codec, RATE)

    def event(self, event: messages.Message) -> None:
        self.events.append(event)

    def milestone(self, name: str, now: float) -> None:
        pass

    def _sent(self, packet: bytes) -> None:
        opened = self._client.unprotect(packet)
        assert opened is not None
        self.packets.append((self.now, self._decoder.decode(unpack_rtp(opened[0]).payload)))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            if self.sender.wants_tone(self.now) or self.sender.has_speech:
                self.sender.visit(self.now)
            self.now = round(self.now + 0.02, 3)

    def tone_at(self) -> list[float]:
        """The moments of the packets in which the tone stands out."""
        return [at for at, pcm in self.packets if share_of_tone(pcm) > 0.01]


def share_of_tone(pcm: bytes) -> float:
    """Amplitude of the tone's frequency, of full scale."""
    samples = np.frombuffer(pcm, np.int16) / 32768
    phase = np.exp(-2j * np.pi * FREQUENCY * np.arange(len(samples)) / RATE)
    return float(2 * abs(np.mean(samples * phase)))


@pytest.mark.parametrize("codec", ["opus", "PCMU", "PCMA"])
def test_the_tone_sounds_at_the_calls_start_and_every_so_many_seconds(codec: CodecName) -> None:
    call = Caller(codec)
    call.run(35)
    heard = call.tone_at()
    assert [at for at in heard if at < 1] == pytest.approx([n * 0.02 for n in range(10)], abs=0.03)
    assert {int(at) for at in heard} == {0, 15, 30}
    assert len(call.packets) == 30, "in silence nothing else is sent"
    assert not call.events, "it is no speech of the agent's: no position is told"


def test_the_tone_is_mixed_into_speech_and_changes_no_position() -> None:
    with_tone, without = Caller("PCMU"), Caller("PCMU", every=0.0)
    for call in (with_tone, without):
        for frame in speech(1.0, rate=24000):
            call.sender.offer(frame)
        call.run(2)
    assert len(with_tone.packets) == len(without.packets) == 50
    assert with_tone.events == without.events
    over = [share_of_tone(a[1]) - share_of_tone(b[1]) for a, b in zip(with_tone.packets, without.packets, strict=True)]
    assert min(over[1:9]) > 0.02
    assert max(over[11:]) < 0.01


def test_a_live_agents_frame_that_comes_late_still_finds_its_place() -> None:
    """The tone does not take the slot of a frame that misses its visit: those behind it would be late with it."""
    call = Caller("PCMU")
    for number, frame in enumerate(speech(0.4, rate=24000)):
        if number == 5:
            call.run(0.04)
        call.sender.offer(frame)
        call.run(0.02)
    assert len(call.packets) == 20


def test_loud_speech_is_cut_off_and_does_not_wrap_around() -> None:
    call = Caller("PCMU")
    loud = np.full(480, 32000, dtype="<i2").tobytes()
    call.sender.offer(AudioFrame(0, 0, 0, 24000, FrameFlag.END_OF_UTTERANCE.value, 0, loud))
    call.run(0.1)
    assert np.frombuffer(call.packets[0][1], np.int16)[20:].min() > 20000


@pytest.mark.parametrize("elapsed", [3.0, 15.1, 20.0])
def test_another_process_goes_on_in_the_same_rhythm(elapsed: float) -> None:
    first = Caller("opus")
    first.run(elapsed)
    first.sender.export(first.now, with_speech=False)
    state = SessionState.from_bytes(first.state.to_bytes())
    second = Caller("opus", state)
    second.now = elapsed + 0.2
    second.sender.restore(second.now)
    second.run(32)
    due = [n * 15 for n in range(10) if elapsed + 0.2 < n * 15 < elapsed + 32]
    assert sorted({round(at) for at in second.tone_at()}) == due


def test_a_call_that_is_on_hold_gets_its_tone_when_it_goes_on() -> None:
    call = Caller("opus")
    call.state.direction = "recvonly"
    call.sender.follow_direction(0.0)
    call.run(3)
    assert not call.packets
    call.state.direction = "sendrecv"
    call.sender.follow_direction(call.now)
    call.run(1)
    assert len(call.tone_at()) >= 9


async def test_a_whole_call_gets_the_tone_without_any_speech() -> None:
    call = Call(tone=15.0)
    await call.connect()
    await asyncio.sleep(16)
    assert call.session.state.rtp.packets == pytest.approx(20, abs=1)
    assert not call.event_of(messages.Playout)


@pytest.mark.parametrize(
    ("text", "seconds"), [("true", 15), ("TRUE", 15), ("1", 15), ("false", 0), ("", 0), ("0", 0), ("12.5", 12.5)]
)
def test_the_setting_takes_a_switch_or_seconds(text: str, seconds: float) -> None:
    assert seconds_between(text) == seconds


@pytest.mark.parametrize("text", ["perhaps", "2", "-15", "nan", "inf", "1e9"])
def test_a_setting_that_cant_be_is_named(text: str) -> None:
    keys: dict[str, Any] = {"route_keys": "A:00112233445566778899aabbccddeeff", "password_key": "00" * 16}
    with pytest.raises(ValidationError, match="ANTIPHON_CONSENT_TONE is"):
        Settings(consent_tone=text, **keys)
