"""What a tool has given: a value, and the bounds of its text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_OUTPUT: Final = 32 * 1024
"""Characters of one output; what is beyond is cut."""
MAX_ERROR_OUTPUT: Final = 2000
"""Characters of an answer that is an error."""
_CUT: Final = "\n(cut here: it is longer than what is read of it)"


@dataclass(frozen=True)
class ToolResult:
    """The output of one call. A value."""

    output: str
    """For the model: text, mostly JSON, or the error's."""
    failed: bool = False
    """There is no result; it may not be known whether the call has had an effect."""


def bounded(text: str, most: int = MAX_OUTPUT) -> str:
    """The text, or its beginning with a note that there is more."""
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT


def failure(text: str) -> ToolResult:
    """A call without a result."""
    return ToolResult(bounded(text, MAX_ERROR_OUTPUT), failed=True)


def late(seconds: float) -> ToolResult:
    """A call that has given no result in time."""
    return failure(f"no result within {seconds:g} s; it is not known whether the call has had an effect")
