"""Frames of 20 ms to windows of 32 ms, with positions that stay true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.input.vad_framing import Gap, WindowCutter
from antiphon.inference_bridge.turns.window import WINDOW, Window
from antiphon.schemas.audio import AudioFrame, FrameFlag

pytestmark = pytest.mark.pure

FRAME = 320


def frame(number: int, flags: int = 0, rate: int = 16000) -> AudioFrame:
    pcm = number.to_bytes(2, "little") * (rate // 50)
    return AudioFrame(number, number * FRAME, number * 20_000_000, rate, flags, 0, pcm)


def windows_of(frames: list[AudioFrame]) -> list[Window | Gap]:
    cutter = WindowCutter()
    return [piece for one in frames for piece in cutter.push(one)]


def test_frames_in_a_row_lose_nothing() -> None:
    frames = [frame(n) for n in range(80)]
    windows = [w for w in windows_of(frames) if isinstance(w, Window)]
    assert [w.first_sample for w in windows] == [n * WINDOW for n in range(50)]
    assert b"".join(w.pcm for w in windows) == b"".join(f.pcm for f in frames)


def test_a_missing_frame_is_filled_so_that_positions_stay_true() -> None:
    windows = windows_of([frame(n) for n in range(80) if n != 10])
    assert all(isinstance(w, Window) for w in windows)
    assert len(windows) == 50
    (concealed,) = [w for w in windows if isinstance(w, Window) and w.concealed]
    assert concealed.first_sample <= 10 * FRAME <= concealed.first_sample + WINDOW


def test_a_long_gap_is_said_and_audio_goes_on_after_it() -> None:
    windows = windows_of([frame(0), frame(1), *(frame(n) for n in range(100, 116))])
    assert isinstance(windows[1], Gap)
    assert windows[1].first_sample == 100 * FRAME
    assert [w.first_sample for w in windows[2:]] == [100 * FRAME + n * WINDOW for n in range(10)]


def test_a_frame_that_comes_twice_or_late_is_ignored() -> None:
    assert len(windows_of([frame(n) for n in (*range(20), 5, 19, *range(20, 80))])) == 50


def test_a_window_is_silent_only_if_all_of_it_is() -> None:
    flags = [int(FrameFlag.SILENCE)] * 8 + [0] * 8
    windows = windows_of([frame(n, flag) for n, flag in enumerate(flags)])
    assert [w.silent for w in windows if isinstance(w, Window)] == [True] * 5 + [False] * 5


def test_capture_time_of_a_sample_is_found_inside_its_frame() -> None:
    cutter = WindowCutter()
    for n in range(10):
        cutter.push(frame(n))
    assert cutter.captured_ns(3 * FRAME + 160) == 70_000_000
    assert WindowCutter().captured_ns(0) is None


def test_another_rate_than_the_claimed_one_is_refused() -> None:
    with pytest.raises(ValueError, match="24000 Hz"):
        WindowCutter().push(frame(0, rate=24000))


@given(st.lists(st.integers(0, 200), max_size=60))
def test_in_any_order_windows_never_go_back(numbers: list[int]) -> None:
    last = -1
    for piece in windows_of([frame(n) for n in numbers]):
        if isinstance(piece, Window):
            assert len(piece.pcm) == WINDOW * 2
            assert piece.first_sample > last
            last = piece.first_sample
        else:
            last = piece.first_sample - 1


def test_what_voice_activity_is_judged_by_keeps_its_place_beside_the_audio() -> None:
    cutter = WindowCutter()
    pieces = []
    for number in range(48):
        one = frame(number)
        pieces += cutter.push(one, bytes(640) if 16 <= number < 32 else None)
    windows = [piece for piece in pieces if isinstance(piece, Window)]
    voices = b"".join(piece.pcm if piece.voice is None else piece.voice for piece in windows)
    assert b"".join(piece.pcm for piece in windows) == b"".join(frame(number).pcm for number in range(48))
    expected = b"".join(bytes(640) if 16 <= number < 32 else frame(number).pcm for number in range(48))
    assert voices == expected
    assert windows[0].voice is None
