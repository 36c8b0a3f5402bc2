"""What an author may write as speech: s16le mono bytes, at more rates than frames have. Sans-IO."""

from __future__ import annotations

from typing import Final

from antiphon.runtime.odd_rate import OddRateResampler
from antiphon.schemas.audio import RATES

FRAME_RATES: Final = {11025: 16000, 22050: 24000, 44100: 48000}
"""Rates that voices have and frames do not -> the rate of the frames that they are sent in, Hz."""
SPEECH_RATES: Final = (*RATES, *FRAME_RATES)
_ARRAY_KINDS: Final = {"f": "of floats", "i": "of integers", "u": "of unsigned integers"}


class SpeechInput:
    """PCM of one speech as its author writes it. Owned and called by the `Speech`."""

    def __init__(self, rate: int) -> None:
        """`rate` in Hz; ValueError for one that is not in `SPEECH_RATES`."""
        self.frame_rate = FRAME_RATES.get(checked_rate(rate), rate)
        """Hz of what `take` returns."""
        self._resampler = None if rate in RATES else OddRateResampler(rate, self.frame_rate)

    def take(self, pcm: object) -> bytes:
        """s16le mono at `frame_rate`. TypeError for what is no bytes, ValueError for half a sample."""
        data = samples_of(pcm)
        return data if self._resampler is None else self._resampler.push(data)


def checked_rate(rate: int) -> int:
    """ValueError for a rate that speech can't have."""
    if rate not in SPEECH_RATES:
        raise ValueError(f"speech at {rate} Hz: expected one of {', '.join(map(str, sorted(SPEECH_RATES)))}")
    return rate


def samples_of(pcm: object) -> bytes:
    """s16le mono as bytes. TypeError for what is no bytes, ValueError for half a sample."""
    if not isinstance(pcm, bytes | bytearray | memoryview):
        raise TypeError(f"speech as {_kind(pcm)}: expected bytes, samples of 16 bits (s16le), mono{_way_out(pcm)}")
    data = bytes(pcm)
    if len(data) % 2:
        raise ValueError(f"speech of {len(data)} bytes: samples of 16 bits come in pairs of bytes")
    return data


def _kind(value: object) -> str:
    if (dtype := getattr(value, "dtype", None)) is not None:
        return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__} of {dtype}"
    if isinstance(value, list | tuple) and value:
        return f"{type(value).__name__} of {type(value[0]).__name__}"
    return type(value).__name__


def _way_out(value: object) -> str:
    """How to make s16le of it."""
    dtype = str(getattr(value, "dtype", ""))
    array = "samples" if dtype else "numpy.array(samples)"
    if "float" in dtype or (isinstance(value, list | tuple) and value and isinstance(value[0], float)):
        return f"; of floats from -1 to 1: ({array} * 32767).clip(-32768, 32767).astype('<i2').tobytes()"
    if "int" in dtype or (isinstance(value, list | tuple) and value and isinstance(value[0], int)):
        return f"; of 16 bit integers: {array}.astype('<i2').tobytes()"
    return ""
