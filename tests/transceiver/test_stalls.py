"""Delay returns to its floor after a stall of the network, also where the sender never pauses. Minutes in seconds."""

from __future__ import annotations

import functools
import heapq
import math
import random
from array import array
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from support.net.emulator import Conditions, Link

from antiphon.rtc.media import opus
from antiphon.rtc.media.silence_trimmer import AFTER, SilenceTrimmer
from antiphon.rtc.media.timeline import MAX_SURPLUS
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.session.state import RtpState, SessionState

pytestmark = pytest.mark.pure

RATE = 16000
FRAME = 0.020
LOUD = 2000
FLOOR = 0.021
"""Seconds that a stream may be longer than what was sent: less than a packet, which can't be left out in part."""


def says(number: int, talks_on: bool, seed: int) -> float:
    """How loud 20 ms of a speaker are: syllables, words, and breath between them; who does not talk on listens, too."""
    if not talks_on and number % 600 > 350:
        return 0.0  # 5 s for the agent to speak
    if number % 120 >= 105:
        return 0.0  # 300 ms between two phrases
    return 0.35 + 0.65 * abs(math.sin(number * 0.4 + seed))


@functools.cache
def packets(kind: str) -> list[bytes]:
    """24 s of a sender that never pauses, background noise included."""
    encoder, noise, found = opus.Encoder(RATE), random.Random(1), []
    for number in range(1200):
        level = 1.0 if kind == "a tone" else says(number, kind == "talks on", 1)
        samples = array(
            "h",
            (
                round(9000 * level * math.sin(2 * math.pi * 300 * (number * 320 + n) / RATE)) + noise.randint(-60, 60)
                for n in range(320)
            ),
        )
        found.append(encoder.encode(samples.tobytes()))
    return found


@dataclass
class Heard:
    """What came out, and by how much the stream was longer than what was sent after each packet."""

    frames: list[AudioFrame] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)

    def audio(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def event(self, event: messages.Message) -> None:
        pass

    def loud(self) -> int:
        """Frames of speech; what is made up in their place does not count."""
        real = [frame for frame in self.frames if not frame.flags & (FrameFlag.SILENCE | FrameFlag.CONCEALED)]
        return sum(int(np.frombuffer(frame.pcm, "<i2").max()) > LOUD for frame in real)


def listen(kind: str, seconds: float, stalls: list[tuple[float, float]], jitter: float = 0.0) -> Heard:
    """A sender of 20 ms packets without a pause."""
    link, heard = Link(Conditions(jitter=jitter), 1), Heard()
    link.stalls = stalls
    state = SessionState("rtc_test", "a", ["u"], [], RATE, RtpState(7, 111, 0, 0))
    media_in = AudioReceiver(state, heard)
    sounds = packets(kind)
    sent = [
        (arrival, number)
        for number in range(round(seconds / FRAME))
        for arrival in link.arrivals(10.0 + number * FRAME)
    ]
    heapq.heapify(sent)
    poll = 10.0
    while sent:
        while sent and sent[0][0] <= poll:
            arrival, number = heapq.heappop(sent)
            before = len(heard.frames)
            payload = sounds[number % len(sounds)]
            packet = pack_rtp(111, False, number & 0xFFFF, number * 960, 5, payload)
            media_in.receive(packet, arrival, int(arrival * 1e9))
            if len(heard.frames) > before:  # it was neither left out nor has it to wait for another one
                heard.behind.append(state.input_samples / RATE - (number + 1) * FRAME)
        media_in.visit(poll)
        poll += FRAME
    return heard


@functools.cache
def undisturbed_by(kind: str, seconds: float) -> int:
    """Loud frames that come where no stall is."""
    return listen(kind, seconds, []).loud()


@pytest.mark.long
@pytest.mark.parametrize("jitter", [0.0, 0.030], ids=["even", "30 ms jitter"])
@pytest.mark.parametrize("kind", ["takes turns", "talks on"])
def test_delay_returns_to_its_floor_after_stalls_of_a_sender_that_never_pauses(kind: str, jitter: float) -> None:
    generator, stalls, at = random.Random(7), [], 30.0
    while at < 240:
        length = generator.uniform(0.150, 3.0)
        stalls.append((at, at + length))
        at += length + generator.uniform(2, 40)
    heard, expected = listen(kind, 450, stalls, jitter), undisturbed_by(kind, 450)
    assert max(heard.behind) > 0.5, "the stalls disturbed nothing"
    assert max(heard.behind) <= MAX_SURPLUS / 48000 + FLOOR
    assert max(heard.behind[-2000:]) <= FLOOR, "some of it is still there after minutes"
    assert heard.loud() == pytest.approx(expected, rel=0.002), "speech was left out"
    assert [frame.sequence for frame in heard.frames] == list(range(len(heard.frames)))
    assert [frame.first_sample for frame in heard.frames] == [320 * number for number in range(len(heard.frames))]


@pytest.mark.parametrize("length", [0.150, 0.5, 1.2, 3.0])
def test_one_stall_is_taken_back_in_the_next_turn_of_the_agent(length: float) -> None:
    heard = listen("takes turns", 60, [(25.0, 25.0 + length)])
    at = round((25.0 - 10.0 + length) / FRAME)
    assert max(heard.behind[at : at + 100]) == pytest.approx(length, abs=0.120)
    assert max(heard.behind[at + round((12 + 3 * length) / FRAME) :]) <= FLOOR


def test_a_sender_of_music_loses_nothing_of_it_and_its_delay_is_bounded() -> None:
    stalls = [(20.0 + 10 * number, 23.0 + 10 * number) for number in range(10)]
    heard, expected = listen("a tone", 150, stalls), undisturbed_by("a tone", 150)
    # The first second of silence of a stall comes before anybody knows that what follows is late.
    assert max(heard.behind) <= MAX_SURPLUS / 48000 + 1 + FLOOR
    assert heard.behind[-1] == pytest.approx(MAX_SURPLUS / 48000, abs=FLOOR), "a tone was taken for noise"
    # The silence of a stall is made up for in full for a second, then at the cost of what is to be taken back: the
    # first adds 3 s, seven more 1 s each, and of each one after them a second comes too late.
    assert heard.loud() == pytest.approx(expected - 2 * 50, abs=10), "more than what is too late was left out"


def test_frames_are_left_out_one_by_one_and_never_the_first_second_of_a_pause() -> None:
    quiet, noise = SilenceTrimmer(), random.Random(1)

    def frame(level: int) -> bytes:
        return array("h", (noise.randint(-level, level) for _ in range(320))).tobytes()

    for _ in range(100):
        assert not quiet.leave_out(frame(9000))
    out = [quiet.leave_out(frame(300)) for _ in range(200)]
    assert not any(out[:AFTER])
    assert sum(out) == (200 - AFTER) // 2
    assert not any(earlier and later for earlier, later in pairwise(out))
    assert not quiet.leave_out(frame(9000))
    assert not any(quiet.leave_out(frame(300)) for _ in range(AFTER))
