"""Speech to text: Whisper on features of 8 s or a little more than the speech, instead of the 30 s it was trained on.

Stock Whisper pads every utterance to 30 s, which costs most of a second on one core. Without padding it is ten times as
fast and wrong: it misreads single words and goes round ("Yes. Yes. Yes."), which costs time as well. Padded to 8 s it
reads single words, letters and repeats like the stock one (`antiphon bench transcription`).

Where a text is in doubt the same audio is decoded once more, with more silence behind: when the text is as long as a
limit that suits ordinary speech, or has more syllables than a voice speaks in that time. What is still too long for the
audio then loses its repeats. Sounds without words are known by two numbers of the model together: how likely it finds
the text, and no speech at all.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer

from antiphon.inference_bridge.languages import primary
from antiphon.inference_bridge.stt.chunking import cut
from antiphon.inference_bridge.stt.repeats import (
    as_spoken,
    fits,
    has_no_voice,
    is_doubled,
    is_of,
    voiced_seconds,
    without_loop,
)

log = logging.getLogger(__name__)

RATE: Final = 16000
_PAD_S: Final = 0.5
"""Silence after the speech, so that the last word has an end."""
_LEAST_S: Final = 8.0
"""Of 183 short turns of three voices 48 were wrong with 6 s, 31 with 10 s, which costs more; 8 s is between them."""
_AGAIN_S: Final = 15.0
_AGAIN_PAD_S: Final = 5.0
_WINDOW_S: Final = 30.0
_POSITIONS: Final = 448
"""Tokens that Whisper's decoder has places for, those of the prompt included."""
_FEW_TOKENS: Final = 7
_BRIEF_S: Final = 4.0
_BRIEF_TOKENS_PER_S: Final = 3.0
_TOKENS_PER_S: Final = 7.5
"""The first limit in English: 7 tokens, 3 more for each of the first 4 s, 7.5 more for each second behind. Our voice
has 4.0 to 4.8 tokens per second, 5.6 to 6.1 at 1.5 times its speed, 6.6 to 7.0 at twice; letters 8.4 at 1.5 times
(`antiphon bench whole-turns`). It is low for short utterances because these go round most often: above it they would
take longer, and if words are missing the second decoding brings them."""
_OTHER_TOKENS_PER_S: Final = 10.0
"""In any other language: its words have more tokens. With 6 as in English French lost 7 % of its words, Italian 6 %."""
_MOST_TOKENS_PER_S: Final = 14.0
_MOST_TOKENS: Final = 16
"""The second limit: letters spelled at more than twice the speed of our voice."""
_MAX_PROMPT: Final = 100
"""Tokens; each costs time in every utterance."""
_NO_SPEECH: Final = 0.38
_UNLIKELY: Final = -1.35
_LESS_LIKELY: Final = 0.45
"""A noise is less likely to be the text found than -1.35 (mean log probability per token), and 0.45 more for each unit
of the probability of no speech, from 0.38 of it on. Of 36 sounds without words (breath, coughs, music, keys, rooms) all
are below the line, of 75 short turns of three voices none."""
_NOISE: Final = -2.8
"""With this and more than 0.2 of no speech it is a noise as well; words had -2.2 at worst, with less of it."""
_SURELY_NO_SPEECH: Final = 0.5
"""A text without an end (`HMMMMM`) with this is a noise too, unless one that ends is found with more silence behind:
after a long silence before them, words have as much, and are repeated without end."""
_DOUBTFUL: Final = -0.6
"""With a prompt sounds become words of the prompt, at -0.8 and less: below this the audio is decoded without it. Below
it a short utterance is decoded again with examples, and above it that text is taken."""
_POOR: Final = -0.7
"""A text below this is decoded again with more silence behind, and the likelier of the two is taken."""
_WEAK: Final = -1.0
_MUCH: Final = 0.3
"""With examples a text above the first is taken too if it is so much likelier, but not if it is one of the examples."""
_SHORT_S: Final = 1.7
"""Seconds; with the pre-roll and the silence behind, that is a word or two."""
_EXAMPLES: Final = {
    "en": "Mm-hmm. Uh-huh. Aha. Hello. Yes, please. Monday at ten.",
    "de": "Mhm. Aha. Hallo. Ja, bitte. Montag um zehn.",
    "es": "Mm-hmm. Ajá. Hola. Sí, por favor. El lunes a las diez.",
    "fr": "Mm-hmm. Ah. Bonjour. Oui, merci. Lundi à dix heures.",
    "it": "Mm-hmm. Ah. Pronto. Sì, grazie. Lunedì alle dieci.",
}
"""Short answers, which make Whisper write a short answer: `Uh-huh.` and not `Ah, how?`, `Cancel.` and not `Kencil`.
They are shown only where there are words without them, so that none comes out of a noise. Measured in English."""


class Transcriber(Protocol):
    """A speech-to-text model. Owned by the bridge or a model worker, for the life of the process.

    Called on the model threads, several at once.
    """

    @property
    def languages(self) -> frozenset[str]:
        """Those that it transcribes, as `languages.primary` has them."""

    def transcribe(self, pcm: bytes, prompt: str = "", language: str = "") -> str:
        """The text; empty if there are no words.

        `pcm`: s16le mono at 16 kHz; `prompt`: words to expect; `language`: a tag, empty for the model's own.
        `UnknownLanguageError` for one that is not among `languages`.
        """


class UnknownLanguageError(ValueError):
    """The model does not transcribe this language."""


class _Decoded(NamedTuple):
    text: str
    tokens: int
    score: float
    no_speech: float
    ended: bool
    """Before the limit of tokens."""


class _Language(NamedTuple):
    """What decoding needs to know of a language."""

    tokenizer: Tokenizer
    begin: list[int]
    tokens_per_s: float
    brief_tokens_per_s: float
    examples: list[int]
    """What decoding begins with where a short answer is in doubt; empty for languages without examples."""
    answers: str
    """The examples as text."""


class Whisper:
    """A `Transcriber`: CTranslate2's Whisper, int8 on the CPU."""

    def __init__(self, directory: Path, threads: int, language: str = "en") -> None:
        """`directory`: a CTranslate2 model. `threads`: how many utterances are decoded at once, one core each.

        `language`: of utterances for which none is named.
        """
        self._whisper = WhisperModel(
            str(directory), device="cpu", compute_type="int8", cpu_threads=1, num_workers=threads, local_files_only=True
        )
        multilingual: bool = self._whisper.model.is_multilingual
        self.languages: frozenset[str] = frozenset(_LANGUAGE_CODES) if multilingual else frozenset({"en"})
        self._own = primary(language)
        self._language = lru_cache(maxsize=128)(self._load_language)
        self._language(self._own)

    def transcribe(self, pcm: bytes, prompt: str = "", language: str = "") -> str:
        """Of any length: what is longer than 29 s is cut at pauses."""
        spoken = self._language(primary(language) or self._own)
        texts = [self._piece(piece, prompt, spoken) for piece in cut(pcm)]
        return " ".join(text for text in texts if text)

    def _load_language(self, code: str) -> _Language:
        if code not in self.languages:
            known = ", ".join(sorted(self.languages)) if len(self.languages) < 10 else f"{len(self.languages)} others"
            raise UnknownLanguageError(f"the speech-to-text model does not know the language {code!r:.20}: {known}")
        multilingual = len(self.languages) > 1
        tokenizer = Tokenizer(
            self._whisper.hf_tokenizer,
            multilingual,
            task="transcribe" if multilingual else None,
            language=code if multilingual else None,
        )
        begin = self._whisper.get_prompt(tokenizer, [], without_timestamps=True)
        examples: list[int] = []
        if code in _EXAMPLES:
            before = tokenizer.encode(f" {_EXAMPLES[code]}")
            examples = self._whisper.get_prompt(tokenizer, before, without_timestamps=True)
        if code == "en":
            return _Language(tokenizer, begin, _TOKENS_PER_S, _BRIEF_TOKENS_PER_S, examples, _EXAMPLES[code])
        return _Language(tokenizer, begin, _OTHER_TOKENS_PER_S, _OTHER_TOKENS_PER_S, examples, _EXAMPLES.get(code, ""))

    def _piece(self, pcm: bytes, prompt: str, language: _Language) -> str:
        """The text of a piece that fits into the window."""
        speech = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float32) / np.float32(32768)
        if has_no_voice(speech):
            return ""
        seconds = len(speech) / RATE
        encoded = self._encode(speech, max(seconds + _PAD_S, _LEAST_S))
        limit = ordinary_tokens(seconds, language.tokens_per_s, language.brief_tokens_per_s)
        begin = language.begin
        if prompt:
            before = language.tokenizer.encode(f" {prompt.strip()}")[-_MAX_PROMPT:]
            begin = self._whisper.get_prompt(language.tokenizer, before, without_timestamps=True)
        found = self._decoded(encoded, begin, limit, language)
        if prompt and (found.score < _DOUBTFUL or is_of(found.text, prompt)):
            without = self._decoded(encoded, language.begin, limit, language)
            if is_noise(without.score, without.no_speech) or not has_words(without.text):
                return ""
            if found.score < _DOUBTFUL and without.score > found.score:
                found, begin = without, language.begin
        elif is_noise(found.score, found.no_speech):
            return ""
        elif seconds < _SHORT_S and found.score < _DOUBTFUL and language.examples:
            shown = self._decoded(encoded, language.examples, limit, language)
            if shown.ended and _is_better(shown, found, language.answers):
                found = shown
        voiced = voiced_seconds(speech)
        if not found.ended or not fits(found.text, voiced):
            may_be_noise = not found.ended and found.no_speech > _SURELY_NO_SPEECH
            found = self._again(speech, begin, found, language)
            if is_noise(found.score, found.no_speech):
                return ""
            if may_be_noise and not (found.ended and found.score >= _DOUBTFUL and fits(found.text, voiced)):
                return ""
        elif found.score < _POOR and seconds < _AGAIN_S:
            again = self._again(speech, begin, found, language)
            found = again if again.score > found.score and fits(again.text, voiced) else found
        return as_spoken(found.text, voiced) if has_words(found.text) else ""

    def _again(
        self, speech: npt.NDArray[np.floating], begin: list[int], found: _Decoded, language: _Language
    ) -> _Decoded:
        """The text with more silence behind the speech, and as many tokens as any speaker has."""
        seconds = len(speech) / RATE
        padded = min(max(seconds + _AGAIN_PAD_S, _AGAIN_S), _WINDOW_S)
        limit = min(most_tokens(seconds), _POSITIONS - len(begin))
        result = self._decoded(self._encode(speech, padded), begin, limit, language)
        log.info("%.1f s of speech had %d tokens: decoded again, %d", seconds, found.tokens, result.tokens)
        if result.ended:
            return result
        log.warning("%.1f s of speech do not end after %d tokens: the repeats are cut", seconds, limit)
        once = without_loop(result.text, least=1)
        return result._replace(text=once) if once != result.text else found

    def _encode(self, speech: npt.NDArray[np.floating], seconds: float) -> ctranslate2.StorageView:
        padded = np.zeros(max(int(seconds * RATE), len(speech)), dtype=np.float32)
        padded[: len(speech)] = speech
        features = self._whisper.feature_extractor(padded, padding=0)
        frames = min(features.shape[-1] // 2 * 2, 3000)  # the encoder halves the time axis
        features = features[..., :frames]
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(features[None], dtype=np.float32))
        return self._whisper.model.encode(view)

    def _decoded(self, encoded: ctranslate2.StorageView, begin: list[int], limit: int, language: _Language) -> _Decoded:
        result = self.decode(encoded, begin, limit)
        ids = result.sequences_ids[0]
        text = without_annotations(language.tokenizer.decode(ids))
        return _Decoded(text, len(ids), result.scores[0], result.no_speech_prob, len(ids) < limit)

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


def ordinary_tokens(
    seconds: float, per_second: float = _TOKENS_PER_S, brief_per_second: float = _BRIEF_TOKENS_PER_S
) -> int:
    """How many tokens are decoded first, for this much audio."""
    brief = min(seconds, _BRIEF_S)
    return int(_FEW_TOKENS + brief_per_second * brief + per_second * (seconds - brief))


def most_tokens(seconds: float) -> int:
    """More tokens than any speaker reaches in this time."""
    return int(_MOST_TOKENS + _MOST_TOKENS_PER_S * seconds)


def _is_better(shown: _Decoded, found: _Decoded, examples: str) -> bool:
    """The text decoded with examples is to be taken for the one without."""
    if not has_words(shown.text) or (is_doubled(shown.text) and not is_doubled(found.text)):
        return False
    likelier = shown.score >= _WEAK and shown.score > found.score + _MUCH and not is_of(shown.text, examples)
    return shown.score >= _DOUBTFUL or likelier


def is_noise(score: float, no_speech: float) -> bool:
    """The two numbers of the model say that there was a sound without words."""
    if score < _NOISE:
        return no_speech > 0.2
    return no_speech > _NO_SPEECH and score < _UNLIKELY + _LESS_LIKELY * no_speech


def without_annotations(text: str) -> str:
    """Without `[BLANK_AUDIO]`, `(music)`, `*sighs*`, `♪`, `HMMMMMMMM`: what is written about sounds without words."""
    text = re.sub(r"\[[^]]*\]|\([^)]*\)|\*[^*]*\*|[♪♫]", " ", text)
    return " ".join(re.sub(r"\w*([^\W\d_])\1{7,}\w*", " ", text).split())


def has_words(text: str) -> bool:
    """There is a letter or a digit in it."""
    return bool(re.search(r"\w", text))
