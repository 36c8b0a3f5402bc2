"""What the transceiver's bench makes of what its load noted: synthetic schedules whose lateness is known."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from antiphon.bench.media import steady_load
from antiphon.bench.media.lateness import CONCEALED, SILENCE, Evaluation, Frame

pytestmark = pytest.mark.pure

BEGIN = 1_700_000_000_000_000_000
MS = 1_000_000
SECONDS = 4
PACKETS = SECONDS * 50


@dataclass
class Noted:
    """A session that spoke for a second before the window and speaks on after it."""

    sent_ns: list[int] = field(default_factory=list)
    received: list[tuple[int, int]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    silence_frames: int = 0


def session(
    late_ms: Callable[[int], float | None] = lambda number: 0.0,
    delay_ms: float = 1.5,
    first_timestamp: int = 0xFFFFF000,
    phase_ms: float = 7.0,
) -> Noted:
    """Packets to and from the client; `late_ms` of the n-th to it within the window, None where it never comes."""
    noted = Noted()
    for number in range(-50, PACKETS + 10):
        due = BEGIN + int(phase_ms * MS) + number * 20 * MS
        noted.sent_ns.append(due)
        position = number + 50
        noted.frames.append(Frame(position, 0, due + int(delay_ms * MS), due + int((delay_ms + 0.25) * MS)))
        late = late_ms(number) if 0 <= number < PACKETS else 0.0
        if number >= 0 and late is not None:
            noted.received.append((due + 3 * MS + int(late * MS), (first_timestamp + 960 * number) & 0xFFFFFFFF))
    noted.received.sort()
    noted.frames = [frame for frame in noted.frames if frame.read_ns >= BEGIN]
    return noted


def evaluated(*sessions: Noted, driver_ms: list[float] | None = None) -> Evaluation:
    evaluation = Evaluation(BEGIN, BEGIN + SECONDS * 1000 * MS, driver_ms=driver_ms or [0.1] * 100)
    for one in sessions:
        evaluation.add(one)
    return evaluation


def test_a_punctual_schedule_is_found_punctual() -> None:
    found = evaluated(session(), session(phase_ms=13.0)).statistics()
    assert found["late_ms"] == {"p50": 0, "p99": 0, "p99.9": 0, "max": 0}
    assert found["packet_to_transceiver_ms"] == {"p50": 1.5, "p99": 1.5, "p99.9": 1.5, "max": 1.5}
    assert found["packet_to_agent_ms"]["p50"] == 1.75
    assert (found["missing"], found["missing_frames"], found["concealed_frames"]) == (0, 0, 0)
    assert found["in_time"]


def test_known_lateness_is_found_at_its_ranks() -> None:
    """Of 1000 packets 880 are on time, 100 are 2 ms late, 18 are 8, one is 30 and one 45."""
    values = [0.0] * 880 + [2.0] * 100 + [8.0] * 18 + [30.0, 45.0]
    random.Random(5).shuffle(values)
    sessions = [session(values[at : at + PACKETS].__getitem__) for at in range(0, len(values), PACKETS)]
    evaluation = evaluated(*sessions)
    assert sorted(evaluation.late_ms) == pytest.approx(sorted(values), abs=1e-4)
    found = evaluation.statistics()
    assert found["late_ms"] == {"p50": 0.0, "p99": 8.0, "p99.9": 45.0, "max": 45.0}
    assert found["late_percent"] == 0.2
    assert found["in_time"]


@pytest.mark.parametrize(("late", "in_time"), [(2, True), (3, False)], ids=["1 %", "more than 1 %"])
def test_more_than_one_percent_ten_milliseconds_late_is_too_much(late: int, in_time: bool) -> None:
    assert evaluated(session(lambda number: 10.5 if 50 <= number < 50 + late else 0.0)).in_time is in_time


def test_a_server_that_stands_still_is_late_with_every_frame_of_that_time() -> None:
    """No coordinated omission: 15 frames were due in the 300 ms, and each waited for the rest of them."""
    evaluation = evaluated(session(lambda number: max(0.0, 300.0 - (number - 80) * 20) if 80 <= number < 95 else 0.0))
    assert sorted(filter(None, evaluation.late_ms)) == pytest.approx([20.0 * n for n in range(1, 16)], abs=1e-4)


def test_a_stream_that_goes_on_later_is_late_from_there_on() -> None:
    evaluation = evaluated(session(lambda number: 20.0 if number >= 150 else 0.0))
    assert evaluation.late_ms.count(20.0) == 50
    assert not evaluation.in_time


def test_lost_packets_are_missing_and_move_no_other() -> None:
    lost = {3, 77, 78, 79, 199}
    evaluation = evaluated(session(lambda number: None if number in lost else 4.0 if number % 10 == 0 else 0.0))
    assert evaluation.missing == len(lost)
    assert evaluation.late_ms.count(4.0) == 20
    assert max(evaluation.late_ms) == 4.0
    assert not evaluation.in_time


def test_timestamps_that_a_sender_leaves_out_are_missing() -> None:
    noted = session()
    noted.received = [
        (at, (0xFFFFF000 + 960 * (number + (5 if number >= 100 else 0))) & 0xFFFFFFFF)
        for number, (at, _) in enumerate(noted.received)
    ]
    evaluation = evaluated(noted)
    assert evaluation.missing == 5
    assert not evaluation.in_time


def test_a_silent_stream_misses_all_of_it() -> None:
    noted = session()
    noted.received = []
    assert evaluated(noted).missing == PACKETS


def test_reordered_and_repeated_packets_count_once_by_their_first_arrival() -> None:
    noted = session(lambda number: 25.0 if number == 60 else 0.0)
    noted.received += [(at + 40 * MS, timestamp) for at, timestamp in noted.received[::7]]
    noted.received.sort()
    evaluation = evaluated(noted)
    assert len(evaluation.late_ms) == PACKETS
    assert sorted(evaluation.late_ms)[-2:] == [0.0, 25.0]


def test_made_up_frames_are_counted_and_move_no_pair() -> None:
    noted = session()
    noted.frames = [frame._replace(flags=CONCEALED) if 100 <= frame.position < 103 else frame for frame in noted.frames]
    evaluation = evaluated(noted)
    assert evaluation.concealed == 3
    assert set(evaluation.packet_to_transceiver_ms) == {1.5}
    assert not evaluation.in_time


def test_frames_that_never_reach_the_agent_are_missing_and_move_no_pair() -> None:
    noted = session()
    noted.frames = [frame for frame in noted.frames if frame.position not in (90, 91, 170)]
    evaluation = evaluated(noted)
    assert evaluation.missing_frames == 3
    assert set(evaluation.packet_to_transceiver_ms) == {1.5}


def slipped(taken_back_at: int | None) -> Noted:
    """Packets 100 to 106 came 150 ms late; 7 frames of silence were made up before them, so positions are 7 further."""
    noted = session()
    frames, shift = [], 0
    for frame in noted.frames:
        packet = frame.position
        if packet == 100:
            frames += [
                Frame(100 + n, SILENCE, frame.captured_ns + (100 + 7 * n) * MS, frame.read_ns + (100 + 7 * n) * MS)
                for n in range(7)
            ]
            shift = 7
        if taken_back_at is not None and packet in range(taken_back_at, taken_back_at + 40, 10):
            shift -= 1  # a quiet frame is left out: its packet has none
            continue
        late = max(0, 150 - (packet - 100) * 20) * MS if packet >= 100 else 0
        frames.append(Frame(packet + shift, 0, frame.captured_ns + late, frame.read_ns + late))
    noted.frames, noted.silence_frames = frames, 7
    return noted


@pytest.mark.parametrize("taken_back_at", [None, 160], ids=["stays longer", "taken back later"])
def test_positions_that_slip_are_followed(taken_back_at: int | None) -> None:
    evaluation = evaluated(slipped(taken_back_at))
    expected = [1.5 + 150 - 20 * n for n in range(8)]
    left_out = 0 if taken_back_at is None else 4
    assert evaluation.missing_frames == left_out
    assert sorted(evaluation.packet_to_transceiver_ms) == pytest.approx(
        [1.5] * (PACKETS - 8 - left_out) + sorted(expected), abs=1e-4
    )
    assert not evaluation.in_time


@pytest.mark.parametrize(
    ("driver_ms", "late"),
    [
        ([0.5] * 1000, False),
        ([0.5] * 990 + [4.9] * 10, False),
        ([0.5] * 980 + [8.0] * 20, True),
        ([0.5] * 999 + [80.0], True),
        ([], False),
    ],
    ids=["punctual", "within its limit", "slow", "one stop", "nothing noted"],
)
def test_a_load_that_was_late_itself_is_found_out(driver_ms: list[float], late: bool) -> None:
    evaluation = Evaluation(BEGIN, BEGIN, driver_ms=driver_ms)
    assert evaluation.driver_was_late is late


class FakeLoad:
    """A load whose own lateness is given, window by window."""

    def __init__(self, late: list[float]) -> None:
        self.clients: list[Any] = []
        self.late_ms = array("d")
        self.windows = 0
        self._late = late

    def forget(self) -> None:
        self.late_ms = array("d", [self._late[min(self.windows, len(self._late) - 1)]] * 100)
        self.windows += 1

    def run(self, seconds: float, until: Callable[[], bool] = lambda: True) -> bool:
        return until()

    def turn(self, end: float = 0.0) -> None: ...


class FakeServer:
    has_agent = True

    def __init__(self, late: list[float]) -> None:
        self.load: Any = FakeLoad(late)
        self.pid = os.getpid()

    def join(self, count: int) -> bool:
        self.load.clients += [session()] * count
        for one in self.load.clients:
            one.forget = lambda: None
        return True


@pytest.mark.parametrize(("late", "discarded", "flagged"), [([20.0, 0.1], 1, False), ([20.0], 2, True)])
def test_windows_in_which_the_load_was_late_are_measured_again(
    late: list[float], discarded: int, flagged: bool
) -> None:
    server = FakeServer(late)
    server.join(1)
    found = steady_load.level(server, 0.0)
    assert (found["discarded"], found["driver_was_late"]) == (discarded, flagged)


def test_a_search_ends_where_the_load_can_do_no_more_and_does_not_count_that_level() -> None:
    found = list(steady_load.search(FakeServer([20.0]), range(1, 9), 0.0))
    assert len(found) == 1
    assert steady_load.capacity(found) == 0


def test_the_capacity_is_the_last_level_below_the_first_failure() -> None:
    levels = [(50, True), (60, True), (70, False), (150, True)]
    found = [{"sessions": count, "in_time": good, "driver_was_late": False} for count, good in levels]
    assert steady_load.capacity(found) == 60
