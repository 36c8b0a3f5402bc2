"""Rules of American English for money, and the forms of numbers that amounts have."""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after, any_of, before
from antiphon.inference_bridge.tts.normalization.english_numbers import cardinal, decimal, digits
from antiphon.inference_bridge.tts.normalization.english_words import CURRENCIES, PER, SCALES, SMALL_MONEY, Currency

AMOUNT: Final = (
    r"(?:\d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,30})?|\d{1,3}(?:\.\d{3}){1,6},\d{1,2}|\d{1,3}(?:\.\d{3}){2,6}"
    r"|\d{1,3}(?:'\d{3}){1,6}(?:[.,]\d{1,30})?|\d{1,2}(?:,\d{2}){1,6},\d{3}(?:\.\d{1,30})?"
    r"|\d{1,3}(?: \d{3}){1,6}[.,]\d{2}(?!\d)|\d{1,3}(?: \d{3}){0,5}(?: 000)(?![ \d])"
    r"|\d{1,40}(?:\.\d{1,40}|,\d{1,2}(?![\d,]))?|\.\d{1,20})"
)
"""A number with marks: `1,234.56`, `1.234,56`, `1'234.50`, `1,00,000`, `27,50`, `.5`."""


def number(written: str) -> str:
    """The number of an `AMOUNT` as digits with a decimal point: `1.234,56` -> `1234.56`."""
    text = written.replace("'", "").replace(" ", "")
    if re.fullmatch(r"\d+(?:\.\d{3})*,\d{1,2}", text):
        text = text.replace(".", "").replace(",", ".")
    elif text.count(".") > 1:
        text = text.replace(".", "")
    return text.replace(",", "")


def followed_by(characters: str) -> str:
    """A pattern that looks ahead for a number with one of these behind it.

    Most numbers have none: one look costs less than to try each currency and each unit.
    """
    one = r"[\d.,']{1,60}(?: \d{3}(?!\d)[.,\d]{0,40}){0,6}"
    return rf"(?=[-+±~≈]?{one}(?: ?- ?{one})?[ -]?[{re.escape(characters)}])"


_SIGNS: Final = any_of(sign for sign in CURRENCIES if not sign[-1].isalnum() or sign == "Rs")
_CODES: Final = any_of(sign for sign in CURRENCIES if sign[-1].isalnum() or sign == "kr.")
_LONG_SCALES: Final = any_of(word for word in SCALES if len(word) > 2)
_SHORT_SCALES: Final = any_of(word for word in SCALES if len(word) < 3)
SCALE: Final = rf"(?: ?(?:{_LONG_SCALES})|{_SHORT_SCALES})(?!\w)"
_MONEY_SCALE: Final = rf"(?:{SCALE}| (?:M|B|K|bn|mn|k)(?!\w)|[MBk](?=[$€£]))"
PER_UNIT: Final = rf"(?:/ ?(?:{any_of(PER)})(?!\w))"


def _money(amount: str, scale: str | None, currency: Currency) -> str:
    """`12.50` -> `twelve dollars and fifty cents`."""
    text = number(amount)
    if currency.one == "euro" and re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", text):
        text = text.replace(".", "")  # as most countries with euros group digits
    if scale:
        return f"{decimal(text)} {SCALES[scale.strip()]} {currency.many}"
    whole, _, part = text.partition(".")
    if len(part) not in (0, 2) or (part and not currency.cents and int(part)) or len(whole) > 15:
        return f"{decimal(text)} {currency.many}"
    units, hundredths = int(whole or 0), int(part or 0)
    words = []
    if units or not hundredths:
        words.append(f"{cardinal(units)} {currency.one if units == 1 else currency.many}")
    if hundredths:
        words.append(f"{cardinal(hundredths)} {currency.cent if hundredths == 1 else currency.cents}")
    return " and ".join(words)


SIGN_WORD: Final = {"-": "minus ", "+": "plus ", "±": "plus or minus ", "~": "about ", "≈": "about ", None: "", "": ""}


def priced(said: str, per: str | None) -> str:
    if not per or "/" not in per:
        return said
    unit = PER[per[1:].strip()]
    return f"{said} each" if unit == "each" else f"{said} per {unit}"


ARTICLE: Final = re.compile(r"\b(?:an?|the|this|that|your|my|our|per|each|every) $")
_NOTES: Final = re.compile(r" (?:bills?|notes?|coins?)\b")
DESCRIBED: Final = re.compile(
    r" (?!(?:is|was|are|were|to|for|in|and|or|per|of|on|at|that|which|will|has|had|have|you|from|as|but|if|when|with|by"
    r"|a|an|the|we|they|it|each|off|more|less|than|plus|away|ago|long|wide|tall|high|deep|thick|old)\b)[a-z]"
)
"""A word that an amount in front describes: "a five dollar bill", "a ten kilometer run"."""


def _currency_first(match: Match[str]) -> str | None:
    """`$20`, `-$50`, `US$5`, `USD 5`, `$1.5M`, `$20-$30`, `$5/month`."""
    outer, sign, inner, amount, scale, second, scale2, per = match.groups()
    currency = CURRENCIES[sign]
    front = SIGN_WORD[outer if outer in SIGN_WORD and outer else inner]
    if second is None:
        said = _money(amount, scale, currency)
        if _NOTES.match(after(match)) or (ARTICLE.search(before(match)) and DESCRIBED.match(after(match))):
            said = re.sub(rf"\b{currency.many}$", currency.one, said)
        return priced(front + said, per)
    if scale2 and not scale and float(number(amount)) < 1000:
        scale = scale2
    first_number, second_number = number(amount), number(second)
    if "." not in first_number + second_number and scale == scale2:
        many = f" {SCALES[scale.strip()]}" if scale else ""
        return priced(f"{front}{cardinal_of(first_number)} to {cardinal_of(second_number)}{many} {currency.many}", per)
    return priced(f"{front}{_money(amount, scale, currency)} to {_money(second, scale2, currency)}", per)


def cardinal_of(text: str) -> str:
    """Digits as a number; one by one if they are too many."""
    return cardinal(int(text)) if len(text) <= 15 else digits(text)


def _currency_last(match: Match[str]) -> str:
    """`20€`, `27,50 €`, `5 USD`, `20-30 €`."""
    sign, first, amount, scale, currency, per = match.groups()
    front = SIGN_WORD[sign]
    if first:
        front += f"{decimal(number(first))} to "
    return priced(front + _money(amount, scale, CURRENCIES[currency]), per)


def _small_money(match: Match[str]) -> str:
    one, many = SMALL_MONEY[match[2]]
    text = number(match[1])
    return f"{decimal(text)} {one if text == '1' else many}"


def money_rules() -> list[Rule]:
    """To be put in front of codes."""
    signs = "".join(sorted({sign[0] for sign in (*CURRENCIES, *SCALES)}))
    return [
        Rule(
            "money",
            rf"(?<![A-Za-z0-9_.%°€£$])(?:([-+±~≈]) ?)?({_SIGNS}|(?:{_CODES})(?= ?[-\d]))"
            rf" ?([-+])?({AMOUNT})({_MONEY_SCALE})?"
            rf"(?: ?(?:-|to) ?(?:{_SIGNS})?({AMOUNT})({_MONEY_SCALE})?)?"
            rf"({PER_UNIT}|(?: (?:dollars?|euros?|pounds?)(?!\w)))?",
            _currency_first,
            "a.",
        ),
        Rule(
            "money",
            rf"(?<![\w.,%°€£$]){followed_by(signs)}([-+±~≈])?(?:({AMOUNT}) ?- ?)?({AMOUNT})({_MONEY_SCALE})?"
            rf" ?({_SIGNS}|(?:{_CODES})(?!\w))({PER_UNIT})?",
            _currency_last,
            "1.",
        ),
        Rule("money", rf"(?<![\w.,])({AMOUNT})(¢|(?<!\d{{3}})p(?!\w))", _small_money, "1"),
    ]
