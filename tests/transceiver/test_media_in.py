"""The caller's side from packets to frames: rates, sources that change, what is counted."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.models.sounds import tone

from antiphon.rtc.media import opus
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.session.state import RtpState, SessionState

pytestmark = pytest.mark.pure


class Heard:
    """What a session's agent gets."""

    def __init__(self) -> None:
        self.frames: list[AudioFrame] = []

    def audio(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def event(self, event: messages.Message) -> None:
        pass


def media_in(rate: int = 16000) -> tuple[AudioReceiver, Heard]:
    heard = Heard()
    return AudioReceiver(SessionState("rtc_test", "a", ["u"], [], rate, RtpState(7, 111, 0, 0)), heard), heard


def sound(seconds: float) -> list[bytes]:
    """Packets of a 440 Hz tone."""
    encoder, pcm = opus.Encoder(48000), tone(seconds, 48000)
    return [encoder.encode(pcm[at : at + 1920]) for at in range(0, len(pcm), 1920)]


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_frames_have_the_rate_that_the_agent_asked_for(rate: int) -> None:
    audio, heard = media_in(rate)
    for number, payload in enumerate(sound(1.0)):
        audio.receive(pack_rtp(111, False, number, number * 960, 5, payload), number * 0.02)
    assert [(frame.rate, len(frame.pcm), frame.first_sample) for frame in heard.frames] == [
        (rate, rate // 50 * 2, number * rate // 50) for number in range(50)
    ]
    later = memoryview(b"".join(frame.pcm for frame in heard.frames[25:])).cast("h")
    assert sum(a < 0 <= b for a, b in pairwise(later)) == pytest.approx(220, abs=3)


def test_a_source_that_changes_its_ssrc_goes_on_in_the_same_stream_and_the_same_counters() -> None:
    audio, heard = media_in()
    first, second = sound(0.4), sound(0.4)
    for number, payload in enumerate(first):
        if number != 10:
            audio.receive(pack_rtp(111, False, 65530 + number & 0xFFFF, number * 960, 5, payload), number * 0.02)
        audio.visit(number * 0.02 + 0.001)
    for number, payload in enumerate(second):
        audio.receive(pack_rtp(111, False, 7000 + number, 0xFFFFF000 + number * 960 & 0xFFFFFFFF, 6, payload), 0.42)
    assert [frame.sequence for frame in heard.frames] == list(range(len(heard.frames)))
    assert [frame.first_sample for frame in heard.frames] == [320 * number for number in range(len(heard.frames))]
    assert len(heard.frames) == pytest.approx(40, abs=1)
    statistics = audio.statistics()
    assert (statistics["packets_received"], statistics["packets_lost"]) == (39, 1)
    # A straggler of the source before begins a third one; nothing of it breaks the stream.
    audio.receive(pack_rtp(111, False, 65530 + 20 & 0xFFFF, 20 * 960, 5, first[0]), 0.43)
    audio.receive(pack_rtp(111, False, 7020, 0xFFFFF000 + 20 * 960 & 0xFFFFFFFF, 6, second[0]), 0.44)
    assert [frame.sequence for frame in heard.frames] == list(range(len(heard.frames)))
