"""`EchoCanceller`: the agent's own voice is taken out of a caller's audio, and a caller is left in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from antiphon.runtime.echo.canceller import FRAME, Cleaned, EchoCanceller
from antiphon.runtime.echo.delay import (
    AFTER_S,
    BEFORE_S,
    Delay,
    comes_back_in_both_halves,
    find_delay,
    sounds_when_it_does,
)
from antiphon.runtime.echo.played_speech import RATE, PlayedSpeech, Samples
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.schemas.messages import Playout

pytestmark = pytest.mark.pure

START = 1_700_000_000_000_000_000
SECONDS = 5


def voice(seed: int, rate: int, seconds: float = SECONDS) -> Samples:
    """Noise with the loudness of syllables and the spectrum of vowels: none of it repeats."""
    random = np.random.default_rng(seed)
    count = int(seconds * rate)
    noise = random.normal(0, 1, count)
    vowel = np.convolve(noise, np.hanning(rate // 1500), "same")
    times = np.arange(0, count + rate // 5, rate // 5)
    syllables = np.interp(np.arange(count), times, random.uniform(0, 1, len(times)))
    sound = vowel * syllables**2
    samples: Samples = (sound / np.sqrt(np.mean(sound**2)) * 1500).astype(np.int16)
    return samples


AGENT = voice(1, RATE)
CALLER = voice(2, RATE)


@dataclass
class Call:
    """An agent that speaks from the beginning, and what the caller's microphone receives."""

    echo_db: float | None = -12.0
    delay_ms: int = 150
    caller_from_s: float | None = None
    clock_ms: int = 0
    """By which the clock of the bridge is ahead."""
    noise: float = 12.0
    """RMS."""

    def __post_init__(self) -> None:
        self.played = PlayedSpeech()
        self.canceller = EchoCanceller(self.played)
        for at in range(0, len(AGENT), FRAME):
            self.played.sent(AudioFrame(0, at, 0, RATE, 0, 1, AGENT[at : at + FRAME].tobytes()))
        random = np.random.default_rng(3)
        microphone = random.normal(0, self.noise, len(AGENT))
        late = self.delay_ms * RATE // 1000
        if self.echo_db is not None:
            microphone[late:] += AGENT[: len(AGENT) - late] * 10 ** (self.echo_db / 20)
        if self.caller_from_s is not None:
            first = int(self.caller_from_s * RATE)
            microphone[first:] += CALLER[: len(CALLER) - first]
        self.microphone = np.clip(microphone, -32768, 32767).astype(np.int16)

    def frames(self) -> Iterator[tuple[AudioFrame, Cleaned]]:
        """Each frame of the caller, and what comes out."""
        random = np.random.default_rng(4)
        for number in range(len(AGENT) // FRAME):
            now = START + number * 20_000_000
            if number % 10 == 0:
                state = "playing" if number else "started"
                event = Playout.model_validate(
                    {"generation": 1, "played_samples": number * FRAME, "rate": RATE, "queued_ms": 0, "state": state}
                )
                self.played.playout(event, now + self.clock_ms * 1_000_000 + int(random.uniform(0, 5e6)))
            pcm = self.microphone[number * FRAME : (number + 1) * FRAME].tobytes()
            frame = AudioFrame(number, number * FRAME, now + int(random.uniform(0, 30e6)), RATE, 0, 0, pcm)
            yield frame, self.canceller.clean(frame)

    def lost_db(self, what: str, from_s: float, to_s: float) -> float:
        """What `pcm` or `voice` has lost against the microphone."""
        before = after = 0.0
        for frame, cleaned in self.frames():
            if from_s <= frame.first_sample / RATE < to_s:
                before += _power(frame.pcm)
                after += _power(getattr(cleaned, what))
        return float(10 * np.log10(before / max(after, 1e-9)))


def _power(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    return float(np.sum(samples**2))


@pytest.mark.parametrize("delay_ms", [0, 50, 150, 300, 400, 700, 1000])
def test_an_echo_is_found_at_its_delay_and_taken_out(delay_ms: int) -> None:
    call = Call(delay_ms=delay_ms)
    assert call.lost_db("pcm", 2.5, SECONDS) > 15
    found = call.canceller.found
    assert found is not None
    assert found.seconds * 1000 == pytest.approx(delay_ms, abs=40)


@pytest.mark.parametrize("echo_db", [-6, -12, -20])
def test_voice_activity_gets_no_echo_once_it_is_found_which_takes_less_than_a_second(echo_db: float) -> None:
    call = Call(echo_db=echo_db)
    kept = [np.sqrt(_power(cleaned.voice) / FRAME) for _, cleaned in call.frames()]
    received = np.sqrt(_power(AGENT.tobytes()) / len(AGENT)) * 10 ** (echo_db / 20)
    assert np.median(kept[60:]) < max(40, received / 8)
    assert np.quantile(kept[60:], 0.95) < max(110, received / 4)


@pytest.mark.parametrize("clock_ms", [-250, -60, 60, 250])
def test_clocks_that_differ_do_not_matter(clock_ms: int) -> None:
    assert Call(clock_ms=clock_ms).lost_db("pcm", 2.5, SECONDS) > 15


def test_a_caller_without_echo_loses_nothing() -> None:
    call = Call(echo_db=None, caller_from_s=1.0)
    for frame, cleaned in call.frames():
        assert cleaned.pcm == frame.pcm
    assert call.canceller.found is None


@pytest.mark.parametrize("from_s", [0.1, 0.3, 1.0, 2.0])
def test_voice_activity_gets_a_caller_without_echo_from_the_first_sample_on(from_s: float) -> None:
    call = Call(echo_db=None, caller_from_s=from_s)
    assert all(cleaned.voice == frame.pcm for frame, cleaned in call.frames())


def test_a_caller_over_an_echo_is_left_in_the_audio() -> None:
    call = Call(caller_from_s=3.0)
    kept = b"".join(cleaned.pcm for frame, cleaned in call.frames() if 3.2 * RATE <= frame.first_sample < 4.8 * RATE)
    out = np.frombuffer(kept, dtype="<i2").astype(np.float64)
    said = CALLER[int(0.2 * RATE) : int(0.2 * RATE) + len(out)].astype(np.float64)
    likeness = max(float(np.corrcoef(out[shift:], said[: len(said) - shift])[0, 1]) for shift in range(160))
    assert np.std(out) > 0.5 * np.std(said)
    assert likeness > 0.5


def test_a_weak_echo_is_left_in_a_callers_words() -> None:
    call = Call(echo_db=-40, caller_from_s=3.0)
    raw = [cleaned.pcm == frame.pcm for frame, cleaned in call.frames() if frame.first_sample >= 3.3 * RATE]
    assert np.mean(raw) > 0.8


def test_a_quiet_caller_costs_nothing() -> None:
    made = 0

    def make() -> EchoCanceller:
        nonlocal made
        made += 1
        raise AssertionError("AEC3 is not needed")

    call = Call(echo_db=None)
    call.canceller = EchoCanceller(call.played, make)  # type: ignore[arg-type]
    for frame, cleaned in call.frames():
        assert cleaned == (frame.pcm, frame.pcm)
    assert made == 0


def test_an_agent_that_is_silent_leaves_the_audio_alone() -> None:
    canceller = EchoCanceller(PlayedSpeech())
    frame = AudioFrame(0, 0, START, RATE, 0, 0, CALLER[:FRAME].tobytes())
    assert canceller.is_idle(frame)
    canceller.note(frame)
    assert canceller.clean(frame._replace(first_sample=FRAME)) == (frame.pcm, frame.pcm)


def test_a_gap_and_a_frame_of_silence_are_taken() -> None:
    call = Call()
    frame = next(frame for frame, _ in call.frames() if frame.sequence == 120)
    later = frame._replace(first_sample=frame.first_sample + 5 * RATE, captured_ns=frame.captured_ns + 5_000_000_000)
    assert call.canceller.clean(later).pcm == later.pcm
    silent = later._replace(first_sample=later.first_sample + FRAME, flags=int(FrameFlag.SILENCE), pcm=bytes(FRAME * 2))
    assert call.canceller.clean(silent).pcm == silent.pcm


@pytest.mark.parametrize("delay_ms", [-200, 0, 80, 600, 1150])
def test_the_delay_is_found_in_one_second_of_echo(delay_ms: int) -> None:
    reference = voice(5, 8000, 1 + AFTER_S + BEFORE_S).astype(np.float32)
    first = int((AFTER_S - delay_ms / 1000) * 8000)
    echo = reference[first : first + 8000] * 0.1 + np.random.default_rng(6).normal(0, 20, 8000)
    found = find_delay(echo.astype(np.float32), reference, 8000)
    assert found is not None
    assert found.seconds * 1000 == pytest.approx(delay_ms, abs=2)
    assert found.sharpness > 12
    assert comes_back_in_both_halves(echo.astype(np.float32), reference, 8000, found)


@pytest.mark.parametrize("from_s", [0.05, 0.15, 0.5, 0.65])
def test_one_word_like_the_agents_has_a_sharp_delay_but_not_in_both_halves(from_s: float) -> None:
    """Another agent with the same voice is a caller like others."""
    reference = voice(5, 8000, 1 + AFTER_S + BEFORE_S).astype(np.float32)
    caller = voice(7, 8000, 1).astype(np.float32) * 0.1
    first, length = int(from_s * 8000), 2400
    word = reference[first + 5000 : first + 5000 + length]
    caller[first : first + length] += word
    found = find_delay(caller, reference, 8000)
    assert found is not None
    assert found.sharpness > 12
    assert not comes_back_in_both_halves(caller, reference, 8000, found)


def test_another_voice_has_no_sharp_delay() -> None:
    reference = voice(5, 8000, 1 + AFTER_S + BEFORE_S).astype(np.float32)
    found = find_delay(voice(7, 8000, 1).astype(np.float32), reference, 8000)
    assert found is None or found.sharpness < 9
    assert find_delay(np.zeros(8000, np.float32), reference, 8000) is None


def _sounds_together(spoken: tuple[int, int], heard: tuple[int, int], delay_ms: int = 0) -> bool:
    """Of one second: the agent speaks from frame to frame, the caller's side sounds from frame to frame."""
    reference = np.zeros(int((1 + AFTER_S + BEFORE_S) * 8000), np.float32)
    first = int((AFTER_S - delay_ms / 1000) * 8000)
    begin, end = (first + frame * 160 for frame in spoken)
    reference[begin:end] = np.random.default_rng(5).normal(0, 1500, end - begin)
    loud = [heard[0] <= frame < heard[1] for frame in range(50)]
    return sounds_when_it_does(loud, reference, 8000, Delay(delay_ms / 1000, 10.0))


@pytest.mark.parametrize("delay_ms", [-200, 0, 80, 600, 1150])
@pytest.mark.parametrize(
    ("spoken", "heard", "together"),
    [
        ((20, 32), (20, 34), True),  # the agent's first word, then its speech is held
        ((20, 50), (20, 50), True),  # its first words
        ((0, 20), (0, 24), True),  # it has ended, and the room still sounds
        ((0, 50), (30, 50), False),  # a caller begins in the middle of it
        ((0, 30), (26, 50), False),  # and goes on while it is held
        ((20, 50), (38, 50), False),
        ((0, 50), (0, 50), False),  # nobody was silent: there is nothing to be told from that
        ((20, 25), (20, 25), False),  # too short
    ],
)
def test_an_echo_sounds_when_the_agent_does_and_a_caller_does_not(
    spoken: tuple[int, int], heard: tuple[int, int], together: bool, delay_ms: int
) -> None:
    assert _sounds_together(spoken, heard, delay_ms) is together


def test_silence_has_no_echo() -> None:
    reference = np.zeros(int((1 + AFTER_S + BEFORE_S) * 8000), np.float32)
    assert not sounds_when_it_does([True] * 20 + [False] * 30, reference, 8000, Delay(0.1, 12.0))
    assert not sounds_when_it_does([], reference, 8000, Delay(0.1, 12.0))


@pytest.mark.parametrize("silent_s", [0.3, 0.6])
def test_the_first_words_of_an_agent_whose_speech_is_held_for_them_show_their_echo(silent_s: float) -> None:
    """Some 0.3 s of echo is all that there is."""
    call = Call(delay_ms=150)
    begin, end = int(silent_s * RATE), int((silent_s + 0.3) * RATE)
    call.played = PlayedSpeech()
    call.canceller = EchoCanceller(call.played)
    spoken = AGENT.copy()
    spoken[:begin] = 0
    spoken[end:] = 0
    for at in range(0, len(spoken), FRAME):
        call.played.sent(AudioFrame(0, at, 0, RATE, 0, 1, spoken[at : at + FRAME].tobytes()))
    microphone = np.random.default_rng(3).normal(0, call.noise, len(AGENT))
    late = call.delay_ms * RATE // 1000
    microphone[late:] += spoken[: len(spoken) - late] * 0.25
    call.microphone = np.clip(microphone, -32768, 32767).astype(np.int16)
    found = next(frame for frame, _ in call.frames() if call.canceller.found is not None)
    assert call.canceller.found is not None
    assert found.first_sample / RATE < silent_s + 0.8
    assert call.canceller.found.seconds * 1000 == pytest.approx(150, abs=40)
