"""The parts of the SDK that need no network: framing, resampling, loudness."""

from __future__ import annotations

import math
import time
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models.sounds import tone

from antiphon.agent import Agent, SpeechStarted, SpeechStopped
from antiphon.agent.agent import MAX_LATENESS_MS
from antiphon.agent.energy_vad import EnergyVad
from antiphon.agent.event_queue import EventQueue
from antiphon.agent.playback import Framer
from antiphon.agent.watchdog import Watchdog
from antiphon.runtime.resampling import HALF, Resampler
from antiphon.schemas.audio import RATES, AudioFrame

pytestmark = pytest.mark.pure


@given(st.lists(st.binary(max_size=3000).map(lambda pcm: pcm[: len(pcm) // 2 * 2]), max_size=8))
def test_frames_hold_every_sample_once_and_the_last_is_kept_back_until_the_end(pieces: list[bytes]) -> None:
    framer = Framer(24000)
    frames = [frame for piece in pieces for frame in framer.push(piece)]
    last = framer.end()
    whole = b"".join(pieces)
    assert (last is None) == (not whole)
    frames += [last] if last else []
    assert all(len(frame) == 960 for frame in frames)
    assert b"".join(frames)[: len(whole)] == whole
    assert len(frames) == math.ceil(len(whole) / 960)


def test_an_agent_cannot_ask_for_a_rate_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="input_rate 44100"):
        Agent("listener", input_rate=44100)


def test_half_a_sample_and_a_strange_rate_are_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        Framer(24000).push(b"abc")
    with pytest.raises(ValueError, match="44100 Hz"):
        Framer(44100)


@pytest.mark.parametrize("source", RATES)
@pytest.mark.parametrize("target", RATES)
def test_resampling_keeps_the_tone_and_the_number_of_samples(source: int, target: int) -> None:
    if source == target:
        return
    pcm, resampler, size = tone(0.5, source), Resampler(source, target), source // 50 * 2
    pieces = [resampler.push(pcm[at : at + size]) for at in range(0, len(pcm), size)]
    assert {len(piece) for piece in pieces} == {target // 50 * 2}
    out = np.frombuffer(b"".join(pieces), dtype=np.int16)[target // 10 :].astype(float)
    spectrum = np.abs(np.fft.rfft(out * np.hanning(out.size)))
    assert abs(np.argmax(spectrum) * target / out.size - 440) < 5
    assert np.abs(out).max() == pytest.approx(8000, rel=0.05)


def test_resampling_downwards_lets_nothing_fold_back() -> None:
    out = Resampler(48000, 8000).push(tone(0.5, 48000, hertz=6500))
    assert np.abs(np.frombuffer(out, dtype=np.int16)[400:]).max() < 8000 * 0.05


@pytest.mark.parametrize("source", RATES)
@pytest.mark.parametrize("target", RATES)
def test_resampling_is_the_filter_it_is_said_to_be(source: int, target: int) -> None:
    """Against the windowed sinc itself, in floating point, at the place of each output sample."""
    if source == target:
        return
    given = np.random.default_rng(1).integers(-12000, 12000, source // 25).astype(np.int16)
    out = np.frombuffer(Resampler(source, target).push(given.tobytes()), dtype=np.int16)
    cutoff = min(1.0, target / source)
    reach = math.ceil(HALF / cutoff)
    for number in range(0, out.size, 7):
        at = number * source / target - reach
        x = np.arange(math.floor(at) - reach + 1, math.floor(at) + reach + 1) - at
        taps = cutoff * np.sinc(cutoff * x) * (0.5 + 0.5 * np.cos(np.pi * x / (reach + 1)))
        places = np.arange(math.floor(at) - reach + 1, math.floor(at) + reach + 1)
        there = (places >= 0) & (places < given.size)
        value = np.sum(taps[there] * given[places[there]]) / taps.sum()
        assert abs(out[number] - value) <= 2


def test_resampling_clips_what_is_too_loud_and_wraps_nothing_round() -> None:
    square = np.repeat(np.tile(np.array([32767, -32768], dtype=np.int16), 20), 40)
    out = np.frombuffer(Resampler(16000, 48000).push(square.tobytes()), dtype=np.int16).astype(int)
    assert out.max() == 32767
    assert out.min() == -32768
    assert np.abs(np.diff(out)).max() < 40000, "from one end to the other takes more than a sample"


@given(st.lists(st.integers(0, 200), max_size=20), st.sampled_from(RATES), st.sampled_from(RATES))
def test_resampling_in_pieces_of_any_size_is_the_same_stream(sizes: list[int], source: int, target: int) -> None:
    if source == target:
        return
    given = np.random.default_rng(2).integers(-32768, 32767, sum(sizes)).astype(np.int16).tobytes()
    pieces, whole = Resampler(source, target), Resampler(source, target)
    at, out = 0, b""
    for size in sizes:
        out += pieces.push(given[at : at + size * 2])
        at += size * 2
    assert out == whole.push(given)


def _frames(pcm: bytes, first: int = 0) -> list[AudioFrame]:
    return [AudioFrame(0, first + at // 2, 0, 16000, 0, 0, pcm[at : at + 640]) for at in range(0, len(pcm), 640)]


def _noise(seconds: float, level: int) -> bytes:
    samples = np.random.default_rng(1).normal(0, level, round(seconds * 16000)).astype(np.int16)
    return array("h", samples.tolist()).tobytes()


def test_speech_above_steady_noise_is_found_and_noise_alone_is_not() -> None:
    pcm = _noise(6, 400) + tone(1, 16000) + _noise(1, 400)
    loudness = EnergyVad()
    events = [(frame.first_sample, event) for frame in _frames(pcm) if (event := loudness.push(frame))]
    late = [event for at, event in events if at > 5 * 16000]
    started, stopped = late
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert started.at == pytest.approx(6, abs=0.05)
    assert stopped.seconds == pytest.approx(1, abs=0.05)


def test_a_click_is_no_speech() -> None:
    loudness = EnergyVad()
    assert not [e for frame in _frames(bytes(3200) + tone(0.04, 16000) + bytes(16000)) if (e := loudness.push(frame))]


async def test_a_full_feed_drops_the_oldest_and_counts_them() -> None:
    feed: EventQueue[int] = EventQueue(3)
    for number in range(5):
        feed.put(number)
    feed.close()
    assert feed.take_dropped() == 2
    assert [item async for item in feed] == [2, 3, 4]


async def test_one_hiccup_of_a_busy_machine_is_no_reason_to_take_no_calls_but_standing_still_is() -> None:
    watchdog = Watchdog(0.2)
    now = time.monotonic()
    watchdog._lateness.extend((now, late) for late in (0.02, 0.3, 0.05, 0.02))
    assert watchdog.late_ms() == pytest.approx(300)
    assert watchdog.late_ms() < MAX_LATENESS_MS
    watchdog._lateness.extend((now, 0.3) for _ in range(2))
    assert watchdog.late_ms() > MAX_LATENESS_MS
