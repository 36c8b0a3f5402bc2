"""Rules of every language for numbers that are names: cards, telephones, codes, serials, versions; and what is left.

A number that somebody will type or write down is said digit by digit, in its groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, before
from antiphon.inference_bridge.tts.normalization.common_scripts import EMOJI_RUN, FOREIGN_RUN, SMILEY, say_foreign
from antiphon.inference_bridge.tts.normalization.common_words import (
    Words,
    say_digits,
    say_letters,
    say_number,
    spell,
)

_WORD: Final = re.compile(r"[^\W\d_]+(?:['.][^\W\d_]+)*")
_SENTENCE_END: Final = re.compile(r"[.!?;]\s|\n")
_RUNS: Final = re.compile(r"[^\W\d_]+|[0-9]+")


def in_digit_context(match: Match[str], words: Words, reach: int = 5) -> bool:
    """One of the `reach` words in front of the match, in its sentence, is in `words.digit_context`."""
    text = _SENTENCE_END.split(before(match, 60))[-1]
    return any(word.lower() in words.digit_context for word in _WORD.findall(text)[-reach:])


def code_rules(words: Words, telephone: str = "", is_code: Callable[[Match[str]], bool] | None = None) -> list[Rule]:
    """To be put in front of a language's rules for dates and amounts.

    `telephone`: a pattern for national telephone numbers. `is_code`: whether digits (with blanks or dashes between
    groups) are said one by one; `in_digit_context` if it is not given.
    """

    def card(match: Match[str]) -> str:
        digits = match[0]
        if digits.isdigit():  # a long number in one piece is told in groups, as a card has them printed
            digits = " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))
        return say_digits(digits, words)

    def iban(match: Match[str]) -> str | None:
        groups = [match[0].replace(" ", "")[at : at + 4] for at in range(0, len(match[0].replace(" ", "")), 4)]
        return ", ".join(spell(group, words) for group in groups)

    def phone(match: Match[str]) -> str | None:
        digits = re.sub(r"[^0-9]", "", match[0])
        if not 7 <= len(digits) <= 17:
            return None
        sign = f"{words.signs['+']} " if match[0].lstrip("( ").startswith("+") else ""
        return f"{sign}{say_digits(match[0], words)}"

    def code(match: Match[str]) -> str | None:
        if len(match[0]) < 3:
            return None
        digits = sum(c.isdigit() for c in match[0])
        chosen = is_code(match) if is_code else digits >= 3 and in_digit_context(match, words)
        return say_digits(match[0], words) if chosen else None

    def version(match: Match[str]) -> str:
        return f"{words.version if match[1] else ''} {_numbers(match[2])}"

    def _numbers(text: str) -> str:
        parts = re.split(r"([.+-])", text)
        said = [
            words.point
            if part == "."
            else words.signs[part]
            if part in ("-", "+")
            else " ".join(
                say_number(run, words) if run.isdigit() else run if len(run) > 2 else say_letters(run, words)
                for run in _RUNS.findall(part)
            )
            for part in parts
        ]
        return " ".join(filter(None, said))

    def serial(match: Match[str]) -> str | None:
        text = match[0]
        runs = _RUNS.findall(text)
        digits = sum(len(run) for run in runs if run.isdigit())
        letters = [run for run in runs if run.isalpha()]
        if not digits or not letters:
            return None
        if any(not run.isupper() and len(run) > 3 for run in letters):
            return None
        if digits < 3 and (len(runs) < 3 or ("-" in text and max(map(len, letters)) > 1)):
            return None
        # `500MB` is an amount
        if len(runs) == 2 and runs[0].isdigit() and digits < 5 and len(letters[0]) < 4:
            return None
        # `user123` is a word and a number
        if text.islower() and len(runs) < 3:
            return None
        return spell(text.replace("-", " "), words)

    rules = [
        Rule("iban", r"(?<![\w])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)", iban, "a"),
        Rule("card", r"(?<![\w.,-])\d{4}([ -])\d{4}[ -]\d{4}[ -]\d{4}(?:[ -]\d{1,3})?(?![\w]|[.,-]\d)", card, "1"),
        Rule("card", r"(?<![\w.,-])3\d{3}[ -]\d{6}[ -]\d{5}(?![\w]|[.,-]\d)", card, "1"),
        Rule("card", r"(?<![\w.,])\d{13,40}(?![\w]|[.,]\d)", card, "1"),
        Rule(
            "phone", r"(?<![\w+.])(?:\(?\+|00(?=[1-9]))\d{1,3}\)?(?:[ ./-]{0,2}\(?\d{1,12}\)?){1,8}(?!\w)", phone, "1."
        ),
    ]
    if telephone:
        rules.append(Rule("phone", telephone, phone, "1."))
    return [
        *rules,
        Rule(
            "version",
            r"(?<![\w.])(v|V|ver\. ?|version )(\d{1,5}(?:\.\d{1,6}){0,4}(?:[.+-]?[A-Za-z]{1,8}\.?\d{0,4}){0,2})(?!\w)",
            version,
            "1a",
        ),
        Rule(
            "version",
            r"(?<![\w.,])()(\d{1,5}\.\d{1,5}\.\d{1,6}(?:[-+]?(?:rc|alpha|beta|dev|a|b|post)\.?\d{0,4})?"
            r"|\d{1,3}\.\d{1,5}\.\d{1,6}\.\d{1,6})(?![\w]|[.,]\d)",
            version,
            "1a",
        ),
        Rule("code", r"(?<![\w.,:/-])\d{1,16}(?:[ -]\d{1,16}){0,8}(?![\w:/%]|[.,]\d)", code, "1"),
        Rule(
            "serial",
            r"(?<![\w-])(?=[A-Z]{0,20}\d|\d{1,20}-?[A-Z])[A-Z0-9]{2,40}(?:-[A-Z0-9]{1,20}){0,6}(?![\w])",
            serial,
            "1a",
        ),
        Rule("serial", r"(?<![\w-])(?=[A-Z]{1,20}-)[A-Z]{1,20}(?:-[A-Z0-9]{1,20}){1,6}(?!\w)", serial, "1a"),
        Rule("serial", r"(?<![\w-])(?=[a-z]{0,20}\d)(?=\d{0,20}[a-z])[a-z0-9]{5,64}(?![\w])", serial, "1a"),
    ]


def list_rule(words: Words) -> Rule:
    """`1. Monday` at the start of a line: the number and a pause in one breath. In front of all rules for numbers."""

    def number(match: Match[str]) -> str:
        return f"{say_number(match[1] or match[2], words)},"

    return Rule("list", r"(?:^|(?<=\n))(?:\(?(\d{1,2})\)|(\d{1,3})\.)[ \t]+(?=\S)", number, "1.")


def last_rules(words: Words) -> list[Rule]:
    """To be put behind a language's own rules: whatever digit, sign, emoji or script is left is said or dropped."""

    def number(match: Match[str]) -> str:
        return say_number(match[0], words)

    def sign(match: Match[str]) -> str:
        return " ".join([words.signs.get(match[0][0], "")] * min(len(match[0]), 2))

    return [
        Rule("smiley", SMILEY, lambda m: "", "."),
        Rule("emoji", EMOJI_RUN, lambda m: _keycap(m, words), "1."),
        list_rule(words),
        Rule("number", r"\d{1,400}", number, "1"),
        Rule(
            "dotted", r"(?<=[a-z])\.(?=[a-z])|(?<=[a-z)])\.(?=[a-z_]{1,30}\()", lambda m: words.signs.get(".", ""), "."
        ),
        Rule("foreign", FOREIGN_RUN, lambda m: say_foreign(m[0], words), "a"),
        Rule("sign", r"@+|&+|%+|\++|=+|#+|/+|\\+", sign, "."),
    ]


def _keycap(match: Match[str], words: Words) -> str:
    """Emoji inside a sentence are left out, but the digit on a key is text."""
    digits = re.findall(r"([0-9])\ufe0f?\u20e3", match[0])
    return " ".join(words.digits[int(digit)] for digit in digits)
