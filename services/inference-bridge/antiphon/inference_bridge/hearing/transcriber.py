"""Speech to text: Whisper on features as long as the speech, instead of the 30 s it was trained on.

Stock Whisper pads every utterance to 30 s, which costs 1350 ms on one core whatever was said. Without the
padding base takes 140-200 ms. The price: it does not always stop, and goes round again over what it heard (a one-word
answer nearly always: "Yes. Yes. Yes."); `without_trailing_repeat` takes that away.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Protocol

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

RATE: Final = 16000
_PAD_S: Final = 0.5
"""Silence after the speech, so that the last word is heard to end."""
_MIN_S: Final = 1.0
_MAX_S: Final = 29.0
_TOKENS_PER_S: Final = 6
"""Fast speech has four; the bound ends a decoder that has lost its way."""
_SHORT_S: Final = 1.6
"""With what stands before and after it, a word or two."""
_SHORT_LEAD_S: Final = 0.3
_SHORT_PROMPT: Final = "Okay. Goodbye. Monday at ten."
"""What may be said in one word. With it and the silence in front, 80 of 90 single words of our own voice were heard
right, against 76 without ("Sure", not "chair"). No real speech was measured."""
_SHORT_UNLIKELY: Final = -1.2
"""Mean log probability per token below which a short utterance is a noise: single words measured have -0.6 to 0, what
the recogniser makes of noise -1.8 and less."""
_MAX_PROMPT: Final = 100
"""Tokens; each costs time in every utterance."""
_NO_SPEECH: Final = 0.85
_UNLIKELY: Final = -1.0
"""Mean log probability per token. Whisper's own rule for noise says 0.6, but on unpadded features a short
answer such as "at nine" reaches 0.7; voice activity has found speech here already."""


class Transcriber(Protocol):
    """Makes text of speech; called on worker threads, several at once."""

    def transcribe(self, pcm: bytes, prompt: str = "") -> str:
        """`pcm`: an utterance, s16le mono at 16 kHz; the text, empty if nothing was said. `prompt`: words to expect."""


class Whisper:
    """A CTranslate2 Whisper, English, int8 on the CPU."""

    def __init__(self, directory: Path, threads: int) -> None:
        """`threads`: how many utterances are decoded at once, one core each."""
        self._whisper = WhisperModel(
            str(directory), device="cpu", compute_type="int8", cpu_threads=1, num_workers=threads, local_files_only=True
        )
        multilingual: bool = self._whisper.model.is_multilingual
        self._tokenizer = Tokenizer(
            self._whisper.hf_tokenizer,
            multilingual,
            task="transcribe" if multilingual else None,
            language="en" if multilingual else None,
        )
        self._prompt = self._whisper.get_prompt(self._tokenizer, [], without_timestamps=True)

    def transcribe(self, pcm: bytes, prompt: str = "") -> str:
        speech = np.frombuffer(pcm, dtype="<i2")[: int(_MAX_S * RATE)] / np.float32(32768)
        short = len(speech) < _SHORT_S * RATE
        lead = _SHORT_LEAD_S if short else 0.0
        if short and not prompt:
            prompt = _SHORT_PROMPT
        seconds = max(lead + len(speech) / RATE + _PAD_S, _MIN_S)
        padded = np.zeros(int(seconds * RATE), dtype=np.float32)
        first = int(lead * RATE)
        padded[first : first + len(speech)] = speech
        features = self._whisper.feature_extractor(padded, padding=0)
        features = features[..., : features.shape[-1] // 2 * 2]  # the encoder halves the time axis
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(features[None], dtype=np.float32))
        begin = self._prompt
        if prompt:
            before = self._tokenizer.encode(f" {prompt.strip()}")[-_MAX_PROMPT:]
            begin = self._whisper.get_prompt(self._tokenizer, before, without_timestamps=True)
        result = self._whisper.model.generate(
            view,
            [begin],
            beam_size=1,
            max_length=len(begin) + int(seconds * _TOKENS_PER_S) + 8,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        if result.no_speech_prob > _NO_SPEECH and result.scores[0] < _UNLIKELY:
            return ""
        if short and result.scores[0] < _SHORT_UNLIKELY:
            return ""
        text: str = self._tokenizer.decode(result.sequences_ids[0]).strip()
        return "" if _is_annotation(text) else without_trailing_repeat(text)


def _is_annotation(text: str) -> bool:
    """`[BLANK_AUDIO]`, `(music)`, `...`: what Whisper writes about sounds that are no words."""
    return not re.search(r"\w", re.sub(r"\[[^]]*\]|\([^)]*\)|\*[^*]*\*", "", text))


def without_trailing_repeat(text: str) -> str:
    """Cut a tail that is the text's beginning over again, once or many times.

    `What time is it? What time` -> `What time is it?`, `Yes. Yes. Yes. Yes` -> `Yes.` A single repeated word is cut
    only where a sentence ended before it, so that `ten to ten` stays. The last word may be half a word, where the
    decoder was stopped.
    """
    words = text.split()
    bare = [re.sub(r"[^a-z0-9']", "", w.lower()) for w in words]
    for start in range(1, len(words)):
        *tail, last = bare[start:]
        repeats = tail == bare[: len(tail)] and bare[len(tail)].startswith(last) and (last == bare[len(tail)] or tail)
        if repeats and (len(words) - start >= 2 or words[start - 1].endswith((".", "!", "?"))):
            return " ".join(words[:start])
    return text
