"""Rules for abbreviations, acronyms and words in capitals, for any `Locale`. Pure."""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after, before
from antiphon.inference_bridge.tts.normalization.common_words import say_letters
from antiphon.inference_bridge.tts.normalization.continental import Locale, alternatives, full_stop, roman

_VOWELS: Final = "AEIOUYÄÖÜÀÁÂÃÈÉÊËÌÍÎÒÓÔÕÙÚÛ"
_PRONOUNCED: Final = re.compile(
    rf"[^{_VOWELS}]{{0,2}}[{_VOWELS}]{{1,2}}(?:[^{_VOWELS}]{{1,2}}[{_VOWELS}]{{1,2}}){{0,2}}[^{_VOWELS}]{{0,2}}"
)
_CAPITALS: Final = r"A-ZÀ-ÖØ-Þ"


def abbreviation_rules(locale: Locale) -> list[Rule]:
    """Abbreviations with a full stop, and phrases."""
    said = {
        variant: words
        for written, words in {**locale.abbreviations, **locale.phrases}.items()
        for variant, words in (
            (written[:1].upper() + written[1:], words[:1].upper() + words[1:]),
            (written, words),
        )
    }
    compact = {written.replace(" ", ""): words for written, words in said.items()}
    numbered_only = {written.lower() for written in locale.numbered_only}
    closing = {written.replace(" ", "") for written in locale.closing}
    pattern = "|".join(
        re.escape(written).replace(r"\ ", "[ ]?")
        + ("" if written.endswith("/") else r"(?![^\W\d_])" if written.endswith(".") else r"(?!\w)")
        for written in sorted(said, key=len, reverse=True)
    )

    def say(match: Match[str]) -> str | None:
        written = match[0].replace(" ", "")
        if written.lower() in numbered_only and not _beside_number(match):
            return None
        if len(written) == 2 and written[1] == "." and not after(match, 2).strip():
            return None
        return compact[written] + full_stop(match, closing=written in closing)

    days = alternatives(locale.weekdays)

    def weekdays(match: Match[str]) -> str:
        joint = f" {locale.to} " if match[2].strip() in ("-", "–") else match[2]
        if joint == " à " and before(match).endswith("du "):
            joint = " au "
        return f"{locale.weekdays[match[1]]}{joint}{locale.weekdays[match[3]]}"

    return [
        Rule(
            "weekdays",
            rf"(?<!\w)({days})\.?([ ]?[-–/,][ ]?|[ ](?:bis|und|oder|y|a|o|et|à|au|ou|e|al)[ ])({days})"
            r"(?:\.(?=\s*\S)|(?![\w.]))",
            weekdays,
            "a",
        ),
        Rule("abbreviation", rf"(?<!\w)(?<!\w[.-])(?:{pattern})", say, "a"),
    ]


def _beside_number(match: Match[str]) -> bool:
    return re.match(r",?[ ]?(?:[0-9]|[IVX]{1,8}(?!\w))", after(match)) is not None or (
        re.search(r"[0-9][.ºª°]?(?: de)? ?$", before(match)) is not None
    )


def capital_rules(locale: Locale) -> list[Rule]:
    """Acronyms letter by letter or as a word; a sentence in capitals as a sentence."""

    def shouted(match: Match[str]) -> str | None:
        words = re.findall(rf"[{_CAPITALS}]+", match[0])
        if sum(len(word) > 4 for word in words) * 2 < len([word for word in words if len(word) > 2]):
            return None
        if not any(len(word) > 4 for word in words):
            return None
        text = match[0].lower()
        starts = re.search(r"(?:^|[.!?:\n])[\s\"'(]*$", before(match, 10)) is not None
        return text[:1].upper() + text[1:] if starts else text

    def acronym(match: Match[str]) -> str | None:
        word = match[1]
        number = roman(word) if set(word) <= set("IVX") and word not in ("XX", "XXX") else None
        if number:
            return locale.count(number, "")
        if word in locale.said_as_words:
            return word
        if word not in locale.spelled and len(word) > 3 and _PRONOUNCED.fullmatch(word):
            return word
        return say_letters(word, locale.words) if len(word) < 6 else word

    def dotted(match: Match[str]) -> str:
        return say_letters(match[0], locale.words) + full_stop(match, closing=True)

    return [
        Rule(
            "capitals",
            rf"(?<!\w)[{_CAPITALS}]{{2,30}}(?:[ ]?[,:;!]?[ ][{_CAPITALS}']{{1,30}}){{2,40}}(?![\w@])",
            shouted,
            "a",
        ),
        Rule("dotted", r"(?<!\w)(?<!\w\.)(?:[A-Za-z]\.[ ]?){2,6}(?!\w)", dotted, "a"),
        Rule("acronym", rf"(?<!\w)([{_CAPITALS}]{{2,12}})(?![^\W\d_])", acronym, "a"),
    ]
