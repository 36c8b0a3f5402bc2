"""G.711: both laws between 8 bit codes and 16 bit samples, by tables that the formulas of ITU-T G.711 fill at import.

Sample rates are the caller's concern; telephony uses 8 kHz. No state: a packet can be decoded without the one before.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
"""s16, mono."""

_ULAW_BIAS: Final = 0x84
"""Added to the magnitude before its segment is found (in the 16 bit scale; 33 in the standard's of 14 bit)."""
_ULAW_CLIP: Final = 32635
"""The largest magnitude whose sum with the bias has 15 bits."""
_ALAW_TOGGLED: Final = 0x55
"""The standard inverts every other bit of an A-law code, so that silence is no long run of zeros on the line."""


def _decoded_ulaw() -> Samples:
    """The sample of each of the 256 codes."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + _ULAW_BIAS) << ((code & 0x70) >> 4)) - _ULAW_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _decoded_alaw() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ _ALAW_TOGGLED
    segment, step = (code & 0x70) >> 4, (code & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, (step + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _segments(magnitude: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The segment, 0 to 7, of each magnitude: the first one has 256 values, each later one twice as many."""
    starts = 0x100 << np.arange(7, dtype=np.int32)
    return np.searchsorted(starts, magnitude, side="right").astype(np.int32)


def _encoded_ulaw() -> npt.NDArray[np.uint8]:
    """The code of each sample, at the index that the sample has as an unsigned number."""
    sample = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(sample), _ULAW_CLIP) + _ULAW_BIAS
    segment = _segments(magnitude)
    code = np.where(sample < 0, 0x80, 0) | (segment << 4) | ((magnitude >> (segment + 3)) & 0x0F)
    codes: npt.NDArray[np.uint8] = (~code & 0xFF).astype(np.uint8)
    return codes


def _encoded_alaw() -> npt.NDArray[np.uint8]:
    sample = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    # -1 and 0 are the two smallest magnitudes of their signs: the negative half is counted from -1 down.
    magnitude = np.where(sample < 0, -sample - 1, sample)
    segment = _segments(magnitude)
    code = np.where(sample < 0, 0, 0x80) | (segment << 4) | ((magnitude >> np.maximum(segment + 3, 4)) & 0x0F)
    codes: npt.NDArray[np.uint8] = (code ^ _ALAW_TOGGLED).astype(np.uint8)
    return codes


_FROM_ULAW: Final = _decoded_ulaw()
_FROM_ALAW: Final = _decoded_alaw()
_TO_ULAW: Final = _encoded_ulaw()
_TO_ALAW: Final = _encoded_alaw()


def encode_ulaw(samples: Samples) -> bytes:
    """One octet a sample, mu-law (PCMU). `samples`: int16, one dimension."""
    return _TO_ULAW[samples.view(np.uint16)].tobytes()


def decode_ulaw(codes: bytes | bytearray | memoryview) -> Samples:
    """One int16 sample an octet. Every octet is a valid code."""
    return _FROM_ULAW[np.frombuffer(codes, np.uint8)]


def encode_alaw(samples: Samples) -> bytes:
    """One octet a sample, A-law (PCMA). `samples`: int16, one dimension."""
    return _TO_ALAW[samples.view(np.uint16)].tobytes()


def decode_alaw(codes: bytes | bytearray | memoryview) -> Samples:
    """One int16 sample an octet. Every octet is a valid code."""
    return _FROM_ALAW[np.frombuffer(codes, np.uint8)]
