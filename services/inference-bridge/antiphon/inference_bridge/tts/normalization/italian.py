"""Written Italian to text that a voice can speak: the words and the grammar of the language. Pure."""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after, before
from antiphon.inference_bridge.tts.normalization.common_words import Words
from antiphon.inference_bridge.tts.normalization.continental import Locale, Noun, full_stop, roman
from antiphon.inference_bridge.tts.normalization.continental_codes import say_groups
from antiphon.inference_bridge.tts.normalization.continental_dates import is_date, month_pattern
from antiphon.inference_bridge.tts.normalization.continental_grammar import grammar
from antiphon.inference_bridge.tts.normalization.italian_numbers import ONES, cardinal, ordinal
from antiphon.inference_bridge.tts.normalization.italian_words import (
    ABBREVIATIONS,
    CLOSING,
    CURRENCIES,
    EMOJI,
    FEMININE,
    FEMININE_NAMES,
    MAGNITUDES,
    MASCULINE_IN_A,
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
    point="punto",
    version="versione",
    scripts=SCRIPTS,
    emoji=EMOJI,
    address_words={
        "www": "W W W",
        "http": "H T T P",
        "https": "H T T P S",
        "html": "H T M L",
        "id": "I D",
        "it": "it",
    },
)
_NOUN: Final = re.compile(r" (?:(?:buon|grand|nuov|ultim|prossim|prim|piccol)\w{0,2} )?([a-zà-ù]+)")


def _count(number: int, gender: str) -> str:
    return cardinal(number, {"m": "un", "f": "una"}.get(gender, "uno"))


def _date(day: int, month: int, in_year: int | None, front: str) -> str:
    words = f"{'primo' if day == 1 else cardinal(day)} {MONTHS[month - 1]}"
    return f"{words} {cardinal(in_year)}" if in_year is not None else words


def _clock(hour: int, minute: int, sign: str) -> str:
    words = cardinal(hour, "una") if hour % 24 or minute else "mezzanotte"
    return f"{words} e {cardinal(minute)}" if minute else words


def _gender_of(behind: str) -> str:
    """Empty also for a masculine noun in front of which one is `uno`: `uno studente`."""
    found = _NOUN.match(behind)
    if found is None or found[1] in NOT_NOUNS or len(found[1]) < 3:
        return ""
    noun = found[1]
    if noun in FEMININE or noun.endswith(("zione", "zioni", "sione", "sioni", "tà", "tù")):
        return "f"
    if noun.endswith("a") and noun not in MASCULINE_IN_A:
        return "f"
    return "" if re.match(r"z|gn|ps|x|s[^aeiouàèéìòù]", noun) else "m"


def _fraction(whole: int, top: int, bottom: int) -> str:
    if (top, bottom) == (1, 2):
        return f"{cardinal(whole)} e mezzo" if whole else "mezzo"
    part = "mezzo" if bottom == 2 else "quarto" if bottom == 4 else ordinal(bottom)
    words = f"{cardinal(top, 'un')} {part[:-1]}{'i' if top > 1 else 'o'}"
    return f"{cardinal(whole)} e {words}" if whole else words


def _half(whole: int, noun: str) -> str | None:
    """`1/2 ora` -> `mezz'ora`, `2 1/2 ore` -> `due ore e mezza`."""
    if noun in NOT_NOUNS:
        return None
    half = "mezza" if _gender_of(f" {noun}") == "f" or noun in ("ore", "tazze", "giornate") else "mezzo"
    if whole:
        return f"{_count(whole, 'f' if half == 'mezza' else 'm')} {noun} e {half}"
    return f"mezz'{noun}" if noun == "ora" else f"{half} {noun}"


LOCALE: Final[Locale] = Locale(
    words=WORDS,
    count=_count,
    comma="virgola",
    minus="meno",
    plus="più",
    to="a",
    per="per",
    math=MATH,
    power="alla",
    ratio="a",
    times="per",
    number_word="numero",
    of=lambda noun: f"di {noun}",
    cents="e",
    currencies=CURRENCIES,
    magnitudes=MAGNITUDES,
    thousand_signs=("k", "K", "mila"),
    units=UNITS,
    months=MONTHS,
    month_names=MONTH_NAMES,
    date=_date,
    clock=_clock,
    seconds=Noun("secondo", "secondi"),
    and_word="e",
    weekdays=WEEKDAYS,
    half_days=("di mattina", "di pomeriggio", "di sera"),
    gender_of=_gender_of,
    telephones=(
        r"(?<![\w.,/-])3[0-9]{2}[ ./-]?[0-9]{6,7}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])3[0-9]{2}[ -][0-9]{3}[ -][0-9]{3,4}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])3[0-9]{2}[ .-][0-9]{2}[ .-][0-9]{2}[ .-][0-9]{2,3}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])\(?0[0-9]{1,3}\)?[ ]?[ /.-][ ]?[0-9]{4,8}(?![\w]|[ .,/-][0-9])",
        r"(?<![\w.,/-])\(?0[0-9]{1,3}\)?[ /.-](?:[0-9]{2,4}[ -]){1,3}[0-9]{2,4}(?![\w]|[ .,/-][0-9])",
        r"(?<![\w.,/-])80[0-9][ ][0-9]{3}[ ][0-9]{3}(?![\w]|[ .,-][0-9])",
    ),
    telephone=lambda text: say_groups(text, LOCALE, (3, 3, 4)),
    code_words=r"codic[ei]|pin|puk|password|iban|cap|postale|serie|targa|otp|token|fiscale|iva|bic",
    numbered=(
        r"numero|ordine|fattura|volo|treno|riferimento|pratica|prenotazione|carta|telefono|tel|cellulare|cell|fax|interno"
        r"|cliente|contratto|ticket|polizza|pacco"
    ),
    linking=r"numero|nr?\.?|è|sono|il|la|suo|sua|al",
    counted=(
        r"(?:di )?(?:euro|dollari|franchi|abitanti|persone|centesimi|sterline|unità|visitatori|clienti|milioni|mila"
        r"|chilometri|metri|chili|grammi|litri|anni|giorni|ore|minuti|secondi|gradi|per cento|punti|parole|pagine|passi"
        r"|rupie|yen)"
    ),
    fraction=_fraction,
    half=_half,
    year=cardinal,
    version_words=r"versione|capitolo|paragrafo|sezione|python|android|ios",
    abbreviations=ABBREVIATIONS,
    numbered_only=NUMBERED_ONLY,
    closing=CLOSING,
    said_as_words=SAID_AS_WORDS,
    spelled=SPELLED,
    phrases=PHRASES,
)


def _ordinal(match: Match[str]) -> str | None:
    """`3° piano` -> `terzo piano`, `2ª volta`, `1a`. Behind a number and a blank `°` would be a degree."""
    number = int(match[1])
    if not number:
        return None
    if match[2] == "°" and not _RANKED.search(before(match)) and not re.match(r" [a-zà-ù]{3}", after(match)):
        return f"{_count(number, 'm')} {'grado' if number == 1 else 'gradi'}"
    return ordinal(number, "a" if match[2] in ("ª", "a") else "o")


_RANKED: Final = re.compile(
    r"(?:^|\W)(?:il|al|del|dal|nel|sul|un|l'|arrivato|classificato|posto|e|°,)\s?$", re.IGNORECASE
)


def _degrees(match: Match[str]) -> str:
    """`20°` without a noun that it could be the ordinal of."""
    number = int(match[1])
    words = f"{_count(number, 'm')} {'grado' if number == 1 else 'gradi'}"
    return f"meno {words}" if match[0].startswith("-") else words


def _date_in_words(match: Match[str]) -> str | None:
    day, month = int(match[1]), MONTH_NAMES[match[2].lower()]
    if not is_date(day, month):
        return None
    return _date(day, month, int(match[3]) if match[3] else None, "") + full_stop(match)


def _regnal(match: Match[str]) -> str | None:
    """`Luigi XIV` -> `Luigi quattordicesimo`, `capitolo IV` -> `capitolo quattro`, `secolo XXI`."""
    name, number = match[1], roman(match[2])
    if not number:
        return None
    if name.lower() in ("capitolo", "tomo", "volume", "parte", "atto", "titolo", "fase", "tipo", "allegato", "libro"):
        return f"{name} {cardinal(number)}"
    if name.lower() in ("secolo", "canto"):
        return f"{name} {ordinal(number)}"
    if name in ("Via", "Viale", "Piazza", "Corso", "Largo"):
        return f"{name} {cardinal(number)}"
    if not name[0].isupper() or (len(match[2]) < 2 and name not in REGNAL_NAMES):
        return None
    return f"{name} {ordinal(number, 'a' if name in FEMININE_NAMES else 'o')}"


def _century(match: Match[str]) -> str | None:
    number = roman(match[1])
    return ordinal(number) if number else None


def _one(match: Match[str]) -> str | None:
    """`1 ora` -> `un'ora`."""
    noun = match[1]
    if _gender_of(f" {noun}") != "f" or re.search(r"(?:numero|n\.|camera|pagina) $", before(match)):
        return None
    return f"un'{noun}"


_OWN: Final = [
    Rule(
        "date",
        rf"(?<![\w.,/-])([0-9]{{1,2}})[°º]?[ ]({month_pattern(LOCALE)})(?!\w)(?:[ ]([0-9]{{4}})(?!\w))?",
        _date_in_words,
        "1",
    ),
    Rule("degrees", r"(?<![\w.,/])-([0-9]{1,3})°(?![ ]?[CF])", _degrees, "."),
    Rule("ordinal", r"(?<![\w.,/-])([0-9]{1,3})([°ºª])(?![ ]?[CF]\b)(?!\w)", _ordinal, "1"),
    Rule("regnal", r"(?<!\w)([A-Za-zà-ù][a-zà-ù]{2,20})[ ]([IVXL]{1,8})(?!\w)", _regnal, "a"),
    Rule("century", r"(?<!\w)([IVX]{1,8})(?=[ ](?:secolo|sec\.|edizione|legislatura))", _century, "a"),
    Rule("times", r"(?<![\w.,])([0-9]{1,3})[ ]?x(?!\w)(?![ ]?[0-9])", lambda m: _times(int(m[1])), "1"),
    Rule("one", r"(?<![\w.,/-])1[ ]([aeiouàèéìòù][a-zà-ù]{2,20})(?!\w)", _one, "1"),
    Rule("hours", r"(?<!\w)h[ .]{1,2}(?=[0-9]{1,2}[:.,][0-9]{2})", lambda m: "ore", "a"),
    Rule("number sign", r"(?<!\w)[nN](?:[°º]|r?\.)(?=[ ]?[0-9A-Z])", lambda m: "numero", "a"),
]


def _times(number: int) -> str:
    return f"{_count(number, 'f')} {'volta' if number == 1 else 'volte'}"


_ONE_HOUR: Final = re.compile(r"\buna ora\b")
_GRAMMAR: Final = grammar(
    LOCALE,
    _OWN,
    prepositions="il|dal|al|del|entro il|fino al|lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica",
    time_sign="(?!)",
    dotted_time="ore|alle|dalle|le|alle ore",
)


def speakable(text: str) -> str:
    """`il 1° maggio alle 15:30` -> `il primo maggio alle quindici e trenta`."""
    return _ONE_HOUR.sub("un'ora", _GRAMMAR.speak(text))
