"""The unit in which voice activity is judged and turns are found: 32 ms of a caller's audio. Pure.

Silero takes windows of 512 samples at 16 kHz, which decides both numbers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

RATE: Final = 16000
"""Samples per second of a caller's audio."""
WINDOW: Final = 512
"""Samples: 32 ms."""


class Window(NamedTuple):
    """32 ms of a call. A value: `WindowCutter` makes it, `TurnDetector` takes it."""

    first_sample: int
    pcm: bytes
    """s16le mono at 16 kHz."""
    silent: bool
    """The sender sent nothing here: no need to ask the model."""
    concealed: bool
    """Mostly made up by the receiver: not to be taken for the start of speech."""
    voice: bytes | None = None
    """What voice activity is judged by, where that differs: the same without what may be an echo."""
