"""Written text to speakable text in American English: the order of rules, telephones, acronyms. Pure.

What comes out holds words, letters (spelled words as single capitals) and the punctuation `, . ! ? ; :`.
"""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Grammar, Rule, after, any_of, before
from antiphon.inference_bridge.tts.normalization.common_addresses import address_rules
from antiphon.inference_bridge.tts.normalization.common_codes import code_rules, in_digit_context, last_rules, list_rule
from antiphon.inference_bridge.tts.normalization.common_words import say_digits, say_letters, spell
from antiphon.inference_bridge.tts.normalization.english_amounts import amount_rules, marked_amount_rules
from antiphon.inference_bridge.tts.normalization.english_dates import date_rules
from antiphon.inference_bridge.tts.normalization.english_numbers import cardinal, year
from antiphon.inference_bridge.tts.normalization.english_words import (
    ABBREVIATIONS,
    CURRENCIES,
    MONTH_OF,
    SAID_AS_WORDS,
    STATES,
    UNITS,
    WEEKDAY_OF,
    WORDS,
)

_TELEPHONE: Final = (
    r"(?<![\w+.,$€£-])(?:1[ .-])?(?:\(\d{3}\)[ .-]?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w/]|[.,-]\d)"
    r"|(?<![\w+.,$€£-])\(?0\d{2,5}\)?[ -]?\d{3,8}(?:[ -]\d{2,6}){0,3}(?![\w/-]|[.,]\d)"
    r"|(?<![\w+.,$€£-])\d{3}[ .-]\d{4}(?![\w/-]|[.,]\d)"
    r"|(?<![\w+.,$€£-])\d{2}(?:[ .-]\d{2}){4}(?![\w/-]|[.,]\d)"
)
_COUNTED: Final = re.compile(
    r"\s?(?:[€£$¥₹%°]|(?:percent|million|thousand|hundred|billion|dollars?|euros?|people|or so)\b"
    rf"|(?:{any_of(unit for unit in UNITS if unit.isalpha())})\b)"
)
_PLURAL: Final = re.compile(
    r" (?!(?:is|was|has|does|this|its|as|ships|shows|arrives|goes|comes|needs|expires|works|plus|yes|always|us|means|"
    r"matches|belongs|begins|starts|ends|says|looks|exists|gets|makes|across|unless|thus|perhaps)\b)[a-z]{2,}s\b"
)
_NAMED: Final = re.compile(r"(?:\b(?:code|number|room|flight|gate|pin|zip|id|extension|error|port|bus|[A-Z]{2})|#) ?$")
"""Directly in front of digits: then a word behind that looks like a plural is a verb ("room 304 opens")."""
_YEAR_WORD: Final = re.compile(
    r"\b(?:in|of|since|from|by|during|until|till|before|after|year|around|to|and|for)\s$", re.IGNORECASE
)
_NOT_CODE: Final = re.compile(
    r"\b(?:number of|in order to|order of|call of|numbers? from|about|around|over|nearly)\b", re.I
)


def _is_code(match: Match[str]) -> bool:
    """Whether digits are a name: a code, a ZIP, an order number. Amounts and years behind such words are not."""
    text = match[0]
    count = sum(c.isdigit() for c in text)
    if count < 3 or _COUNTED.match(after(match)):
        return False
    groups = re.split(r"[ -]", text)
    if len(groups) > 1 and _is_group_of_digits(groups, text):
        return True
    if not in_digit_context(match, WORDS) or _NOT_CODE.search(before(match)):
        return False
    if len(groups) == 1:
        if count == 4 and 1900 <= int(text) < 2100 and _YEAR_WORD.search(before(match)):
            return False
        return count >= 7 or not _PLURAL.match(after(match)) or _NAMED.search(before(match)) is not None
    return all(len(group) >= 2 or len(groups) > 2 for group in groups)


def _is_group_of_digits(groups: list[str], text: str) -> bool:
    """Groups that no amount has: an ISBN, a social security number, a serial."""
    if "-" in text:
        years = len(groups) == 2 and all(len(group) == 4 and 1100 <= int(group) < 2100 for group in groups)
        return not years and (len(groups) > 2 or all(len(group) > 3 for group in groups) or groups[0].startswith("0"))
    return any(len(group) > 1 and group.startswith("0") for group in groups) or (
        len(groups) > 2 and all(len(group) > 2 for group in groups) and not all(len(g) == 3 for g in groups[1:])
    )


def _spaced_thousands(match: Match[str]) -> str | None:
    """`10 000 km`, as ISO 31 groups digits."""
    if not (match[0].endswith("000") or re.match(r" ?[a-z]{1,}", after(match))):
        return say_digits(match[0], WORDS)
    return cardinal(int(match[0].replace(" ", "")))


def _zip(match: Match[str]) -> str | None:
    state = STATES.get(match[1])
    return f"{state.replace('_', ' ')} {say_digits(match[2], WORDS)}" if state else None


def _extension(match: Match[str]) -> str:
    return f", extension {say_digits(match[1], WORDS)}"


def _vanity(match: Match[str]) -> str:
    """`1-800-FLOWERS`."""
    return f"{say_digits(match[1], WORDS)}, {match[2].capitalize()}"


def _postcode(match: Match[str]) -> str:
    return spell(match[0], WORDS)


def _abbreviation(match: Match[str]) -> str | None:
    form = match[0]
    said = ABBREVIATIONS[form]
    if form == "etc." and re.match(r"\s+[A-Z]", after(match)):
        return f"{said}."
    if form in ("Mar.", "Sat.", "min.", "sec.", "ed.", "est.", "al.", "Ct.", "Pl.", "Fl.", "max.", "ref.", "temp."):
        return said if re.match(r"\s*(?:[\d,]|[a-z]|\s[A-Z]|$)", after(match)) else None
    return said


def _saint(match: Match[str]) -> str:
    return "Saint" if re.match(r"\s+[A-Z]", after(match)) and not _STREET.search(before(match)) else "Street"


_STREET: Final = re.compile(r"(?:\d(?:st|nd|rd|th)|\d+ [NSEW]?\.? ?(?:[A-Z][a-z]+ )*[A-Z][a-z]+|Main|Elm|Oak) $")
_PAGES: Final = {"p.": "page", "pp.": "pages", "P.": "page"}
_STARTERS: Final = re.compile(
    r" (?:The|It|This|We|I|You|He|She|They|Then|And|But|In|On|At|If|So|That|There|What|How|Would|Do|Is|Are|Please|My"
    r"|Your|A|An|For|Or|When|Where|Why|Let|Now|Yes|No|Our|Its|These|Those|To|As|With|After|Before|Can|Could|Should)\b"
)


def _initial(match: Match[str]) -> str | None:
    """`J.` in `J. K. Rowling`: no end of a sentence."""
    return match[1] if not _STARTERS.match(after(match)) else None


def _dotted_capitals(match: Match[str]) -> str:
    """`U.S.`, `i.e.` is an abbreviation."""
    return " ".join(match[0].replace(".", "").upper())


def _capitals(match: Match[str]) -> str:
    word, ending = match[1], match[2] or ""
    if word in SAID_AS_WORDS or len(word) > 5:
        return f"{word}{ending}"
    said = say_letters(word, WORDS)
    return f"{said}'s" if ending else said


def _joined_capitals(match: Match[str]) -> str:
    """`AT&T`, `R&B`, `Q&A`."""
    return f"{say_letters(match[1], WORDS)} and {say_letters(match[2], WORDS)}" + ("'s" if match[3] else "")


def _letters_and_number(match: Match[str]) -> str | None:
    """`B12`, `CO2`, `F16`, `COVID19`, `4K`: letters, then the number as one."""
    word = match[1]
    said = word if word in SAID_AS_WORDS or len(word) > 5 else say_letters(word, WORDS)
    digits = match[2]
    if len(digits) == 4 and 1900 <= int(digits) < 2100:  # `FY2024`
        return f"{said} {year(int(digits))}"
    number = say_digits(digits, WORDS) if digits.startswith("0") or len(digits) > 2 else cardinal(int(digits))
    return f"{said} {number}"


def _number_and_letters(match: Match[str]) -> str:
    digits = match[1]
    number = say_digits(digits, WORDS) if digits.startswith("0") or len(digits) > 2 else cardinal(int(digits))
    return f"{number} {say_letters(match[2], WORDS)}"


def _ticker(match: Match[str]) -> str:
    return say_letters(match[1], WORDS)


def _word_rules() -> list[Rule]:
    return [
        Rule("abbreviation", rf"(?<![\w.])(?:{any_of(ABBREVIATIONS)})(?![\w/])", _abbreviation, "a"),
        Rule("saint", r"(?<!\w)St\.", _saint, "a"),
        Rule("street", r"(?<=[a-zhd] )(St|Ave|Rd|Dr|Ln|Ct)(?=[,.]|$)", lambda m: _WAYS[m[1]], "a"),
        Rule("pages", r"(?<!\w)(pp?\.|P\.) ?(?=\d)", lambda m: _PAGES[m[1]], "a"),
        Rule("net", r"(?<=\w)\.(?=[A-Z]{2})|\.(?=NET\b)", lambda m: "dot", "."),
        Rule("dotted", r"(?<![\w.])(?:[A-Za-z]\.){2,8}(?=\s|$|[,;:?!)'-])", _dotted_capitals, "a"),
        Rule("initial", r"(?<![\w.])([A-Z])\.(?= [A-Z])(?<=^.\.)", _initial, "a"),
        Rule("initial", r"(?<![\w.])([A-Z])\.(?= [A-Z])(?<=[A-Z]\. .\.)", _initial, "a"),
        Rule("initial", r"(?<![\w.])([A-Z])\.(?= [A-Z]\. )", _initial, "a"),
        Rule("initial", r"(?<![\w.])(?<=[a-z] )([A-Z])\.(?= [A-Z][a-z])", _middle_initial, "a"),
        Rule("joined", r"(?<!\w)([A-Z]{1,3})&([A-Z]{1,3})(s?)(?!\w)", _joined_capitals, "a"),
        Rule("letters_number", r"(?<!\w)([A-Z]{1,5})(\d{1,4})(?!\w)", _letters_and_number, "a"),
        Rule("number_letters", r"(?<![\w.,])(\d{1,5})([A-Z]{1,3})(?!\w)", _number_and_letters, "1"),
        Rule("capitals", r"(?<!\w)([A-Z]{2,40})('?s)?(?!\w)", _capitals, "a"),
        Rule("ticker", r"(?<!\w)\$([A-Z]{1,5})(?!\w)", _ticker, "."),
    ]


_WAYS: Final = {"St": "Street", "Ave": "Avenue", "Rd": "Road", "Dr": "Drive", "Ln": "Lane", "Ct": "Court"}


_LABELS: Final = frozenset(
    ("Plan", "Vitamin", "Type", "Option", "Class", "Grade", "Section", "Part", "Group", "Team", "Room", "Gate", "Hall")
)


def _middle_initial(match: Match[str]) -> str | None:
    """`John F. Kennedy`, but not `vitamin C. Kids ...`."""
    word = re.search(r"([^\W\d_]+) $", before(match))
    if word is None or not word[1][0].isupper() or word[1] in _LABELS or _STARTERS.match(after(match)):
        return None
    return match[1]


def _password(match: Match[str]) -> str | None:
    """`Xk9-Lm2` behind a word for a code."""
    text = match[0]
    if not in_digit_context(match, WORDS) or not re.search(r"\d", text) or not re.search(r"[A-Za-z]", text):
        return None
    return spell(text, WORDS) if len(re.findall(r"\d+|[A-Za-z]+", text)) > 2 else None


_NUMBER_RULES: Final = [
    Rule("extension", r"(?:(?<=\d)|(?<=\d[ ,])|(?<=\d, ))(?:ext\.?|x|extension) ?(\d{1,6})(?!\w)", _extension, "a."),
    Rule("zip", r"(?<!\w)([A-Z]{2}),? (\d{5}(?:-\d{4})?)(?![\w-])", _zip, "a"),
    Rule("vanity", r"(?<![\w-])(1-8\d{2})-([A-Z]{4,9})(?!\w)", _vanity, "1"),
    Rule("postcode", r"(?<!\w)[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}(?!\w)", _postcode, "a"),
    Rule("postcode", r"(?<!\w)[A-Z]\d[A-Z] \d[A-Z]\d(?!\w)", _postcode, "a"),
]
_THOUSANDS: Final = Rule("thousands", r"(?<![\w.,-])\d{1,3}(?: \d{3}){1,5}(?![\w]|[ .,-]\d)", _spaced_thousands, "1")
_GRAMMAR: Final = Grammar(
    [
        *address_rules(WORDS),
        list_rule(WORDS),
        *date_rules(),
        *marked_amount_rules(),
        *_NUMBER_RULES,
        *code_rules(WORDS, _TELEPHONE, _is_code),
        Rule("password", r"(?<![\w-])[A-Za-z0-9]{2,40}(?:[-_][A-Za-z0-9]{1,40}){0,6}(?![\w-])", _password, "1a"),
        _THOUSANDS,
        *amount_rules(),
        *_word_rules(),
        *last_rules(WORDS),
    ],
    WORDS,
    frozenset(
        {form.rstrip(".") for form in (*ABBREVIATIONS, *MONTH_OF, *WEEKDAY_OF, *CURRENCIES, *_WAYS)}
        | {"version", "ver", "v", "no", "nos", "No", "Nos", "p", "pp", "ext", "extension", "x", "am", "pm", "Am", "Pm"}
    ),
)


def speakable(text: str) -> str:
    """`See you at 3:30 pm on 11/24/2026.` -> `See you at three thirty P M on November twenty fourth, ...`."""
    return _GRAMMAR.speak(_SHOUTED.sub(_lower, text) if _is_shouted(text) else text)


_SHOUTED: Final = re.compile(r"(?<![\w@./#$&-])[A-Z]+(?:'[A-Z]+)*(?![\w@/#&-])")


def _is_shouted(text: str) -> bool:
    """A text in capitals is not spelled: capitals are letters only if the rest of the text is not in capitals."""
    if not text.isupper():
        return False
    words = _SHOUTED.findall(text)
    return len(words) > 2 and any(word in SAID_AS_WORDS or len(word) > 5 for word in words)


def _lower(match: Match[str]) -> str:
    return match[0].capitalize() if match.start() == 0 else match[0].lower() if match[0] != "I" else "I"
