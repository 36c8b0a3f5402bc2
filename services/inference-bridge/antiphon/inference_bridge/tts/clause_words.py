"""Which words of a clause lie in which piece of its audio, while its end is not there yet. Sans-IO."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE

_LETTER: Final = SPEECH_RATE // 16
"""Samples of a letter, its blank included, before any clause was whole: joe speaks 15 to 17 a second."""


class ClauseWords:
    """Deals the words of the clauses of one response out to pieces of audio, by their number of letters.

    Owned by the response, used on the event loop. How fast the voice is, it learns from the clauses that are whole.
    """

    def __init__(self) -> None:
        self._letter = float(_LETTER)
        self._words: list[str] = []
        self._letters = 0
        self._dealt = 0
        """Letters of the words that were given out."""
        self._samples = 0

    def begin(self, clause: str) -> None:
        """The next clause: audio of it will come."""
        self._words = clause.split()
        self._letters = sum(len(word) + 1 for word in self._words)
        self._dealt = self._samples = 0

    def piece(self, samples: int) -> list[str]:
        """The words whose end lies in the next `samples` of the clause, as far as one can tell; the last one never."""
        self._samples += samples
        given = []
        while len(self._words) > 1 and (self._dealt + len(self._words[0]) + 1) * self._letter <= self._samples:
            given.append(self._words.pop(0))
            self._dealt += len(given[-1]) + 1
        return given

    def rest(self, samples: int, whole: bool = True) -> list[str]:
        """The last piece: the words that are left; without `whole`, when the audio broke off, those that it had."""
        if not whole:
            return self.piece(samples)
        self._samples += samples
        if self._letters:
            self._letter = self._samples / self._letters
        given, self._words = self._words, []
        return given
