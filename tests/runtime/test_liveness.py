"""When a server gets a ping, and when its connection counts as dead; in a time of the test's own."""

from __future__ import annotations

import pytest

from antiphon.runtime.nats.liveness import TICK_SECONDS, Liveness, Verdict

pytestmark = pytest.mark.pure


class Ticking:
    """A connection's time: ticks, until something is to be done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.liveness = Liveness()
        self.liveness.tick(self.now)

    def until(self, *verdicts: Verdict, at_most: float = 60, bytes_each_tick: bool = False) -> Verdict | None:
        end = self.now + at_most
        while self.now < end:
            self.now += TICK_SECONDS
            if bytes_each_tick:
                self.liveness.bytes_received()
            if (verdict := self.liveness.tick(self.now)) in verdicts:
                return verdict
        return None


def test_a_ping_is_sent_each_second_and_only_after_the_answer_to_the_one_before() -> None:
    ticking = Ticking()
    assert ticking.until(Verdict.PING)
    assert ticking.now == 1.0
    ticking.liveness.bytes_received()
    assert ticking.until(Verdict.PING, at_most=2) is None
    ticking.liveness.pong_received()
    began = ticking.now
    assert ticking.until(Verdict.PING)
    assert ticking.now == began + 1.0


def test_a_server_that_falls_silent_counts_as_dead_within_four_seconds() -> None:
    ticking = Ticking()
    for _ in range(5):
        ticking.until(Verdict.PING)
        ticking.liveness.pong_received()
    began = ticking.now
    assert ticking.until(Verdict.SILENT) is Verdict.SILENT
    assert ticking.now - began <= 4


def test_a_server_that_sends_bytes_and_no_pong_counts_as_dead_too() -> None:
    ticking = Ticking()
    assert ticking.until(Verdict.SILENT, Verdict.NO_PONG, bytes_each_tick=True) is Verdict.NO_PONG
    assert ticking.now <= 17


def test_a_pause_of_our_own_process_counts_as_one_tick() -> None:
    ticking = Ticking()
    ticking.until(Verdict.PING)
    for _ in range(3):
        ticking.now += 100
        assert ticking.liveness.tick(ticking.now) is Verdict.ALIVE
    assert ticking.until(Verdict.SILENT, at_most=2)
