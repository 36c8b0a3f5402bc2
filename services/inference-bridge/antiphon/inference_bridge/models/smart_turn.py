"""Does the voice sound as if the caller was done? Smart-turn v3 judges by the voice alone, not by the words.

The model gets the last 8 s up to a short silence. It is optional (`ANTIPHON_SMART_TURN`), and decides one thing: how
much more silence ends the turn. It has one thread of its own, so that it delays neither voice activity nor a
transcription. When more than `MAX_WAITING` calls ask at once, or it fails, there is no answer and the turn ends as it
would without the model.
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
"""Utterances in the queue; a further one gets no answer."""
_NICENESS: Final = 5
_QUIET: Final = np.float32(1e-7)
"""Added to the variance, so that silence is not divided by nothing; as the model was trained."""


class EndOfTurn(Protocol):
    """Judges how an utterance ends. Shared by all calls of a process; used on the event loop."""

    async def probability(self, pcm: bytes) -> float | None:
        """How likely the speaker is done, 0 to 1; None if there is no answer.

        `pcm`: an utterance with the silence behind it, s16le mono at 16 kHz.
        """


class SmartTurn:
    """An `EndOfTurn`: 8 MB, about 50 ms on one core, whatever the length (`antiphon.bench.models.end_of_turn`).

    Owned by the bridge, for the life of the process. `probability` is called on the event loop, the model runs on a
    thread of its own.
    """

    def __init__(self, path: Path) -> None:
        """`path`: the model as ONNX."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._graph = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._features = FeatureExtractor(feature_size=80, chunk_length=SECONDS)
        self._executor = ThreadPoolExecutor(1, "end-of-turn", _give_way)
        self._waiting = 0

    async def probability(self, pcm: bytes) -> float | None:
        """How likely the speaker is done, 0 to 1; None when too many calls ask at once, or the model fails."""
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
        """As `probability`, on the calling thread."""
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
