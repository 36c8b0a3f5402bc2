"""Where a speech is: what waits in the transceiver, what was played, what is sent again. The test owns the clock."""

from __future__ import annotations

import pytest

from antiphon.runtime.agent_sessions.playout_tracker import (
    IN_FLIGHT_SECONDS,
    MAX_FRAMES,
    NO_REPORT_SECONDS,
    Backlog,
    PlayoutTracker,
    UnplayedFrames,
)
from antiphon.schemas.messages import Flushed, Playout

pytestmark = pytest.mark.pure

FRAME = 480


def pcm(number: int) -> bytes:
    return number.to_bytes(2, "little") * FRAME


def numbers(frames: list[tuple[bytes, int]]) -> list[int]:
    return [int.from_bytes(frame[:2], "little") for frame, _ in frames]


def speech(frames: int) -> UnplayedFrames:
    unplayed = UnplayedFrames(24000)
    for number in range(frames):
        unplayed.put(pcm(number), 4 if number == frames - 1 else 0)
    return unplayed


def test_what_was_played_between_the_last_report_and_the_end_is_not_sent_again() -> None:
    unplayed = speech(100)
    assert unplayed.reported(10 * FRAME, playing=True, now=1.0) == 10 * FRAME
    again = unplayed.again(stopped_at=1.1)
    assert numbers(again) == list(range(15, 100))
    assert again[-1][1] == 4, "its end is marked as before"


def test_positions_go_on_in_the_new_generation_and_a_second_kill_finds_them() -> None:
    unplayed = speech(100)
    unplayed.reported(20 * FRAME, playing=True, now=1.0)
    unplayed.again(stopped_at=1.0)
    assert unplayed.position(0) == 20 * FRAME
    assert unplayed.reported(5 * FRAME, playing=True, now=2.0) == 25 * FRAME
    assert numbers(unplayed.again(stopped_at=2.02)) == list(range(26, 100))
    assert not unplayed.all_played
    unplayed.reported(74 * FRAME, playing=False, now=3.0)
    assert unplayed.all_played


def test_speech_that_is_held_or_was_never_begun_is_sent_from_where_it_stands() -> None:
    held = speech(10)
    held.reported(3 * FRAME, playing=False, now=1.0)
    assert numbers(held.again(stopped_at=9.0)) == list(range(3, 10))
    assert numbers(speech(3).again(stopped_at=9.0)) == [0, 1, 2]


def test_a_speech_without_reports_is_kept_within_bounds() -> None:
    unplayed = speech(MAX_FRAMES + 10)
    assert numbers(unplayed.again(0.0))[0] == 10
    assert unplayed.sent == (MAX_FRAMES + 10) * FRAME


# ---- the backlog -------------------------------------------------------------------------------------


def test_the_backlog_runs_with_the_clock_once_the_transceiver_plays() -> None:
    backlog = Backlog()
    for _ in range(50):
        backlog.sent(0.0)
    assert backlog.queued_ms(5.0) == 1000, "nothing plays yet: the client is not connected"
    backlog.reported(980, True, 5.0)
    assert backlog.queued_ms(5.5) == pytest.approx(480)
    backlog.pause(5.5)
    assert backlog.queued_ms(9.0) == pytest.approx(480)
    backlog.reported(480, True, 9.0)
    assert backlog.queued_ms(20.0) == 0


def test_without_any_report_the_clock_alone_empties_the_backlog_after_a_while() -> None:
    backlog = Backlog()
    backlog.sent(0.0)
    backlog.sent(1.0)
    assert backlog.queued_ms(NO_REPORT_SECONDS - 0.1) == 40
    assert backlog.queued_ms(NO_REPORT_SECONDS + 0.1) == 40
    assert backlog.queued_ms(NO_REPORT_SECONDS + 0.2) == 0


def test_a_report_counts_what_is_still_on_its_way() -> None:
    backlog = Backlog()
    for number in range(10):
        backlog.sent(number * 0.02)
    backlog.reported(0, True, 0.2)
    assert 80 <= backlog.queued_ms(0.2) <= 120, "the frames of the last 100 ms"


def test_a_paused_backlog_stands_however_long_it_takes_and_goes_on_at_once() -> None:
    backlog = Backlog()
    for _ in range(50):
        backlog.sent(0.0)
    backlog.reported(980, True, 1.0)
    backlog.pause(1.0)
    backlog.sent(2.0)
    assert backlog.queued_ms(1000.0) == 1000, "no clock empties it"
    backlog.resume(1000.0)
    assert backlog.queued_ms(1000.5) == pytest.approx(500)


def test_speech_paused_before_it_was_played_waits_for_a_report_after_the_pause() -> None:
    backlog = Backlog()
    backlog.pause(0.0)
    backlog.sent(0.0)
    assert backlog.queued_ms(20.0) == 20
    backlog.resume(20.0)
    assert backlog.queued_ms(29.0) == 20, "nothing says that it plays"
    backlog.reported(20, True, 29.0)
    assert backlog.queued_ms(29.1) == 0


def test_a_report_from_before_a_pause_does_not_end_it_but_a_later_one_does() -> None:
    backlog = Backlog()
    backlog.sent(0.0)
    backlog.pause(1.0)
    backlog.reported(500, True, 1.0 + IN_FLIGHT_SECONDS / 2)
    assert backlog.queued_ms(5.0) == 500
    backlog.reported(500, True, 5.0)
    assert backlog.queued_ms(5.1) == pytest.approx(400), "the pause has not reached the transceiver"


# ---- both together -----------------------------------------------------------------------------------


def playout(generation: int, frames: int, queued_ms: int = 0, rate: int = 24000) -> Playout:
    samples = frames * FRAME * rate // 24000
    return Playout(generation=generation, played_samples=samples, rate=rate, queued_ms=queued_ms, state="playing")  # type: ignore[arg-type]


def tracked(frames: int) -> PlayoutTracker:
    tracker = PlayoutTracker(24000)
    for number in range(frames):
        tracker.sending(pcm(number), 0)
        tracker.sent(0.0)
    return tracker


def test_positions_are_in_samples_of_the_speech_whatever_the_rate_of_the_report() -> None:
    tracker = tracked(100)
    tracker.reported(playout(1, 10, queued_ms=1800, rate=48000), 1.0)
    assert tracker.played == 10 * FRAME
    assert tracker.estimate(1.1) == 15 * FRAME, "the clock goes on from the report"


def test_what_is_played_again_after_a_kill_does_not_count_backwards() -> None:
    tracker = tracked(100)
    tracker.reported(playout(1, 20, queued_ms=1600), 1.0)
    assert numbers(tracker.send_again(stopped_at=1.0, now=2.0))[0] == 20
    assert tracker.queued_ms(2.0) == 0, "what waited is lost"
    tracker.reported(playout(2, 1), 3.0)
    assert tracker.played == 21 * FRAME
    assert tracker.samples == 100 * FRAME
    assert tracker.flushed(Flushed(generation=2, played_samples=3 * FRAME, rate=24000, dropped_ms=0), 2) == 23 * FRAME
    assert tracker.flushed(Flushed(generation=1, played_samples=3 * FRAME, rate=24000, dropped_ms=0), 2) == 21 * FRAME


def test_a_paused_speech_is_sent_again_as_a_paused_one() -> None:
    tracker = PlayoutTracker(24000, paused_at=0.0)
    tracker.sending(pcm(0), 0)
    tracker.sent(0.0)
    assert len(tracker.send_again(stopped_at=1.0, now=2.0)) == 1
    tracker.sent(2.0)
    assert tracker.queued_ms(2.0 + NO_REPORT_SECONDS * 2) == 20
