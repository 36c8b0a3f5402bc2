"""Italian and French words to phonemes: a pronouncing lexicon, and a tagger for words that are not in it.

Both are the data files of gruut's language packages (MIT), read here without gruut itself, which would bring its own
normaliser and its dependencies. Spanish needs no lexicon: its spelling says how a word is spoken.
"""

from __future__ import annotations

import base64
import re
import sqlite3
import threading
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

Speakable = Callable[[str], str]
"""Written text to words, of one language."""

_TOKENS: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*['’]?|[,.!?;:]")
_MARKS: Final = ",.!?;:"
_NEAR: Final = 3
"""Letters to each side that the tagger looks at."""
_VOWELS: Final = "aeiouɛɔəøœyɑ"
_JOINED: Final = {"t͡ʃ": "ʧ", "d͡ʒ": "ʤ", "t͡s": "ʦ", "d͡z": "ʣ", "g": "ɡ", "͡": ""}


class WordPhonemes:
    """One language's lexicon and tagger. Owned by the voice, read-only but for a lock: any thread may call it."""

    def __init__(self, lexicon: Path, tagger: Path) -> None:
        """`lexicon`: an SQLite file; `tagger`: a CRF model. `ImportError` without python-crfsuite."""
        import pycrfsuite

        with sqlite3.connect(f"file:{lexicon}?mode=ro&immutable=1", uri=True) as file:
            rows = file.execute("SELECT word, phonemes FROM word_phonemes WHERE pron_order = 0")
            self._words = {word: phonemes for word, phonemes in rows if phonemes != "SIL"}
        file.close()
        self._tagger = pycrfsuite.Tagger()
        self._tagger.open(str(tagger))
        self._lock = threading.Lock()

    def known(self, word: str) -> str | None:
        """The lexicon's phonemes of a word in lower case, with blanks between them."""
        return self._words.get(word)

    def guessed(self, word: str) -> str:
        """The tagger's phonemes, with blanks between them."""
        letters = [_coded(letter) for letter in word]
        features = [_features(letters, at) for at in range(len(letters))]
        with self._lock:
            tags = self._tagger.tag(features)
        found = [part for tag in tags for part in base64.b64decode(tag).decode().split("|")]
        return " ".join(part for part in found if part != "_")


def _coded(letter: str) -> str:
    return base64.b64encode(letter.encode()).decode("ascii")


def _features(letters: list[str], at: int) -> dict[str, Any]:
    """What the tagger was trained on: the letter, three to each side, and both ends of the word."""
    features: dict[str, Any] = {"bias": 1.0, "grapheme": letters[at]}
    if at == 0:
        features["begin"] = True
    for distance in range(1, _NEAR + 1):
        if at - distance >= 0:
            features[f"grapheme-{distance}"] = letters[at - distance]
        if at + distance < len(letters):
            features[f"grapheme+{distance}"] = letters[at + distance]
    if at == len(letters) - 1:
        features["end"] = True
    return features


def _tokens(text: str) -> list[str]:
    return _TOKENS.findall(unicodedata.normalize("NFC", text.replace("’", "'")).lower())


def _join(phonemes: str) -> str:
    """In the voice's alphabet, as one word."""
    joined = phonemes.replace(" ", "")
    for written, single in _JOINED.items():
        joined = joined.replace(written, single)
    return joined


class ItalianPhonemes:
    """Text to phonemes with stress, as Kokoro learned them. Owned by the voice; any thread may call it."""

    def __init__(self, words: WordPhonemes, speakable: Speakable) -> None:
        self._words, self._speakable = words, speakable

    def __call__(self, text: str) -> str:
        tokens = _tokens(self._speakable(text))
        return _line(tokens, [token if token in _MARKS else self._word(token) for token in tokens])

    def _word(self, word: str) -> str:
        *elided, last = word.split("'") if "'" in word.strip("'") else [word]
        before = "".join(_join(self._words.guessed(part)) for part in elided if part)
        last = last.strip("'")
        return before + with_stress(_join(self._words.known(last) or self._words.guessed(last)))


def with_stress(phonemes: str) -> str:
    """The mark of stress right before its vowel; on the last vowel but one where there is none.

    The lexicon writes it before the syllable, which cost a word in four when Whisper transcribed the voice
    (`antiphon bench voices`). Words of one vowel have none.
    """
    vowels = [at for at, phoneme in enumerate(phonemes) if phoneme in _VOWELS]
    mark = phonemes.find("ˈ")
    if mark >= 0:
        following = [at for at in vowels if at > mark]
        if not following:
            return phonemes.replace("ˈ", "")
        at = following[0]
        return phonemes[:mark].replace("ˈ", "") + phonemes[mark + 1 : at] + "ˈ" + phonemes[at:].replace("ˈ", "")
    if len(vowels) < 2:
        return phonemes
    return f"{phonemes[: vowels[-2]]}ˈ{phonemes[vowels[-2] :]}"


_ELIDED: Final = {"j": "ʒ", "l": "l", "d": "d", "c": "s", "s": "s", "n": "n", "m": "m", "t": "t", "qu": "k"}
_WITH_Z: Final = (
    "les", "des", "mes", "tes", "ses", "nos", "vos", "leurs", "aux", "ces", "ils", "elles", "nous", "vous", "deux",
    "trois", "dix", "six", "dans", "chez", "sans", "sous", "très", "plus", "moins", "quelques", "plusieurs", "quels",
    "quelles", "pas",
)  # fmt: skip
_WITH_N: Final = ("un", "mon", "ton", "son", "on", "en", "aucun", "bien")
_WITH_T: Final = ("est", "sont", "ont", "font", "vont", "fait", "petit", "grand", "quand", "cet", "tout")
_LINKING: Final[Mapping[str, str]] = {
    **dict.fromkeys(_WITH_Z, "z"),
    **dict.fromkeys(_WITH_N, "n"),
    **dict.fromkeys(_WITH_T, "t"),
}
"""Words whose last letter is spoken before a vowel, and its sound."""
_COUNTING: Final = frozenset(("six", "dix"))
"""Their last sound is there at the end of a clause, and not before a consonant."""
_ASPIRATED: Final = frozenset(
    ("huit", "huitième", "onze", "onzième", "haut", "haute", "hauts", "hautes", "héros", "hors", "hasard", "hall")
)
"""Words before which nothing is linked, though they begin with a vowel's sound."""


class FrenchPhonemes:
    """Text to phonemes with liaison, as Kokoro learned them. Owned by the voice; any thread may call it."""

    def __init__(self, words: WordPhonemes, speakable: Speakable) -> None:
        self._words, self._speakable = words, speakable

    def __call__(self, text: str) -> str:
        tokens = _tokens(self._speakable(text).replace("-", " "))
        spoken = [token if token in _MARKS else self._word(token) for token in tokens]
        for at, (token, following) in enumerate(zip(tokens, spoken[1:], strict=False)):
            sound = _LINKING.get(token, "")
            if token in _COUNTING and following[:1] not in _MARKS:
                spoken[at] = spoken[at].removesuffix("s")
            if sound and following[:1] in _VOWELS and tokens[at + 1] not in _ASPIRATED and spoken[at][-1:] != sound:
                spoken[at] += sound
        return _line(tokens, spoken)

    def _word(self, word: str) -> str:
        if phonemes := self._words.known(word):
            return _join(phonemes)
        head, mark, rest = word.partition("'")
        if mark and rest:
            return (_ELIDED.get(head) or self._word(head)) + self._word(rest)
        return _join(self._words.known(head) or self._words.guessed(head)) if head else ""


def _line(tokens: list[str], spoken: list[str]) -> str:
    """The words with blanks between them, punctuation right behind its word."""
    blanks = ("" if at == 0 or token in _MARKS else " " for at, token in enumerate(tokens))
    return "".join(blank + phonemes for blank, phonemes in zip(blanks, spoken, strict=True))
