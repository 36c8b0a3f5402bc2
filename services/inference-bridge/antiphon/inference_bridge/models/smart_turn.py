"""Does it sound as if the caller was done? Smart-turn v3, from the voice alone: how a sentence ends, not what it says.

The model hears the last 8 s up to a short silence. It is optional (`ANTIPHON_SMART_TURN`), and used for one thing: how
much more silence to wait for. It has one thread of its own, so that it delays neither voice activity nor a
transcription; when more than `MAX_WAITING` calls ask at once, or it fails, there is no answer and the turn ends
as it would without it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import onnxruntime
from faster_whisper.feature_extractor import FeatureExtractor

log = logging.getLogger(__name__)

RATE: Final = 16000
SECONDS: Final = 8
MAX_WAITING: Final = 8
_NICENESS: Final = 5
_QUIET: Final = np.float32(1e-7)
"""Added to the variance, so that silence is not divided by nothing; as the model was trained."""


class EndOfTurn(Protocol):
    """Judges how an utterance ends."""

    async def probability(self, pcm: bytes) -> float | None:
        """`pcm`: an utterance with the silence behind it, s16le mono at 16 kHz. 0 to 1: that the speaker is done.

        None if nobody can say.
        """


class SmartTurn:
    """The model: 8 MB, about 50 ms on one core, whatever the length."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._graph = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._features = FeatureExtractor(feature_size=80, chunk_length=SECONDS)
        self._executor = ThreadPoolExecutor(1, "end-of-turn", _give_way)
        self._waiting = 0

    async def probability(self, pcm: bytes) -> float | None:
        if self._waiting >= MAX_WAITING:
            return None
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self.judge, pcm)
        except Exception as error:
            log.warning("the end of a turn is not judged: %s", error)
            return None
        finally:
            self._waiting -= 1

    def judge(self, pcm: bytes) -> float:
        """The same on the caller's thread."""
        whole = np.zeros(SECONDS * RATE, dtype=np.float32)
        speech = np.frombuffer(pcm, dtype="<i2")[-whole.size :] / np.float32(32768)
        if speech.size:
            whole[-speech.size :] = speech
        whole = (whole - whole.mean()) / np.sqrt(whole.var() + _QUIET)
        features = self._features(whole, padding=0)[None].astype(np.float32)
        return float(self._graph.run(None, {"input_features": features})[0][0, 0])


def _give_way() -> None:
    """A model waits for a frame, never the other way round."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
