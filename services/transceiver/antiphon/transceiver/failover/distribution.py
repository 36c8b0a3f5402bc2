"""How a dead process's sessions are distributed over those that are left. Sans-IO."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final, NamedTuple

HALF: Final = 0.5
"""Of its capacity, up to which the process that takes the endpoint over keeps all: checks of a session that goes to a
third process have to be forwarded."""


class Load(NamedTuple):
    """A process's, as it announces it."""

    sessions: int
    capacity: int

    @property
    def room(self) -> int:
        return self.capacity - self.sessions


def shares(count: int, own: Load, others: Sequence[Load]) -> list[int]:
    """How many of `count` sessions each takes: we first, then the others in their order.

    We keep what brings us to half of our capacity, or to what all have on average then; each of the rest goes to the
    process with most room for it. Less than `count` in sum where all are full.
    """
    loads = [own, *others]
    takes = [0] * len(loads)
    fair = (sum(load.sessions for load in loads) + count) / max(1, sum(load.capacity for load in loads))
    takes[0] = max(0, min(count, own.room, ceil(max(fair, HALF) * own.capacity) - own.sessions))
    for _ in range(count - takes[0]):
        open_to = [index for index, load in enumerate(loads) if load.sessions + takes[index] < load.capacity]
        if not open_to:
            break
        takes[min(open_to, key=lambda index: (loads[index].sessions + takes[index] + 1) / loads[index].capacity)] += 1
    return takes
