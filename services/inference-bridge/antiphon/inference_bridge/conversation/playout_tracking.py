"""What of a reply was published, what waits at the transceiver, and what the caller has heard. Pure."""

from __future__ import annotations

from typing import NamedTuple


class _Clause(NamedTuple):
    text: str
    start: int
    """Position of its first sample in the reply."""
    end: int


class SpeechLedger:
    """The clauses of one reply (one generation) and where in its samples each lies."""

    def __init__(self) -> None:
        self._clauses: list[_Clause] = []
        self.samples = 0
        """Published so far, pauses included."""

    def add(self, text: str, pause: int, spoken: int) -> None:
        """The next clause: `pause` samples of silence, then `spoken` samples of speech."""
        start = self.samples + pause
        self.samples = start + spoken
        self._clauses.append(_Clause(" ".join(text.split()), start, self.samples))

    @property
    def text(self) -> str:
        """All that was published."""
        return " ".join(clause.text for clause in self._clauses)

    def heard(self, played_samples: int) -> str:
        """The words that were played: of the clause that was cut, in proportion to its length.

        More samples only put more words behind. Proportion is a guess about where a word lies in a clause; clauses
        being short, it is wrong by a word or so.
        """
        words: list[str] = []
        for text, start, end in self._clauses:
            if played_samples >= end:
                words.append(text)
            elif played_samples > start:
                own = text.split()
                words += own[: len(own) * (played_samples - start) // (end - start)]
        return " ".join(words)


class Backlog:
    """How much speech waits at the transceiver: its last report, plus what was sent, less the time that passed."""

    def __init__(self) -> None:
        self._queued_ms = 0.0
        self._at = 0.0
        self._held = False

    def hold(self, now: float) -> None:
        """Nothing is played from now on."""
        self._queued_ms, self._at, self._held = self.queued_ms(now), now, True

    def go_on(self, now: float) -> None:
        self._at, self._held = now, False

    def sent(self, ms: float, now: float) -> None:
        self._queued_ms, self._at = self.queued_ms(now) + ms, now

    def reported(self, queued_ms: float, now: float) -> None:
        self._queued_ms, self._at = queued_ms, now

    def queued_ms(self, now: float) -> float:
        return self._queued_ms if self._held else max(0.0, self._queued_ms - (now - self._at) * 1000)
