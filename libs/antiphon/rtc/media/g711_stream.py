"""G.711 in a call: packets at 8 kHz to and from s16le at the rate of an agent, with lost packets made up.

The interface is that of `opus`, whose place it takes. The rate is changed by a windowed sinc of `TAPS` samples of the
8 kHz stream, which delays it by 1 ms; its response is flat within 0.2 dB up to 3.2 kHz, all that telephones carry.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from antiphon.rtc.codec import CLOCK_RATES, CodecName
from antiphon.rtc.media import g711
from antiphon.rtc.media.g711 import Samples

RATE: Final = CLOCK_RATES["PCMU"]
TICKS: Final = 48000 // RATE
"""Of the 48 kHz clock that jitter buffers count by, for one sample."""
MAX_PACKET: Final = RATE * 120 // 1000
"""Samples. A packet that is longer than the longest of Opus is refused."""
TAPS: Final = 24
_CUTOFF: Final = 0.93
"""Of the 4 kHz that the 8 kHz stream can hold."""

# Concealment: the last pitch period repeated, as in Appendix I of the standard but without its overlap at the end.
_SHORTEST_PERIOD: Final = RATE // 400
_LONGEST_PERIOD: Final = RATE * 3 // 200
_KNOWN: Final = 3 * _LONGEST_PERIOD
"""Samples kept of what was played: 45 ms."""
_FULL: Final = RATE // 100
"""Samples of concealment at full level: 10 ms."""
_FADED: Final = RATE * 6 // 100
"""Samples after which it is silent: 60 ms."""

Floats = npt.NDArray[np.float32]

_ENCODE: Final = {"PCMU": g711.encode_ulaw, "PCMA": g711.encode_alaw}
_DECODE: Final = {"PCMU": g711.decode_ulaw, "PCMA": g711.decode_alaw}


class G711Error(ValueError):
    """A payload that is no packet of G.711."""


def packet_ticks(packet: bytes) -> int:
    """Duration of a packet in 48 kHz ticks; G711Error beyond 120 ms."""
    if not 0 < len(packet) <= MAX_PACKET:
        raise G711Error(f"a G.711 packet of {len(packet)} samples: expected 1 to {MAX_PACKET}")
    return len(packet) * TICKS


def _low_pass(factor: int) -> Floats:
    """A windowed sinc at `factor` times 8 kHz whose gain is `factor`."""
    length = TAPS * factor
    at = (np.arange(length) - (length - 1) / 2) / factor
    taps = np.sinc(at * _CUTOFF) * np.kaiser(length, 5.0)
    scaled: Floats = (taps * factor / taps.sum()).astype(np.float32)
    return scaled


class _Upsampler:
    """8 kHz to a whole multiple, in pieces of any length. Owner: a `Decoder`."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        # A column for each of the samples that one becomes; the newest sample is the last row.
        self._phases = np.ascontiguousarray(_low_pass(factor).reshape(TAPS, factor)[::-1])
        self._before: Floats = np.zeros(TAPS - 1, np.float32)

    def run(self, samples: Samples) -> bytes:
        if self._factor == 1:
            return samples.tobytes()
        known = np.concatenate((self._before, samples.astype(np.float32)))
        self._before = known[len(samples) :]
        windows = np.lib.stride_tricks.sliding_window_view(known, TAPS)
        return _s16(windows @ self._phases).tobytes()


class _Downsampler:
    """A whole multiple of 8 kHz to 8 kHz, in pieces whose length is a multiple too. Owner: an `Encoder`."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._taps: Floats = _low_pass(factor) / np.float32(factor)
        self._before: Floats = np.zeros(TAPS * factor - factor, np.float32)

    def run(self, samples: Samples) -> Samples:
        if self._factor == 1:
            return samples
        known = np.concatenate((self._before, samples.astype(np.float32)))
        self._before = known[len(samples) :]
        windows = np.lib.stride_tricks.sliding_window_view(known, len(self._taps))[:: self._factor]
        return _s16(windows @ self._taps)


def _s16(values: Floats) -> Samples:
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


class Decoder:
    """Decodes one direction of one call to mono at `rate`. Owner: a `FrameDecoder`, which alone calls it."""

    def __init__(self, law: CodecName, rate: int) -> None:
        self.rate = rate
        self._decode = _DECODE[law]
        self._upsampler = _Upsampler(rate // RATE)
        self._played = np.zeros(_KNOWN, np.int16)
        """The newest samples at 8 kHz, concealed ones too."""
        self._period: Samples | None = None
        """What is repeated while packets are missing."""
        self._concealed = 0
        """Samples since the last packet."""

    def decode(self, packet: bytes) -> bytes:
        """The packet's samples, s16le mono at `rate`."""
        self._period, self._concealed = None, 0
        return self._play(self._decode(packet))

    def recover(self, following: bytes, ticks: int) -> bytes:
        """`ticks` of the packet before `following`, which says nothing about it: concealment."""
        return self.conceal(ticks)

    def conceal(self, ticks: int) -> bytes:
        """`ticks` of plausible sound in place of a lost packet; it fades out within 60 ms."""
        count = ticks // TICKS
        if self._period is None:
            self._period = self._played[-self._find_period() :].copy()
        at = np.arange(self._concealed, self._concealed + count)
        self._concealed += count
        level = np.clip((_FADED - at) / (_FADED - _FULL), 0.0, 1.0)
        return self._play((self._period[at % len(self._period)] * level).astype(np.int16))

    def _play(self, samples: Samples) -> bytes:
        self._played = np.concatenate((self._played, samples))[-_KNOWN:]
        return self._upsampler.run(samples)

    def _find_period(self) -> int:
        """The lag at which the newest samples resemble those before them most."""
        known = self._played.astype(np.float32)
        newest = known[-_LONGEST_PERIOD:]
        lags = np.arange(_SHORTEST_PERIOD, _LONGEST_PERIOD + 1)
        starts = len(known) - _LONGEST_PERIOD - lags
        before = np.lib.stride_tricks.sliding_window_view(known, _LONGEST_PERIOD)[starts]
        likeness = before @ newest / np.sqrt(np.einsum("ij,ij->i", before, before) + 1.0)
        return int(lags[np.argmax(likeness)])


class Encoder:
    """Encodes one direction of one call: mono speech, packets of 20 ms. Owner: the sender of a session."""

    def __init__(self, law: CodecName, rate: int) -> None:
        self.rate = rate
        self._encode = _ENCODE[law]
        self._downsampler = _Downsampler(rate // RATE)

    def expect_loss(self, percent: int) -> None:
        """Nothing in G.711 depends on it."""

    def encode(self, pcm: bytes) -> bytes:
        """One packet of 20 ms: `rate // 50` samples of s16le mono."""
        return self._encode(self._downsampler.run(np.frombuffer(pcm, np.int16)))
