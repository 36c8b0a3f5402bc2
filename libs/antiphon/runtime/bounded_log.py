"""Tracebacks in the log, but not as often as a peer likes."""

from __future__ import annotations

import logging
import time
from typing import Final

EVERY: Final = 10.0
"""Seconds between two tracebacks of one source; the next one says how many were left out."""


class BoundedLog:
    """One for each place that a peer's input might fail in, for all sessions of the process."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._next = float("-inf")
        self.left_out = 0

    def exception(self, text: str, error: Exception) -> None:
        """Write what happened, with its traceback, unless one was written just now."""
        now = time.monotonic()
        if now < self._next:
            self.left_out += 1
            return
        self._next = now + EVERY
        more = f" ({self.left_out} more since the last one)" if self.left_out else ""
        self.left_out = 0
        self._log.error("%s%s: %r", text, more, error, exc_info=error)
