"""The bridge's parts of a turn: contiguous, whichever of them are missing, and adding up to the caller's wait."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from antiphon.inference_bridge.conversation.turn_parts import (
    BRIDGE_PARTS,
    InterruptionMarks,
    TurnMarks,
    interruption_stretches,
    last_sample,
    parts_of,
    stretches,
)

pytestmark = pytest.mark.pure

MS = 1_000_000
START = 1_767_225_600_000 * MS


def _marks() -> TurnMarks:
    return TurnMarks(
        START, True, 96_000, 30 * MS, START + 500 * MS, START + 560 * MS, START + 900 * MS, START + 990 * MS
    )


def test_the_parts_add_up_to_the_time_from_the_last_sample_to_the_first_frame() -> None:
    parts = parts_of(_marks())
    assert parts.model_dump(exclude_none=True) == {
        "receive": 30, "end_of_turn": 470, "stt": 60, "agent": 340, "tts": 90,
    }  # fmt: skip


_LATER = ("transcribed", "first_words", "published")
_ABSENT = [names for count in range(4) for names in itertools.combinations(_LATER, count)]


@pytest.mark.parametrize("missing", _ABSENT)
def test_there_is_no_gap_whatever_was_not_reached(missing: tuple[str, ...]) -> None:
    marks = _marks()
    for name in missing:
        setattr(marks, name, 0)
    found = stretches(marks)
    assert found[0].begins == START
    assert all(before.ends == after.begins for before, after in itertools.pairwise(found))
    assert found[-1].ends == max(marks.ended, marks.transcribed, marks.first_words, marks.published)


def test_marks_out_of_order_give_no_negative_part() -> None:
    marks = _marks()
    marks.transcribed = START + 400 * MS  # the text was there before the turn had ended
    found = {part.name: (part.ends - part.begins) // MS for part in stretches(marks)}
    assert found == {"receive": 30, "end_of_turn": 470, "stt": 0, "agent": 400, "tts": 90}


def test_a_late_decision_is_not_more_than_the_whole_silence() -> None:
    marks = _marks()
    marks.lag = 9_000 * MS
    assert {part.name: (part.ends - part.begins) // MS for part in stretches(marks)}["receive"] == 500


def test_a_turn_that_no_speech_has_begun_has_the_parts_of_its_answer_alone() -> None:
    marks = TurnMarks(START, first_words=START + 10 * MS, published=START + 90 * MS)
    assert [part.name for part in stretches(marks)] == ["agent", "tts"]
    assert stretches(TurnMarks()) == []
    assert parts_of(TurnMarks()).model_dump(exclude_none=True) == {}


def test_the_parts_are_those_that_are_reported() -> None:
    assert [part.name for part in stretches(_marks())] == list(BRIDGE_PARTS)


@pytest.mark.parametrize("held", [0, 40])
def test_an_interruption_goes_from_the_onset_to_silence_at_the_client(held: int) -> None:
    marks = InterruptionMarks(START, START + held * MS if held else 0, START + 300 * MS, START + 310 * MS)
    onset, decision, flush, silence = interruption_stretches(marks, 70 * MS)
    assert (onset.begins, decision.ends, flush.ends) == (START, START + 300 * MS, START + 310 * MS)
    assert onset.ends == decision.begins
    assert decision.ends == flush.begins
    assert silence.begins == (START + held * MS if held else flush.ends)
    assert silence.ends - silence.begins == 70 * MS


def _speech(noise: float, seconds: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(1)
    samples = random.normal(0, noise, 16000 + 5000)
    samples[: int(seconds * 16000)] += 6000 * np.sin(np.arange(int(seconds * 16000)) / 5)
    return samples.astype("<i2")


@pytest.mark.parametrize("noise", [0.0, 20.0, 300.0])
@pytest.mark.parametrize("late", [-800, 0, 1600])
def test_the_end_of_speech_is_that_of_its_last_audible_sample(noise: float, late: int) -> None:
    """Voice activity says it later or earlier."""
    found = last_sample(_speech(noise).tobytes(), 48_000, 48_000 + 16_000 + late)
    assert abs(found - (48_000 + 16_000)) <= 80


@pytest.mark.parametrize(
    "pcm", [b"", b"\0", bytes(40_000), np.random.default_rng(1).normal(0, 4000, 21_000).astype("<i2").tobytes()]
)
def test_where_the_level_does_not_say_voice_activity_does(pcm: bytes) -> None:
    assert last_sample(pcm, 0, 16_000) == 16_000
