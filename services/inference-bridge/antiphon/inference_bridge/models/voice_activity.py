"""Silero voice activity: how likely a 32 ms window holds speech.

All calls share the graph, which runs through onnxruntime; each call has 256 numbers of state and 64 samples of
context. (The library in the package that carries the graph makes a runtime per call: 200 ms and 12 MB each, measured. A
window costs 0.2-0.4 ms either way.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from antiphon.inference_bridge.turns.window import RATE, WINDOW

_CONTEXT: Final = 64


class VoiceActivity:
    """The model. Owned by the bridge, for the life of the process; shared by all calls."""

    def __init__(self, path: Path) -> None:
        """`path`: Silero VAD v5 as ONNX."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._graph = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._rate = np.array(RATE, dtype=np.int64)

    def stream(self) -> VoiceActivityStream:
        """The state for a new call."""
        return VoiceActivityStream(self._graph, self._rate)


class VoiceActivityStream:
    """The model's state for one call.

    Owned by the call's `VadPipeline`, and used on the thread for voice activity: one window after the other.
    """

    def __init__(self, graph: onnxruntime.InferenceSession, rate: np.typing.NDArray[np.int64]) -> None:
        self._graph, self._rate = graph, rate
        self.reset()

    def reset(self) -> None:
        """Forget: after a gap the samples before it say nothing."""
        self._state = np.zeros((2, 1, 128), dtype=np.float32)
        self._input = np.zeros((1, _CONTEXT + WINDOW), dtype=np.float32)

    def probability(self, pcm: bytes) -> float:
        """`pcm`: one window, s16le mono at 16 kHz; 0 to 1."""
        self._input[0, :_CONTEXT] = self._input[0, -_CONTEXT:].copy()
        self._input[0, _CONTEXT:] = np.frombuffer(pcm, dtype="<i2") / np.float32(32768)
        inputs = {"input": self._input, "state": self._state, "sr": self._rate}
        output, self._state = self._graph.run(None, inputs)
        return float(output[0, 0])
