"""Text to the phonemes a Piper voice was trained on. Pure after the lexicons are read.

Words come from two pronouncing lexicons, then from their parts (endings, compounds), then letter by letter.
The lexicons write diphthongs as capitals and are silent about vowel length; the voice learned eSpeak's
spelling of IPA: `_respell` goes from one to the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from antiphon.inference_bridge.tts.g2p_rules import LETTER_NAMES, letters_to_phonemes, plain_letters
from antiphon.inference_bridge.tts.normalization import speakable

Entry = str | Mapping[str, str | None]

# Short words lose their vowel in running speech; given in the voice's own spelling.
_WEAK: Final = {
    "a": "ɐ", "an": "ɐn", "and": "ænd", "the": "ðə", "to": "tə", "of": "ʌv", "for": "fɔːɹ", "from": "fɹʌm",
    "is": "ɪz", "it": "ɪt", "in": "ɪn", "on": "ɔn", "at": "æt", "as": "æz", "my": "maɪ", "me": "miː", "i": "aɪ",
    "i'm": "aɪm", "you": "juː", "your": "jʊɹ", "he": "hiː", "she": "ʃiː", "we": "wiː", "was": "wʌz", "are": "ɑːɹ",
    "but": "bʌt", "or": "ɔːɹ", "be": "biː", "that": "ðæt", "can": "kæn", "do": "duː", "with": "wɪð",
}  # fmt: skip
_OWN_WORDS: Final[dict[str, Entry]] = {
    "antiphon": "ˈæntəfˌɑn", "nats": "nˈæts", "okay": "ˌOkˈA", "gmail": "ʤˈimˌAl", "iphone": "ˈIfˌOn", "wi": "wˈI",
    "fi": "fˈI", "ebay": "ˈibˌA", "yammel": "jˈæmᵊl", "josé": "hOzˈA", "zoë": "zˈOi", "zoé": "zˈOi", "chloë": "klˈOi",
    "chloé": "klˈOi", "renée": "ɹənˈA", "rené": "ɹənˈA", "andré": "ˈɑndɹA", "françois": "fɹɑnswˈɑ", "jürgen": "jˈɜɹɡən",
    "jörg": "jˈɜɹk", "björn": "bjˈɔɹn", "müller": "mjˈuləɹ", "jesús": "hˌAsˈus", "joão": "ʒWˈWn", "são": "sˈWn",
    "señor": "sAnjˈɔɹ", "señora": "sAnjˈɔɹə", "jalapeño": "hˌɑləpˈAnjO", "piñata": "pinjˈɑtə", "résumé": "ɹˈɛzəmˌA",
}  # fmt: skip
"""Words of this project, brands and names with accents that no lexicon has, in the lexicons' alphabet."""
_RESPELL: Final = {
    "əɹ": "ɚ", "ɜɹ": "ɜː", "A": "eɪ", "I": "aɪ", "W": "aʊ", "O": "oʊ", "Y": "ɔɪ", "ᵊ": "ə", "ʤ": "dʒ", "ʧ": "tʃ",
    "ɜ": "ɜː", "i": "iː", "u": "uː", "ɑ": "ɑː", "ɔ": "ɔː", "g": "ɡ",
}  # fmt: skip
_RESPELL_PATTERN: Final = re.compile("|".join(_RESPELL))
_VOWEL_START: Final = re.compile(r"[ˈˌ]?[aeiouæɐɑɒɔəɚɛɜɪʊʌᵻ]")
_TOKENS: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*'?|[,.!?;:]")
_ENDINGS: Final = (
    ("'s", "z"),
    ("'", ""),
    ("s", "z"),
    ("ed", "d"),
    ("ing", "ɪŋ"),
    ("er", "əɹ"),
    ("ly", "li"),
    ("est", "ɪst"),
)
_PAST_AFTER: Final = frozenset(
    ("have", "has", "had", "was", "were", "been", "be", "i've", "you've", "we've", "they've", "already")
)
_VERB_AFTER: Final = frozenset(
    ("to", "will", "can", "could", "would", "should", "must", "may", "might", "please", "let's", "i'll", "we'll")
)
_VOICELESS: Final = "ptkfθsʃʧ"


class Lexicon:
    """Word to phonemes in the lexicons' own alphabet. Owned by a `Phonemizer`; read-only, so any thread may call it."""

    def __init__(self, sources: Iterable[Mapping[str, Entry]]) -> None:
        """`sources`: the better one first."""
        self._sources = list(sources)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Lexicon:
        """From JSON files, the better one first; `OSError` or `ValueError` for a file that can't be read."""
        return cls([_OWN_WORDS, *(json.loads(path.read_text("utf-8")) for path in paths)])

    def look_up(self, word: str, before: str = "") -> str | None:
        """The pronunciation that fits after the word `before`, or None."""
        for source in self._sources:
            for spelling in dict.fromkeys((word, word.lower(), word.capitalize())):
                if entry := source.get(spelling):
                    return entry if isinstance(entry, str) else _reading(entry, before.lower())
        return None

    def pronounce(self, word: str, before: str = "") -> str:
        """The lexicon's pronunciation, or one put together from known words, or a guess by letters."""
        if not word.isascii():
            known = self.look_up(word, before) or self.look_up(plain_letters(word), before)
            # a last é is said: `résumé` is not `resume`
            if known and (word[-1] not in "éÉ" or known[-1] in "Ai"):
                return known
        return (
            self.look_up(word, before)
            or self._by_ending(word.lower())
            or self._by_compound(word.lower())
            or letters_to_phonemes(word)
        )

    def _by_ending(self, word: str) -> str | None:
        for ending, sound in _ENDINGS:
            stem = word[: -len(ending)]
            if not word.endswith(ending) or len(stem) < 3:
                continue
            candidates = [stem, stem + "e"] if ending not in ("'s", "'") else [stem]
            if len(stem) > 3 and stem[-1] == stem[-2]:
                candidates.append(stem[:-1])
            if stem.endswith("i"):
                candidates.append(stem[:-1] + "y")
            for candidate in candidates:
                if phones := self.look_up(candidate):
                    return phones + _ending_sound(phones, ending, sound)
        return None

    def _by_compound(self, word: str) -> str | None:
        """`voicemail` -> `voice` + `mail`: the split with the longest first part whose parts are both known."""
        for at in range(len(word) - 3, 2, -1):
            first, second = self.look_up(word[:at]), self.look_up(word[at:])
            if first and second:
                return first + second.replace("ˈ", "ˌ")
        return None


def _reading(entry: Mapping[str, str | None], before: str) -> str | None:
    if before in _PAST_AFTER and entry.get("VBN"):
        return entry["VBN"]
    if before in _VERB_AFTER and entry.get("VERB"):
        return entry["VERB"]
    return entry.get("DEFAULT") or next((p for p in entry.values() if p), None)


def _ending_sound(phones: str, ending: str, sound: str) -> str:
    last = phones[-1]
    if ending in ("s", "'s"):
        return "ᵻz" if last in "szʃʒʧʤ" else "s" if last in _VOICELESS else "z"
    if ending == "ed":
        return "ᵻd" if last in "td" else "t" if last in _VOICELESS else "d"
    return sound


def _respell(phones: str) -> str:
    """From the lexicons' alphabet to the voice's."""
    text = _RESPELL_PATTERN.sub(lambda match: _RESPELL[match[0]], phones)
    # a final unstressed "happy" vowel is short
    return re.sub(r"(?<![ˈˌ])iː$", "i", text)


class Phonemizer:
    """Text to phonemes in the alphabet of a Piper voice trained on eSpeak phonemes.

    Owned by the voice, for the life of the process; without state, so any thread may call it.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def phonemes(self, text: str) -> str:
        """Words separated by blanks, punctuation kept, for the voice's rhythm."""
        out: list[str] = []
        tokens = _TOKENS.findall(speakable(text))
        for index, token in enumerate(tokens):
            if token in ",.!?;:":
                out.append(token)
                continue
            before = tokens[index - 1] if index else ""
            after = tokens[index + 1] if index + 1 < len(tokens) else ""
            beside = [t for t in (before, after) if len(t) == 1 and t.isupper()]
            spelled = token not in ("A", "I") or any(t not in "AI" or t != token for t in beside)
            if token == "A":  # the article begins a sentence, and a word follows it
                spelled = spelled or before not in ("", ".", "!", "?", ":") or after in ("", *",.!?;:")
            out.append((" " if out else "") + self._word(token, before, spelled and len(token) == 1))
        return self._link("".join(out))

    def _word(self, token: str, before: str, spelled: bool) -> str:
        """`spelled`: a letter among letters, so that the A of `A M` is not the article."""
        if spelled and token.isupper():
            name = self._lexicon.look_up(token) or LETTER_NAMES.get(token.lower())
            return _respell(name or letters_to_phonemes(token))
        if len(token) == 3 and token[0].isupper() and token[1:] == "'s" and token[0].lower() in LETTER_NAMES:
            name = self._lexicon.look_up(token[0]) or LETTER_NAMES[token[0].lower()]  # `U R L's`
            return _respell(name + _ending_sound(name, "'s", "z"))
        return _WEAK.get(token.lower()) or _respell(self._lexicon.pronounce(token, before))

    @staticmethod
    def _link(phones: str) -> str:
        """`the` and `to` before a vowel."""
        words = phones.split(" ")
        for index, following in enumerate(words[1:]):
            if words[index] in ("ðə", "tə") and _VOWEL_START.match(following):
                words[index] = "ðɪ" if words[index] == "ðə" else "tʊ"
        return " ".join(words)
