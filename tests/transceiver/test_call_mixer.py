"""Both voices of a call in one stream, whatever their rates, their gaps and their levels are."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from numpy.typing import NDArray
from support.models.sounds import tone

from antiphon.transceiver.media.call_mixer import MAX_WAITING, RATE, SAMPLES, CallMixer

pytestmark = pytest.mark.pure

RATES = (8000, 16000, 24000, 48000)


def frames(pcm: bytes, rate: int) -> list[bytes]:
    size = rate // 50 * 2
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def strength(pcm: bytes, hertz: float) -> float:
    """How much of this frequency there is: the level of its sine."""
    samples: NDArray[np.float64] = np.frombuffer(pcm, "<i2").astype(np.float64)
    wave = np.exp(2j * np.pi * hertz * np.arange(samples.size) / RATE)
    return float(abs(samples @ wave) * 2 / samples.size)


@pytest.mark.parametrize("caller_rate", RATES)
@pytest.mark.parametrize("agent_rate", RATES)
def test_both_voices_are_in_the_mix_at_their_levels(caller_rate: int, agent_rate: int) -> None:
    mixer, mixed = CallMixer(), b""
    caller = frames(tone(0.6, caller_rate, 450, 6000), caller_rate)
    agent = frames(tone(0.6, agent_rate, 1050, 4000), agent_rate)
    for first, second in zip(caller, agent, strict=True):
        mixer.caller(first, caller_rate)
        mixer.agent(second, agent_rate)
        mixed += mixer.mix()
    assert len(mixed) == 30 * SAMPLES * 2
    settled = mixed[10 * SAMPLES * 2 :]
    assert strength(settled, 450) == pytest.approx(6000, rel=0.05)
    assert strength(settled, 1050) == pytest.approx(4000, rel=0.1)


@pytest.mark.parametrize("rate", RATES)
def test_there_is_no_seam_between_frames(rate: int) -> None:
    mixer, mixed = CallMixer(), b""
    for frame in frames(tone(0.6, rate, 300, 10000), rate):
        mixer.caller(frame, rate)
        mixed += mixer.mix()
    steps = np.abs(np.diff(np.frombuffer(mixed[10 * SAMPLES * 2 :], "<i2").astype(int)))
    assert steps.max() < 1.3 * 10000 * 2 * np.pi * 300 / RATE


def test_a_silent_side_leaves_the_other_as_it_is_and_two_silent_ones_are_silence() -> None:
    mixer = CallMixer()
    assert mixer.mix() == bytes(SAMPLES * 2)
    spoken = frames(tone(0.2), RATE)
    mixed = []
    for frame in spoken:
        mixer.agent(frame, RATE)
        mixed.append(mixer.mix())
    assert mixed[1:] == spoken[:-1]
    assert [mixer.mix() for _ in range(3)] == [spoken[-1], bytes(SAMPLES * 2), bytes(SAMPLES * 2)]


def test_what_is_too_loud_is_cut_off() -> None:
    mixer, loud = CallMixer(), array("h", [30000, -30000] * (SAMPLES // 2)).tobytes()
    for _ in range(2):
        mixer.caller(loud, RATE)
        mixer.agent(loud, RATE)
    assert set(array("h", mixer.mix())) == {32767, -32768}


def test_frames_that_come_in_bursts_are_mixed_in_order_and_never_add_up_to_a_delay() -> None:
    mixer = CallMixer()
    numbered = [array("h", [number] * SAMPLES).tobytes() for number in range(1, 41)]
    mixed = []
    for at in range(0, 40, 2):  # two at a time, each second tick
        mixer.caller(numbered[at], RATE)
        mixer.caller(numbered[at + 1], RATE)
        mixed += [mixer.mix(), mixer.mix()]
    assert mixed == numbered
    for frame in numbered:
        mixer.caller(frame, RATE)
    left = [mixer.mix() for _ in range(20)]
    assert [frame for frame in left if frame != bytes(SAMPLES * 2)] == numbered[-MAX_WAITING:]


def test_the_last_frame_of_a_short_sound_is_mixed_too() -> None:
    mixer, click = CallMixer(), array("h", [100] * SAMPLES).tobytes()
    mixer.caller(click, RATE)
    assert click in [mixer.mix() for _ in range(4)]


def test_what_is_no_frame_of_its_rate_is_left_out() -> None:
    mixer = CallMixer()
    for pcm, rate in ((b"", 24000), (b"\0\0" * 100, 24000), (b"\0\0" * 480, 16000), (b"", 0)):
        mixer.caller(pcm, rate)
        assert mixer.mix() == bytes(SAMPLES * 2)
