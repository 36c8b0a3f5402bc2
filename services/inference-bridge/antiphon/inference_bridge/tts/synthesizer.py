"""Text to speech: a Piper voice through onnxruntime, phonemes from `g2p`, 24 kHz samples out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
import soxr

from antiphon.inference_bridge.languages import primary
from antiphon.inference_bridge.tts.g2p import Phonemizer

SPEECH_RATE: Final = 24000
"""Samples per second of the agent's speech."""
Samples = npt.NDArray[np.int16]
_LEAD_MS: Final = 20
"""Silence left in front of speech: the voice's own is up to 100 ms, which the caller would wait for."""


class Synthesizer(Protocol):
    """A text-to-speech model. Owned by the bridge or a model worker, for the life of the process.

    Called on the model threads, several at once.
    """

    def synthesize(self, clause: str, speed: float = 1.0, voice: str = "", language: str = "") -> Samples:
        """The clause as mono samples at `SPEECH_RATE`; empty if it has no words. `speed`: 1 is usual.

        `voice`, `language`: empty for the usual ones; `ValueError` for one that is not there.
        """


def piper_config(path: Path) -> dict[str, Any]:
    """The configuration of a Piper voice, which lies beside its `.onnx` file."""
    config: dict[str, Any] = json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))
    return config


def piper_language(config: dict[str, Any]) -> str:
    """The language that a Piper voice speaks, as its configuration says it; `en` where it says nothing."""
    for part, name in (("language", "code"), ("espeak", "voice")):
        if isinstance(found := config.get(part), dict) and isinstance(tag := found.get(name), str) and tag:
            return primary(tag)
    return "en"


class PiperVoice:
    """A `Synthesizer`: one ONNX graph, shared by all calls; onnxruntime runs it from several threads at once."""

    def __init__(self, path: Path, phonemizer: Phonemizer, variation: float = 1.0) -> None:
        """`path`: the `.onnx` file, its configuration beside it as `.onnx.json`.

        `variation`: of melody and rhythm from one time to the next; with 0 a text sounds the same every time.
        """
        config = piper_config(path)
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        self._rate: int = config["audio"]["sample_rate"]
        inference = config["inference"]
        self._scales = np.array(
            [inference["noise_scale"] * variation, inference["length_scale"], inference["noise_w"] * variation],
            dtype=np.float32,
        )
        self._phonemizer = phonemizer
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._graph = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._speakers = any(taken.name == "sid" for taken in self._graph.get_inputs())
        """The graph has several speakers, of whom the first one is taken."""

    def synthesize(self, clause: str, speed: float = 1.0, voice: str = "", language: str = "") -> Samples:
        """Mono samples at `SPEECH_RATE`, without the silence that the voice begins with.

        `voice` and `language` are those of this graph: `VoiceSet` chooses among several.
        """
        phonemes = self._phonemizer.phonemes(clause)
        if not any(c.isalpha() for c in phonemes):
            return np.zeros(0, dtype=np.int16)
        # ^ and $ frame the utterance, and the pad symbol 0 separates any two phonemes
        ids = [*self._ids["^"], 0]
        for phoneme in phonemes:
            ids += [*self._ids.get(phoneme, []), 0] if phoneme in self._ids else []
        ids += self._ids["$"]
        scales = self._scales.copy()
        scales[1] /= speed
        inputs = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": scales,
        }
        if self._speakers:
            inputs["sid"] = np.array([0], dtype=np.int64)
        speech = np.asarray(self._graph.run(None, inputs)[0], dtype=np.float32).reshape(-1)
        speech = soxr.resample(_without_lead(speech, self._rate), self._rate, SPEECH_RATE)
        samples: Samples = (np.clip(speech, -1.0, 1.0) * 32767).astype(np.int16)
        return samples


def _without_lead(speech: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    loud = np.flatnonzero(np.abs(speech) > 0.01)
    return speech[max(0, int(loud[0]) - rate * _LEAD_MS // 1000) :] if loud.size else speech
