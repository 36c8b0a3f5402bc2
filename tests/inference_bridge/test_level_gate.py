"""The gate that tells a caller from softer voices behind it, on synthetic levels."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon.inference_bridge.turns.level_gate import (
    ONSET_DB,
    OPENING_DB_PER_S,
    PATIENCE_S,
    SPEECH_DB,
    LevelGate,
    level_db,
)
from antiphon.inference_bridge.turns.window import WINDOW

pytestmark = pytest.mark.pure

WINDOWS_PER_S = 16000 / WINDOW


def pcm(db: float) -> bytes:
    """A window of noise at so many dB of full scale."""
    noise = np.random.default_rng(1).normal(0, 1, WINDOW)
    scaled = noise / np.sqrt((noise**2).mean()) * 32768 * 10 ** (db / 20)
    return bytes(np.clip(scaled, -32768, 32767).astype("<i2").tobytes())


def feed(gate: LevelGate, db: float, seconds: float, speaking: bool = True) -> float:
    """The share that passes."""
    count = max(1, round(seconds * WINDOWS_PER_S))
    window = pcm(db)
    return sum(gate.passes(window, speaking) for _ in range(count)) / count


def test_the_level_of_a_window_is_its_rms() -> None:
    assert level_db(pcm(-30)) == pytest.approx(-30, abs=0.1)
    assert level_db(bytes(WINDOW * 2)) == -100


@pytest.mark.parametrize("own", [-50.0, -35.0, -20.0, -10.0])
def test_what_is_much_softer_than_the_caller_is_left_out_at_any_level(own: float) -> None:
    gate = LevelGate()
    feed(gate, own, 2)
    assert feed(gate, own - SPEECH_DB + 2, 1) == 1, "a soft end of a word"
    assert feed(gate, own, 1) == 1
    assert feed(gate, own - SPEECH_DB - 2, 3) == 0
    assert feed(gate, own - ONSET_DB - 2, 3, speaking=False) == 0, "a turn begins with more than that"
    assert feed(gate, own - ONSET_DB + 2, 0.5, speaking=False) == 1


def test_before_a_caller_is_known_everything_passes() -> None:
    assert feed(LevelGate(), -55, 0.2) == 1


def test_a_caller_who_turns_soft_is_let_in_again_and_then_is_the_measure() -> None:
    gate = LevelGate()
    feed(gate, -20, 3)
    soft = -20 - SPEECH_DB - 6
    assert feed(gate, soft, PATIENCE_S) == 0
    feed(gate, soft, 6 / OPENING_DB_PER_S + 0.2)
    assert feed(gate, soft, 6) == 1
    assert gate.level == pytest.approx(soft, abs=1)


def test_talk_of_others_between_the_callers_turns_is_left_out_for_as_long_as_the_caller_speaks_too() -> None:
    gate = LevelGate()
    for _ in range(30):
        assert feed(gate, -20, 1) == 1
        assert feed(gate, -42, PATIENCE_S - 1) == 0


def test_one_bang_does_not_make_the_caller_too_soft() -> None:
    gate = LevelGate()
    feed(gate, -30, 3)
    feed(gate, -3, 0.2)
    assert feed(gate, -34, 2) == 1


def test_a_caller_who_turns_loud_is_the_measure_at_once() -> None:
    gate = LevelGate()
    feed(gate, -35, 3)
    feed(gate, -15, 1)
    assert feed(gate, -40, 1) == 0
