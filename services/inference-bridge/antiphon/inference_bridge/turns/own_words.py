"""Are the words that were heard the agent's own, which came back as echo? Pure."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.turns.words.rules import words_of

_CUT: Final = 3
"""Letters that show a word of which the beginning or end is missing."""
_WORDS_PER_MISTAKE: Final = 4
"""Of so many words one may be heard wrongly."""


def repeats(heard: str, said: str, fewest: int = 1) -> bool:
    """Whether `heard`, at least `fewest` words, is a piece of `said`: words in a row, the outer ones perhaps cut."""
    ours, theirs = words_of(heard), words_of(said)
    if len(ours) < max(1, fewest):
        return False
    allowed = len(ours) // _WORDS_PER_MISTAKE
    return any(
        _mistakes(ours, theirs[at : at + len(ours)]) <= allowed for at in range(max(0, len(theirs) - len(ours) + 1))
    )


def _mistakes(ours: list[str], theirs: list[str]) -> int:
    last = len(ours) - 1
    wrong = 0
    for at, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        cut = len(our) >= _CUT and ((at == last and their.startswith(our)) or (at == 0 and their.endswith(our)))
        wrong += not (our == their or cut)
    return wrong
