"""When a relay is out and when it is back, and the round trips that hellos measure: with a clock of the test's own."""

from __future__ import annotations

import pytest

from antiphon.relay.core.backbone_hellos import MAX_AT_ONCE, BackboneHellos
from antiphon.schemas.backbone import Hello

pytestmark = pytest.mark.virtual

A, B = 11, 12


class Schedule:
    """Hellos to A and B of cluster 2, looked after every 10 ms; answers come after `round_trip`."""

    def __init__(self, asking: bool = False) -> None:
        self.hellos = BackboneHellos(asking, lambda cluster, number: (A, B)[number % 2])
        self.hellos.set_addresses({A: 2, B: 2}, 0.0)
        self.now = 0.0
        self.sent: list[tuple[float, int, Hello]] = []
        self.silent: set[int] = set()
        self._answers: list[tuple[float, int, bytes]] = []

    def run(self, until: float, round_trip: float = 0.02) -> None:
        while self.now < until:
            for due, address, stamp in [each for each in self._answers if each[0] <= self.now]:
                self._answers.remove((due, address, stamp))
                self.hellos.answered(address, stamp, self.now)
            for address, hello in self.hellos.due(7, self.now)[0]:
                self.sent.append((self.now, address, hello))
                if address not in self.silent:
                    self._answers.append((self.now + round_trip, address, hello.stamp))
            self.now = round(self.now + 0.01, 2)

    def out_since(self, address: int, before: float) -> float:
        while self.hellos.is_answering(address) and self.now < before:
            self.run(self.now + 0.01)
        return self.now


def test_a_relay_gets_a_hello_each_second_and_its_round_trip_is_known() -> None:
    schedule = Schedule()
    schedule.run(10.0)
    times = [now for now, address, _ in schedule.sent if address == A]
    assert len(times) == 10
    assert schedule.hellos.nearest() == {2: pytest.approx(0.02, abs=0.011)}


@pytest.mark.parametrize("stops_at", [5.0, 5.25, 5.5, 5.99])
def test_a_relay_that_stops_is_out_after_three_missed_hellos(stops_at: float) -> None:
    schedule = Schedule()
    schedule.run(stops_at)
    schedule.silent.add(A)
    assert schedule.out_since(A, 9.0) - stops_at <= 1.45
    missed = [now for now, address, _ in schedule.sent if address == A and now >= stops_at]
    assert missed[2] - missed[1] == pytest.approx(0.1, abs=0.011)
    assert schedule.hellos.is_answering(B)
    assert schedule.hellos.nearest().keys() == {2}


def test_one_or_two_lost_hellos_put_no_relay_out() -> None:
    schedule = Schedule()
    for second in range(2, 30, 3):
        schedule.run(float(second))
        schedule.silent.add(A)
        while len([1 for now, address, _ in schedule.sent if address == A and now >= second]) < 2:
            schedule.run(schedule.now + 0.01)
        schedule.silent.clear()
        schedule.run(second + 2.0)
        assert schedule.hellos.is_answering(A)


def test_a_relay_that_is_out_gets_a_hello_each_second_and_is_back_with_the_first_answer() -> None:
    schedule = Schedule()
    schedule.run(3.0)
    schedule.silent.add(A)
    schedule.run(10.0)
    assert schedule.hellos.is_answering(A) is False
    assert 5 <= len([1 for now, address, _ in schedule.sent if address == A and now > 4.5]) <= 6
    schedule.silent.clear()
    schedule.run(11.1)
    assert schedule.hellos.is_answering(A)


def test_an_icmp_error_puts_a_relay_out_until_a_later_hello_is_answered() -> None:
    schedule = Schedule()
    schedule.run(2.015, round_trip=0.5)  # the answers to two hellos are under way
    assert schedule.hellos.failed(A, schedule.now)
    assert not schedule.hellos.failed(A, schedule.now)
    sent_before = len(schedule.sent)
    schedule.silent.add(A)
    schedule.run(4.0)
    assert schedule.hellos.is_answering(A) is False
    assert len(schedule.sent) > sent_before
    schedule.silent.clear()
    schedule.run(6.0)
    assert schedule.hellos.is_answering(A)


@pytest.mark.parametrize("round_trip", [0.02, 0.35])
def test_forged_icmp_errors_do_not_put_a_relay_out_that_answers(round_trip: float) -> None:
    """Any host can send them, at any rate."""
    schedule = Schedule()
    schedule.run(3.0, round_trip)
    out = 0
    for _ in range(1000):
        schedule.hellos.failed(A, schedule.now)
        schedule.run(schedule.now + 0.01, round_trip)
        out += schedule.hellos.is_answering(A) is False
    assert out <= 10 + round_trip * 100
    assert len(schedule.sent) < 150
    schedule.silent.add(A)  # it is really killed now
    began = schedule.now
    while schedule.hellos.is_answering(A):
        schedule.hellos.failed(A, schedule.now)
        schedule.run(schedule.now + 0.01, round_trip)
    assert schedule.now - began < 0.3 + 2 * round_trip


@pytest.mark.parametrize("round_trip", [0.2, 0.35])
def test_a_far_relay_is_not_taken_for_one_that_has_stopped(round_trip: float) -> None:
    schedule = Schedule()
    schedule.run(20.0, round_trip)
    assert schedule.hellos.is_answering(A)
    assert len(schedule.sent) <= 2 * 22
    assert schedule.hellos.nearest()[2] == pytest.approx(round_trip, abs=0.02)


def test_a_way_that_gets_longer_is_measured_anew_and_the_relay_stays() -> None:
    schedule = Schedule()
    schedule.run(10.0, 0.02)
    schedule.run(40.0, 0.4)
    assert schedule.hellos.is_answering(A)
    assert schedule.hellos.nearest()[2] == pytest.approx(0.4, abs=0.1)


def test_answers_that_fit_no_hello_and_replayed_ones_count_for_nothing() -> None:
    hellos = BackboneHellos(False, lambda cluster, number: None)
    hellos.set_addresses({A: 2}, 0.0)
    ((_, hello),) = hellos.due(7, 0.0)[0]
    assert hellos.answered(A, b"guessed!", 0.1) is None
    assert hellos.answered(B, hello.stamp, 0.1) is None
    assert hellos.answered(A, hello.stamp, 0.1) is True
    assert hellos.answered(A, hello.stamp, 0.2) is None
    assert hellos.nearest() == {2: pytest.approx(0.1)}


def test_a_pause_of_this_process_puts_no_relay_out() -> None:
    schedule = Schedule()
    schedule.run(3.0)
    schedule.now = 60.0
    schedule.run(60.1)
    assert schedule.hellos.is_answering(A)
    schedule.run(62.0)
    assert schedule.hellos.is_answering(A)
    assert schedule.hellos.is_answering(B)


def test_many_relays_do_not_get_their_first_hellos_all_at_once() -> None:
    hellos = BackboneHellos(False, lambda cluster, number: None)
    hellos.set_addresses(dict.fromkeys(range(1000), 2), 0.0)
    rounds = [len(hellos.due(7, number / 50)[0]) for number in range(20)]
    assert max(rounds) == MAX_AT_ONCE
    assert sum(rounds) >= 1000
    assert hellos.next_due <= 20 / 50 + 1


def test_pauses_in_a_row_whose_answers_are_still_unread_put_no_relay_out() -> None:
    hellos = BackboneHellos(False, lambda cluster, number: None)
    hellos.set_addresses({A: 2}, 0.0)
    ((_, hello),) = hellos.due(7, 0.0)[0]
    hellos.answered(A, hello.stamp, 0.02)
    for pause in range(1, 8):
        assert len(hellos.due(7, 3.0 * pause)[0]) == 1
    assert hellos.is_answering(A)
