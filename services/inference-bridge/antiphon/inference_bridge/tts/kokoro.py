"""The voices of Kokoro-82M through onnxruntime: one graph, a style per voice, phonemes per language."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from antiphon.inference_bridge.languages import Language
from antiphon.inference_bridge.tts.kokoro_voices import KOKORO_VOICES, plain_name
from antiphon.inference_bridge.tts.speech_stream import trimmed
from antiphon.inference_bridge.tts.synthesizer import Samples

Phonemes = Callable[[str], str]
"""Text of one language to phonemes in Kokoro's alphabet."""
MAX_TOKENS: Final = 508
"""Phonemes of a run; the styles have 510 rows, the frame of the tokens is two. A longer clause goes in pieces."""
_WIDTH: Final = 256
_RESPELL: Final = {
    "eɪ": "A", "aɪ": "I", "aʊ": "W", "oʊ": "O", "ɔɪ": "Y", "dʒ": "ʤ", "tʃ": "ʧ", "ɚ": "əɹ", "ɜː": "ɜɹ", "ː": "",
}  # fmt: skip
_RESPELL_PATTERN: Final = re.compile("|".join(_RESPELL))


def english_phonemes(piper: Phonemes) -> Phonemes:
    """Phonemes for Kokoro from those for a Piper voice, whose alphabet writes diphthongs in two letters."""
    return lambda text: _RESPELL_PATTERN.sub(lambda match: _RESPELL[match[0]], piper(text))


def spanish_phonemes(speakable: Callable[[str], str]) -> Phonemes:
    """Rules of piper-plus-g2p; `ImportError` without it."""
    # its registry logs a traceback for each language whose library is absent
    logging.getLogger("piper_plus_g2p").setLevel(logging.CRITICAL)
    from piper_plus_g2p.spanish import SpanishPhonemizer

    rules = SpanishPhonemizer()

    def phonemes(text: str) -> str:
        return "".join(rules.phonemize(re.sub(r"[¿¡]", "", speakable(text))))

    return phonemes


class Kokoro:
    """A `Synthesizer` with many voices: a name and its style choose one.

    Owned by the bridge or a model worker, for the life of the process; onnxruntime runs the graph from several threads
    at once.
    """

    def __init__(
        self,
        graph: Path,
        vocabulary: Mapping[str, int],
        styles: Mapping[str, bytes],
        phonemes: Mapping[Language, Phonemes],
    ) -> None:
        """`styles`: by voice, float32 rows of 256, one for each number of tokens. `phonemes`: by language."""
        self._vocabulary, self._phonemes = vocabulary, phonemes
        self._styles = {
            name: np.frombuffer(style, dtype="<f4").reshape(-1, 1, _WIDTH) for name, style in styles.items()
        }
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._graph = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def synthesize(self, clause: str, speed: float = 1.0, voice: str = "", language: str = "") -> Samples:
        """Mono samples at `SPEECH_RATE`, which is the graph's own, without the silence around them."""
        name = plain_name(voice)
        phonemes = self._phonemes[KOKORO_VOICES[name]](clause)
        tokens = [self._vocabulary[phoneme] for phoneme in phonemes if phoneme in self._vocabulary]
        if not any(phoneme.isalpha() for phoneme in phonemes) or not tokens:
            return np.zeros(0, dtype=np.int16)
        style = self._styles[name]
        parts = [self._run(part, style, speed) for part in pieces(tokens, self._vocabulary[" "])]
        return np.concatenate(parts)

    def _run(self, tokens: list[int], style: npt.NDArray[Any], speed: float) -> Samples:
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": style[min(len(tokens), len(style)) - 1],
            "speed": np.array([speed], dtype=np.float32),
        }
        speech = np.asarray(self._graph.run(None, inputs)[0], dtype=np.float32).reshape(-1)
        samples: Samples = (np.clip(speech, -1.0, 1.0) * 32767).astype(np.int16)
        return trimmed(samples)


def pieces(tokens: list[int], blank: int) -> list[list[int]]:
    """At most `MAX_TOKENS` at a time, cut at blanks where there are any."""
    parts: list[list[int]] = []
    while len(tokens) > MAX_TOKENS:
        at = next((at for at in range(MAX_TOKENS, 0, -1) if tokens[at] == blank), MAX_TOKENS)
        parts.append(tokens[:at])
        tokens = tokens[at:]
    return [*parts, tokens]
