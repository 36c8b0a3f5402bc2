"""A timing wheel of 20 ms with a few slots (`pacing`) that visits all sessions of a process.

Only occupied slots wake the process: a wheel that turned a thousand times a second would cost 9 % of a core. The wheel
measures how late each visit is; above some lateness the transceiver refuses sessions. Sans-IO: `Scheduler` asks when
the next visit is due and calls `run`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Final

from antiphon.transceiver.timing.pacing import MAX_SHARED, SLOTS, SLOTS_PER_TICK, STEP

log = logging.getLogger(__name__)

ROUNDING: Final = 1e-6
"""Steps of rounding error between the product in `due` and the quotient in `run`, so that a slot that is due is run."""
MEASURED_VISITS: Final = 2000
MEASURED_SECONDS: Final = 5.0
MAX_CATCH_UP: Final = 5
"""Periods: after a longer stop (a suspended machine) missed visits are skipped."""

Visit = Callable[[float], None]


class TimingWheel:
    """Calls each visitor with `now`, once per period, in its slot.

    Owner: the `Scheduler`, for the life of the process; called on its event loop only.
    """

    def __init__(self, now: float) -> None:
        self._origin = now
        self._turn = 0
        """Steps since `_origin` that have been run."""
        self._slots: list[list[Visit]] = [[] for _ in range(SLOTS)]
        self._lateness: deque[tuple[float, float]] = deque(maxlen=MEASURED_VISITS)

    def add(self, visit: Visit, now: float, tolerance: float = 0.0, together: bool = False) -> None:
        """First visit within a slot's length of now, or `tolerance` seconds later, then every 20 ms.

        Within the tolerance a slot that wakes anyway is taken, until `MAX_SHARED` share it: each
        wakeup costs as much as a packet, and a shared slot is still done in one or two milliseconds.
        `together`: ticks wake, not slots, so no slot is better than another one.
        """
        if together:
            tick = int((now - self._origin) / STEP + ROUNDING) // SLOTS_PER_TICK * SLOTS_PER_TICK
            if self._turn <= tick and any(self._slots):
                # This tick is due and will run later in this wakeup.
                self._slots[tick % SLOTS].append(visit)
                return
            tolerance = 0.0
        step = max(self._turn, ceil((now - self._origin) / STEP))
        if self._turn < step and self._slots[(step - 1) % SLOTS]:
            # This slot is due and will run later in this wakeup.
            self._slots[(step - 1) % SLOTS].append(visit)
            return
        if not any(self._slots):
            self._turn = step  # no slot was occupied until now, so none is late
        for later in range(step, step + int(tolerance / STEP) + 1):
            if 0 < len(self._slots[later % SLOTS]) < MAX_SHARED:
                step = later
                break
        self._slots[step % SLOTS].append(visit)

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    def remove(self, visit: Visit) -> None:
        """No more visits; nothing happens if there were none."""
        for slot in self._slots:
            if visit in slot:
                slot.remove(visit)

    def due(self, together: bool = False) -> float | None:
        """When the next occupied slot is due; None if the wheel is empty. `together`: with the others of its tick."""
        for step in range(self._turn, self._turn + SLOTS):
            if self._slots[step % SLOTS]:
                return self._origin + (_tick_of(step) if together else step) * STEP
        return None

    def run(self, now: float, clock: Callable[[], float], together: bool = False) -> None:
        """Make all visits that are due; `clock` measures how late each slot was done. `together`: only whole ticks."""
        last = int((now - self._origin) / STEP + ROUNDING)
        if together:
            last -= last % SLOTS_PER_TICK
        if last - self._turn > MAX_CATCH_UP * SLOTS:
            self._turn = last - SLOTS + 1
        while self._turn <= last:
            slot = self._slots[self._turn % SLOTS]
            if slot:
                for visit in tuple(slot):
                    try:
                        visit(now)
                    except Exception:  # a visitor that fails must not keep the others from being visited
                        log.exception("a visit failed: %r is not visited any more", visit)
                        self.remove(visit)
                done = clock()
                due = _tick_of(self._turn) if together else self._turn
                self._lateness.append((done, done - (self._origin + due * STEP)))
            self._turn += 1

    def lateness(self, now: float, *shares: float) -> tuple[float, ...]:
        """For each share: the seconds by which that share of the slots of the last 5 s was done late at most."""
        recent = sorted(late for done, late in self._lateness if now - done < MEASURED_SECONDS)
        return tuple(recent[int(len(recent) * share)] if recent else 0.0 for share in shares)


def _tick_of(step: int) -> int:
    """The last slot of the tick that this slot is in."""
    return step + -step % SLOTS_PER_TICK
