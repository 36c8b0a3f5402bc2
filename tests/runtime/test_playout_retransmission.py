"""What of a speech is sent again when its transceiver was killed, on a clock of the test's own."""

from __future__ import annotations

import pytest

from antiphon.runtime.agent_sessions.playout_retransmission import MAX_FRAMES, CallerClock, Unplayed

pytestmark = pytest.mark.pure

FRAME = 480


def pcm(number: int) -> bytes:
    return number.to_bytes(2, "little") * FRAME


def numbers(frames: list[tuple[bytes, int]]) -> list[int]:
    return [int.from_bytes(frame[:2], "little") for frame, _ in frames]


def speech(frames: int) -> Unplayed:
    unplayed = Unplayed(24000)
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


def test_a_speech_that_nobody_reports_on_is_kept_within_bounds() -> None:
    unplayed = speech(MAX_FRAMES + 10)
    assert numbers(unplayed.again(0.0))[0] == 10
    assert unplayed.sent == (MAX_FRAMES + 10) * FRAME


def test_the_caller_s_frames_tell_when_their_transceiver_stopped() -> None:
    clock = CallerClock()
    for number in range(50):
        clock.frame(number * 0.02)
    assert clock.stopped_at(1.3) == 0.98
    clock.frame(1.29)  # of the next process, faster than its word
    clock.frame(1.31)
    assert clock.stopped_at(1.32) == 0.98
