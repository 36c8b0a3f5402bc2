"""Which transceiver is asked next for one call, when others did not take it. Pure.

The transceivers of a cluster share its region's way, its agents and mostly its load. So a cluster that gives no sign of
life, or refuses again and again, is put off until all others were asked: the request has seconds, and each try takes a
round trip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from antiphon.schemas.messages import TransceiverAnnouncement

MAX_FAILURES: Final = 3
"""Of a cluster, before others come first: `full` and `draining` are answered within milliseconds, near by."""


class AskingOrder:
    """The transceivers that are left to ask for one call. Made, owned and called by its placement."""

    def __init__(self, best_first: Iterable[TransceiverAnnouncement]) -> None:
        self._left = list(best_first)[::-1]
        self._failures: Counter[int] = Counter()
        self._failed: set[int] = set()
        self._without_agent: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def no_agent_anywhere(self) -> bool:
        """All clusters were asked, and each said that the agent is not there."""
        return not self._left and bool(self._without_agent) and self._failed == self._without_agent

    def next(self) -> TransceiverAnnouncement | None:
        """Take the next one; None when all were asked."""
        return self._left.pop() if self._left else None

    def failed(self, transceiver: TransceiverAnnouncement, outcome: str) -> None:
        """It did not take the call. `outcome`: a code of `Refused`, or `silent`, `gone` or `broken`."""
        cluster = transceiver.cluster
        self._failed.add(cluster)
        if outcome == "no_agent":  # the agents of a cluster are those of its region
            self._without_agent.add(cluster)
            self._left = [each for each in self._left if each.cluster != cluster]
            return
        self._failures[cluster] += MAX_FAILURES if outcome == "silent" else 1
        if self._failures[cluster] >= MAX_FAILURES:
            del self._failures[cluster]
            self._left.sort(key=lambda each: each.cluster != cluster)  # stable; the next one is at the end
