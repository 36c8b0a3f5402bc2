"""Which decoded frames may be left out unheard, while a stream is longer than what was sent. Sans-IO.

Asked only while there is something to take back, so a call without stalls pays nothing for it.
"""

from __future__ import annotations

from typing import Final

EVERY: Final = 4
"""Samples of which one is looked at: 6 us instead of 25 for 20 ms at 16 kHz."""
SILENT: Final = 10_000.0
"""Mean square of samples: -50 dBFS. Below it everything is quiet, whatever is around it."""
NEAR_FLOOR: Final = 4.0
"""Quiet is within 6 dB of the noise floor; twice that ends a quiet stretch."""
BELOW_SPEECH: Final = 30.0
"""And 15 dB below the speech around it: a tone or music that never stops is no noise."""
FLOOR_RISES: Final = 1.01
"""Per frame, 2 dB a second: the floor follows a background that becomes louder."""
SPEECH_FADES: Final = 0.9993
"""Per frame: half of it is forgotten in 20 s."""
AFTER: Final = 50
"""Frames of a quiet stretch that come in full: by them the end of a turn is found."""
AFTER_IMPATIENT: Final = 5
PATIENCE: Final = 500
"""Frames (10 s) to wait for a stretch of more than `AFTER`; who talks on pauses between words only."""


class SilenceTrimmer:
    """Leaves out every second frame of a quiet stretch, from its first second on; of shorter ones after 10 s."""

    def __init__(self) -> None:
        self._floor, self._speech = float("inf"), 0.0
        self._run = self._waited = 0

    def reset(self) -> None:
        """Nothing is to be taken back any more."""
        self._run = self._waited = 0

    def leave_out(self, pcm: bytes) -> bool:
        """Whether this frame, the next of the stream, may be left out."""
        self._waited += 1
        energy = _energy(pcm)
        self._floor = min(energy, self._floor * FLOOR_RISES + 1.0)
        self._speech = max(energy, self._speech * SPEECH_FADES)
        limit = max(SILENT, min(self._floor * NEAR_FLOOR, self._speech / BELOW_SPEECH))
        if energy > 2 * limit:
            self._run = 0
        if energy > limit:
            return False
        self._run += 1
        after = AFTER if self._waited < PATIENCE else AFTER_IMPATIENT
        return self._run > after and self._run % 2 == 0


def _energy(pcm: bytes) -> float:
    """Mean square of some of the samples."""
    samples = memoryview(pcm).cast("h")[::EVERY]
    return sum(sample * sample for sample in samples) / max(1, len(samples))
