"""Speech to text: Whisper on features as long as the speech, instead of the 30 s it was trained on.

Stock Whisper pads every utterance to 30 s, which costs 1350 ms on one core for any utterance. Without the padding,
base takes 140-200 ms. The price: it does not always stop, and repeats the text (a one-word answer nearly always: "Yes.
Yes. Yes.", a sentence of 10 s now and then); `without_trailing_repeat` takes that away.

So the decoder needs a limit, and each token above the spoken ones costs time. It gets one that suits ordinary speech.
When it is reached and the text does not repeat itself, the caller speaks fast or spells: the utterance is decoded
again, up to a limit that no speaker reaches. A text that reaches it is a runaway: logged, and its repeats are cut.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final, Protocol

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from antiphon.inference_bridge.stt.chunking import cut

log = logging.getLogger(__name__)

RATE: Final = 16000
_PAD_S: Final = 0.5
"""Silence after the speech, so that the last word has an end."""
_MIN_S: Final = 1.0
_POSITIONS: Final = 448
"""Tokens that Whisper's decoder has places for, those of the prompt included."""
_FEW_TOKENS: Final = 6
_BRIEF_S: Final = 4.0
_BRIEF_TOKENS_PER_S: Final = 3.0
_TOKENS_PER_S: Final = 7.5
"""The first limit: 6 tokens, 3 more for each of the first 4 s, 7.5 more for each second behind. Our voice has 4.0 to
4.8 tokens per second, 5.6 to 6.1 at 1.5 times its speed, 6.6 to 7.0 at twice; spelled letters 8.4 at 1.5 times
(`python -m antiphon.bench.models.whole_turns`). It is low for short utterances because these go round most often:
above it they would take longer, and if words are missing the second limit brings them."""
_MOST_TOKENS_PER_S: Final = 14.0
_MOST_TOKENS: Final = 16
"""The second limit: letters spelled at more than twice the speed of our voice."""
_SHORT_S: Final = 1.6
"""Seconds; with the pre-roll and the silence behind, that is a word or two."""
_SHORT_LEAD_S: Final = 0.3
_SHORT_PROMPT: Final = "Okay. Goodbye. Monday at ten."
"""Examples of short answers. With them and the silence in front, 80 of 90 single words of our own voice were read
right, against 76 without ("Sure", not "chair"). No real speech was measured."""
_SHORT_UNLIKELY: Final = -1.2
"""Mean log probability per token below which a short utterance is a noise: single words measured have -0.6 to 0, what
the recogniser makes of noise -1.8 and less."""
_LOOP_ROUNDS: Final = 3
_LOOP_WORDS: Final = 3
_MAX_PROMPT: Final = 100
"""Tokens; each costs time in every utterance."""
_NO_SPEECH: Final = 0.85
_UNLIKELY: Final = -1.0
"""Mean log probability per token. Whisper's own rule for noise is 0.6, but on unpadded features a short
answer such as "at nine" reaches 0.7; voice activity has found speech here already."""


class Transcriber(Protocol):
    """A speech-to-text model. Owned by the bridge or a model worker, for the life of the process.

    Called on the model threads, several at once.
    """

    def transcribe(self, pcm: bytes, prompt: str = "") -> str:
        """The text; empty if there are no words. `pcm`: s16le mono at 16 kHz; `prompt`: words to expect."""


class Whisper:
    """A `Transcriber`: CTranslate2's Whisper, English, int8 on the CPU."""

    def __init__(self, directory: Path, threads: int) -> None:
        """`directory`: a CTranslate2 model. `threads`: how many utterances are decoded at once, one core each."""
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
        """Of any length: what is longer than 29 s is cut at pauses."""
        texts = [self._piece(piece, prompt) for piece in cut(pcm)]
        return " ".join(text for text in texts if text)

    def _piece(self, pcm: bytes, prompt: str) -> str:
        """The text of a piece that fits into the window."""
        speech = np.frombuffer(pcm, dtype="<i2") / np.float32(32768)
        short = len(speech) < _SHORT_S * RATE
        lead = _SHORT_LEAD_S if short else 0.0
        if short and not prompt:
            prompt = _SHORT_PROMPT
        seconds = max(lead + len(speech) / RATE + _PAD_S, _MIN_S)
        padded = np.zeros(int(seconds * RATE), dtype=np.float32)
        first = int(lead * RATE)
        padded[first : first + len(speech)] = speech
        features = self._whisper.feature_extractor(padded, padding=0)
        frames = features.shape[-1] // 2 * 2  # the encoder halves the time axis
        if frames // 2 == features.shape[0]:
            frames -= 2  # else what is encoded has as many rows as mel bands, and is taken for features again
        features = features[..., :frames]
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(features[None], dtype=np.float32))
        begin = self._prompt
        if prompt:
            before = self._tokenizer.encode(f" {prompt.strip()}")[-_MAX_PROMPT:]
            begin = self._whisper.get_prompt(self._tokenizer, before, without_timestamps=True)
        encoded = self._whisper.model.encode(view)
        limit = ordinary_tokens(seconds)
        result = self.decode(encoded, begin, limit)
        if result.no_speech_prob > _NO_SPEECH and result.scores[0] < _UNLIKELY:
            return ""
        if short and result.scores[0] < _SHORT_UNLIKELY:
            return ""
        text = self._text(result)
        if _is_annotation(text):
            return ""
        once = without_trailing_repeat(text)
        if len(result.sequences_ids[0]) < limit:
            return once
        once = once if once != text else without_loop(text)
        return once if once != text else self._again(encoded, begin, seconds, text)

    def _again(self, encoded: ctranslate2.StorageView, begin: list[int], seconds: float, text: str) -> str:
        """`text` is as long as the first limit and does not go round: there may be more words."""
        limit = min(most_tokens(seconds), _POSITIONS - len(begin))
        result = self.decode(encoded, begin, limit)
        length = len(result.sequences_ids[0])
        log.info("%.1f s of speech have %d tokens, more than usual: decoded again", seconds, length)
        whole = self._text(result)
        once = without_trailing_repeat(whole)
        if length < limit:
            return once
        once = once if once != whole else without_loop(whole, least=1)
        log.warning("%.1f s of speech do not end after %d tokens: the repeats are cut", seconds, limit)
        return once if once != whole else text

    def decode(
        self, encoded: ctranslate2.StorageView, begin: list[int], limit: int
    ) -> ctranslate2.models.WhisperGenerationResult:
        """At most `limit` tokens."""
        # CTranslate2 answers with min(max_length / 2, max_length - prompt) tokens (src/models/whisper.cc), where all of
        # the prompt but its last token counts.
        longest = max(2 * limit, limit + len(begin) - 1)
        return self._whisper.model.generate(
            encoded, [begin], beam_size=1, max_length=longest, return_scores=True, return_no_speech_prob=True
        )[0]

    def _text(self, result: ctranslate2.models.WhisperGenerationResult) -> str:
        text: str = self._tokenizer.decode(result.sequences_ids[0])
        return text.strip()


def ordinary_tokens(seconds: float) -> int:
    """How many tokens are decoded first, for this much audio."""
    brief = min(seconds, _BRIEF_S)
    return int(_FEW_TOKENS + _BRIEF_TOKENS_PER_S * brief + _TOKENS_PER_S * (seconds - brief))


def most_tokens(seconds: float) -> int:
    """More tokens than any speaker reaches in this time."""
    return int(_MOST_TOKENS + _MOST_TOKENS_PER_S * seconds)


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


def without_loop(text: str, least: int = _LOOP_WORDS) -> str:
    """Cut the repeats of a phrase that the text ends in, three times at least; for text that ran into a limit.

    `... and nobody called. And nobody called. And nobody called. And no` -> `... and nobody called.` Phrases of less
    than `least` words are left, because speakers repeat digits and "no, no" like that; in a number each digit counts.
    """
    words = text.split()
    bare = [re.sub(r"[^a-z0-9']", "", word.lower()) for word in words]
    for period in range(1, len(words) // _LOOP_ROUNDS + 1):
        *whole, last = bare
        if not whole[-period].startswith(last):  # the limit may have cut it in the middle
            continue
        start = len(whole) - period
        while start > 0 and bare[start - 1] == bare[start - 1 + period]:
            start -= 1
        phrase = bare[start : start + period]
        if len(bare) - start < _LOOP_ROUNDS * period or sum(_weight(word) for word in phrase) < least:
            continue
        glued = period == 1 and start > 0 and phrase[0].isdecimal() and bare[start - 1].endswith(phrase[0])
        return " ".join(words[: start if glued else start + period])
    return text


def _weight(word: str) -> int:
    return len(word) if word.isdecimal() else 1
