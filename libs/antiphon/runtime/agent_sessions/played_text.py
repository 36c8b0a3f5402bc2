"""Which words of a speech were played, from the number of samples played. Sans-IO.

Only a voice that knows the times of its words can say exactly where each one lies. Without times, the words of a piece
of text are spread over its audio by their number of letters: wrong by a word or so, because a piece is a clause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Word(NamedTuple):
    """A word and where it is in the audio it was written with."""

    text: str
    """As it is to appear in `Played.text`."""
    start: float
    """Seconds from the first sample of the `write`."""
    end: float
    """Likewise, where the word is over."""


class PlayedText:
    """The words of one speech and the sample up to which each has to be played to count.

    Owner: the speech (SDK) or the response (bridge), for as long as that may be asked for its text. Called from the
    event loop.
    """

    def __init__(self, rate: int, share: float = 1.0) -> None:
        """`rate` in Hz. `share`: a word counts when so much of it was played; 1.0 all of it, 0.5 half."""
        self.samples = 0
        """Written so far, silence included."""
        self._rate, self._share = rate, share
        self._words: list[tuple[str, float]] = []

    def add(self, samples: int, words: str | Sequence[str] | Sequence[Word] | None, silence: int = 0) -> None:
        """The next piece: `silence` samples before it, then `samples` of speech that say `words`."""
        if isinstance(words, str):
            words = words.split()
        first = self.samples + silence
        self.samples = first + samples
        if not words:
            return
        letters = sum(len(word) + 1 for word in words if isinstance(word, str))
        at = 0
        for word in words:
            if isinstance(word, Word):
                counts_at = first + (word.start + self._share * (word.end - word.start)) * self._rate
                self._words.append((word.text, counts_at))
            else:
                length = len(word) + 1
                self._words.append((word, first + samples * (at + self._share * length) / letters))
                at += length

    def up_to(self, played: int) -> str:
        """The words played when this many samples were. More samples only add words at the end."""
        return " ".join(word for word, counts_at in self._words if counts_at <= played)

    @property
    def whole(self) -> str:
        """All words, played or not."""
        return " ".join(word for word, _ in self._words)
