"""Which loss the encoder is set to, from the receiver reports of the client. Pure.

In-band FEC means SILK, which costs as much as several calls without it. One report covers 50 to 250 packets: at a
steady loss of 2 %, which retransmissions repair, every fourth report of a second says 4 % or more. So a small loss
counts by the mean of the last reports, and a large one at once.
"""

from __future__ import annotations

from collections import deque
from typing import Final

REPORTS: Final = 8
"""Whose mean counts; those that have not come yet count as without loss."""
SUDDEN: Final = 10
"""Percent in a single report that count at once: FEC has to be on before the next burst, not after it."""
MOST: Final = 30
"""Percent: no encoder is set to more."""


class ReportedLoss:
    """Owner: an `AudioSender`, for its whole life."""

    def __init__(self) -> None:
        self.percent = 0
        """What the encoder is to expect."""
        self._recent: deque[float] = deque([0.0] * REPORTS, maxlen=REPORTS)

    def reported(self, fraction_lost: int) -> int:
        """A report says that of 256 packets so many were lost; returns the new `percent`. It falls slowly."""
        self._recent.append(fraction_lost * 100 / 256)
        now = round(self._recent[-1])
        if now < SUDDEN:
            now = int(sum(self._recent) / REPORTS)
        self.percent = min(MOST, max(now, self.percent * 3 // 4))
        return self.percent
