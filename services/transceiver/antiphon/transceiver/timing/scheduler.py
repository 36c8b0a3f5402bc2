"""Runs the timing wheel and the handshake queue of a process on timers of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from antiphon.transceiver.timing.handshake_scheduler import HandshakeQueue
from antiphon.transceiver.timing.timing_wheel import TimingWheel, Visit


class HeldOutput(Protocol):
    """What leaves the process: within `hold` and `release` it is collected, and leaves at the end in few calls."""

    def hold(self) -> None: ...
    def release(self) -> None: ...


class Scheduler:
    """Wakes the timing wheel and the handshake queue, which are sans-IO, when they are due.

    Owner: the process, until `close`. Sessions call `join`, `leave` and `take_turn`, on the event loop only.
    """

    def __init__(
        self,
        output: HeldOutput,
        before_visits: Callable[[], None] | None = None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`before_visits()` is called before each slot of the wheel. `is_busy()`: visits are made tick by tick."""
        self._before_visits = before_visits
        self._is_busy = is_busy
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._wheel = TimingWheel(self._loop.time())
        self._wheel_timer: asyncio.Handle | None = None
        self._wheel_is_due = False
        self._handshakes = HandshakeQueue(self._loop.time(), time.perf_counter)
        self._handshake_timer: asyncio.TimerHandle | None = None

    def join(self, visit: Visit, now: float, tolerance: float) -> None:
        """Call `visit` every 20 ms, first within a slot of now or up to `tolerance` seconds later."""
        self._wheel.add(visit, now, tolerance, self._is_busy())
        self._arm_wheel()

    def leave(self, visit: Visit) -> None:
        self._wheel.remove(visit)

    def lateness(self, share: float) -> float:
        """Seconds by which this share of the last visits was late at most."""
        return self._wheel.lateness(self._loop.time(), share)[0]

    @property
    def visitors(self) -> int:
        """Number of visitors that are called every 20 ms."""
        return len(self._wheel)

    @property
    def handshakes_waiting(self) -> int:
        return len(self._handshakes)

    def handshake_wait(self) -> float:
        """Seconds that a step of one more handshake would wait."""
        return self._handshakes.seconds(self._loop.time())

    def take_turn(self, step: Callable[[float], None], now: float) -> None:
        """Run a costly step of a handshake, now or when the budget allows it."""
        self._handshakes.add(step, now)
        self._arm_handshakes()

    def close(self) -> None:
        for timer in (self._wheel_timer, self._handshake_timer):
            if timer is not None:
                timer.cancel()

    def _arm_wheel(self) -> None:
        if self._wheel_is_due:
            return
        due = self._wheel.due(self._is_busy())
        if self._wheel_timer is not None:
            self._wheel_timer.cancel()
        self._wheel_timer = None if due is None else self._loop.call_at(due, self._wheel_due)

    def _wheel_due(self) -> None:
        """Visit one iteration later: nats-py delivers in it what it has read, and that speech need not wait."""
        self._wheel_is_due = True
        self._wheel_timer = self._loop.call_soon(self._turn_wheel)

    def _turn_wheel(self) -> None:
        self._wheel_is_due = False
        self._output.hold()
        try:
            if self._before_visits is not None:
                self._before_visits()
            self._wheel.run(self._loop.time(), self._loop.time, self._is_busy())
        finally:
            self._output.release()
        self._arm_wheel()

    def _arm_handshakes(self) -> None:
        due = self._handshakes.due()
        if due is not None and self._handshake_timer is None:
            self._handshake_timer = self._loop.call_at(due, self._step_handshakes)

    def _step_handshakes(self) -> None:
        self._handshake_timer = None
        self._handshakes.run(self._loop.time())
        self._arm_handshakes()
