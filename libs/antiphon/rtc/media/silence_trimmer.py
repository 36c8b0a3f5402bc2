"""Drops silent frames to shorten the playout delay after a stall. Sans-IO.

`FrameDecoder` asks only while the stream is longer than what was sent, so a call without stalls pays nothing for it.
"""

from __future__ import annotations

from typing import Final

EVERY: Final = 4
"""Only each fourth sample is measured: 6 us instead of 25 for 20 ms at 16 kHz."""
SILENT: Final = 10_000.0
"""Mean square of samples: -50 dBFS. Every frame below it counts as silent."""
NEAR_FLOOR: Final = 4.0
"""A silent frame is within 6 dB of the noise floor; 9 dB above it end a silent stretch."""
BELOW_SPEECH: Final = 30.0
"""A silent frame is also 15 dB below recent speech: a tone or music that never stops is not taken for noise."""
FLOOR_RISES: Final = 1.01
"""Per frame, 2 dB a second: the floor follows a background that becomes louder."""
SPEECH_FADES: Final = 0.9993
"""Factor per frame: the estimate of the speech level halves in 20 s."""
AFTER: Final = 50
"""Frames of a silent stretch that are kept: the agent finds the end of a turn by them."""
AFTER_IMPATIENT: Final = 5
PATIENCE: Final = 500
"""Frames (10 s) to wait for a stretch longer than `AFTER`. A caller who keeps talking pauses only between words."""


class SilenceTrimmer:
    """Says which frames of a stream may be dropped: every second one of a silent stretch, from its first second on, and
    after 10 s without such a stretch those of shorter ones too.

    Owner: a `FrameDecoder`, for as long as that lives, called from its thread.
    """

    def __init__(self) -> None:
        self._floor, self._speech = float("inf"), 0.0
        self._run = self._waited = 0

    def reset(self) -> None:
        """Nothing is to be dropped any more."""
        self._run = self._waited = 0

    def leave_out(self, pcm: bytes) -> bool:
        """Whether this frame, the next of the stream (s16le), may be dropped."""
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
