"""Word error rate: the edits that turn what was said into its transcript, per word of what was said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def words(text: str) -> list[str]:
    """Lower case, without punctuation; a hyphen parts two words."""
    return re.findall(r"[a-z0-9']+", text.lower())


def edit_distance(expected: Sequence[str], transcript: Sequence[str]) -> int:
    """Words put in, left out and taken for others: the Levenshtein distance."""
    row = list(range(len(transcript) + 1))
    for number, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], number
        for column, other in enumerate(transcript, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other)),
            )
    return row[-1]


def word_error_rate(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> float:
    """Of 1, over all pairs of (expected words, words of the transcript); 0 if nothing was expected."""
    edits = length = 0
    for expected, transcript in pairs:
        edits += edit_distance(expected, transcript)
        length += len(expected)
    return edits / length if length else 0.0
