"""An agent's own audio at the rate of our speech, as whole frames. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from antiphon.inference_bridge.agents import OwnSpeech
from antiphon.inference_bridge.conversation.speech_frames import FRAME
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples
from antiphon.runtime.odd_rate import OddRateResampler
from antiphon.runtime.resampling import Resampler

RATES: Final = (8000, 11025, 16000, 22050, 24000, 44100, 48000)
"""Hz that own speech may have."""
_PIECE_MS: Final = 100
"""What is resampled at once: some 2 ms of computing."""


class OwnSpeechStream:
    """Parts that follow one another are one stream, resampled without a seam.

    Owned by a `ResponsePlayback`; what is not a whole frame waits for the next part, or for `rest`.
    """

    def __init__(self) -> None:
        self._rate = SPEECH_RATE
        self._resamplers: list[Resampler | OddRateResampler] = []
        self._left = np.zeros(0, dtype="<i2")
        self._words: list[str] = []

    def resampled(self, speech: OwnSpeech) -> Iterator[None]:
        """Take a part, piece by piece, so that the caller can let others work in between. `ValueError` for its rate."""
        if speech.rate not in RATES:
            raise ValueError(f"own speech at {speech.rate} Hz: {', '.join(map(str, RATES))} are possible")
        if speech.rate != self._rate:
            self._rate, self._resamplers = speech.rate, _resamplers(speech.rate)
        self._words += speech.words.split()
        pcm = speech.pcm[: len(speech.pcm) // 2 * 2]
        step = 2 * speech.rate * _PIECE_MS // 1000 // 2 * 2
        for at in range(0, len(pcm), step):
            piece = pcm[at : at + step]
            for resampler in self._resamplers:
                piece = resampler.push(piece)
            self._left = np.concatenate((self._left, np.frombuffer(piece, dtype="<i2")))
            yield

    def frames(self) -> tuple[Samples, list[str]]:
        """Whole frames, and the words that they say; none while there is less than a frame."""
        ready = self._left.size - self._left.size % FRAME
        return self._taken(ready)

    def rest(self) -> tuple[Samples, list[str]]:
        """What is left at the end of the stream, and its words."""
        self._rate, self._resamplers = SPEECH_RATE, []
        return self._taken(self._left.size)

    def _taken(self, count: int) -> tuple[Samples, list[str]]:
        if not count:
            return self._left[:0], []
        samples, self._left = self._left[:count], self._left[count:]
        words, self._words = self._words, []
        return samples, words


def _resamplers(rate: int) -> list[Resampler | OddRateResampler]:
    if rate == SPEECH_RATE:
        return []
    if rate == 44100:  # only upwards, see `odd_rate`
        return [OddRateResampler(rate, 2 * SPEECH_RATE), Resampler(2 * SPEECH_RATE, SPEECH_RATE)]
    return [OddRateResampler(rate, SPEECH_RATE) if rate in (11025, 22050) else Resampler(rate, SPEECH_RATE)]
