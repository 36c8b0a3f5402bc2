"""Which words of an utterance are certain before it has ended. Pure.

LocalAgreement-2 of Macháček, Dabre and Bojar, "Turning Whisper into Real-Time Transcription System" (2023), known as
Whisper-Streaming. When a recogniser transcribes a growing utterance several times, it changes its mind about the end,
seldom about the beginning. So a word is certain when two hypotheses in a row agree on it and on everything before it.
Certain words are never taken back: if the last hypothesis disagrees all the same, they stay, and the words behind them
come from the last hypothesis.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher


class LocalAgreement:
    """The certain words of one utterance.

    Owned by the call's `Transcriptions` until the utterance has its final text; used on the event loop.
    """

    def __init__(self) -> None:
        self._certain: list[str] = []
        self._last: list[str] = []

    def hypothesis(self, text: str) -> str:
        """The words that become certain by `text`, a transcription of the utterance so far; may be empty.

        To be appended to what was returned before.
        """
        words, before = text.split(), self._last
        self._last = words
        agreed = _common_prefix(words, before)
        if agreed <= len(self._certain) or words[: len(self._certain)] != self._certain:
            return ""
        known = len(self._certain)
        self._certain = words[:agreed]
        return (" " if known else "") + " ".join(words[known:agreed])

    def finish(self, text: str) -> tuple[str, str]:
        """`text`: the final transcription. Returns the whole utterance, and the part of it that is to be appended."""
        words, known = text.split(), len(self._certain)
        rest = words[known if words[:known] == self._certain else _place_behind(self._certain, words) :]
        more = " ".join(rest)
        return " ".join([*self._certain, *rest]), f" {more}" if known and more else more


def _common_prefix(words: list[str], others: list[str]) -> int:
    """How many words the two have in common from the beginning, to the letter."""
    count = 0
    for word, other in zip(words, others, strict=False):
        if word != other:
            break
        count += 1
    return count


def _place_behind(certain: list[str], words: list[str]) -> int:
    """The index in `words` of the first word behind those that are certain."""
    blocks = SequenceMatcher(None, _bare(certain), _bare(words), autojunk=False).get_matching_blocks()
    *matches, _ = blocks
    if not matches:
        return min(len(certain), len(words))
    last = matches[-1]
    return min(len(words), last.b + last.size + len(certain) - (last.a + last.size))


def _bare(words: list[str]) -> list[str]:
    return [re.sub(r"\W", "", word.lower()) for word in words]
