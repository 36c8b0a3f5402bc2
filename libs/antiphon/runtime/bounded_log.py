"""Tracebacks and warnings in the log, limited in number, so that a peer's input cannot fill the disk."""

from __future__ import annotations

import logging
import time
from typing import Final

AGAIN: Final = 3600.0
"""Seconds after which a line without a change is logged again."""
MAX_SOURCES: Final = 64
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


class OncePerChange:
    """Logs a line when it says something else than the last one of its source, and again after `AGAIN`.

    Owned by the module of that place, for the process's lifetime; the event loop calls it. For what is repeated by a
    timer: a server that is away, an announcement that can't be read. Policy when full: the source that was first is
    forgotten, so its next line is logged again.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[str, tuple[str, float]] = {}

    def say(self, text: str, source: str = "", level: int = logging.WARNING) -> None:
        now = time.monotonic()
        last, at = self._said.get(source, ("", 0.0))
        if text == last and now - at < AGAIN:
            return
        if source not in self._said and len(self._said) >= MAX_SOURCES:
            del self._said[next(iter(self._said))]
        self._said[source] = text, now
        self._log.log(level, "%s", text)
