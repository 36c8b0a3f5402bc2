"""Written German to text that a voice can speak: the words and the grammar of the language. Pure."""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after, before
from antiphon.inference_bridge.tts.normalization.common_words import Words
from antiphon.inference_bridge.tts.normalization.continental import Locale, Noun, alternatives, full_stop, roman
from antiphon.inference_bridge.tts.normalization.continental_codes import say_groups
from antiphon.inference_bridge.tts.normalization.continental_dates import is_date, month_pattern
from antiphon.inference_bridge.tts.normalization.continental_grammar import grammar
from antiphon.inference_bridge.tts.normalization.german_numbers import ONES, cardinal, ordinal, year
from antiphon.inference_bridge.tts.normalization.german_words import (
    ABBREVIATIONS,
    CLOSING,
    CURRENCIES,
    EMOJI,
    FEMININE,
    FEMININE_NAMES,
    MAGNITUDES,
    MATH,
    MONTH_NAMES,
    MONTHS,
    NUMBERED_ONLY,
    ORDINAL_NOUNS,
    PHRASES,
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
    point="Punkt",
    version="Version",
    scripts=SCRIPTS,
    emoji=EMOJI,
    address_words={"www": "W W W", "http": "H T T P", "https": "H T T P S", "html": "H T M L", "id": "I D"},
)
_NOUN: Final = re.compile(r" (?:[a-zäöüß]{2,20}(?:e|er|es|en) )?([A-ZÄÖÜ][a-zäöüß]+)")
_WEEKDAY: Final = r"(?:(?:Mon|Diens|Donners|Frei|Sams|Sonn)tag|Mittwoch|Sonnabend|M[oi]|D[io]|Fr|S[ao])"
_DATIVE: Final = re.compile(
    r"(?:^|\W)(?:am|vom|zum|beim|im|dem|den|des|bis|ab|seit|zur|einem|einer|eines|meinem|meinen|unserem|unseren"
    r"|ihrem|ihren|seinem|seinen|jedem|jeden|diesem|diesen|(?:in|an|auf|mit|von|nach|bei|unter|vor|hinter|seit|aus)"
    rf" der)(?: {_WEEKDAY}\.?,?)?(?: [0-9]{{1,2}}\.(?:[0-9]{{1,2}}\.)?(?:,? ?(?:und|bis|oder|/|-))?)?\s?$",
    re.IGNORECASE,
)
_WEAK: Final = re.compile(
    r"(?:^|\W)(?:der|die|das|jede|jeder|jedes|diese|dieser|dieses|eine|meine|unsere|ihre)\s$", re.IGNORECASE
)
_STRONG: Final = re.compile(r"(?:^|\W)(?:ein|kein|mein|dein|sein|ihr|unser)\s$", re.IGNORECASE)
_WITH_DATIVE: Final = re.compile(r"(?:^|\W)(?:von|mit|unter|bei|nach|zu|vor|seit|aus)\s$", re.IGNORECASE)


def _count(number: int, gender: str) -> str:
    return cardinal(number, {"m": "ein", "f": "eine"}.get(gender, "eins")) if number == 1 else cardinal(number)


def _ending(front: str, noun: str = "") -> str:
    """Of an ordinal between these words: `am dritten`, `der dritte`, `dritter Mai`, `drittes Quartal`."""
    if _DATIVE.search(front):
        return "en"
    if _WEAK.search(front):
        return "e"
    return ORDINAL_NOUNS.get(noun, "er")


def _date(day: int, month: int, in_year: int | None, front: str) -> str:
    words = f"{ordinal(day, _ending(front))} {MONTHS[month - 1]}"
    return f"{words} {year(in_year)}" if in_year is not None else words


def _clock(hour: int, minute: int, sign: str) -> str:
    words = f"{cardinal(hour, 'ein')} Uhr"
    return f"{words} {cardinal(minute)}" if minute else words


def _gender_of(behind: str) -> str:
    noun = _NOUN.match(behind)
    if noun is None:
        return ""
    return "f" if noun[1] in FEMININE or noun[1].endswith(("ung", "heit", "keit", "ion", "schaft", "tät")) else "m"


def _fraction(whole: int, top: int, bottom: int) -> str:
    if (top, bottom) == (1, 2):
        return {0: "einhalb", 1: "eineinhalb"}.get(whole, f"{cardinal(whole)}einhalb")
    part = "halbe" if bottom == 2 else ordinal(bottom, "el").capitalize()
    words = f"{cardinal(top, 'ein')} {part}"
    return f"{cardinal(whole)} {words}" if whole else words


def _half(whole: int, noun: str) -> str | None:
    return f"eine halbe {noun}" if not whole and _gender_of(f" {noun}") == "f" else None


LOCALE: Final[Locale] = Locale(
    words=WORDS,
    count=_count,
    comma="Komma",
    minus="minus",
    plus="plus",
    to="bis",
    per="pro",
    math=MATH,
    power="hoch",
    ratio="zu",
    times="mal",
    number_word="Nummer",
    of=lambda noun: noun,
    cents="",
    currencies=CURRENCIES,
    magnitudes=MAGNITUDES,
    thousand_signs=("k", "K", "Tsd.", "T€"),
    units=UNITS,
    months=MONTHS,
    month_names=MONTH_NAMES,
    date=_date,
    clock=_clock,
    seconds=Noun("Sekunde", "Sekunden", "f"),
    and_word="und",
    weekdays=WEEKDAYS,
    half_days=("morgens", "nachmittags", "abends"),
    gender_of=_gender_of,
    telephones=(
        r"(?<![\w.,/-])\(?0[ ]?[0-9]{2,5}\)?[ ]?[ /-][ ]?[0-9]{2,9}(?:[ -][0-9]{1,8}){0,5}(?![\w:]|[.,][0-9])",
    ),
    telephone=lambda text: say_groups(text, LOCALE),
    code_words=(
        r"\w*(?:codes?|pin|puk|tan|plz|postleitzahl|passwort|kennwort|iban|blz|kontonummer|seriennummer|imei|isbn|ean)"
    ),
    numbered=(
        r"\w*(?:nummer|nr|bestellung|auftrag|rechnung|vorgang|aktenzeichen|ticket|flug|zug|ice|konto|vertrag|kunde"
        r"|durchwahl|karte|telefon|tel|handy|mobil|fax|apparat|notruf|wählen sie|rufen sie)"
        r"(?: die)?"
    ),
    linking=r"nummer|nr\.?|no\.?|ist|lautet|die|der|ihre|wählen",
    counted=(
        r"Euro|Dollar|Franken|Cent|Pfund|Menschen|Einwohner|Personen|Leute|Stück|Besucher|Gäste|Kunden|Mitarbeiter"
        r"|Teilnehmer|Zuschauer|Schritte|Wörter|Worte|Zeichen|Seiten|Tage|Stunden|Minuten|Sekunden|Jahre|Meter|Punkte"
        r"|Kilometer|Kilo|Kilogramm|Gramm|Liter|Tonnen|Prozent|Grad|Quadrat\w+|Volt|Watt|Kalorien|Exemplare|Artikel"
        r"|Produkte|Anrufe|Nachrichten|Stimmen|Mitglieder|Soldaten|Arten|Bücher|Autos|Häuser|Wohnungen|Plätze|Zeilen"
        r"|Rupien|Yen|Kronen|Mal|Millionen|Tausend"
    ),
    fraction=_fraction,
    half=_half,
    year=year,
    version_words=r"version|kapitel|abschnitt|punkt|ziffer|paragra(?:f|ph)|release|ausgabe|python|android|ios",
    abbreviations=ABBREVIATIONS,
    numbered_only=NUMBERED_ONLY,
    closing=CLOSING,
    said_as_words=SAID_AS_WORDS,
    spelled=SPELLED,
    phrases=PHRASES,
    decimals_as_number=False,
)


def _friday(match: Match[str]) -> str:
    """`Fr.` is Frau in front of a name."""
    return ("Frau" if re.match(r" ?[A-ZÄÖÜ]", after(match)) else "Freitag") + full_stop(match)


def _named_date(match: Match[str]) -> str | None:
    day, month = int(match[1]), MONTH_NAMES[match[2].lower()]
    if not is_date(day, month):
        return None
    stop = full_stop(match)
    return _date(day, month, int(match[3]) if match[3] else None, before(match)) + stop


def _short_date(match: Match[str]) -> str | None:
    day, month = int(match[1]), int(match[2])
    if not is_date(day, month) or _NO_DATE.search(before(match)):
        return None
    return _date(day, month, None, before(match)) + full_stop(match)


_NO_DATE: Final = re.compile(rf"(?:^|\W)(?:{LOCALE.version_words})\s$", re.IGNORECASE)


def _ordinal(match: Match[str]) -> str | None:
    """`3.` is an ordinal if a word goes on behind it that cannot begin a sentence, or an article stands in front."""
    number = int(match[1]) if match[1].isdigit() else roman(match[1])
    if not number:
        return None
    front, behind = before(match), after(match)
    noun = re.match(r" ?([A-ZÄÖÜ][A-Za-zäöüß]+)", behind)
    goes_on = re.match(r" [a-zäöüß(]|,? ?(?:und|bis|oder|/|-|,) ?[0-9]{1,3}\.", behind)
    determined = _DATIVE.search(front) or _WEAK.search(front) or _STRONG.search(front)
    if not (goes_on or (noun and (noun[1] in ORDINAL_NOUNS or determined)) or determined):
        return None
    if re.match(r"\s*$|\s*\n", behind) and re.search(r"(?:^|\W)(?:die|das|den|bis|ab|seit|ein)\s$", front):
        return None
    return ordinal(number, _ending(front, noun[1] if noun else "")) + full_stop(match)


def _regnal(match: Match[str]) -> str | None:
    """`Ludwig XIV.` -> `Ludwig der Vierzehnte`, `Kapitel IV` -> `Kapitel vier`."""
    name, number = match[1], roman(match[2])
    if not number or (not match[3] and len(match[2]) < 2 and name not in _CHAPTERS):
        return None
    if not match[3] or name in _CHAPTERS:
        return f"{name} {cardinal(number)}{match[3]}"
    feminine = name in FEMININE_NAMES
    dative = _WITH_DATIVE.search(before(match))
    article = ("der" if feminine else "dem") if dative else ("die" if feminine else "der")
    stop = full_stop(match, closing=True)
    return f"{name} {article} {ordinal(number, 'en' if dative else 'e').capitalize()}{stop}"


_CHAPTERS: Final = frozenset(
    (
        "Kapitel",
        "Band",
        "Teil",
        "Akt",
        "Abschnitt",
        "Klasse",
        "Stufe",
        "Phase",
        "Typ",
        "Artikel",
        "Buch",
        "Szene",
        "Satz",
    )
)


def _decade(match: Match[str]) -> str:
    number = int(match[1])
    return f"{year(number) if number > 99 else cardinal(number)}er{match[2]}"


def _days(match: Match[str]) -> str | None:
    """`3.-5. Mai`, `24./25.12.2026`."""
    first, last = int(match[1]), int(match[3])
    month = MONTH_NAMES[match[4].lower()] if match[4] else int(match[5])
    if not (is_date(first, month) and is_date(last, month)):
        return None
    ending = _ending(before(match))
    joint = "und" if match[2] == "/" else "bis"
    words = f"{ordinal(first, ending)} {joint} {ordinal(last, ending)} {MONTHS[month - 1]}"
    return f"{words} {year(int(match[6]))}" if match[6] else words + full_stop(match)


def _weekday(match: Match[str]) -> str:
    return WEEKDAYS[match[1]]


def _number_word(match: Match[str]) -> str:
    return f"{match[1]} Nummer" if match[2] else f"{match[1]}nummer"


def _hours(match: Match[str]) -> str:
    return _clock(int(match[1]), int(match[2]), "h")


_OWN: Final = [
    Rule(
        "date",
        rf"(?<![\w.,/-])([0-9]{{1,2}})\.[ ]?({month_pattern(LOCALE)})(?!\w)(?:[ ]([0-9]{{4}})(?!\w))?",
        _named_date,
        "1",
    ),
    Rule("date", r"(?<![\w./:-])([0-9]{1,2})\.[ ]?([0-9]{1,2})\.(?![0-9])", _short_date, "1"),
    Rule(
        "days",
        rf"(?<![\w.,/-])([0-9]{{1,2}})\.?[ ]?([-–/])[ ]?([0-9]{{1,2}})\.[ ]?"
        rf"(?:({month_pattern(LOCALE)})|([0-9]{{1,2}})\.)"
        r"(?![^\W\d_])(?:[ ]?([0-9]{4})(?!\w))?",
        _days,
        "1",
    ),
    Rule("weekday", r"(?<!\w)(M[oi]|D[io]|Fr|S[ao])\.?(?=,?[ ][0-9]{1,2}(?:[:.][0-9]| Uhr|[-–][0-9]))", _weekday, "a"),
    Rule("number word", r"(?<!\w)([A-ZÄÖÜ][a-zäöüß]{2,30}?)(-?)[nN]r\.", _number_word, "a"),
    Rule("time", r"(?<![\w.,/])([01]?[0-9]|2[0-4])[.:]([0-5][0-9])[ ]?h(?!\w)", _hours, "1"),
    Rule("decade", r"(?<!\w)([0-9]{2}|[12][0-9]{3})er(n?)(?!\w)", _decade, "1"),
    Rule("ordinal", r"(?<![\w.,/:-])([0-9]{1,4})\.(?![0-9.])", _ordinal, "1"),
    Rule("ordinal", r"(?<!\w)([IVX]{2,6}|[IVX](?=\. (?:Weltk|Jahrh|Quart)))\.(?=[ ][A-ZÄÖÜ][a-zäöüß])", _ordinal, "a"),
    Rule("regnal", r"(?<!\w)([A-ZÄÖÜ][a-zäöüß]{2,20})[ ]([IVXL]{1,8})(\.?)(?!\w)", _regnal, "a"),
    Rule("times", r"(?<![\w.,])([0-9]{1,4})(?:[ ]?x|-?mal)(?!\w)(?![ ]?[0-9])", lambda m: f"{_time(int(m[1]))}", "1"),
    Rule("paragraph", r"§§?(?=[ ]?[0-9])", lambda m: "Paragraphen" if len(m[0]) > 1 else "Paragraph", "."),
    Rule("friday", r"(?<!\w)Fr\.", _friday, "a"),
    Rule("street", r"(?<!\w)([A-ZÄÖÜ][\wäöüß-]{1,30}?)str\.(?=\s|$|,|;)", lambda m: _street(m), "a"),
]


def _time(number: int) -> str:
    return f"{cardinal(number, 'ein')}mal"


def _street(match: Match[str]) -> str:
    return f"{match[1]}straße{full_stop(match)}"


_GRAMMAR: Final = grammar(
    LOCALE,
    _OWN,
    prepositions="am|vom|bis|der|dem|den|zum|ab|seit|bis zum",
    time_sign="Uhr",
    dotted_time="um|gegen",
    no_list=rf" (?:{alternatives((*ORDINAL_NOUNS, *MONTHS))})(?!\w)",
)


def speakable(text: str) -> str:
    """`am 3. Mai um 15:30 Uhr` -> `am dritten Mai um fünfzehn Uhr dreißig`."""
    return _GRAMMAR.speak(text)
