"""Rates per minute, for many subjects at once. Sans-IO.

The algorithm is GCRA (ITU-T I.371): of each subject only one number is kept, the time at which it has used nothing of
its limit any more (`free_at`). So the same arithmetic serves a table in memory and one entry of a NATS bucket.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

PERIOD: Final = 60.0
"""Seconds that a limit counts: a subject may use all of it at once, and then waits for what comes back."""
MAX_SUBJECTS: Final = 16_384
"""In a table, about 4 MB. Above it the subjects that were not seen for longest are forgotten: they begin anew."""


class Taken(NamedTuple):
    """What one use of a limit comes to."""

    free_at: float
    """To be kept for the subject."""
    wait: float
    """Seconds after which another try makes sense; 0: it was taken."""


def take(free_at: float, per_minute: int, now: float) -> Taken:
    """One use at `now`. A `free_at` further ahead than a limit can reach comes of a clock that was set back."""
    each = PERIOD / per_minute
    free_at = min(max(free_at, now), now + PERIOD)
    wait = free_at + each - now - PERIOD
    if wait > 1e-6:
        return Taken(free_at, wait)
    return Taken(free_at + each, 0.0)


class RateTable:
    """The uses of one process, by kind and subject.

    Owned by `Limits`; called on the event loop.
    """

    def __init__(self, max_subjects: int = MAX_SUBJECTS) -> None:
        self._max = max_subjects
        self._free_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._free_at)

    def take(self, kind: str, subject: str, per_minute: int, now: float) -> float:
        """Seconds to wait; 0: it was taken, and always where `per_minute` is 0, which means no limit."""
        if per_minute <= 0:
            return 0.0
        key = kind, subject
        taken = take(self._free_at.get(key, now), per_minute, now)
        self._free_at[key] = taken.free_at
        self._free_at.move_to_end(key)
        while len(self._free_at) > self._max:
            self._free_at.popitem(last=False)
        return taken.wait
