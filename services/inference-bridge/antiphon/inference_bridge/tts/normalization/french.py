"""Written French to text that a voice can speak: the words and the grammar of the language. Pure."""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule
from antiphon.inference_bridge.tts.normalization.common_words import Words
from antiphon.inference_bridge.tts.normalization.continental import Locale, Noun, full_stop, roman, say_counted
from antiphon.inference_bridge.tts.normalization.continental_codes import say_groups
from antiphon.inference_bridge.tts.normalization.continental_dates import is_date, month_pattern
from antiphon.inference_bridge.tts.normalization.continental_grammar import grammar
from antiphon.inference_bridge.tts.normalization.french_numbers import ONES, cardinal, ordinal
from antiphon.inference_bridge.tts.normalization.french_words import (
    ABBREVIATIONS,
    CLOSING,
    CURRENCIES,
    EMOJI,
    FEMININE,
    FEMININE_ENDINGS,
    FEMININE_NAMES,
    MAGNITUDES,
    MATH,
    MONTH_NAMES,
    MONTHS,
    NOT_NOUNS,
    NUMBERED_ONLY,
    PHRASES,
    REGNAL_NAMES,
    SAID_AS_WORDS,
    SCRIPTS,
    SIGNS,
    SPELLED,
    UNITS,
    WEEKDAYS,
)

WORDS: Final = Words(
    digits=ONES[:10],
    cardinal=cardinal,
    signs=SIGNS,
    point="point",
    version="version",
    scripts=SCRIPTS,
    emoji=EMOJI,
    address_words={"www": "W W W", "http": "H T T P", "https": "H T T P S", "html": "H T M L", "id": "I D"},
)
_NOUN: Final = re.compile(r" (?:(?:petite|grande|belle|nouvelle|dernière|première|bonne)s? )?([a-zà-ÿœ]+)")


def _count(number: int, gender: str) -> str:
    return cardinal(number, "une" if gender == "f" else "un")


def _date(day: int, month: int, in_year: int | None, front: str) -> str:
    words = f"{'premier' if day == 1 else cardinal(day)} {MONTHS[month - 1]}"
    return f"{words} {cardinal(in_year)}" if in_year is not None else words


def _clock(hour: int, minute: int, sign: str) -> str:
    words = f"{cardinal(hour, 'une')} {'heures' if hour > 1 else 'heure'}"
    return f"{words} {cardinal(minute, 'une')}" if minute else words


def _gender_of(behind: str) -> str:
    found = _NOUN.match(behind)
    if found is None or found[1] in NOT_NOUNS:
        return ""
    return "f" if found[1] in FEMININE or found[1].endswith(FEMININE_ENDINGS) else ""


def _fraction(whole: int, top: int, bottom: int) -> str:
    if (top, bottom) == (1, 2):
        return f"{cardinal(whole)} et demi" if whole else "un demi"
    part = {2: "demi", 3: "tiers", 4: "quart"}.get(bottom) or ordinal(bottom)
    words = f"{cardinal(top)} {part}{'s' if top > 1 and not part.endswith('s') else ''}"
    return f"{cardinal(whole)} et {words}" if whole else words


def _of(noun: str) -> str:
    return f"d'{noun}" if noun[0] in "aeiouéh" else f"de {noun}"


def _telephone(text: str) -> str:
    """French numbers by pairs (`zéro six, douze, ...`), those of other countries digit by digit."""
    french = re.match(r"(\+|00)33(?=[ .(-]|[1-9][0-9]{8}$)", text)
    groups = re.findall(r"[0-9]+", text[french.end() :] if french else text)
    national = not text.startswith(("+", "00"))
    if national and len(groups) == 1 and len(groups[0]) == 10:
        groups = [groups[0][at : at + 2] for at in range(0, 10, 2)]
    if french and len(groups) == 1 and len(groups[0]) == 9:
        groups = [groups[0][:1], *(groups[0][at : at + 2] for at in range(1, 9, 2))]
    if not (french or national) or any(len(group) > 3 for group in groups):
        return say_groups(text, LOCALE)
    said = [" ".join(ONES[int(d)] for d in group) if group[0] == "0" else cardinal(int(group)) for group in groups]
    if french:
        said = [f"{'plus' if french[1] == '+' else 'zéro zéro,'} {cardinal(33)}", *said]
    return ", ".join(said)


def _half(whole: int, noun: str) -> str | None:
    """`1/2 heure` -> `une demi heure`, `2 1/2 heures` -> `deux heures et demie`."""
    if noun in NOT_NOUNS:
        return None
    feminine = _gender_of(f" {noun}") == "f"
    if not whole:
        return f"{'une' if feminine else 'un'} demi {noun}"
    return f"{cardinal(whole, 'une' if feminine else 'un')} {noun} et demi{'e' if feminine else ''}"


LOCALE: Final[Locale] = Locale(
    words=WORDS,
    count=_count,
    comma="virgule",
    minus="moins",
    plus="plus",
    to="à",
    per="par",
    math=MATH,
    power="puissance",
    ratio="à",
    times="fois",
    number_word="numéro",
    of=_of,
    cents="",
    currencies=CURRENCIES,
    magnitudes=MAGNITUDES,
    thousand_signs=("k", "K"),
    units=UNITS,
    months=MONTHS,
    month_names=MONTH_NAMES,
    date=_date,
    in_year="",
    expiry=r"valable|jusqu'au|expire|expiration|expire le",
    clock=_clock,
    seconds=Noun("seconde", "secondes", "f"),
    and_word="et",
    weekdays=WEEKDAYS,
    half_days=("du matin", "de l'après-midi", "du soir"),
    gender_of=_gender_of,
    telephones=(
        r"(?<![\w.,/-])0[1-9](?:[ .-]?[0-9]{2}){4}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])0[ ]?8[0-9]{2}[ ][0-9]{3}[ ][0-9]{3}(?![\w]|[ .,-][0-9])",
    ),
    telephone=_telephone,
    code_words=r"codes?|cv[vc]|pin|puk|digicode|iban|siret|siren|postal|série|immatriculation|otp|passe|identifiant|rib",
    numbered=(
        r"numéro|commande|facture|vol|train|tgv|référence|réf|dossier|réservation|billet|carte|téléphone|tél|portable"
        r"|fax|poste|client|contrat|ticket|colis|police"
    ),
    linking=r"numéro|n[°º]|no\.?|est|sont|le|la|votre|au",
    counted=(
        r"(?:d'|de )?(?:euros|dollars|francs|habitants|personnes|centimes|livres|unités|visiteurs|clients|millions"
        r"|kilomètres|mètres|kilos|grammes|litres|ans|jours|heures|minutes|secondes|degrés|pour cent|points|mots|pages"
        r"|pas|roupies|yens|mille)"
    ),
    fraction=_fraction,
    half=_half,
    year=cardinal,
    version_words=r"version|v|chapitre|section|paragraphe|python|android|ios",
    abbreviations=ABBREVIATIONS,
    numbered_only=NUMBERED_ONLY,
    closing=CLOSING,
    said_as_words=SAID_AS_WORDS,
    spelled=SPELLED,
    phrases=PHRASES,
    number_is_one_below_two=True,
)


def _ordinal(match: Match[str]) -> str | None:
    """`3e`, `1re`, `2nde`, `XXe` -> `vingtième`."""
    number = int(match[1]) if match[1].isdigit() else roman(match[1])
    if not number:
        return None
    sign = match[2]
    if sign.lstrip("n").startswith("d"):
        ending = sign.lstrip("n").removeprefix("d")
        return f"second{ending}" if number == 2 else None
    words = ordinal(number, "première" if sign.startswith(("r", "è")) else "premier")
    return f"{words}s" if sign.endswith("s") and len(sign) > 1 else words


def _date_in_words(match: Match[str]) -> str | None:
    day, month = int(match[1]), MONTH_NAMES[match[2].lower()]
    if not is_date(day, month):
        return None
    return _date(day, month, int(match[3]) if match[3] else None, "") + full_stop(match)


def _clock_sign(match: Match[str]) -> str | None:
    """`15 h 30`, `15h30`, `9h`: a time of day; behind `en` or `pendant` as long as it takes, said the same."""
    hour, minute = int(match[1]), int(match[2] or 0)
    return _clock(hour, minute, "h") if hour < 1000 else None


def _height(match: Match[str]) -> str:
    """`1m80` -> `un mètre quatre-vingts`."""
    return f"{say_counted(match[1], UNITS['m'], LOCALE)} {cardinal(int(match[2]))}"


def _regnal(match: Match[str]) -> str | None:
    """`Louis XIV` -> `Louis quatorze`, `François Ier` -> `François premier`, `chapitre IV` -> `chapitre quatre`."""
    name, number = match[1], roman(match[2])
    if not number:
        return None
    if number == 1 and (match[3] or name in REGNAL_NAMES):
        return f"{name} {'première' if name in FEMININE_NAMES or match[3] in ('re', 'ère') else 'premier'}"
    if match[3]:
        return None
    if name.lower() in _PARTS or (name[0].isupper() and (len(match[2]) > 1 or name in REGNAL_NAMES)):
        return f"{name} {cardinal(number)}"
    return None


_PARTS: Final = frozenset(
    ("chapitre", "tome", "volume", "partie", "acte", "titre", "phase", "type", "annexe", "livre", "article", "scène")
)
_OWN: Final = [
    Rule("all day", r"(?<!\w)24[ ]?[hH]/24(?!\w)", lambda m: "vingt-quatre heures sur vingt-quatre", "1"),
    Rule("all week", r"(?<!\w)7[ ]?[jJ]/7(?!\w)", lambda m: "sept jours sur sept", "1"),
    Rule(
        "date",
        rf"(?<![\w.,/-])([0-9]{{1,2}})(?:er)?[ ]({month_pattern(LOCALE)})(?!\w)(?:[ ]([0-9]{{4}})(?!\w))?",
        _date_in_words,
        "1",
    ),
    Rule("ordinal", r"(?<![\w.,/-])([0-9]{1,4})(ers?|ères?|res?|èmes?|emes?|es?|n?des?|n?ds?)(?!\w)", _ordinal, "1"),
    Rule("ordinal", r"(?<!\w)([IVX]{1,8})(ers?|ères?|re|èmes?|emes?|es?)(?!\w)", _ordinal, "a"),
    Rule("regnal", r"(?<!\w)([A-ZÀ-Þa-zà-ÿœ][a-zà-ÿœ]{2,20})[ ]([IVXL]{1,8})(er|re|ère)?(?!\w)", _regnal, "a"),
    Rule(
        "times",
        r"(?<![\w.,/])([0-9]{1,2})[ ]?h(?:[ ]?([0-5][0-9]))?[ ]?[-–][ ]?([0-9]{1,2})[ ]?h(?:[ ]?([0-5][0-9]))?(?!\w)",
        lambda m: f"{_clock(int(m[1]), int(m[2] or 0), 'h')} à {_clock(int(m[3]), int(m[4] or 0), 'h')}",
        "1",
    ),
    Rule("height", r"(?<![\w.,/])([0-9]{1,2})[ ]?m[ ]?([0-9]{2})(?![0-9]|\w)", _height, "1"),
    Rule("time", r"(?<![\w.,/])([0-9]{1,3})[ ]?[hH](?:[ ]?([0-5][0-9])(?![0-9]|[ ]?m))?(?!\w)", _clock_sign, "1"),
    Rule("times", r"(?<![\w.,])([0-9]{1,3})[ ]?x(?!\w)(?![ ]?[0-9])", lambda m: f"{_count(int(m[1]), 'f')} fois", "1"),
    Rule("number sign", r"(?<!\w)[nN](?:[°º]|o\.?)s?(?=[ ]?(?:[0-9]|[A-Z]{1,4}-?[0-9]|SS))", lambda m: "numéro", "a"),
    Rule("mister", r"(?<!\w)M(?:[ ](?=[A-ZÀ-Þ][a-zà-ÿ]))", lambda m: "Monsieur", "a"),
    Rule("version", r"(?<!\w)v[ ](?=[0-9]{1,3}\.[0-9])", lambda m: "version", "a"),
]


_GRAMMAR: Final = grammar(
    LOCALE,
    _OWN,
    prepositions="le|du|au|jusqu'au|dès le|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche",
    time_sign=r"heures?",
    dotted_time="(?!)",
)


def speakable(text: str) -> str:
    """`le 1er mai à 15 h 30` -> `le premier mai à quinze heures trente`."""
    return _GRAMMAR.speak(text)
