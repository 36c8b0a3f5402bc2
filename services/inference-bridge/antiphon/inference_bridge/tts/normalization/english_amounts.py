"""Rules of American English for amounts: money, units, ranges, fractions, ordinals, Roman numerals, plain numbers."""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after, any_of, before
from antiphon.inference_bridge.tts.normalization.english_numbers import cardinal, decimal, digits, ordinal, year
from antiphon.inference_bridge.tts.normalization.english_words import (
    CURRENCIES,
    GLUED_UNITS,
    MONTH_OF,
    PER,
    SCALES,
    SMALL_MONEY,
    UNITS,
    Currency,
)

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


_SIGNS: Final = any_of(sign for sign in CURRENCIES if not sign[-1].isalnum() or sign == "Rs")
_CODES: Final = any_of(sign for sign in CURRENCIES if sign[-1].isalnum() or sign == "kr.")
_LONG_SCALES: Final = any_of(word for word in SCALES if len(word) > 2)
_SHORT_SCALES: Final = any_of(word for word in SCALES if len(word) < 3)
_SCALE: Final = rf"(?: ?(?:{_LONG_SCALES})|{_SHORT_SCALES})(?!\w)"
_PER: Final = rf"(?:/ ?(?:{any_of(PER)})(?!\w))"


def _money(amount: str, scale: str | None, currency: Currency) -> str:
    """`12.50` -> `twelve dollars and fifty cents`."""
    text = number(amount)
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


_SIGN_WORD: Final = {"-": "minus ", "+": "plus ", "±": "plus or minus ", "~": "about ", "≈": "about ", None: "", "": ""}


def _priced(said: str, per: str | None) -> str:
    if not per:
        return said
    unit = PER[per[1:].strip()]
    return f"{said} each" if unit == "each" else f"{said} per {unit}"


_ARTICLE: Final = re.compile(r"\b(?:an?|the|this|that|your|my|our|per|each|every) $")
_NOTES: Final = re.compile(r" (?:bills?|notes?|coins?)\b")
_PRICED_THING: Final = re.compile(
    r" (?:bills?|notes?|coins?|gift|fee|deposit|coupon|discount|voucher|refund|credit|charge|ticket|minimum|limit|bonus"
    r"|fine|budget|tip|donation|copay|copayment|late|service|invoice|meal|prize|card)\b"
)
"""What an amount in front describes: "a five dollar bill"."""


def _currency_first(match: Match[str]) -> str | None:
    """`$20`, `-$50`, `US$5`, `USD 5`, `$1.5M`, `$20-$30`, `$5/month`."""
    outer, sign, inner, amount, scale, second, scale2, per = match.groups()
    currency = CURRENCIES[sign]
    front = _SIGN_WORD[outer if outer in _SIGN_WORD and outer else inner]
    if second is None:
        said = _money(amount, scale, currency)
        if _PRICED_THING.match(after(match)) and (_ARTICLE.search(before(match)) or _NOTES.match(after(match))):
            said = re.sub(rf"\b{currency.many}$", currency.one, said)
        return _priced(front + said, per)
    if scale2 and not scale and float(number(amount)) < 1000:
        scale = scale2
    first_number, second_number = number(amount), number(second)
    if "." not in first_number + second_number and scale == scale2:
        many = f" {SCALES[scale.strip()]}" if scale else ""
        return _priced(f"{front}{cardinal_of(first_number)} to {cardinal_of(second_number)}{many} {currency.many}", per)
    return _priced(f"{front}{_money(amount, scale, currency)} to {_money(second, scale2, currency)}", per)


def cardinal_of(text: str) -> str:
    """Digits as a number; one by one if they are too many."""
    return cardinal(int(text)) if len(text) <= 15 else digits(text)


def _currency_last(match: Match[str]) -> str:
    """`20€`, `27,50 €`, `5 USD`, `20-30 €`."""
    sign, first, amount, scale, currency, per = match.groups()
    front = _SIGN_WORD[sign]
    if first:
        front += f"{decimal(number(first))} to "
    return _priced(front + _money(amount, scale, CURRENCIES[currency]), per)


def _small_money(match: Match[str]) -> str:
    one, many = SMALL_MONEY[match[2]]
    text = number(match[1])
    return f"{decimal(text)} {one if text == '1' else many}"


def _unit(match: Match[str]) -> str | None:
    """`10 km`, `-5°C`, `5-10%`."""
    sign, first, amount, scale, gap, unit, per = match.groups()
    if gap and (unit in GLUED_UNITS):
        return None
    one, many = UNITS[unit]
    text = number(amount)
    front = _SIGN_WORD[sign]
    if first:
        front += f"{decimal(number(first))} to "
    said = f"{decimal(text)} {SCALES[scale.strip()]}" if scale else decimal(text)
    name = one if text == "1" and not first and not scale else many
    return _priced(f"{front}{said} {name}", per)


def _feet(match: Match[str]) -> str:
    feet, inches = int(match[1]), match[2]
    said = f"{cardinal(feet)} {'foot' if feet == 1 or inches else 'feet'}"
    return said + (f" {decimal(number(inches))}" if inches else "")


def _inches(match: Match[str]) -> str | None:
    """`27"`, unless the sign closes a quotation."""
    if match[0].endswith('"') and before(match, 300).count('"') % 2:
        return None
    text = number(match[1])
    one = text == "1" or match[2] or (_ARTICLE.search(before(match)) and re.match(r" [a-z]", after(match)))
    return f"{decimal(text)} {'inch' if one else 'inches'}"


def _arc(match: Match[str]) -> str:
    said = f"{cardinal(int(match[1]))} degrees {cardinal(int(match[2]))} minutes"
    return said + (f" {decimal(match[3])} seconds" if match[3] else "")


def _scaled(match: Match[str]) -> str | None:
    """`20k`, `1.5M`, `3 bn`."""
    sign, amount, scale = match.groups()
    if scale == "K" and amount in ("2", "4", "5", "6", "8"):
        return f"{cardinal(int(amount))} K"
    if scale in ("m", "b", "T", "mm", "mil", "cr") or (
        scale == "B" and amount.isdigit() and not re.match(r" [a-z]", after(match))
    ):
        return None
    return f"{_SIGN_WORD[sign]}{decimal(number(amount))} {SCALES[scale.strip()]}"


_PARTS: Final = {2: "half", 4: "quarter"}


def _fraction(match: Match[str]) -> str | None:
    """`3/4`, `1 1/2`, `8/10`, `120/80`."""
    whole, top, bottom = match[1], int(match[2]), int(match[3])
    if (match[2], match[3]) in (("24", "7"), ("9", "11"), ("50", "50"), ("20", "20")) and not whole:
        return f"{cardinal(top)} {cardinal(bottom)}"
    if re.match(r" (?:stars?|points?)\b", after(match)) or (bottom in (10, 100) and not whole and 1 < top <= bottom):
        return f"{cardinal(top)} out of {cardinal(bottom)}"
    if top < bottom and (2 <= bottom <= 9 or bottom in (10, 12, 16, 20, 32, 64, 100)):
        part = _PARTS.get(bottom) or ordinal(bottom)
        if top != 1:
            part = "halves" if bottom == 2 else f"{part}s"
        said = f"{cardinal(top)} {part}"
        return f"{cardinal_of(whole)} and {said}" if whole else said
    if whole:
        return None
    return f"{cardinal(top)} over {cardinal(bottom)}"


def _rating(match: Match[str]) -> str:
    return f"{decimal(match[1])} out of {cardinal(int(match[2]))}"


def _ordinal(match: Match[str]) -> str:
    text = match[1].replace(",", "")
    return ordinal(int(text)) if len(text) < 10 else digits(text)


def _side_length(text: str) -> str:
    """`1080` -> `ten eighty`, as screens are called."""
    if len(text) == 4 and text.isdigit() and text[1:] != "000" and text[2] != "0" and text[0] != "0":
        return f"{cardinal(int(text[:2]))} {cardinal(int(text[2:]))}"
    return plain_number(text)


def _dimensions(match: Match[str]) -> str:
    numbers = [_side_length(part) for part in re.split(r" ?[x×] ?", match[0])]
    word = "times" if re.match(r"\s?(?:=|≈|is\b)", after(match)) else "by"
    return f" {word} ".join(numbers)


def _ratio(match: Match[str]) -> str:
    return " to ".join(plain_number(part) for part in match[0].split(":"))


def _power(match: Match[str]) -> str:
    exponents = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
    text = match[0].lstrip("^").strip("()").translate(exponents)
    if text in ("2", "3"):
        return "squared" if text == "2" else "cubed"
    return f"to the power of {_SIGN_WORD.get(text[:1], '')}{plain_number(text.lstrip('+-'))}"


def _scientific(match: Match[str]) -> str:
    sign, mantissa, exponent_sign, exponent = match.groups()
    power = f"{'minus ' if exponent_sign == '-' else ''}{cardinal_of(exponent)}"
    return f"{_SIGN_WORD[sign]}{decimal(mantissa)} times ten to the power of {power}"


_ROMAN: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_ROMAN_FORM: Final = r"(?=[IVXLC])(?:C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_NUMBERED: Final = (
    "Chapter|Part|Act|Volume|Section|Book|Article|Appendix|Type|Phase|Stage|Level|Grade|Class|War|Bowl|Title|Tier|Round"
    "|Episode|Season|Figure|Table|Unit|Mark|Schedule|Annex|Division|Scene|chapter|part|act|volume|section|type|phase"
    "|stage|level|grade|class|article|appendix|Olympiad|Symphony"
)
_RULERS: Final = (
    "Henry|Louis|Charles|Elizabeth|George|William|Edward|Richard|James|John|Paul|Benedict|Pius|Leo|Gregory|Philip"
    "|Napoleon|Nicholas|Alexander|Catherine|Peter|Frederick|Wilhelm|Francis|Clement|Innocent|Urban|Mary|Felipe|Carlos"
    "|Harald|Gustaf|Rama|Haakon|Christian|Albert|Ivan|Otto|Umberto|Victor|Emmanuel|Ferdinand|Joseph|Leopold|Ramses"
)


def _roman(numeral: str) -> int:
    values = [_ROMAN[c] for c in numeral]
    return sum(-v if v < max(values[i + 1 :], default=0) else v for i, v in enumerate(values))


def plain_number(text: str) -> str:
    """A number without a unit; four digits that may be a year are said as one."""
    if text.isdigit():
        if (len(text) > 1 and text[0] == "0") or len(text) > 15:
            return digits(text)
        if len(text) == 4 and 1100 <= int(text) < 2100:
            return year(int(text))
    return decimal(text)


def _number(match: Match[str]) -> str:
    """What no other rule took. Five digits and more in a row without marks are a name, unless they are round or count
    something: a caller who writes them down needs each."""
    sign, written = match[1], match[2]
    text = number(written)
    front = _SIGN_WORD[sign]
    if written.isdigit() and len(written) >= 5 and not sign:
        counts = re.match(r" [a-z]{3,}s\b| (?:people|men|women|children|percent)\b", after(match))
        if not (written.endswith("00") or counts) or len(written) > 9:
            return digits(written)
    return front + plain_number(text)


_ENDS_AMOUNT: Final = re.compile(r"(?:[\d%°\"'€£$¢]|\d ?[A-Za-z²³°/]{1,5}) ?$")


def _minus_or_to(match: Match[str]) -> str | None:
    """A dash between amounts: a range, but in an equation a minus. In front of one: its sign, or a hyphen."""
    if not _ENDS_AMOUNT.search(before(match, 10)):
        return None
    near = f"{before(match, 20)}{after(match, 20)}"
    return "minus" if re.search(r"[=×÷+*]", near) else "to"


_MATHS: Final = {
    "×": "times", "÷": "divided by", "*": "times", "+": "plus", "=": "equals", "<": "less than", ">": "greater than",
    "≤": "less than or equal to", "≥": "greater than or equal to", "<=": "less than or equal to",
    ">=": "greater than or equal to", "!=": "is not equal to", "==": "equals", "≠": "is not equal to",
    "≈": "is about", "±": "plus or minus", "√": "the square root of", "∞": "infinity", "π": "pi", "∑": "the sum of",
    "∆": "delta", "§": "section", "©": "copyright", "→": "to", "↔": "to and from", "←": "from", "⇒": "so", "->": "to",
    "=>": "to", "-->": "to", "¢": "cents", "°": "degrees", "º": "degrees", "%": "percent",
}  # fmt: skip


def marked_amount_rules() -> list[Rule]:
    """Amounts that their sign or unit gives away, to be put in front of codes: `500MB`, `101st`, `1920x1080`."""
    units = any_of(UNITS)
    return [
        Rule(
            "money",
            rf"(?<![\w.])(?:([-+±~≈]) ?)?({_SIGNS}|(?:{_CODES})(?= ?[-\d])) ?([-+])?({AMOUNT})({_SCALE})?"
            rf"(?: ?(?:-|to) ?(?:{_SIGNS})?({AMOUNT})({_SCALE})?)?({_PER})?",
            _currency_first,
            "a.",
        ),
        Rule(
            "money",
            rf"(?<![\w.,])([-+±~≈])?(?:({AMOUNT}) ?- ?)?({AMOUNT})({_SCALE})? ?({_SIGNS}|(?:{_CODES})(?!\w))({_PER})?",
            _currency_last,
            "1.",
        ),
        Rule("money", rf"(?<![\w.,])({AMOUNT})(¢|p(?!\w))", _small_money, "1"),
        Rule("feet", r"(?<![\w.])(\d{1,3})' ?(\d{1,2}(?:\.\d)?)\"", _feet, "1"),
        Rule("feet", r"(?<![\w.'])(\d{1,3})'(?![\w'])()", _feet, "1"),
        Rule("inches", rf"(?<![\w.\"])({AMOUNT})(?:\"(?=[\s,.;:!?)-]|$)|(?:-in|in)\b(?![.])|-(inch)\b)", _inches, "1"),
        Rule("arc", r"(?<![\w.])(\d{1,3})[°º] ?(\d{1,2})' ?(?:(\d{1,2}(?:\.\d{1,6})?)\")?", _arc, "1"),
        Rule("side", r"(?<=[°º\"'])([NSEW])\b|(?<=[°º] )([NSEW])\b", lambda m: _side_of(m[0]), "a"),
        Rule(
            "unit",
            rf"(?<![\w.,])([-+±~≈])?(?:({AMOUNT}) ?- ?)?({AMOUNT})({_SCALE})?( |-)?({units})(?![\w²³/])({_PER})?",
            _unit,
            "1.",
        ),
        Rule("scaled", rf"(?<![\w.,])([-+±~≈])?({AMOUNT})({_SCALE})", _scaled, "1."),
        Rule("scientific", r"(?<![\w.])([-+])?(\d{1,15}(?:\.\d{1,15})?)[eE]([-+])?(\d{1,3})(?!\w)", _scientific, "1."),
        Rule("dimensions", rf"(?<![\w.,]){AMOUNT} ?[x×] ?{AMOUNT}(?: ?[x×] ?{AMOUNT})?(?!\w)", _dimensions, "1"),
        Rule("times", rf"(?<![\w.,])({AMOUNT})[x×](?!\w)", lambda m: f"{decimal(number(m[1]))} times", "1"),
        Rule("ordinal", r"(?<![\w.])(\d{1,3}(?:,\d{3}){1,4}|\d{1,30})(?:st|nd|rd|th)(?!\w)", _ordinal, "1"),
    ]


def amount_rules() -> list[Rule]:
    """To be put behind codes."""
    return [
        Rule("rating", r"(?<![\w./])(\d{1,3}\.\d)/(5|10|100)(?![\w/]|[.,]\d)", _rating, "1"),
        Rule("fraction", r"(?<![\w./])(?:(\d{1,5})[ -])?(\d{1,4})/(\d{1,4})(?![\d/]|[.,]\d)", _fraction, "1"),
        Rule("ratio", r"(?<![\w.:])\d{1,6}(?::\d{1,6}){1,2}(?![\w:])", _ratio, "1"),
        Rule(
            "roman",
            rf"(?<=[a-z] )(?:{_ROMAN_FORM})(?!\w)",
            _roman_numeral,
            "a",
        ),
        Rule("power", r"(?<=[\w)])(?:\^\(?[-+]?\d{1,6}\)?|[⁻⁺]?[⁰¹²³⁴-⁹]{1,6})", _power, "."),
        Rule("number_sign", r"(?<!\w)(?:No\.|no\.|Nos\.|Nr\.|#) ?(?=\d)", lambda m: "number", "a."),
        Rule("compared", r"(?<=[\w)] )(<=|>=|<|>|≤|≥)(?= )", lambda m: f"is {_COMPARING[m[1]]}", "."),
        Rule("less", r"(?<![\w<])(<=|>=|<|>|≤|≥|~|≈) ?(?=[\d$€£¥.])", lambda m: _COMPARED[m[1]], "."),
        Rule("to", rf"- ?(?=[$€£¥₹]?\.?\d|(?:{any_of(MONTH_OF)})\.? \d)", _minus_or_to, "."),
        Rule("number", rf"(?<![\w.,])([-+±])?({AMOUNT})", _number, "1."),
        Rule("number", rf"()({AMOUNT})", _number, "1"),
        Rule("maths", any_of(_MATHS), lambda m: _MATHS[m[0]], "."),
    ]


_COMPARING: Final = {
    "<": "less than", ">": "greater than", "<=": "at most", ">=": "at least", "≤": "at most", "≥": "at least",
}  # fmt: skip
_COMPARED: Final = {
    "<": "less than", ">": "more than", "<=": "at most", ">=": "at least", "≤": "at most", "≥": "at least",
    "~": "about", "≈": "about",
}  # fmt: skip


def _side_of(letter: str) -> str:
    return {"N": "north", "S": "south", "E": "east", "W": "west"}[letter]


_LAST_WORD: Final = re.compile(r"([^\W\d_]+) $")


def _roman_numeral(match: Match[str]) -> str | None:
    """A Roman numeral behind `Henry`, `Chapter`, or with two signs and more behind a name."""
    word = _LAST_WORD.search(before(match))
    if word is None:
        return None
    if re.fullmatch(_RULERS, word[1]) and (len(match[0]) > 1 or match[0] in "VX"):
        return f"the {ordinal(_roman(match[0]))}"
    if re.fullmatch(_NUMBERED, word[1]):
        return cardinal(_roman(match[0])) if match[0] != "C" and match[0] != "L" else None
    if (
        word[1][0].isupper()
        and not word[1].isupper()
        and re.fullmatch(r"II|III|IV|VI|VII|VIII|IX|XI|XII|XIII", match[0])
    ):
        return cardinal(_roman(match[0]))
    return None
