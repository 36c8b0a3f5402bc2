"""Rules for telephone numbers, and the question whether digits are a code or an amount, for any `Locale`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after, before
from antiphon.inference_bridge.tts.normalization.common_words import say_digits, spell
from antiphon.inference_bridge.tts.normalization.continental import Locale

_INTERNATIONAL: Final = r"(?<![\w+.])(?:\+|00(?=[1-9]))[0-9]{1,3}(?:[ ./-]{0,3}\(?[0-9]{1,12}\)?){1,8}(?!\w)"
_MIXED: Final = r"[A-Za-z0-9]{2,40}(?:-[A-Za-z0-9]{1,40}){0,5}"
_WORD: Final = re.compile(r"[^\W\d_]+")
_SENTENCE_END: Final = re.compile(r"[.!?;]\s(?=[A-ZÀ-Þ])|\n")
_FLIGHT: Final = re.compile(r"(?<![A-Z])(?!EU|UN|US|UK)[A-Z]{2} $")
_GROUPED: Final = re.compile(r"[0-9]{1,3}(?: [0-9]{3})+")


def telephone_rules(locale: Locale) -> list[Rule]:
    """International and national telephone numbers."""

    def say(match: Match[str]) -> str | None:
        digits = sum(c.isdigit() for c in match[0])
        return locale.telephone(match[0]) if 6 <= digits <= 17 else None

    def national(match: Match[str]) -> str | None:
        return None if re.match(rf"(?:[ ]?[€$£%]|[ ](?:{locale.counted}))", after(match)) else say(match)

    patterns = [Rule("phone", pattern, national, "1.") for pattern in locale.telephones]
    return [Rule("phone", _INTERNATIONAL, say, "1."), *patterns]


def password_rule(locale: Locale) -> Rule:
    """Letters and digits behind a word like "password": character by character."""
    code_word = re.compile(locale.code_words)

    def say(match: Match[str]) -> str | None:
        return spell(match[0].replace("-", " "), locale.words) if _is_named(before(match, 60), code_word) else None

    return Rule("password", rf"(?<![\w-])(?=[A-Za-z-]{{0,20}}[0-9])(?=[0-9-]{{0,20}}[A-Za-z]){_MIXED}(?!\w)", say)


def say_groups(text: str, locale: Locale, sizes: tuple[int, ...] = ()) -> str:
    """A telephone number digit by digit, a comma between its groups. `sizes`: for one that is written as one group."""
    groups = re.findall(r"[0-9]+", text)
    if len(groups) == 1 and sizes and sum(sizes) == len(groups[0]):
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        groups = [groups[0][start : start + size] for start, size in zip(starts, sizes, strict=True)]
    groups = [part for group in groups for part in _readable(group, text.startswith("+"))]
    sign = f"{locale.words.signs['+']} " if text.lstrip("( ").startswith("+") else ""
    return sign + say_digits(" ".join(groups), locale.words)


def _readable(group: str, international: bool) -> list[str]:
    """Digits without a gap in parts of three, the country's code apart."""
    if len(group) < 10:
        return [group]
    code = 0 if not international else 1 if group[0] in "17" else 2
    parts = [group[at : at + 3] for at in range(code, len(group), 3)]
    if len(parts[-1]) == 1:
        parts[-2:] = [parts[-2] + parts[-1]]
    return [group[:code], *parts] if code else parts


def is_code(locale: Locale) -> Callable[[Match[str]], bool]:
    """Whether digits (with blanks or dashes between groups) are said one by one, by what stands around them."""
    code_word = re.compile(locale.code_words)
    numbered = re.compile(rf"(?:^|[\W_])(?:{locale.numbered})[.:]?(?:[ ](?:{locale.linking}))*[ :#=]*$", re.IGNORECASE)
    counted = re.compile(rf"[ ](?:{locale.counted})")

    def decide(match: Match[str]) -> bool:
        text, front, behind = match[0], before(match, 60), after(match)
        digits = sum(c.isdigit() for c in text)
        groups = re.findall("[0-9]+", text)
        if re.search("[-–]", text) and len(groups) < 3 and "0" not in (groups[0][0], groups[-1][0]):
            return False
        if counted.match(behind):
            return False
        if digits >= 3 and (numbered.search(front) or _FLIGHT.search(front) or _is_named(front, code_word)):
            return True
        if len(groups) > 1:
            return digits >= 5 and not _GROUPED.fullmatch(text)
        return digits == 5 and re.match(r"[ ][A-ZÀ-Þ][a-zß-ÿ]", behind) is not None and not text.endswith("000")

    return decide


def _is_named(front: str, code_word: re.Pattern[str]) -> bool:
    sentence = _SENTENCE_END.split(front)[-1]
    return any(code_word.fullmatch(word.lower()) for word in _WORD.findall(sentence)[-5:])
