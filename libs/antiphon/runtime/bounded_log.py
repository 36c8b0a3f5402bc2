"""Tracebacks and warnings in the log, limited in number, so that a peer's input cannot fill the disk."""

from __future__ import annotations

import logging
import time
from typing import Final

EVERY: Final = 10.0
"""Seconds between two lines of one source; the next one says how many were left out."""


class BoundedLog:
    """Logs the failures of one place that handles peers' input, for all sessions of the process.

    Owned by the module of that place, for the process's lifetime; any task may call it.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._next = float("-inf")
        self.left_out = 0
        """Failures since the last line."""

    def exception(self, text: str, error: Exception) -> None:
        """Log the error with its traceback, unless one was logged within `EVERY` seconds."""
        if (more := self._more()) is not None:
            self._log.error("%s%s: %r", text, more, error, exc_info=error)

    def warning(self, text: str) -> None:
        """Log the text, unless a line was logged within `EVERY` seconds."""
        if (more := self._more()) is not None:
            self._log.warning("%s%s", text, more)

    def _more(self) -> str | None:
        """None: not now. Else how many were left out, as text."""
        now = time.monotonic()
        if now < self._next:
            self.left_out += 1
            return None
        self._next = now + EVERY
        more = f" ({self.left_out} more since the last one)" if self.left_out else ""
        self.left_out = 0
        return more
