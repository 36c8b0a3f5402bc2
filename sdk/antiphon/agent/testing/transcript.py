"""What was said and done in a conversation under test, with times: printed when a test fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_LINES: Final = 1000
"""The oldest go."""


@dataclass(frozen=True)
class Line:
    """One thing that happened. A value."""

    at: float
    """Seconds from the beginning of the call."""
    who: str
    """`caller`, `agent`, or what happened: `tool`, `keys`, `silence`."""
    text: str


class Transcript:
    """Owned by a `Conversation`; read by whoever reports the test."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        """In the order in which they happened."""

    def add(self, at: float, who: str, text: str) -> None:
        """At this second of the call."""
        self.lines.append(Line(at, who, text))
        del self.lines[:-MAX_LINES]

    def __str__(self) -> str:
        """A line for each, such as `   1.250  caller  A table for two.`"""
        return "\n".join(f"{each.at:8.3f}  {each.who:<8}  {each.text}" for each in self.lines)
