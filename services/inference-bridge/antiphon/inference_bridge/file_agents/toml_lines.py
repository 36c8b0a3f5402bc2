"""On which line of a TOML text each key and each element stands, which `tomllib` does not tell. Pure.

The text is known to be TOML (`tomllib` has read it), so this reads no more of it than is needed to find the keys. Each
character is looked at once or twice, whatever the text holds.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

Path = tuple[str | int, ...]
"""`("tools", "http", 0, "name")`."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}',
        r"'''(?:[^']|'{1,2}(?!'))*'{3,5}",
        r'"(?:[^"\\\n]|\\.)*"',
        r"'[^'\n]*'",
    )
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
"""A number, a date or a boolean."""


def lines_of(text: str) -> dict[Path, int]:
    """Path of each table, key and element -> its line, from 1. What can't be made out is not there."""
    scan = _Scan(text)
    with contextlib.suppress(_LostError, RecursionError):  # the lines up to there are good
        scan.document()
    return scan.lines


def line_of(lines: Mapping[Path, int], path: Sequence[str | int]) -> int:
    """The line of the path, or of the nearest part around it that is in the text; 1 for the whole."""
    for end in range(len(path), 0, -1):
        if (line := lines.get(tuple(path[:end]))) is not None:
            return line
    return 1


class _LostError(Exception):
    """The text is not what was expected: it is no TOML."""


class _Scan:
    """One reading of a text. Made and used within one call of `lines_of`."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text, self._at = text, 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._elements: dict[Path, int] = {}
        """Arrays of tables: how many there are."""

    def document(self) -> None:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        begin, twice = self._at, self._text.startswith("[[", self._at)
        self._at += 2 if twice else 1
        names = self._key()
        self._take("]]" if twice else "]")
        path = (*self._inside(names[:-1], begin), names[-1])
        if twice:
            self._note(path, begin)
            number = self._elements.get(path, 0)
            self._elements[path] = number + 1
            path = (*path, number)
        self._note(path, begin)
        return path

    def _inside(self, names: Sequence[str], at: int) -> Path:
        """Their path; within an array of tables its last element is meant."""
        path: Path = ()
        for name in names:
            path = (*path, name)
            self._note(path, at)
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        begin, path = self._at, table
        for name in self._key():
            path = (*path, name)
            self._note(path, begin)
        self._take("=")
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at : self._at + 1] in ('"', "'"):
                quoted = self._string()
                names.append(str(tomllib.loads(f"key = {quoted}")["key"]))
            else:
                names.append(self._match(_BARE_KEY))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return names
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at : self._at + 1]
        if first in ('"', "'"):
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._match(_SCALAR)

    def _array(self, path: Path) -> None:
        self._take("[")
        number = 0
        while True:
            self._skip(_BLANK)
            if self._text.startswith("]", self._at):
                self._at += 1
                return
            self._note((*path, number), self._at)
            self._value((*path, number))
            number += 1
            self._skip(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1
            elif not self._text.startswith("]", self._at):
                raise _LostError

    def _inline_table(self, path: Path) -> None:
        self._take("{")
        while True:
            self._skip(_BLANK)
            if self._text.startswith("}", self._at):
                self._at += 1
                return
            self._pair(path)
            self._skip(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1
            elif not self._text.startswith("}", self._at):
                raise _LostError

    def _string(self) -> str:
        for pattern in _STRINGS:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                return match[0]
        raise _LostError

    def _note(self, path: Path, at: int) -> None:
        self.lines.setdefault(path, bisect_right(self._starts, at))

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self._text, self._at):
            self._at = match.end()

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None or not match[0]:
            raise _LostError
        self._at = match.end()
        return match[0]

    def _take(self, mark: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(mark, self._at):
            raise _LostError
        self._at += len(mark)
