"""When the memory of ended sessions is given back. Pure.

A session and its parts refer to each other, so only the cycle collector frees them, and it is set to run rarely: a
full collection costs 0.1 us for each object of each session while frames are due. Left to itself it would begin after
some 50,000 calls of 30 kB each, unless there are moments without any call, which a busy process never has.
"""

from __future__ import annotations

from typing import Final

AT_LEAST: Final = 64
"""Ended sessions that are worth a collection: about 2 MB."""


class CycleCollection:
    """Says when to collect. Owner: the process, for its whole life; asked at each poll."""

    def __init__(self) -> None:
        self._collected = 0

    def due(self, ended: int, running: int) -> bool:
        """Whether to collect now, given how many sessions have ended so far and how many run.

        It is due once as many have ended as run, so that each collection finds at least one to free for each that it
        looks at in vain; and at once when none runs, since nobody waits then.
        """
        waiting = ended - self._collected
        if waiting < (max(AT_LEAST, running) if running else 1):
            return False
        self._collected = ended
        return True
