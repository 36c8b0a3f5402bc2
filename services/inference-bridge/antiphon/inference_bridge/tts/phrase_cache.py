"""Short phrases that were synthesised before, kept as samples: replies tend to open alike ("Sure," "Done.").

Bounded: when it is full, the phrase that was not used for the longest time is dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from antiphon.inference_bridge.tts.synthesizer import Samples

LONGEST: Final = 64
"""Characters; longer clauses seldom come twice. About 4 s, 200 KB."""


class PhraseCache:
    """Clauses as samples. Owned by the bridge, shared by all its calls; used on the event loop."""

    def __init__(self, size: int = 128) -> None:
        """`size`: phrases, besides those that are kept for good."""
        self._size = size
        self._kept: dict[str, Samples] = {}
        self._phrases: OrderedDict[tuple[str, float, str, str], Samples] = OrderedDict()

    def keep(self, clause: str, samples: Samples) -> None:
        """Keep a phrase of the usual voice for good: it is needed when no voice answers."""
        self._kept[clause] = samples

    def kept(self, clause: str) -> Samples | None:
        """A phrase that `keep` has got; None for any other."""
        return self._kept.get(clause)

    def get(self, clause: str, speed: float, voice: str = "", language: str = "") -> Samples | None:
        """The samples of a clause, spoken so; None if they are not known. Empty names: those of the process."""
        if (kept := self._kept.get(clause)) is not None and (speed, voice, language) == (1.0, "", ""):
            return kept
        samples = self._phrases.get((clause, speed, voice, language))
        if samples is not None:
            self._phrases.move_to_end((clause, speed, voice, language))
        return samples

    def put(self, clause: str, speed: float, samples: Samples, voice: str = "", language: str = "") -> None:
        """Remember a clause, unless it is longer than `LONGEST`."""
        if len(clause) <= LONGEST:
            key = (clause, speed, voice, language)
            self._phrases[key] = samples
            self._phrases.move_to_end(key)
            if len(self._phrases) > self._size:
                self._phrases.popitem(last=False)
