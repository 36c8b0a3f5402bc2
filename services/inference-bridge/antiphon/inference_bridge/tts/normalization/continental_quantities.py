"""Rules for money, units, percent, ranges, fractions, ratios and plain numbers, for any `Locale`. Pure."""

from __future__ import annotations

import re
import unicodedata
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after, before
from antiphon.inference_bridge.tts.normalization.common_words import say_digits
from antiphon.inference_bridge.tts.normalization.continental import (
    FREE,
    NUMBER,
    Locale,
    Noun,
    alternatives,
    full_stop,
    is_one,
    parsed,
    say_amount,
    say_cardinal,
    say_counted,
    say_sign,
)

_DASH: Final = r"[ ]?[-–][ ]?"
_SIGN: Final = r"([-+±])?"
_NONE: Final = Noun("", "")


def quantity_rules(locale: Locale) -> list[Rule]:
    """Numbers with a currency or a unit, alone or as a range."""
    currency = alternatives(locale.currencies)
    magnitude = alternatives({**locale.magnitudes, **dict.fromkeys(locale.thousand_signs)})
    unit = alternatives(locale.units)
    names = alternatives(tuple(name for name in locale.currencies if len(name) > 3 and name.isalpha()))
    linked = r"(?:[ ](?:de|di)[ ]|[ ]d'|[ ]?)"

    def money_in_front(match: Match[str]) -> str:
        sign, symbol, inner, low, low_size, high, size, _, code = match.groups()
        symbol = code if code in locale.currencies else symbol
        return f"{say_sign(sign or inner, locale)}{_say_money(low, high, size or low_size, symbol, locale)}"

    def money_behind(match: Match[str]) -> str:
        sign, low, high, size, symbol, cents = match.groups()
        low = f"{low},{cents}" if cents and "," not in low else low
        return f"{say_sign(sign, locale)}{_say_money(low, high, size, symbol, locale)}"

    def magnitude_alone(match: Match[str]) -> str | None:
        sign, low, high, size = match.groups()
        if len(size) < 3 and size.isupper():
            return None  # room 2B, 4K
        front = f"{say_sign(sign, locale)}{say_amount(low, locale)} {locale.to} " if high else say_sign(sign, locale)
        return f"{front}{_say_scaled(high or low, size, locale)}"

    def measured(match: Match[str]) -> str:
        sign, low, high, name = match.groups()
        noun = locale.units[name]
        if not high:
            return f"{say_sign(sign, locale)}{say_counted(low, noun, locale)}{full_stop(match)}"
        amounts = f"{say_amount(low, locale, noun.gender)} {locale.to} {say_amount(high, locale, noun.gender)}"
        return f"{say_sign(sign, locale)}{amounts} {noun.many}{full_stop(match)}"

    return [
        Rule(
            "money",
            rf"(?<![\w.,])([-+])?(?<![A-Za-z])({currency})[ ]?([-+])?({NUMBER})(?:[ ]?({magnitude})(?![^\W\d_]))?"
            rf"(?:{_DASH}(?:{currency})?[ ]?({NUMBER}))?(?:[ ]?({magnitude})(?![^\W\d_]))?((?:[.,][-–]{{1,2}})(?!\w))?"
            rf"(?:[ ]([A-Z]{{3}}|{names})(?!\w))?",
            money_in_front,
            "a.",
        ),
        Rule(
            "money",
            rf"{FREE}{_SIGN}({NUMBER})(?:[.,][-–]{{1,2}})?(?:{_DASH}({NUMBER}))?(?:[ ]?({magnitude}))?{linked}"
            rf"({currency})(?![^\W\d_])([0-9]{{2}}(?![0-9]))?",
            money_behind,
            "1.",
        ),
        Rule("currency", r"[€$£¥₹₽₩₪₺₴₱]", lambda m: locale.currencies.get(m[0], (_NONE, None))[0].many, "."),
        Rule(
            "magnitude",
            rf"{FREE}{_SIGN}({NUMBER})(?:{_DASH}({NUMBER}))?[ ]?({magnitude})(?![^\W_])",
            magnitude_alone,
            "1.",
        ),
        Rule(
            "measure",
            rf"{FREE}{_SIGN}({NUMBER})(?:{_DASH}({NUMBER}))?[ ]?({unit})(?![^\W_]|(?<=[a-z])/)",
            measured,
            "1.",
        ),
    ]


def rate_rules(locale: Locale) -> list[Rule]:
    """`€/kg`, `€/month`: in front of the rules for paths, which begin with a slash too."""
    currency, unit = alternatives(locale.currencies), alternatives(locale.units)

    def per(match: Match[str]) -> str | None:
        if not counted.search(before(match)):
            return None
        return f"{locale.per} {locale.units[match[1]].one}{full_stop(match)}" if match[1] else locale.per

    counted = re.compile(rf"[0-9 ](?:{currency}|{unit})$")

    return [
        Rule("per", rf"/[ ]?(?:({unit})(?![^\W_])|(?=[^\W\d_]))", per, "."),
    ]


def _say_money(low: str, high: str | None, size: str | None, symbol: str, locale: Locale) -> str:
    noun, hundredth = locale.currencies[symbol]
    amount = high or low
    front = f"{say_amount(low, locale, noun.gender, money=True)} {locale.to} " if high else ""
    if size:
        scaled = _say_scaled(amount, size, locale)
        linked = f" {noun.many}" if size in locale.thousand_signs else f" {locale.of(noun.many)}"
        return f"{front}{scaled}{linked}"
    whole, mark, decimals = parsed(amount, money=True)
    if not mark or len(decimals) > 2 or hundredth is None:
        name = noun.one if is_one(amount, locale) and not high else noun.many
        big = int(whole) >= 10**6 and int(whole) % 10**6 == 0 if len(whole) <= 15 else False
        return f"{front}{say_amount(amount, locale, noun.gender, money=True)} {locale.of(name) if big else name}"
    units, cents = int(whole[-15:]), int(decimals.ljust(2, "0"))
    small = f"{locale.count(cents, hundredth.gender)} {hundredth.one if cents == 1 else hundredth.many}"
    if not units and cents:
        return f"{front}{small}"
    name = noun.one if is_one(whole, locale) and not high else noun.many
    main = f"{front}{say_cardinal(whole, locale, noun.gender)} {name}"
    return f"{main} {locale.cents} {locale.count(cents, '')}".replace("  ", " ") if cents else main


def _say_scaled(amount: str, size: str, locale: Locale) -> str:
    if size in locale.magnitudes:
        noun = locale.magnitudes[size]
        whole, mark, _ = parsed(amount)
        if not mark and noun is locale.magnitudes["M"] and 1000 <= int(whole[-15:]) < 10**9:
            return locale.count(int(whole) * 10**6, "")
        return say_counted(amount, noun, locale, money=True)
    whole, _, decimals = parsed(amount)
    if len(whole) <= 12 and len(decimals) <= 3:
        return locale.count(int(whole + decimals.ljust(3, "0")), "")
    return f"{say_amount(amount, locale)} {locale.count(1000, '')}"


def number_rules(locale: Locale) -> list[Rule]:
    """Fractions, ratios, ranges and every other number; the last of a language's rules for digits."""

    version_word = re.compile(rf"(?<!\w)(?:{locale.version_words})[ ]$", re.IGNORECASE)
    uncounted = re.compile(rf"(?<!\w)(?:{locale.numbered}|{locale.linking})\.?[ ]$", re.IGNORECASE)

    def fraction(match: Match[str]) -> str | None:
        top, bottom = int(match[2]), int(match[3])
        if match[0] == "24/7":
            return f"{locale.count(24, '')} {locale.count(7, '')}"
        if not 0 < top < 100 or not 1 < bottom <= 100 or (top >= bottom and bottom > 10):
            return None
        return locale.fraction(int(match[1] or 0), top, bottom)

    def superscript(match: Match[str]) -> str:
        number = say_cardinal(unicodedata.normalize("NFKC", match[0]), locale)
        return f"{locale.power} {number}" if re.search(r"[\w)]$", before(match, 1)) else number

    def half(match: Match[str]) -> str | None:
        return locale.half(int(match[1] or 0), match[2])

    def measured_fraction(match: Match[str]) -> str | None:
        whole, top, bottom, noun = int(match[1] or 0), int(match[2]), int(match[3]), locale.units[match[4]]
        name = noun.many if whole > 1 else noun.one
        if not 0 < top < bottom <= 100:
            return None
        halves = locale.half(whole, name) if (top, bottom) == (1, 2) else None
        return halves or f"{locale.fraction(whole, top, bottom)} {name}"

    def season(match: Match[str]) -> str:
        return f"{locale.year(int(match[1]))} {locale.count(int(match[2]), '')}"

    def version(match: Match[str]) -> str | None:
        if not version_word.search(before(match)):
            return None
        return f" {locale.words.point} ".join(say_cardinal(part, locale) for part in match[0].split("."))

    def ratio(match: Match[str]) -> str:
        return f" {locale.ratio} ".join(say_amount(part, locale) for part in match[0].replace(" ", "").split(":"))

    def number_range(match: Match[str]) -> str | None:
        low, high = match[1], match[2]
        gender = locale.gender_of(after(match))
        if len(low) > 4 and len(high) > 4:
            return None
        if low.isdigit() and high.isdigit() and len(low) == 4:
            return f"{locale.year(int(low))} {locale.to} {locale.year(int(high))}"
        falling = int(parsed(low)[0]) > int(parsed(high)[0])
        if re.search(r" [-–] ", match[0]) and (falling or re.match(" ?=", after(match))):
            return f"{say_amount(low, locale)} {locale.minus} {say_amount(high, locale)}"
        return f"{say_amount(low, locale)} {locale.to} {say_amount(high, locale, gender)}"

    def times(match: Match[str]) -> str:
        return f"{say_amount(match[1], locale)} {locale.times} {say_amount(match[2], locale)}"

    def number(match: Match[str]) -> str:
        text = match[2]
        sign = match[1] if match[1] and not re.search(r"[\w.,)]$", before(match, 1)) else None
        behind = after(match)
        gender = "" if "," in text or uncounted.search(before(match)) else locale.gender_of(behind)
        if len(text) == 4 and text.isdigit() and text[0] != "0" and not gender:
            return f"{say_sign(sign, locale)}{locale.year(int(text))}"
        if text.isdigit() and len(text) > 4 and not _is_amount(text, behind):
            return f"{say_sign(sign, locale)}{say_digits(text, locale.words)}"
        return f"{say_sign(sign, locale)}{say_amount(text, locale, gender)}"

    return [
        Rule("version", rf"{FREE}[0-9]{{1,5}}(?:\.[0-9]{{1,5}}){{1,4}}(?!\w)", version, "1"),
        Rule("season", rf"{FREE}((?:1[5-9]|20)[0-9]{{2}})/([0-9]{{2}})(?![0-9/])", season, "1"),
        Rule(
            "fraction",
            rf"{FREE}(?:([0-9]{{1,3}})[ ])?([0-9]{{1,2}})/([0-9]{{1,3}})[ ]?({alternatives(locale.units)})(?![^\W_])",
            measured_fraction,
            "1",
        ),
        Rule("half", rf"{FREE}(?:([0-9]{{1,3}})[ ])?1/2[ ]([^\W\d_]{{3,30}})(?!\w)", half, "1"),
        Rule("fraction", rf"{FREE}(?:([0-9]{{1,4}})[ ])?([0-9]{{1,2}})/([0-9]{{1,3}})(?![0-9/])", fraction, "1"),
        Rule("sign", rf"(?:{alternatives(locale.math)})", lambda m: locale.math[m[0]], "."),
        Rule("compared", r"(?<=[\w)] )[<>](?= [\w(-])|[<>](?=[ ]?[0-9])", lambda m: locale.math[f"{m[0]}="], "."),
        Rule("power", r"(?<=[^\W_)])\^(?=[\w(-])", lambda m: locale.power, "."),
        Rule("power", r"[⁰¹²³⁴-⁹]{1,9}", superscript, "1a."),
        Rule("ratio", rf"{FREE}[0-9]{{1,4}}[ ]?:[ ]?[0-9]{{1,4}}(?![0-9:])", ratio, "1"),
        Rule("times", rf"{FREE}({NUMBER})[ ]?[x×][ ]?({NUMBER})(?![^\W_])", times, "1"),
        Rule("range", rf"{FREE}({NUMBER}){_DASH}({NUMBER})(?![\w–-])", number_range, "1"),
        Rule("number", rf"([-+±])?({NUMBER})", number, "1."),
    ]


def _is_amount(digits: str, behind: str) -> bool:
    """Five digits and more without groups are a code, unless they are round or count something."""
    if digits[0] == "0" or len(digits) > 12:
        return False
    return digits.endswith("000") or re.match(r"[ ][a-zà-ÿ]{4,}", behind) is not None


__all__ = ["Noun", "number_rules", "quantity_rules"]
