"""Characters: one form for each sign, other scripts in Latin letters or by a notice, emoji by name. Pure.

Cyrillic and Greek are written in Latin letters, because a reader who knows the words recognises them; for other
scripts the listener is told that there is text in them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common_words import Words

_SIGNS: Final = {
    "’": "'", "‘": "'", "‛": "'", "ʼ": "'", "′": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "‟": '"',
    "″": '"', "«": '"', "»": '"', "‹": '"', "›": '"', "「": '"', "」": '"', "『": '"', "』": '"',
    "‐": "-", "‑": "-", "‒": "-", "–": "–", "—": " — ", "―": " — ", "−": "-", "…": "...", "‥": "...", "⁄": "/",
    "、": ", ", "。": ". ", "，": ", ", "．": ".", "：": ": ", "；": "; ", "！": "! ", "？": "? ", "،": ", ", "؟": "? ",
    "؛": "; ", "।": ". ", "·": " ", "•": ", ", "‣": ", ", "◦": ", ", "▪": ", ", "™": "", "®": "", "№": "No.",
    "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅕": " 1/5", "⅖": " 2/5", "⅗": " 3/5",
    "⅘": " 4/5", "⅙": " 1/6", "⅚": " 5/6", "⅛": " 1/8", "⅜": " 3/8", "⅝": " 5/8", "⅞": " 7/8", "¿": " ", "¡": " ",
    "µ": "µ", "μ": "µ", "Ω": "Ω", "\u2028": "\n", "\u2029": "\n", "\u0085": "\n", "\x0b": "\n", "\x0c": "\n",
    "ı": "i", "ſ": "s", "∕": "/", "∙": "×", "⋅": "×", "✕": "×", "✖": "×", "➕": "+", "➖": "-", "➗": "÷",
}  # fmt: skip
_KEPT: Final = frozenset("ºª²³¹⁰⁴⁵⁶⁷⁸⁹⁻⁺√∞≈≠≤≥±×÷→←↔⇒°€£¥₹₽₩₪₺₴₫₱₦₿¢§©∑∆∂πΩµ–")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_SUBSCRIPTS: Final = {chr(0x2080 + digit): str(digit) for digit in range(10)}

LATIN: Final = "A-Za-zªºµÀ-ÖØ-öø-ɏḀ-ỿ"
"""For a class of characters in a pattern: the letters that a voice for a European language is given."""
EMOJI: Final = (
    r"[\U0001F000-\U0001FAFF\u2600-\u27BF\u2B05-\u2B07\u2B1B\u2B1C\u2B50\u2B55\u231A\u231B\u23E9-\u23FA\u2328\u23CF"
    r"\u3030\u303D\u3297\u3299\u2934\u2935\u25AA-\u25FE]"
)
"""A pattern for one emoji or pictogram, without its modifiers."""
EMOJI_RUN: Final = rf"(?:{EMOJI}|[#*0-9]\ufe0f?\u20e3)(?:{EMOJI}|[\u200d\ufe0e\ufe0f\u20e3\U000E0020-\U000E007F])*"
"""A pattern for emoji in a row, each with what modifies it."""
_FOREIGN: Final = rf"(?:(?![{LATIN}])[^\W\d_])"
FOREIGN_RUN: Final = (
    rf"{_FOREIGN}(?:[^\x00-\u024f\u1e00-\u1eff\u2000-\u2bff\U0001F000-\U0001FAFF]|[ ]{{1,3}}(?={_FOREIGN}))*"
)
"""A pattern for words in another script, with the blanks and marks between them."""

_CYRILLIC: Final = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "yo", "ж": "zh", "з": "z", "и": "i", "й": "y",
    "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f",
    "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu",
    "я": "ya", "є": "ye", "і": "i", "ї": "yi", "ґ": "g", "ў": "w", "ј": "y", "љ": "ly", "њ": "ny", "ћ": "ch",
    "ђ": "j", "џ": "j", "ѓ": "g", "ќ": "k", "ѕ": "dz", "ѐ": "e", "ѝ": "i", "қ": "k", "ғ": "g", "ң": "ng", "ү": "u",
    "ұ": "u", "ө": "o", "һ": "h", "ә": "a",
}  # fmt: skip
_GREEK: Final = {
    "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i", "κ": "k", "λ": "l",
    "µ": "m", "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "ς": "s", "τ": "t", "υ": "y",
    "φ": "f", "χ": "ch", "ψ": "ps", "ω": "o",
}  # fmt: skip
_GREEK_PAIRS: Final = re.compile("ου|αυ|ευ|μπ|ντ|γκ|γγ|αι|ει|οι")
_GREEK_PAIR: Final = {
    "ου": "ou", "αυ": "av", "ευ": "ev", "μπ": "b", "ντ": "d", "γκ": "g", "γγ": "ng", "αι": "e", "ει": "i", "οι": "i",
}  # fmt: skip
_LATIN_OF: Final = {**_CYRILLIC, **_GREEK}
_FLAG: Final = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_KEYCAP: Final = re.compile("([#*0-9])\ufe0f?\u20e3")
_MODIFIERS: Final = "[\ufe0f\U0001f3fb-\U0001f3ff]*"
_ONE_EMOJI: Final = re.compile(rf"({EMOJI}){_MODIFIERS}(?:\u200d{EMOJI}{_MODIFIERS})*")
SMILEY: Final = r"(?<![\w:])[:;=][-']?[)(DPp/](?![\w/])|(?<!\w)<3(?!\w)"
"""A pattern for a face of signs."""
SMILEY_PATTERN: Final = re.compile(SMILEY)


def canonical(text: str) -> str:
    """One form for each sign: `“１２３”` -> `"123"`, letters composed, digits of any script as ASCII."""
    if text.isascii():
        return text
    return _NOT_ASCII.sub(_canonical_character, unicodedata.normalize("NFC", text))


def _canonical_character(match: Match[str]) -> str:
    return _one_form(match[0])


@lru_cache(4096)
def _one_form(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if character in _KEPT:
        return character
    if character in _SUBSCRIPTS:
        return _SUBSCRIPTS[character]
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in ("Zs", "Zl", "Zp"):
        return " "
    if category in ("Cc", "Cs", "Co", "Cn") or (category == "Cf" and character != "\u200d"):
        return character if 0xE0020 <= ord(character) <= 0xE007F else ""
    folded = unicodedata.normalize("NFKC", character)
    if folded != character and folded.replace("⁄", "/").isascii():
        return folded.replace("⁄", "/")
    if category in ("No", "Nl") and not folded.isascii():
        value = unicodedata.numeric(character, -1.0)
        return f" {int(value)} " if value >= 0 and value == int(value) else " "
    return character


@lru_cache(4096)
def script(letter: str) -> str:
    """`я` -> `cyrillic`: the first word of the letter's name in Unicode, in lower case."""
    return unicodedata.name(letter, "").split(" ")[0].lower()


def say_foreign(text: str, words: Words) -> str:
    """Text in another script: Cyrillic and Greek in Latin letters, others as the notice of `words.scripts`."""
    if len(text) == 1 and script(text) == "greek":
        return unicodedata.name(text).split(" ")[-1].capitalize()
    said: list[str] = []
    for word in text.split():
        kinds = {script(c) for c in word if c.isalpha()}
        if kinds <= {"cyrillic", "greek"}:
            said.append(_in_latin(word))
            continue
        kind = "hiragana" if kinds & {"hiragana", "katakana"} else min(kinds)
        notice = words.scripts.get(kind, words.scripts[""])
        if not said or said[-1] != f", {notice},":
            said.append(f", {notice},")
    return " ".join(said)


def _in_latin(text: str) -> str:
    decomposed = "".join(c if c in "йёїў" else _base(c) for c in text.lower())
    pairs = _GREEK_PAIRS.sub(lambda m: _GREEK_PAIR[m[0]], decomposed)
    said = "".join(_LATIN_OF.get(c, c if c.isascii() else "") for c in pairs)
    return said[:1].upper() + said[1:] if text[:1].isupper() else said


@lru_cache(4096)
def _base(letter: str) -> str:
    """A letter without its accents."""
    if letter in _LATIN_OF:
        return letter
    return "".join(c for c in unicodedata.normalize("NFD", letter) if not unicodedata.combining(c))


def without_emoji(text: str) -> str:
    """For a voice by URL: emoji and what modifies them taken away, keycaps as their digit."""
    text = _KEYCAP.sub(r"\1", text)
    return re.sub(rf"[ ]?(?:{EMOJI_RUN}|[\ufe0e\ufe0f\u200d])", "", text)


def name_emoji(text: str, words: Words) -> str:
    """`👍🏽👍` -> `thumbs up`: the names of the emoji in `text`, each once, at most three."""
    names = [words.emoji.get("flag", words.emoji[""])] if _FLAG.search(text) else []
    for match in _ONE_EMOJI.finditer(_FLAG.sub("", text)):
        name = words.emoji.get(match[1])
        names.append(name or (words.emoji_name(match[1]) if words.emoji_name else words.emoji[""]))
    if not names and (smiley := SMILEY_PATTERN.search(text)):
        names = [words.emoji.get("🙁" if smiley[0][-1] in "(/" else "🙂", words.emoji[""])]
    return ", ".join(list(dict.fromkeys(filter(None, names)))[:3])
