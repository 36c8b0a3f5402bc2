"""A repeat at the end of a transcript stays if the audio is long enough for it, and goes if it is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from antiphon.inference_bridge.stt.repeats import (
    as_spoken,
    fits,
    has_no_voice,
    is_doubled,
    is_of,
    syllables,
    voiced_seconds,
)
from antiphon.inference_bridge.stt.transcriber import has_words, is_noise, without_annotations

pytestmark = pytest.mark.pure

RATE = 16000


@pytest.mark.parametrize(
    ("transcribed", "seconds"),
    [
        ("1 2 1 2", 1.6),
        ("1212", 1.6),
        ("one two, one two", 1.6),
        ("7 7 1 7 7 1", 2.2),
        ("A B A B", 1.4),
        ("New York, New York.", 1.1),
        ("Double zero, double zero.", 1.6),
        ("No, no, no.", 0.9),
        ("Bye bye.", 0.5),
        ("Yes, yes.", 0.55),
        ("It is nine. It is nine.", 1.4),
        ("Thank you. Thank you. Thank you.", 1.5),
        ("ten to ten", 0.6),
        ("Sí, sí, sí.", 0.7),
        ("Oui, oui.", 0.4),
        ("What time is it? What time", 1.6),  # and then the caller was cut off
        ("I would like to book an appointment for Tuesday.", 1.0),  # no repeat, however fast
        ("", 0.0),
    ],
)
def test_what_was_said_twice_stays_twice(transcribed: str, seconds: float) -> None:
    assert as_spoken(transcribed, seconds) == transcribed


@pytest.mark.parametrize(
    ("transcribed", "seconds", "kept"),
    [
        ("Yes. Yes. Yes. Yes", 0.3, "Yes. Yes. Yes."),
        ("Saturday. Saturday. Saturday. Saturday. Satur", 0.6, "Saturday."),
        ("Wednesday Wednesday Wednesday", 0.6, "Wednesday"),
        ("What time is it? What time is it? What ti", 0.6, "What time is it?"),
        ("I live on Main Street. I live on Main Street.", 1.0, "I live on Main Street."),
        ("4 2 4 2 4 2 4 2", 0.5, "4 2 4 2"),
        ("Martes. Martes. Martes. Martes. Mar", 0.7, "Martes. Martes. Martes."),
    ],
)
def test_more_than_a_voice_says_in_that_time_was_not_said(transcribed: str, seconds: float, kept: str) -> None:
    assert as_spoken(transcribed, seconds) == kept


@pytest.mark.parametrize("phrase", ["one two", "New York", "A B", "no", "double zero", "buenos días", "d'accord", "ja"])
@pytest.mark.parametrize("times", [2, 3, 5])
@pytest.mark.parametrize("rate", [3.0, 5.0, 7.0])
def test_any_repeat_at_a_rate_that_people_speak_at_stays(phrase: str, times: int, rate: float) -> None:
    text = ", ".join([phrase] * times)
    assert as_spoken(text, syllables(text) / rate) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [("one two", 2), ("70", 4), ("New York", 2), ("Saturday", 3), ("A B C", 3), ("W", 3), ("días", 1)],
)
def test_syllables_are_about_right(text: str, count: int) -> None:
    assert syllables(text) == pytest.approx(count, abs=1)


def speech(*parts: tuple[float, float]) -> NDArray[np.floating]:
    """(seconds, level of 32768) each."""
    chance = np.random.default_rng(1)
    return np.concatenate([chance.normal(0, level, int(s * RATE)) for s, level in parts]).astype(np.float32) / 32768


def test_a_voice_is_measured_without_the_room_around_it() -> None:
    assert voiced_seconds(speech((0.3, 6), (0.8, 3000), (0.4, 6))) == pytest.approx(0.8, abs=0.05)
    assert voiced_seconds(speech((0.3, 6), (0.4, 3000), (2, 6), (0.4, 3000))) == pytest.approx(1.1, abs=0.05)
    assert voiced_seconds(speech((1, 6))) == 0
    assert voiced_seconds(np.zeros(0, dtype=np.float32)) == 0
    assert not fits("seven seven seven seven", 0.3)


@pytest.mark.parametrize("seconds", [0.1, 0.5, 2.0, 20.0])
def test_silence_and_steady_noise_have_no_voice(seconds: float) -> None:
    time = np.arange(int(seconds * RATE)) / RATE
    hum = np.asarray(0.02 * np.sin(2 * np.pi * 50 * time) + 0.01 * np.sin(2 * np.pi * 150 * time), dtype=np.float32)
    assert has_no_voice(np.zeros(len(time), dtype=np.float32))
    assert has_no_voice(speech((seconds, 58)))  # -55 dBFS
    assert has_no_voice(hum)


@pytest.mark.parametrize("level", [100, 1000, 8000])
def test_a_sound_that_comes_and_goes_is_left_to_the_recogniser(level: float) -> None:
    assert not has_no_voice(speech((0.3, 6), (0.2, level), (0.1, level / 5), (0.2, level), (0.2, 6)))
    assert not has_no_voice(speech((0.2, level), (0.05, level / 10), (0.2, level)))


@pytest.mark.parametrize(
    ("score", "no_speech", "noise"),
    [
        # measured: single words and names of three voices
        (-0.45, 0.06, False),
        (-0.79, 0.6, False),
        (-1.0, 0.357, False),
        (-2.19, 0.03, False),
        (-1.95, 0.02, False),
        # a room, breath, coughs, music, keys
        (-1.25, 0.82, True),
        (-2.36, 0.4, True),
        (-3.4, 0.38, True),
        (-1.16, 0.54, True),
        (-1.04, 0.91, True),
        (-3.5, 0.05, False),
        (-4.7, 0.6, True),
    ],
)
def test_noise_is_what_is_unlikely_and_no_speech(score: float, no_speech: float, noise: bool) -> None:
    assert is_noise(score, no_speech) is noise


@pytest.mark.parametrize(
    ("text", "prompt", "of"),
    [
        ("Dr. Miller.", "Invoice, Riverside, Doctor Miller.", True),
        ("Invoice, Riverside, Doctor Miller.", "Invoice, Riverside, Doctor Miller.", True),
        ("riverside", "Invoice, Riverside", True),
        ("Miller Invoice", "Invoice, Riverside, Doctor Miller.", False),
        ("I need Doctor Miller.", "Doctor Miller", False),
        ("", "Doctor Miller", False),
    ],
)
def test_words_of_the_prompt_are_known_again(text: str, prompt: str, of: bool) -> None:
    assert is_of(text, prompt) is of


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("[BLANK_AUDIO]", ""),
        ("(coughs) Yes.", "Yes."),
        ("♪ ♪", ""),
        ("*sighs* no (laughs)", "no"),
        ("Hi.", "Hi."),
        ("HMMMMMMMMMM", ""),
    ],
)
def test_annotations_are_no_words(text: str, plain: str) -> None:
    assert without_annotations(text) == plain
    assert has_words(plain) is bool(plain)


@pytest.mark.parametrize(
    ("text", "doubled"),
    [("August. August.", True), ("one two one two", True), ("A B A", False), ("August", False), ("", False)],
)
def test_a_text_that_is_one_phrase_over_and_over_is_known(text: str, doubled: bool) -> None:
    assert is_doubled(text) is doubled
