"""Written Spanish to text that a voice can speak: the words and the grammar of the language. Pure."""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after
from antiphon.inference_bridge.tts.normalization.common_words import Words
from antiphon.inference_bridge.tts.normalization.continental import Locale, Noun, full_stop, roman
from antiphon.inference_bridge.tts.normalization.continental_codes import say_groups
from antiphon.inference_bridge.tts.normalization.continental_grammar import grammar
from antiphon.inference_bridge.tts.normalization.spanish_numbers import ONES, cardinal, ordinal
from antiphon.inference_bridge.tts.normalization.spanish_words import (
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
    version="versión",
    scripts=SCRIPTS,
    emoji=EMOJI,
    address_words={
        "www": "W W W",
        "http": "H T T P",
        "https": "H T T P S",
        "html": "H T M L",
        "id": "I D",
        "es": "es",
    },
)
_NOUN: Final = re.compile(r" (?:(?:buen|gran|nuev|grand|últim|próxim|primer|pequeñ)\w{0,3} )?([a-záéíóúüñ]+)")


def _count(number: int, gender: str) -> str:
    return cardinal(number, {"m": "un", "f": "una"}.get(gender, "uno"))


def _date(day: int, month: int, in_year: int | None, front: str) -> str:
    words = f"{cardinal(day)} de {MONTHS[month - 1]}"
    return f"{words} de {cardinal(in_year)}" if in_year is not None else words


def _clock(hour: int, minute: int, sign: str) -> str:
    """`9:00` -> `nueve`; with a sign behind it `nueve horas`."""
    words = cardinal(hour, "una")
    if minute:
        return f"{words} {'cero ' if minute < 10 else ''}{cardinal(minute)}"
    return f"{words} {'hora' if hour == 1 else 'horas'}" if sign or hour in (0, 24) else words


def _gender_of(behind: str) -> str:
    found = _NOUN.match(behind)
    if found is None or found[1] in NOT_NOUNS or len(found[1]) < 3:
        return ""
    noun = found[1]
    if noun in FEMININE or noun.endswith(("ción", "ciones", "sión", "siones", "dad", "dades", "tud", "tudes")):
        return "f"
    return "f" if noun.endswith(("a", "as")) and noun not in MASCULINE_IN_A else "m"


def _fraction(whole: int, top: int, bottom: int) -> str:
    names = {2: "medio", 3: "tercio", 4: "cuarto", 5: "quinto", 6: "sexto", 7: "séptimo", 8: "octavo", 9: "noveno"}
    if (top, bottom) == (1, 2):
        return f"{cardinal(whole)} y medio" if whole else "medio"
    part = names.get(bottom) or ("décimo" if bottom == 10 else f"{cardinal(bottom)}avo".replace("cienavo", "centésimo"))
    words = f"{cardinal(top, 'un')} {part}{'s' if top > 1 else ''}"
    return f"{cardinal(whole)} y {words}" if whole else words


def _half(whole: int, noun: str) -> str | None:
    """`1/2 hora` -> `media hora`, `2 1/2 horas` -> `dos horas y media`."""
    gender = _gender_of(f" {noun}")
    if not gender:
        return None
    half = "media" if gender == "f" else "medio"
    return f"{cardinal(whole, 'una' if gender == 'f' else 'un')} {noun} y {half}" if whole else f"{half} {noun}"


LOCALE: Final[Locale] = Locale(
    words=WORDS,
    count=_count,
    comma="coma",
    minus="menos",
    plus="más",
    to="a",
    per="por",
    math=MATH,
    power="elevado a",
    ratio="a",
    times="por",
    number_word="número",
    of=lambda noun: f"de {noun}",
    cents="con",
    currencies=CURRENCIES,
    magnitudes=MAGNITUDES,
    thousand_signs=("k", "K", "mil"),
    units=UNITS,
    months=MONTHS,
    month_names=MONTH_NAMES,
    date=_date,
    clock=_clock,
    seconds=Noun("segundo", "segundos"),
    and_word="y",
    weekdays=WEEKDAYS,
    half_days=("de la mañana", "de la tarde", "de la noche"),
    gender_of=_gender_of,
    telephones=(
        r"(?<![\w.,/-])[6-9][0-9]{2}[ -][0-9]{3}[ -][0-9]{3}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])[6-9][0-9]{2}(?:[ .-][0-9]{2}){3}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])9[0-9][ ][0-9]{3}[ ][0-9]{2}[ ][0-9]{2}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])[6-9][0-9]{8}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])\([0-9]{2,3}\)[ ]?[0-9]{3,4}[ -][0-9]{4}(?![\w]|[ .,-][0-9])",
        r"(?<![\w.,/-])[0-9]{2}[ ][0-9]{4}[ ][0-9]{4}(?![\w]|[ .,-][0-9])",
    ),
    telephone=lambda text: say_groups(text, LOCALE, (3, 3, 3)),
    code_words=(
        r"códigos?|codigos?|pin|puk|clave|contraseña|iban|dni|nif|cif|nie|cp|postal|serie|matrícula|otp|token|cuenta"
    ),
    numbered=(
        r"número|num|núm|nº|pedido|factura|vuelo|tren|referencia|expediente|reserva|tarjeta|teléfono|tel|móvil|fax"
        r"|extensión|cliente|contrato|ticket|póliza|albarán|orden|llame al|llamar al"
        r"|marque(?: el)?|marcar(?: el)?"
    ),
    linking=r"número|núm\.?|n\.?º|es|son|el|la|su|al",
    counted=(
        r"(?:de )?(?:euros|dólares|pesos|habitantes|personas|céntimos|libras|unidades|visitantes|clientes|millones|mil"
        r"|kilómetros|metros|kilos|gramos|litros|años|días|horas|minutos|segundos|grados|por ciento|puntos|palabras"
        r"|páginas|pasos|rupias|yenes)"
    ),
    fraction=_fraction,
    half=_half,
    year=cardinal,
    version_words=r"versión|version|capítulo|apartado|sección|python|android|ios",
    abbreviations=ABBREVIATIONS,
    numbered_only=NUMBERED_ONLY,
    closing=CLOSING,
    said_as_words=SAID_AS_WORDS,
    spelled=SPELLED,
    phrases=PHRASES,
)


def _ordinal(match: Match[str]) -> str | None:
    """`3er piso` -> `tercer piso`, `2ª planta`, `1.º`."""
    number, sign = int(match[1]), match[2] or match[3]
    if not number:
        return None
    feminine = sign in ("ª", "ra", "da", "ta", "va", "ma", "na")
    followed = re.match(r" (?!de |del |y |en |a |o |con |por |que |es )[a-záéíóúñ]{2}", after(match))
    return ordinal(number, "a" if feminine else "" if sign == "er" or (followed and sign == "º") else "o")


def _regnal(match: Match[str]) -> str | None:
    """`Felipe VI` -> `Felipe sexto`, `Luis XIV` -> `Luis catorce`, `capítulo IV` -> `capítulo cuatro`."""
    name, number = match[1], roman(match[2])
    if not number:
        return None
    if name.lower() in _COUNTED_PARTS:
        return f"{name} {cardinal(number)}"
    if name.lower() in ("siglo", "siglos"):
        return f"{name} {ordinal(number) if number <= 10 else cardinal(number)}"
    if not name[0].isupper() or (len(match[2]) < 2 and name not in REGNAL_NAMES):
        return None
    return f"{name} {ordinal(number, 'a' if name in FEMININE_NAMES else 'o') if number <= 10 else cardinal(number)}"


_COUNTED_PARTS: Final = frozenset(
    ("capítulo", "tomo", "volumen", "parte", "acto", "título", "fase", "tipo", "anexo", "libro", "artículo", "unidad")
)


def _times(match: Match[str]) -> str:
    number = int(match[1])
    return f"{cardinal(number, 'una')} {'vez' if number == 1 else 'veces'}"


def _date_in_words(match: Match[str]) -> str | None:
    """`4 ene. 2026`: the name of the month is short or stands alone, the words between are missing."""
    month = MONTH_NAMES.get(match[2].lower())
    if month is None or not 1 <= int(match[1]) <= 31:
        return None
    return _date(int(match[1]), month, int(match[3]) if match[3] else None, "") + full_stop(match)


_OWN: Final = [
    Rule(
        "ordinal",
        r"(?<![\w.,/-])([0-9]{1,2})(?:\.?([ºª])|\.?(er|ra|da|ta|va|ma|na|ro|do|to|vo|mo|no))(?!\w)",
        _ordinal,
        "1",
    ),
    Rule("regnal", r"(?<!\w)([A-ZÁÉÍÓÚÑa-záéíóúñ][a-záéíóúñ]{2,20})[ ]([IVXL]{1,8})(?![\wº])", _regnal, "a"),
    Rule("times", r"(?<![\w.,])([0-9]{1,3})[ ]?x(?!\w)(?![ ]?[0-9])", _times, "1"),
    Rule(
        "date",
        r"(?<![\w.,/-])([0-9]{1,2})[ -](?:de )?((?:ene|feb|mar|abr|may|jun|jul|ago|sept?|oct|nov|dic)\.?)"
        r"(?![\w])(?:[ -](?:de )?([0-9]{4})(?!\w))?",
        _date_in_words,
        "1",
    ),
    Rule("number sign", r"(?<!\w)[nN](?:\.?[ ]?[º°]|úm\.|\.(?=[ ]?[0-9]))(?=[ ]?[0-9A-Z]|$)", lambda m: "número", "a"),
    Rule("street", r"(?<!\w)[cC]/[ ]?(?=[A-ZÁÉÍÓÚÑ])", lambda m: "calle", "a"),
]
_GRAMMAR: Final = grammar(
    LOCALE,
    _OWN,
    prepositions="el|del|al|día|desde el|hasta el|hasta|desde|lunes|martes|miércoles|jueves|viernes|sábado|domingo",
    time_sign=r"h(?:s|rs)?\.?|horas",
    dotted_time="las|la",
)


def speakable(text: str) -> str:
    """`el 3/5/2026 a las 15:30` -> `el tres de mayo de dos mil veintiséis a las quince treinta`."""
    return _GRAMMAR.speak(text)
