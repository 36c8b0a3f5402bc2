"""The screen of `antiphon up`: short prefixed lines from several threads, coloured on a terminal only."""

from __future__ import annotations

import re
import sys
import threading
from typing import Final, TextIO

COLOURS: Final = (36, 35, 33, 34, 32, 96, 95, 94)
_SERVICE_LINE = re.compile(r"(\d\d:\d\d:\d\d) ([A-Z]+) \S+ (.*)")


class Terminal:
    """Writes whole lines, from any thread. Made by `up` for the run. A closed terminal does not raise."""

    def __init__(self, names: list[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._coloured = self._stream.isatty()
        self._width = max(map(len, names))
        self._colour = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
        self._lock = threading.Lock()

    def log(self, name: str, text: str) -> None:
        """One log line of a part. The service's own name in it is left out, because it is the prefix."""
        if match := _SERVICE_LINE.fullmatch(text):
            time, level, message = match.groups()
            text = f"{time} {message}" if level == "INFO" else f"{time} {self._bold(level)} {message}"
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            prefix = f"\x1b[{self._colour.get(name, 37)}m{prefix}\x1b[0m"
        self._write(f"{prefix} {text}")

    def announce(self, text: str) -> None:
        """A line for the person in front of the screen."""
        self._write(f"\x1b[1;32m{text}\x1b[0m" if self._coloured else text)

    def warn(self, text: str) -> None:
        """A line about a failure and what is done about it."""
        self._write(f"\x1b[1;31m{text}\x1b[0m" if self._coloured else text)

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._coloured else text

    def _write(self, line: str) -> None:
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass
