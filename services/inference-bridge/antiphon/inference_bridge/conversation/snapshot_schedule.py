"""When a call's snapshot is written: at once after a change, but not more often than each `SAVE_SECONDS`.

A snapshot costs up to a millisecond, a client's events may come by the hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

SAVE_SECONDS: Final = 0.1
"""The lease itself is written four times a second."""


class SnapshotSchedule:
    """Calls `save` for the changes of one call.

    Owned by the call's session, which closes it; used on the event loop.
    """

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._saved = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """There is something to write."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        wait = self._saved + SAVE_SECONDS - loop.time()
        if wait <= 0:
            self._save_now()
        else:
            self._timer = loop.call_later(wait, self._save_now)

    def close(self) -> None:
        """Nothing is written any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _save_now(self) -> None:
        self._timer = None
        self._saved = asyncio.get_running_loop().time()
        self._save()
