"""A reply's text, as it streams in, cut into clauses that are spoken one by one. Pure.

The first clause is cut as early as possible, because the caller waits for it; later ones are whole sentences, which
sound better and are synthesised while the earlier ones play.
"""

from __future__ import annotations

import re
from typing import Final

_FIRST_CUT: Final = re.compile(r"[,;:.!?]['\")]*\s+")
_SENTENCE_CUT: Final = re.compile(r"[.!?]['\")]*\s+|\n+")
_LONG_CUT: Final = re.compile(r"[,;:]\s+")
_NO_END: Final = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|vs|e\.g|i\.e|approx)|\b[A-Z]|[ap]\.m)\.\s+$")
_LONGEST_NO_END: Final = 12
"""Characters, more than any of these has, so that each full stop costs the same."""
LONG_CLAUSE: Final = 60
"""Characters after which a later clause may end at a comma."""
MAX_CLAUSE: Final = 240
"""Characters after which a clause ends at a blank in any case (some models forget their full stops)."""
_WINDOW: Final = 300
"""Characters in which the end of the next clause is looked for, so that no text costs more than its length."""
_SLICE: Final = 1000
"""Characters of a piece that are looked at together."""


class ClauseSplitter:
    """Cuts the text of one reply. Owned by the `ResponsePlayback` of that reply, used on the event loop.

    No clause has more than 300 characters. Holds at most about `MAX_CLAUSE` characters between two pieces.
    """

    def __init__(self) -> None:
        self._text = ""
        self._first = True

    def feed(self, piece: str) -> list[str]:
        """The clauses that this piece completes."""
        clauses: list[str] = []
        for at in range(0, len(piece), _SLICE):
            self._text += piece[at : at + _SLICE]
            while cut := self._cut():
                clause, self._text = self._text[:cut].strip(), self._text[cut:]
                if clause:
                    clauses.append(clause)
                    self._first = False
        return clauses

    def rest(self) -> list[str]:
        """The last clause, when the reply is complete; nothing if there is none."""
        text, self._text = self._text.strip(), ""
        return [text] if text else []

    def _cut(self) -> int:
        """Where the next clause ends; 0 if it is not complete."""
        text = self._text[:_WINDOW]
        for match in (_FIRST_CUT if self._first else _SENTENCE_CUT).finditer(text):
            if not _NO_END.search(f"{text[: match.end()].rstrip()[-_LONGEST_NO_END:]} "):
                return match.end()
        if len(text) > LONG_CLAUSE:
            for match in _LONG_CUT.finditer(text, LONG_CLAUSE // 2):
                return match.end()
        if len(self._text) > MAX_CLAUSE:
            return self._text.rfind(" ", 0, MAX_CLAUSE) + 1 or MAX_CLAUSE
        return 0


def pause_ms_after(clause: str) -> int:
    """Milliseconds of silence between this clause and the next."""
    return 240 if clause.rstrip("'\")").endswith((".", "!", "?")) else 90
