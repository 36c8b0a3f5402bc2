"""How loud a frame of s16le is. Pure."""

from __future__ import annotations

import numpy as np

from antiphon.cli.call.call_listener import AUDIBLE


def peak(pcm: bytes) -> int:
    """Of 32767."""
    return int(np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32)).max())


def mean_level(pcm: bytes) -> float:
    """Mean of the magnitudes, of 32767."""
    return float(np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32)).mean())


def is_audible(pcm: bytes) -> bool:
    """By the measure of `antiphon call`."""
    return peak(pcm) > AUDIBLE * 32768
