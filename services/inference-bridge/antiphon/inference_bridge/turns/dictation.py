"""How the words of a turn end: complete, broken off, in the middle of a dictation, in a list. Pure.

A dictated number or name has no grammar that says where it ends: "five five five" sounds as complete as the whole
number. So it is a kind of its own, after which a longer silence is awaited.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from antiphon.inference_bridge.languages import Language, ruled
from antiphon.inference_bridge.turns.backchannel import sounds_complete
from antiphon.inference_bridge.turns.spoken_digits import DIGITS, count, is_letter, tokens


class Ending(Enum):
    """How words end."""

    COMPLETE = "complete"
    """A sentence or an answer, to which nothing need be added."""
    INCOMPLETE = "incomplete"
    """A sentence that asks for more: "I would like to"."""
    DICTATION = "dictation"
    """Digits, letters or parts of an address: more may follow."""
    LIST = "list"
    """Things side by side, without an "and" before the last: more may follow."""
    NOTHING = "nothing"
    """No words at all."""


_ANNOUNCED: Final[dict[Language, re.Pattern[str]]] = {
    # a number, a code or a spelled name is coming
    "en": re.compile(
        r"\b(?:numbers?|code|pin|zip|postcode|post code|spell(?:ed|ing|s)?|spelt|iban|account|e-?mail|address is|dial|"
        r"digits?|reference|password|extension|serial|reach me (?:at|on)|call me (?:at|on))\b"
    ),
    "de": re.compile(
        r"nummer|\bcode\b|\bpin\b|postleitzahl|buchstabier|\biban\b|\bkonto|e-?mail|adresse (?:ist|lautet)|vorwahl|"
        r"geschrieben|kennwort|passwort"
    ),
    "es": re.compile(
        r"\b(?:número|numero|teléfono|telefono|móvil|código|codigo|pin|deletre\w*|se escribe|iban|cuenta|correo|"
        r"e-?mail|dirección es|contraseña|extensión|prefijo)\b"
    ),
    "fr": re.compile(
        r"\b(?:numéro|numero|téléphone|portable|code|pin|épel\w*|s'écrit|ça s'écrit|iban|compte|e-?mail|mail|courriel|"
        r"adresse est|poste|mot de passe|indicatif)\b"
    ),
    "it": re.compile(
        r"\b(?:numero|telefono|cellulare|codice|pin|cap|si scrive|lettera per lettera|iban|conto|e-?mail|posta|"
        r"indirizzo è|password|interno|prefisso)\b"
    ),
}
_COUNTED: Final[dict[Language, re.Pattern[str]]] = {
    # one number behind these words is whole: room 204, at 10, the 5th of
    "en": re.compile(
        r"\b(?:at|room|flight|bus|platform|gate|page|apartment|chapter|line|route|by|around|until|till|after|before|past|"
        r"to|from|for|in|on|is|january|february|march|april|may|june|july|august|september|october|november|december|"
        r"about|the|like|need|want|have|only|just|or|and|than|almost|nearly|year|level|floor|size)$"
    ),
    "de": re.compile(
        r"\b(?:um|zimmer|flug|bus|gleis|seite|linie|gegen|bis|nach|vor|ab|ist|sind|für|zu|seit|im jahr|januar|februar|"
        r"märz|april|mai|juni|juli|august|september|oktober|november|dezember|der|am|vom|etwa|ungefähr|nur|oder|und|stock)$"
    ),
    "es": re.compile(
        r"\b(?:las?|los|habitación|vuelo|autobús|andén|página|línea|sobre|hasta|de|del|para|en|son|somos|el|enero|febrero|"
        r"marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|unos|unas|solo|o|y|piso|planta)$"
    ),
    "fr": re.compile(
        r"\b(?:à|chambre|vol|bus|quai|page|ligne|vers|jusqu'à|de|du|pour|en|sont|sommes|le|les|environ|seulement|ou|et|"
        r"étage|est|dans|avant|après)$"
    ),
    "it": re.compile(
        r"\b(?:alle?|camera|volo|autobus|binario|pagina|linea|verso|fino|di|del|per|in|sono|siamo|il|le|gennaio|febbraio|"
        r"marzo|aprile|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre|circa|solo|o|e|piano|dalle)$"
    ),
}
_JOINS: Final[dict[Language, frozenset[str]]] = {
    "en": frozenset({"and", "or", "but", "then"}),
    "de": frozenset({"und", "oder", "aber", "dann"}),
    "es": frozenset({"y", "e", "o", "u", "pero", "luego"}),
    "fr": frozenset({"et", "ou", "mais", "puis"}),
    "it": frozenset({"e", "ed", "o", "ma", "poi"}),
}
_POLITE: Final[dict[Language, frozenset[str]]] = {
    # words alone behind a comma that are no item of a list
    "en": frozenset(
        [
            "please",
            "thanks",
            "thank",
            "you",
            "sir",
            "madam",
            "though",
            "then",
            "too",
            "also",
            "right",
            "yes",
            "no",
            "ok",
            "okay",
            "so",
            "well",
            "right",
            "now",
            "today",
            "tomorrow",
            "actually",
            "maybe",
            "i",
            "think",
            "that's",
            "all",
            "that's",
            "it",
        ]
    ),
    "de": frozenset(
        ["bitte", "danke", "ja", "nein", "dann", "auch", "gern", "gerne", "heute", "morgen", "oder", "nicht", "wahr"]
    ),
    "es": frozenset(
        [
            "por",
            "favor",
            "gracias",
            "sí",
            "no",
            "también",
            "entonces",
            "hoy",
            "mañana",
            "señor",
            "señora",
            "vale",
            "verdad",
        ]
    ),
    "fr": frozenset(
        ["s'il", "vous", "plaît", "merci", "oui", "non", "aussi", "alors", "demain", "monsieur", "madame", "voilà"]
    ),
    "it": frozenset(
        ["per", "favore", "grazie", "sì", "no", "anche", "allora", "oggi", "domani", "signore", "signora", "vero"]
    ),
}
_BROKEN_OFF: Final[dict[Language, re.Pattern[str]]] = {
    # a clause that has only begun, which recognisers end with a full stop all the same
    "en": re.compile(r"\bis that[.,]*$|\b(?:tell|told) (?:\w+ ){1,2}that[.,]*$|"
                     r"\bi (?:think i )?(?:need|want|wanted)[.,]*$"),
    "de": re.compile(r"\b(?:dass|ob|weil|wenn)[.,]*$|\bich (?:brauche|möchte|wollte|würde)[.,]*$"),
    "es": re.compile(r"\b(?:que|porque|cuando)[.,]*$|\b(?:necesito|quiero|quisiera|quería)[.,]*$"),
    "fr": re.compile(r"\b(?:que|parce que|quand)[.,]*$|\bje (?:voudrais|veux|voulais)[.,]*$"),
    "it": re.compile(r"\b(?:che|perché|quando)[.,]*$|\b(?:vorrei|voglio|volevo)[.,]*$"),
}  # fmt: skip
_AS_IN: Final = re.compile(r"\b[A-HJ-Z] (?:as in|for|like|wie|de|como|comme|come) [^\W\d_]+[.,]?$")
"""One letter of a name: "B as in Berlin", "M wie Martha"."""
_TOP_DOMAIN: Final = re.compile(
    r"(?:\.|\b(?:dot|punkt|punto|point) )(?:com|org|net|edu|gov|info|io|de|es|fr|it|uk|eu|at|ch)[.!]?$"
)
_TIME_OR_DATE: Final = re.compile(
    r"(?:\b\d{1,2}[:.]\d{2}|\b\d{1,2}(?:st|nd|rd|th)|\b\d{1,2} ?(?:am|pm|a\.m\.?|p\.m\.?|uhr|h|heures?))[.!]?$",
    re.IGNORECASE,
)
_ADDRESS_SIGNS: Final = frozenset(
    [
        "dot",
        "underscore",
        "hyphen",
        "unterstrich",
        "bindestrich",
        "klammeraffe",
        "arroba",
        "guion",
        "guión",
        "arobase",
        "tiret",
        "chiocciola",
        "trattino",
        "@",
    ]
)
"""Said in e-mail and web addresses, and hardly anywhere else."""
_LOOSE: Final = frozenset("-.,_/+:#@")
_WHOLE_DIGITS: Final = 2
"""A number of so many digits by itself is a count or a time; a longer one may be a group of a longer number."""


def _trailing_run(found: list[str], language: Language) -> tuple[int, int, int]:
    """Of what stands last: dictated tokens, digits and letters together, and how many tokens they take with signs."""
    words = DIGITS[language]
    run = symbols = length = 0
    for token in reversed(found):
        lower = token.lower()
        digits = count(token, language)
        if digits or is_letter(token) or lower in words.repeated:
            run += 1
            symbols += digits or 1
        elif token in _LOOSE or (lower in words.signs and (run or length)):
            pass
        elif len(token) > 1 and token.isalpha() and token.isupper() and len(token) <= 12 and length < len(found) - 1:
            run += 1
            symbols += len(token)
        else:
            break
        length += 1
    return run, symbols, length


def _dictates(text: str, language: Language, asked: bool) -> bool:
    lower = text.lower().rstrip(" .!?")
    if _TIME_OR_DATE.search(lower) or _TOP_DOMAIN.search(lower):
        return False
    if _AS_IN.search(text):
        return True
    found = tokens(text.rstrip(" .!?"))
    announced = asked or bool(_ANNOUNCED[language].search(lower))
    latest = [token.lower() for token in found[-3:]]
    if announced and latest[-1:] and latest[-1] in DIGITS[language].signs:
        return True
    if _ADDRESS_SIGNS.intersection(latest):
        return True
    run, symbols, length = _trailing_run(found, language)
    if not run:
        return False
    before = " ".join(found[: len(found) - length]).lower()
    if run == 2 and not announced and _is_time(found[-2:], language):
        return False
    if run >= 2 and symbols >= 2:
        return announced or symbols >= 3 or not _COUNTED[language].search(before)
    if announced:
        return True
    if symbols <= _WHOLE_DIGITS or _COUNTED[language].search(before):
        return False
    token = next(token for token in reversed(found) if token.isalnum())
    is_year = token.isdigit() and len(token) == 4 and token.startswith(("19", "20"))
    return not is_year and not token.endswith("00") and (token.isdigit() or bool(before))


def _is_time(pair: list[str], language: Language) -> bool:
    """ "Ten thirty": an hour and its minutes in words."""
    hour, minutes = (token.lower() for token in pair)
    words = DIGITS[language]
    return (hour in words.ones or hour in words.pairs) and minutes in words.pairs and not hour.isdigit()


def _lists(text: str, language: Language) -> bool:
    """The last of at least two short items, without an "and" before it: "milk, eggs", "We need paper, two pens."."""
    items = [item.strip() for item in text.rstrip(" .!?,;").lower().split(",")]
    if len(items) < 2 or "?" in text[-2:]:
        return False
    *before, last = items
    words = last.split()
    if not words or len(words) > 3 or words[0] in _JOINS[language] or set(words) <= _POLITE[language]:
        return False
    # "Yes, Tuesday" and "No, the other one" are answers, and "Well, I see" begins with a word of its own
    opener = before[-1].split()
    if len(before) == 1 and (len(opener) <= 1 or set(opener) <= _POLITE[language]):
        return False
    return not any(word in _JOINS[language] for word in words)


def ending(text: str, tag: str = "en", asked: bool = False) -> Ending:
    """How `text`, the transcript of a turn so far, ends. `tag`: its language (BCP 47); `asked`: for a dictation."""
    language = ruled(tag) or "en"
    stripped = text.strip()
    if not re.search(r"\w", stripped):
        return Ending.NOTHING
    if _dictates(stripped, language, asked):
        return Ending.DICTATION
    complete = sounds_complete(stripped, tag) and not _BROKEN_OFF[language].search(stripped.lower())
    if (complete or stripped.endswith(",")) and _lists(stripped, language):
        return Ending.LIST
    return Ending.COMPLETE if complete else Ending.INCOMPLETE
