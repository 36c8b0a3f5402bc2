"""Whether the transceiver of a session still lives, from what comes of it; and when it stopped. Sans-IO but one waiter.

A transceiver that dies without a successor sends no `Ended`. It sends a frame of the caller every 20 ms, so silence of
a minute means that it is gone. One that is killed and replaced stops in the middle of those frames: up to then speech
was played.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

GAP_SECONDS: Final = 0.06
"""Without a frame of the caller for so long its transceiver does not run, or is gone."""
_RECENT_SECONDS: Final = 5.0


class SessionLiveness:
    """When something came last. Owner: the session. Called from the event loop, by its subscriptions."""

    def __init__(self, now: float) -> None:
        self._last = now
        self._last_frame = self._before_gap = float("-inf")

    def event(self, now: float) -> None:
        """An event or a message of the client came."""
        self._last = now

    def frame(self, now: float) -> None:
        """A frame of the caller came."""
        self._last = now
        if now - self._last_frame > GAP_SECONDS:
            self._before_gap = self._last_frame
        self._last_frame = now

    def silent_for(self, now: float) -> float:
        """Seconds since anything came."""
        return now - self._last

    def frames_stopped_at(self, now: float) -> float:
        """When the frames of a killed transceiver stopped, asked at `TakenOver`.

        Some frames of its successor may have come already.
        """
        resumed = now - self._last_frame < GAP_SECONDS and now - self._before_gap < _RECENT_SECONDS
        return self._before_gap if resumed else self._last_frame


async def until_silent(liveness: SessionLiveness, seconds: float) -> None:
    """Return when nothing has come for so long."""
    while (left := seconds - liveness.silent_for(time.monotonic())) > 0:  # noqa: ASYNC110 - the clock is the event
        await asyncio.sleep(left)
