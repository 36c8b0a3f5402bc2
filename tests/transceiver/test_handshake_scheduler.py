"""Handshakes in a rush of joins."""

from __future__ import annotations

import pytest

from antiphon.transceiver.timing.handshake_scheduler import BURST, MAX_WAITING, SHARE, HandshakeQueue

pytestmark = pytest.mark.pure

STEP = 0.002


class Loop:
    """A loop in which a handshake step takes 2 ms."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ran: list[float] = []
        self.queue = HandshakeQueue(self.now, lambda: self.now)

    def step(self, now: float) -> None:
        self.now += STEP
        self.ran.append(now)

    def run(self) -> None:
        while (due := self.queue.due()) is not None:
            self.now = max(self.now, due)
            self.queue.run(self.now)


def test_one_call_never_waits_for_its_handshake() -> None:
    loop = Loop()
    for _ in range(20):
        loop.queue.add(loop.step, loop.now)
        assert not len(loop.queue)
        loop.now += 0.05


def test_a_rush_of_handshakes_leaves_most_of_every_moment_to_running_calls() -> None:
    loop = Loop()
    for _ in range(100):
        loop.queue.add(loop.step, loop.now)
    loop.run()
    assert len(loop.ran) == 100
    windows = [sum(at <= other < at + 0.1 for other in loop.ran) * STEP for at in loop.ran]
    assert max(windows) <= 0.1 * SHARE + BURST + STEP
    assert loop.ran[-1] - loop.ran[0] < 100 * STEP / SHARE + 0.01


def test_steps_run_in_the_order_in_which_they_came() -> None:
    loop, order = Loop(), list[int]()

    def costly(number: int) -> None:
        loop.now += STEP
        order.append(number)

    for number in range(30):
        loop.queue.add(lambda now, number=number: costly(number), loop.now)  # type: ignore[misc]
    loop.run()
    assert order == list(range(30))


def test_what_waits_is_bounded() -> None:
    loop = Loop()
    for _ in range(MAX_WAITING + 50):
        loop.queue.add(loop.step, loop.now)
    assert len(loop.queue) == MAX_WAITING
    assert loop.queue.dropped > 0
