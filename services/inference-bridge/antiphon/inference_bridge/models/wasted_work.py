"""How much model work of a call may be for nothing: its result was cancelled while it was made. Sans-IO.

A client that asks for response after response and cancels each would have a processor work for it all the time, which
the models of other calls share. An interruption by voice wastes about 0.2 s of synthesis, so a conversation stays far
below the allowance; a client above it waits with its next job until it has allowance again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

FREE: Final = 3.0
"""Seconds of work that a call may waste at once."""
REFILL: Final = 0.1
"""Seconds of allowance that a second gives back."""
MAX_OWNERS: Final = 1024
"""Above it the call is forgotten that wasted something the longest ago."""


class WastedWork:
    """The allowances of all calls. Owned by `ModelThreads`, which guards it with its lock."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Owner -> seconds left at a time; the latest to waste something behind."""

    def spend(self, owner: str, seconds: float, now: float) -> None:
        """So much work of the call was for nothing. `now`: `time.monotonic()`, as in `free_at`."""
        self._left[owner] = self._left_at(owner, now) - seconds, now
        self._left.move_to_end(owner)
        if len(self._left) > MAX_OWNERS:
            self._left.popitem(last=False)

    def free_at(self, owner: str, now: float) -> float:
        """When the call's next job may begin: `now`, or later."""
        left = self._left_at(owner, now)
        return now if left >= 0 else now - left / REFILL

    def _left_at(self, owner: str, now: float) -> float:
        left, at = self._left.get(owner, (FREE, now))
        return min(FREE, left + max(0.0, now - at) * REFILL)
