"""How often the process wakes up, on a clock of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from antiphon.transceiver.timing.coalescing_selector import MEASURED, CoalescingSelector
from antiphon.transceiver.timing.pacing import COALESCE_ABOVE, COALESCING_WINDOW

pytestmark = pytest.mark.pure


class Loop:
    """An event loop with something to read at any time, and the clock that it works by."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.ends = socket.socketpair()
        self.waits: list[float] = []
        """What the next readings of the clock add to it."""
        self.selector = CoalescingSelector(self._clock, self._sleep)
        self.selector.register(self.ends[0], 1)
        self.ends[1].send(b"x")

    def _clock(self) -> float:
        self.now += self.waits.pop(0) if self.waits else 0.0
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def turn(self, work: float, idle: float = 0.0, timeout: float | None = None) -> None:
        """Wait as long as the selector wants to and for `idle` seconds more, then work."""
        self.waits = [0.0, idle]  # read when the loop begins to wait, and when it is woken
        assert self.selector.select(timeout)
        self.now += work

    def work_for(self, seconds: float, share: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.turn(COALESCING_WINDOW * share, COALESCING_WINDOW * (1 - share))


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.selector.close()
    for end in made.ends:
        end.close()


def test_a_loop_that_has_time_takes_up_every_packet_at_once(loop: Loop) -> None:
    loop.work_for(2.0, COALESCE_ABOVE * 0.6)
    assert not loop.slept


def test_a_busy_loop_takes_up_together_what_comes_within_a_pulse(loop: Loop) -> None:
    loop.work_for(MEASURED * 2, 0.9)
    loop.turn(0.0005)
    loop.slept.clear()
    for _ in range(10):
        loop.turn(0.0005)
    assert loop.slept == pytest.approx([COALESCING_WINDOW - 0.0005] * 10, abs=1e-6)


def test_a_busy_loop_is_on_time_for_its_timers(loop: Loop) -> None:
    loop.work_for(MEASURED * 2, 0.9)
    loop.slept.clear()
    loop.turn(0.0001)
    loop.turn(0.0001, timeout=0.0003)
    assert loop.slept[-1] == pytest.approx(0.0003)


def test_callbacks_that_are_ready_do_not_wait_for_the_pulse(loop: Loop) -> None:
    loop.work_for(MEASURED * 2, 0.9)
    loop.slept.clear()
    loop.turn(0.0001, timeout=0)
    assert not loop.slept


def test_a_loop_that_has_time_again_no_longer_waits(loop: Loop) -> None:
    loop.work_for(MEASURED * 2, 0.9)
    assert loop.selector.coalescing
    loop.work_for(MEASURED * 8, COALESCE_ABOVE * 0.4)
    assert not loop.selector.coalescing
