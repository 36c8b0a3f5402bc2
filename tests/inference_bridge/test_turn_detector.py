"""When a turn starts, may be over, and is over. Windows of 32 ms, a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.turns.detector import (
    MaybeDone,
    Resumed,
    SpeechDropped,
    SpeechStarted,
    TurnDetector,
    TurnEnded,
    TurnEvent,
)
from antiphon.inference_bridge.turns.expected_answer import expected
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import WINDOW, Window

pytestmark = pytest.mark.pure


class Caller:
    """Feeds a detector."""

    def __init__(self, settings: TurnSettings | None = None) -> None:
        self.detector = TurnDetector(settings or TurnSettings(relative_gate=False))
        self.position = 0
        self.now = 100.0

    def windows(
        self, count: int, probability: float, concealed: bool = False, has_room: bool = False, level: int | None = None
    ) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        for _ in range(count):
            pcm = (self.position // WINDOW % 256).to_bytes() * WINDOW * 2
            if level is not None:
                pcm = level.to_bytes(2, "little", signed=True) * WINDOW
            window = Window(self.position, pcm, False, concealed)
            events += self.detector.window(window, probability, self.now, has_room)
            self.position += WINDOW
            self.now += 0.032
        return events


def kinds(events: list[TurnEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_speech_starts_after_three_likely_windows_and_points_at_the_first() -> None:
    caller = Caller()
    assert caller.windows(20, 0.1) == []
    assert caller.windows(2, 0.9) == []
    assert caller.windows(1, 0.9) == [SpeechStarted(20 * WINDOW)]


def test_a_click_of_two_windows_is_no_speech() -> None:
    caller = Caller()
    assert caller.windows(2, 0.9) + caller.windows(1, 0.1) + caller.windows(2, 0.9) + caller.windows(30, 0.1) == []


def test_a_turn_may_be_done_after_160_ms_and_is_over_after_400_ms_of_silence() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    assert caller.windows(4, 0.1) == []
    assert kinds(caller.windows(1, 0.1)) == ["MaybeDone"]
    assert caller.windows(7, 0.1) == []
    assert kinds(caller.windows(1, 0.1)) == ["TurnEnded"]


def test_what_was_transcribed_in_hope_is_what_the_turn_ends_with() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    events = caller.windows(13, 0.1)
    maybe, ended = events
    assert isinstance(maybe, MaybeDone)
    assert isinstance(ended, TurnEnded)
    assert ended.utterance is maybe.utterance
    assert ended.utterance.speech_end == 20 * WINDOW


def test_speech_that_goes_on_takes_the_hope_back() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    assert kinds(caller.windows(6, 0.1)) == ["MaybeDone"]
    assert caller.windows(1, 0.9) == [Resumed()]
    assert kinds(caller.windows(13, 0.1)) == ["MaybeDone", "TurnEnded"]


def test_a_soft_syllable_does_not_count_as_silence() -> None:
    caller = Caller(TurnSettings(threshold=0.5, sustained_ms=60_000, relative_gate=False))
    caller.windows(20, 0.9)
    assert caller.windows(20, 0.4) == []
    assert kinds(caller.windows(13, 0.3)) == ["MaybeDone", "TurnEnded"]


def test_the_silence_that_ends_a_turn_is_a_setting() -> None:
    caller = Caller(TurnSettings(silence_ms=256, speculate_ms=96))
    caller.windows(20, 0.9)
    assert kinds(caller.windows(7, 0.1)) == ["MaybeDone"]
    assert kinds(caller.windows(1, 0.1)) == ["TurnEnded"]


def test_a_turn_holds_300_ms_from_before_its_onset() -> None:
    caller = Caller()
    caller.windows(40, 0.1)
    caller.windows(20, 0.9)
    (ended,) = [e for e in caller.windows(13, 0.1) if isinstance(e, TurnEnded)]
    assert ended.utterance.first_sample == (40 - 9) * WINDOW
    assert ended.utterance.pcm[0] == 40 - 9
    assert len(ended.utterance.pcm) == (9 + 20 + 5) * WINDOW * 2


def test_speech_too_short_for_a_word_is_dropped() -> None:
    caller = Caller(TurnSettings(min_speech_ms=200))
    assert kinds(caller.windows(4, 0.9) + caller.windows(13, 0.1)) == ["SpeechStarted", "SpeechDropped"]


def test_a_turn_without_end_is_cut_at_its_longest() -> None:
    caller = Caller(TurnSettings(max_turn_ms=2000, sustained_ms=60_000))
    events = caller.windows(70, 0.9)
    assert kinds(events)[:2] == ["SpeechStarted", "TurnEnded"]


def test_a_turn_that_is_cut_loses_nothing_and_the_caller_goes_on_in_the_next_one() -> None:
    caller = Caller(TurnSettings(max_turn_ms=2000, sustained_ms=60_000))
    events = caller.windows(100, 0.9) + caller.windows(13, 0.1)
    assert kinds(events) == ["SpeechStarted", "TurnEnded", "SpeechStarted", "MaybeDone", "TurnEnded"]
    _, first, started, _, second = events
    assert isinstance(first, TurnEnded)
    assert isinstance(started, SpeechStarted)
    assert isinstance(second, TurnEnded)
    end = first.utterance.first_sample + len(first.utterance.pcm) // 2
    assert first.utterance.speech_end == started.first_sample == second.utterance.first_sample == end
    assert second.utterance.speech_end == 100 * WINDOW
    assert first.utterance.speech_ms + second.utterance.speech_ms == pytest.approx(3200, abs=64)


def test_a_turn_of_half_a_minute_is_one_turn_with_and_without_detection() -> None:
    caller = Caller()
    events = caller.windows(30 * 16000 // WINDOW, 0.9) + caller.windows(13, 0.1)
    (ended,) = [event for event in events if isinstance(event, TurnEnded)]
    assert ended.utterance.speech_ms > 29_000
    manual = TurnDetector(None)
    for number in range(35 * 16000 // WINDOW):
        manual.window(Window(number * WINDOW, bytes(WINDOW * 2), False, False), 0.9, number * 0.032)
    committed = manual.commit()
    assert committed is not None
    assert len(committed.pcm) > 34 * 16000 * 2


def test_concealed_audio_does_not_start_speech_but_goes_on_with_it() -> None:
    caller = Caller()
    assert caller.windows(20, 0.9, concealed=True) == []
    caller.windows(10, 0.9)
    assert caller.windows(10, 0.9, concealed=True) == []


def test_a_turn_ends_when_audio_stops_coming() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    assert caller.detector.tick(caller.now + 0.2) == []
    assert kinds(caller.detector.tick(caller.now + 0.5)) == ["TurnEnded"]
    assert caller.detector.tick(caller.now + 60) == []


def test_a_gap_in_the_audio_ends_the_turn_before_it() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    assert kinds(caller.detector.gap()) == ["TurnEnded"]
    assert caller.detector.gap() == []


@given(st.lists(st.floats(0, 1), max_size=400), st.integers(1, 5))
def test_whatever_is_heard_starts_and_ends_alternate_and_nothing_grows(likely: list[float], onset: int) -> None:
    caller = Caller(TurnSettings(onset_windows=onset, max_turn_ms=3000))
    speaking = False
    for probability in [*likely, *[0.0] * 20]:
        for event in caller.windows(1, probability):
            if isinstance(event, SpeechStarted):
                assert not speaking
                speaking = True
            elif isinstance(event, TurnEnded | SpeechDropped):
                assert speaking
                speaking = False
            if isinstance(event, TurnEnded):
                assert len(event.utterance.pcm) <= (3000 * 16 + 20 * WINDOW) * 2
                assert event.utterance.first_sample < event.utterance.speech_end <= caller.position
    assert not speaking


def test_settings_change_in_mid_speech_and_are_in_force_at_once() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    assert caller.detector.change(TurnSettings(silence_ms=960, speculate_ms=160)) == []
    assert kinds(caller.windows(20, 0.1)) == ["MaybeDone"], "640 ms are not the end any more"
    assert caller.detector.change(TurnSettings(silence_ms=320)) == []
    (ended,) = caller.windows(1, 0.1)
    assert isinstance(ended, TurnEnded)
    assert ended.utterance.speech_end == 20 * WINDOW, "nothing of it was lost"
    caller.detector.change(TurnSettings(threshold=0.9))
    assert caller.windows(10, 0.8) == []


def test_without_detection_speech_under_way_is_no_turn_and_what_comes_is_kept_for_the_client() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    assert kinds(caller.detector.change(None)) == ["SpeechDropped"]
    assert caller.detector.commit() is None
    assert caller.windows(20, 0.9) == []
    utterance = caller.detector.commit()
    assert utterance is not None
    assert utterance.first_sample == 20 * WINDOW
    assert caller.detector.change(TurnSettings()) == []
    assert kinds(caller.windows(3, 0.9)) == ["SpeechStarted"]


def test_what_the_client_commits_in_mid_speech_is_a_turn_and_what_follows_is_another() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    first = caller.detector.commit()
    assert first is not None
    assert first.speech_end == 20 * WINDOW
    assert kinds(caller.windows(20, 0.9) + caller.windows(13, 0.1)) == ["SpeechStarted", "MaybeDone", "TurnEnded"]


def test_what_the_client_clears_in_mid_speech_is_forgotten() -> None:
    caller = Caller()
    caller.windows(20, 0.9)
    assert kinds(caller.detector.clear()) == ["SpeechDropped"]
    assert caller.windows(20, 0.1) == []
    caller.windows(20, 0.9)
    (ended,) = [e for e in caller.windows(13, 0.1) if isinstance(e, TurnEnded)]
    assert ended.utterance.first_sample >= 20 * WINDOW


def after(
    settings: TurnSettings, words: str | None = None, voice: float | None = None, asks: str = "", has_room: bool = False
) -> int:
    """Milliseconds of silence after which a turn was over about which that became known at its first pause."""
    caller = Caller(settings)
    caller.windows(20, 0.9)
    events: list[TurnEvent] = []
    for number in range(1, 300):
        events = caller.windows(1, 0.1, has_room=has_room)
        if any(isinstance(event, TurnEnded) for event in events):
            return number * 32
        for event in events:
            if isinstance(event, MaybeDone):
                caller.detector.evidence(event.utterance, voice=voice, expected=expected(asks))
                caller.detector.evidence(event.utterance, words=words)
    raise AssertionError("it never ended")


JUDGED = TurnSettings(judged=True, early_ms=96)


def test_a_question_that_is_answered_ends_the_turn_at_once_and_a_dictation_gets_time() -> None:
    assert after(JUDGED, "Yes, please.", 0.9, asks="Shall I book it?") == 256
    assert after(JUDGED, "On Tuesday.", asks="On which day?") == 352
    assert after(JUDGED, "Yes.", asks="Shall I book it?") == 416, "often there is a second word behind it"
    assert after(JUDGED, "My number is 5-5-5.", voice=0.99) > 1300
    assert after(JUDGED, "I would like to", voice=0.1) > 1200
    assert after(TurnSettings(), "I would like to") == 416, "it was not asked for"


def test_silence_ends_every_turn_at_last() -> None:
    for words in ("My number is 5-5-5,", "I would like to", "Yes, but", "", None):
        assert after(JUDGED, words, asks="What is your phone number?") <= 2016
        assert after(TurnSettings(semantic=True, longest_ms=4000), words) <= 4032


def test_a_client_that_asks_for_patience_gets_longer_waits() -> None:
    hasty, slow = (TurnSettings(semantic=True, patience=each) for each in (0.75, 2.0))
    assert after(hasty, "I think so.", voice=0.3) < after(JUDGED, "I think so.", voice=0.3) < after(slow, "I think so.")
    assert after(TurnSettings(semantic=True, longest_ms=4000), "I would like to", voice=0.1) == 4000


def test_a_transcription_begins_early_only_while_there_is_room() -> None:
    for has_room, windows in ((True, 3), (False, 5)):
        caller = Caller(JUDGED)
        caller.windows(20, 0.9)
        assert caller.windows(windows - 1, 0.1, has_room=has_room) == []
        assert kinds(caller.windows(1, 0.1, has_room=has_room)) == ["MaybeDone"]


def test_a_caller_who_pauses_for_long_is_given_as_long_the_next_time() -> None:
    caller = Caller(JUDGED)

    def wait() -> int:
        for number in range(1, 100):
            for event in caller.windows(1, 0.1):
                if isinstance(event, TurnEnded):
                    return number
                if isinstance(event, MaybeDone):
                    caller.detector.evidence(event.utterance, words="I need paper, two pens.", voice=0.3)
        raise AssertionError("it never ended")

    caller.windows(20, 0.9)
    first = wait()
    caller.windows(60, 0.1)
    caller.windows(20, 0.9)
    caller.windows(first - 2, 0.1)
    caller.windows(20, 0.9)
    assert wait() > first


def test_evidence_on_a_pause_in_which_the_caller_went_on_counts_for_nothing() -> None:
    caller = Caller(JUDGED)
    caller.windows(20, 0.9)
    (maybe,) = caller.windows(5, 0.1)
    assert isinstance(maybe, MaybeDone)
    caller.windows(5, 0.9)
    caller.detector.evidence(maybe.utterance, words="Yes.", expected=expected("Shall I book it?"))
    assert kinds(caller.windows(12, 0.1)) == ["MaybeDone"], "the wait of a turn of which nothing is known"


def test_talk_behind_the_caller_neither_holds_the_turn_open_nor_begins_one() -> None:
    caller = Caller(TurnSettings())
    caller.windows(30, 0.9, level=4000)
    events = caller.windows(40, 0.9, level=400)
    assert kinds(events) == ["MaybeDone", "TurnEnded"]
    assert caller.windows(100, 0.9, level=400) == []
    assert kinds(caller.windows(3, 0.9, level=2000)) == ["SpeechStarted"]


def test_speech_that_was_none_of_the_callers_is_forgotten_unless_somebody_has_spoken_since() -> None:
    caller = Caller()
    caller.windows(10, 0.9)
    maybe = caller.windows(6, 0.1)[-1]
    assert isinstance(maybe, MaybeDone)
    assert kinds(caller.detector.forget(maybe.utterance)) == ["SpeechDropped"]
    assert caller.windows(60, 0.1) == []
    caller.windows(10, 0.9)
    maybe = next(event for event in caller.windows(6, 0.1) if isinstance(event, MaybeDone))
    assert kinds(caller.windows(2, 0.9)) == ["Resumed"]
    assert caller.detector.forget(maybe.utterance) == []
    assert kinds(caller.windows(60, 0.1))[-1] == "TurnEnded"
