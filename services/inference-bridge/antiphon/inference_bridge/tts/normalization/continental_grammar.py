"""The grammar of a `Locale`: the shared rules and its own, in the order that keeps them apart. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Grammar, Rule, after, before
from antiphon.inference_bridge.tts.normalization.common_addresses import address_rules
from antiphon.inference_bridge.tts.normalization.common_codes import code_rules, last_rules
from antiphon.inference_bridge.tts.normalization.continental import Locale, say_amount, say_cardinal
from antiphon.inference_bridge.tts.normalization.continental_codes import is_code, password_rule, telephone_rules
from antiphon.inference_bridge.tts.normalization.continental_dates import date_rules, time_rules
from antiphon.inference_bridge.tts.normalization.continental_quantities import number_rules, quantity_rules, rate_rules
from antiphon.inference_bridge.tts.normalization.continental_words import abbreviation_rules, capital_rules


class _ElidingGrammar(Grammar):
    """Joins an article without its vowel to the words that stand for a number or acronym: `l'80 %`."""

    def tokens(self, text: str) -> str:
        """As the base says; the blank that a rule leaves behind an apostrophe is taken away."""
        return _ELIDED.sub("", super().tokens(text))


_ELIDED: Final = re.compile(
    r"(?:(?<=\b[ldnstmcjLDNSTMCJ]')|(?<=\b[QqUu][un]')|(?<=\b[AaDdNnSsQqBb]ll')|(?<=[aeu]ll')) +(?=\w)"
)


def _not_an_amount(rule: Rule) -> Rule:
    """`1.000.000.000` has the form of an IP address, but no part of one begins with a zero."""

    def say(match: Match[str]) -> str | None:
        return None if re.search(r"(?:^|\.)0[0-9]", match[0]) else rule.say(match)

    return replace(rule, say=say)


def grammar(
    locale: Locale, own: Sequence[Rule], *, prepositions: str, time_sign: str, dotted_time: str, no_list: str = "(?!)"
) -> Grammar:
    """`own`: what only this language has, in front of its numbers. `no_list`: what follows the number at a line's
    start that is not the number of a list. The others: see `date_rules` and `time_rules`."""
    no_item = re.compile(no_list)

    def list_number(match: Match[str]) -> str | None:
        if not re.search(r"(?:^|\n)[ \t]*$", before(match)) or no_item.match(after(match)):
            return None
        return f"{say_cardinal(match[1], locale)},"

    def grouped(match: Match[str]) -> str:
        return say_amount(match[0], locale)

    def house_number(match: Match[str]) -> str:
        return f"{locale.count(int(match[1]), '')} {match[2].upper()}"

    return _ElidingGrammar(
        [
            *rate_rules(locale),
            *(_not_an_amount(rule) if rule.kind == "ip" else rule for rule in address_rules(locale.words)),
            *telephone_rules(locale),
            *date_rules(locale, prepositions),
            *time_rules(locale, time_sign, dotted_time),
            Rule("list", r"(?<!\w)\(?([0-9]{1,3})[.)](?=[ \t]+\S)", list_number, "1."),
            *own,
            *quantity_rules(locale),
            Rule(
                "grouped", r"(?<![\w.,])[0-9]{1,3}(?:\.[0-9]{3}){2,5}(?:,[0-9]{1,6})?(?![\w]|[.,][0-9])", grouped, "1"
            ),
            *code_rules(locale.words, is_code=is_code(locale)),
            password_rule(locale),
            Rule("number sign", r"#[ ]?(?=[0-9])", lambda m: locale.number_word, "."),
            Rule("house number", r"(?<![\w.,/-])([0-9]{1,4})([a-h])(?!\w)", house_number, "1"),
            Rule("either", r"(?<!\w)(?:und/oder|y/o|et/ou|e/o)(?!\w)", lambda m: m[0].replace("/", " "), "a"),
            Rule("either", r"(?<=[^\W\d_]{2})/(?=[^\W\d_]{2})", lambda m: ",", "."),
            *number_rules(locale),
            *abbreviation_rules(locale),
            *capital_rules(locale),
            *last_rules(locale.words),
        ],
        locale.words,
    )
