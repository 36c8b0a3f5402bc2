"""When the visits of a live agent should come: one whose frames come one every 20 ms, and none is ahead. Pure.

An interpreter, an echo, or a remote model that speaks itself publishes a frame when it has it. Its first frame decides
at which time of the 20 ms its visits come, and when that one was late, or this process stood still for a moment, all
later ones would wait for most of a period, for as long as the reply lasts. So their wait is measured, and visits are
moved to just behind the earliest frames. Frames that come later leave when they come (`AudioSender.overdue`). No frame
leaves later for it than it would have, and none is dropped.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 10
"""Frames whose longest wait counts."""
LEAD: Final = 0.002
"""Seconds from the earliest frames to their visit."""
TOLERATED: Final = 0.004
"""Seconds of wait up to which visits stay where they are."""
AHEAD: Final = 0.050
"""Seconds of wait from which an agent counts as one that is ahead, which needs no haste."""
MAX_STEP: Final = 0.015
"""Seconds by which visits are moved at a time: less than a period."""


class LiveLead:
    """Owner: an `AudioSender`, for its whole life."""

    def __init__(self) -> None:
        self._frames = 0
        self._longest = 0.0

    def leaves(self, waited: float) -> float:
        """A frame leaves that has waited for so many seconds; by how many seconds visits should come earlier."""
        if waited >= AHEAD:
            self._frames, self._longest = 0, 0.0
            return 0.0
        if waited > self._longest:
            self._longest = waited
        self._frames += 1
        if self._frames < WINDOW:
            return 0.0
        longest, self._frames, self._longest = self._longest, 0, 0.0
        return min(longest - LEAD, MAX_STEP) if longest > TOLERATED else 0.0
