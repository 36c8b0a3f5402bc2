"""A pronunciation for words that no lexicon has: names, brands, typing errors. Pure.

Greedy rules from letters to the lexicon's phoneme alphabet (IPA, with capitals for diphthongs: A as in day,
I as in my, O as in go, W as in now, Y as in boy). Good enough to be understood, not to be admired.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_VOWELS: Final = "aeiouy"
# Longest first within a letter. `$` at the end: only there; `^` at the start: only there.
_RULES: Final = {
    "a": {
        "augh": "ɔ", "aigh": "A", "age$": "ɪʤ", "ai": "A", "ay": "A", "au": "ɔ", "aw": "ɔ", "ar": "ɑɹ", "al$": "əl",
        "ah": "ɑ", "aa": "ɑ", "a$": "ə", "a": "æ",
    },
    "b": {"bb": "b", "b": "b"},
    "c": {
        "chr": "kɹ", "tch": "ʧ", "sch": "sk", "ch": "ʧ", "ck": "k", "cc": "k", "ce": "s*e", "ci": "s*i",
        "cy": "s*y", "c": "k",
    },
    "d": {"dge": "ʤ", "dd": "d", "d": "d"},
    "e": {
        "eigh": "A", "ee": "i", "ea": "i", "ew": "u", "ey$": "i", "ey": "A", "ei": "A", "er": "əɹ", "eu": "u",
        "e$": "", "e": "ɛ",
    },
    "f": {"ff": "f", "f": "f"},
    "g": {"gh$": "", "gh": "ɡ", "gn$": "n", "^gn": "n", "gg": "ɡ", "ge$": "ʤ", "ge": "ʤ*e", "gi": "ʤ*i", "g": "ɡ"},
    "h": {"h": "h"},
    "i": {"igh": "I", "ier$": "iəɹ", "ie$": "i", "ie": "i", "ir": "ɜɹ", "io": "iO", "ia": "iə", "i$": "i", "i": "ɪ"},
    "j": {"j": "ʤ"},
    "k": {"^kn": "n", "k": "k"},
    "l": {"ll": "l", "le$": "ᵊl", "l": "l"},
    "m": {"mm": "m", "m": "m"},
    "n": {"ng$": "ŋ", "nk": "ŋk", "nn": "n", "n": "n"},
    "o": {
        "ough": "ɔ", "oo": "u", "ou": "W", "ow$": "O", "ow": "W", "oy": "Y", "oi": "Y", "oa": "O", "or": "ɔɹ",
        "oh": "O", "o$": "O", "o": "ɑ",
    },
    "p": {"ph": "f", "^ps": "s", "pp": "p", "p": "p"},
    "q": {"qu": "kw", "q": "k"},
    "r": {"rr": "ɹ", "rh": "ɹ", "r": "ɹ"},
    "s": {"tion": "ʃən", "sion": "ʒən", "sh": "ʃ", "ss": "s", "s": "s"},
    "t": {"tion": "ʃən", "tch": "ʧ", "th": "θ", "tt": "t", "t": "t"},
    "u": {"ur": "ɜɹ", "ue$": "u", "ui": "u", "u$": "u", "u": "ʌ"},
    "v": {"v": "v"},
    "w": {"^wr": "ɹ", "wh": "w", "w": "w"},
    "x": {"^x": "z", "x": "ks"},
    "y": {"^y": "j", "y$": "i", "y": "ɪ"},
    "z": {"zh": "ʒ", "zz": "z", "z": "z"},
}  # fmt: skip
_LONG: Final = {"a": "A", "e": "i", "i": "I", "o": "O", "u": "u", "y": "I"}
_PHONE_VOWELS: Final = "ɑæɛɪɔʊʌəɜiuAIOWYᵊ"


_SOUNDS_LIKE: Final = {
    "ß": "ss", "æ": "e", "œ": "e", "ø": "o", "ł": "w", "đ": "d", "ð": "th", "þ": "th", "ı": "i", "ħ": "h", "ŋ": "ng",
    "ñ": "ny", "ç": "s", "č": "ch", "ć": "ch", "š": "sh", "ś": "sh", "ş": "sh", "ž": "zh", "ź": "zh", "ż": "zh",
    "ř": "rzh", "ň": "ny", "ń": "ny", "ä": "e",
}  # fmt: skip
"""Letters of other languages whose sound another spelling gives an English reader better than the letter alone."""
_PLAIN: Final = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "Ł": "L", "Ø": "O"}
_FINAL_E: Final = {"é": "A", "è": "A", "ê": "A", "ë": "i"}
"""An accent says that a last e is not silent."""
_DOUBLED: Final = re.compile(r"(.)\1")
LETTER_NAMES: Final = {
    "a": "ˈA", "b": "bˈi", "c": "sˈi", "d": "dˈi", "e": "ˈi", "f": "ˈɛf", "g": "ʤˈi", "h": "ˈAʧ", "i": "ˈI", "j": "ʤˈA",
    "k": "kˈA", "l": "ˈɛl", "m": "ˈɛm", "n": "ˈɛn", "o": "ˈO", "p": "pˈi", "q": "kjˈu", "r": "ˈɑɹ", "s": "ˈɛs",
    "t": "tˈi", "u": "jˈu", "v": "vˈi", "w": "dˈʌbᵊljˌu", "x": "ˈɛks", "y": "wˈI", "z": "zˈi",
}  # fmt: skip


def fold(word: str) -> str:
    """A word in the letters a to z and apostrophes: `Łódź` -> `Wodzh`, `café` -> `cafe`."""
    if word.isascii():
        return word
    return "".join(_folded(c) for c in word)


def _folded(letter: str) -> str:
    lower = letter.lower()
    folded = _SOUNDS_LIKE.get(lower)
    if folded is None:
        folded = "".join(c for c in unicodedata.normalize("NFKD", lower) if c.isascii())
    return folded.capitalize() if letter != lower else folded


def plain_letters(word: str) -> str:
    """A word without accents, as lexicons for English spell it: `Müller` -> `Muller`."""
    return "".join(_PLAIN.get(c) or c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


def letters_to_phonemes(word: str) -> str:
    """`Zorvik` -> `zˈɔɹvɪk`, `José` -> `ʤˈOsA`; the first vowel carries the stress.

    A short word without vowels is spelled: `html`.
    """
    end = _FINAL_E.get(word[-1:].lower(), "") if len(word) > 1 else ""
    if end:
        word = word[:-2] + {"c": "s", "g": "j"}.get(word[-2], word[-2])
    word = "".join(c for c in fold(word).lower() if "a" <= c <= "z")
    if not end and 1 < len(word) < 6 and not any(c in _VOWELS for c in word) and not _DOUBLED.search(word):
        return "".join(LETTER_NAMES[c] for c in word)
    phones: list[str] = []
    at = 0
    while at < len(word):
        length, sound = _match(word, at)
        phones.append(sound)
        at += length
    text = "".join(phones) + end
    for position, phone in enumerate(text):
        if phone in _PHONE_VOWELS and phone != "ᵊ":
            return f"{text[:position]}ˈ{text[position:]}"
    return text


def _match(word: str, at: int) -> tuple[int, str]:
    """How many letters the next rule takes, and their sound."""
    letter, rest = word[at], word[at:]
    # vowel, one consonant, final e: the vowel says its name ("bake", "note")
    if letter in _LONG and len(rest) == 3 and rest[1] not in _VOWELS + "wxr" and rest[2] == "e":
        return 1, _LONG[letter]
    for spelling, sound in _RULES[letter].items():
        letters = spelling.strip("^$")
        if (
            not rest.startswith(letters)
            or (spelling[0] == "^" and at)
            or (spelling[-1] == "$" and len(rest) > len(letters))
        ):
            continue
        if letters == "e" and spelling[-1] == "$" and not any(c in _VOWELS for c in word[:at]):
            return 1, "i"  # "be": a final e is silent only when there is another vowel
        if "*" in sound:  # soft c and g: the vowel that softens them is read on its own
            return len(letters) - 1, sound[0]
        return len(letters), sound
    return 1, ""
