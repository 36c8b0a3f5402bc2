"""Short phrases that were said before, kept as samples: replies tend to open alike ("Sure," "Done.").

Bounded: the phrase that was not used for the longest time goes. Used on the event loop only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from antiphon.inference_bridge.speech.synthesizer import Samples

LONGEST: Final = 64
"""Characters; longer clauses seldom come twice. About 4 s, 200 KB."""


class PhraseCache:
    def __init__(self, size: int = 128) -> None:
        self._size = size
        self._phrases: OrderedDict[tuple[str, float], Samples] = OrderedDict()

    def get(self, clause: str, speed: float) -> Samples | None:
        samples = self._phrases.get((clause, speed))
        if samples is not None:
            self._phrases.move_to_end((clause, speed))
        return samples

    def put(self, clause: str, speed: float, samples: Samples) -> None:
        if len(clause) <= LONGEST:
            self._phrases[clause, speed] = samples
            self._phrases.move_to_end((clause, speed))
            if len(self._phrases) > self._size:
                self._phrases.popitem(last=False)
