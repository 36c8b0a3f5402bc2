"""`PlayedSpeech`: what was sent to the client, on the clock of its own audio."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from antiphon.runtime.echo.played_speech import KEPT_S, MAX_PIECES, RATE, PlayedSpeech, Samples
from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.messages import Flushed, Playout

pytestmark = pytest.mark.pure

MS = 1_000_000
START = 1_700_000_000_000_000_000
SPEECH: Samples = (np.sin(np.arange(24000 * 4) / 24000 * 2 * np.pi * 300) * 8000).astype(np.int16)
"""4 s."""


def speak(played: PlayedSpeech, generation: int = 1, seconds: float = 4.0) -> None:
    for at in range(0, int(seconds * 24000), 480):
        played.sent(AudioFrame(0, at, 0, 24000, 0, generation, SPEECH[at : at + 480].tobytes()))


def report(
    played: PlayedSpeech,
    ms: int,
    late_ms: int = 0,
    state: Literal["started", "playing", "paused", "ended"] = "playing",
    generation: int = 1,
    start_ms: int = 0,
) -> None:
    """The transceiver has played `ms` of the generation that began at `start_ms`."""
    event = Playout(generation=generation, played_samples=ms * 24, rate=24000, queued_ms=0, state=state)
    played.playout(event, START + (start_ms + ms + late_ms) * MS)


def at(played: PlayedSpeech, ms: int, length_ms: int = 20) -> Samples | None:
    return played.between(START + ms * MS, length_ms * 16)


def is_speech_from(found: Samples | None, ms: float) -> bool:
    """It is the speech from this millisecond of it on."""
    if found is None:
        return False
    expected = np.sin((np.arange(len(found)) / RATE + ms / 1000) * 2 * np.pi * 300) * 8000
    return float(np.corrcoef(found, expected)[0, 1]) > 0.99


def test_nothing_is_known_before_the_transceiver_plays() -> None:
    played = PlayedSpeech()
    assert at(played, 0) is None
    speak(played)
    assert at(played, 0) is None
    assert played.is_silent(START, 1.0)


def test_what_was_played_is_found_at_its_time_between_two_reports_too() -> None:
    played = PlayedSpeech()
    speak(played)
    report(played, 0, state="started")
    report(played, 200)
    assert is_speech_from(at(played, 100), 100)
    assert is_speech_from(at(played, 390), 390)
    assert at(played, -40) is None
    assert not played.is_silent(START + 300 * MS, 1.0)


def test_the_earliest_report_tells_the_time() -> None:
    played = PlayedSpeech()
    speak(played)
    report(played, 0, late_ms=40, state="started")
    assert is_speech_from(at(played, 140), 100)
    report(played, 200, late_ms=1)
    report(played, 400, late_ms=30)
    assert is_speech_from(at(played, 501), 500)


def test_what_is_partly_played_is_filled_up_with_silence() -> None:
    played = PlayedSpeech()
    speak(played)
    report(played, 0, state="started")
    found = at(played, -10)
    assert found is not None
    assert not found[:160].any()
    assert found[160:].any()


def test_a_pause_is_silence_and_what_is_resumed_continues_before_it_is_reported() -> None:
    played = PlayedSpeech()
    speak(played)
    report(played, 0, state="started")
    report(played, 300, state="paused")
    assert at(played, 400) is None
    played.resumed(START + 1000 * MS)
    assert at(played, 900) is None
    assert is_speech_from(at(played, 1020), 320)
    report(played, 400, start_ms=700)
    assert is_speech_from(at(played, 1200), 500)


def test_what_has_ended_is_not_resumed() -> None:
    played = PlayedSpeech()
    speak(played)
    report(played, 0, state="started")
    report(played, 300, state="ended")
    played.resumed(START + 1000 * MS)
    assert at(played, 1100) is None
    report(played, 0, state="started", start_ms=2000)
    report(played, 300, state="paused", start_ms=2000)
    played.flushed(Flushed(generation=1, played_samples=300 * 24, rate=24000, dropped_ms=0))
    played.resumed(START + 3000 * MS)
    assert at(played, 3100) is None


def test_flushed_speech_ends_where_it_was_cut() -> None:
    played = PlayedSpeech()
    speak(played)
    report(played, 0, state="started")
    played.flushed(Flushed(generation=1, played_samples=100 * 24, rate=24000, dropped_ms=0))
    assert is_speech_from(at(played, 60), 60)
    assert at(played, 120) is None
    assert played.is_silent(START + 1200 * MS, 1.0)


def test_the_speech_before_is_found_while_the_next_plays() -> None:
    played = PlayedSpeech()
    speak(played, seconds=1)
    report(played, 0, state="started")
    report(played, 1000, state="ended")
    speak(played, generation=2)
    report(played, 0, state="started", generation=2, start_ms=1500)
    assert is_speech_from(at(played, 900), 900)
    assert at(played, 1200) is None
    assert is_speech_from(at(played, 1600), 100)


def test_reports_on_what_was_never_sent_change_nothing() -> None:
    played = PlayedSpeech()
    report(played, 0, state="started")
    speak(played)
    played.playout(Playout(generation=1, played_samples=0, rate=48000, queued_ms=0, state="started"), START)
    played.playout(Playout(generation=9, played_samples=0, rate=24000, queued_ms=0, state="started"), START)
    assert at(played, 0) is None


def test_old_speech_is_forgotten() -> None:
    played = PlayedSpeech()
    for round_ in range(20):
        for first in range(0, 24000 * 2, 480):
            played.sent(AudioFrame(0, first, 0, 24000, 0, 1, SPEECH[first : first + 480].tobytes()))
        report(played, round_ * 2000, state="started" if round_ == 0 else "playing")
    report(played, 38_000)
    old = at(played, 38_000 - KEPT_S * 1000 - 500)
    assert old is None or np.max(np.abs(old)) < 4
    assert is_speech_from(at(played, 37_500), 37_500 % 2000)
    for number in range(3 * MAX_PIECES):
        report(played, 38_000, late_ms=1000 * number)
    assert at(played, 0) is None
