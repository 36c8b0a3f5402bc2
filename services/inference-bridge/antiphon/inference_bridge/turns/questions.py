"""How agents ask: patterns that name what a question is after, by language. Data, for `expected_answer`.

The order counts: the first pattern that is found decides, so the particular stands before the general ("e-mail address"
before "address"). All are matched against lower case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from antiphon.inference_bridge.languages import Language


class Asked(Enum):
    """What the agent's last words ask for."""

    OPEN = "open"
    """Anything: "How can I help you?", or no question at all."""
    YES_NO = "yes_no"
    CHOICE = "choice"
    """One of two or more that the question names: "Tuesday or Wednesday?"."""
    NUMBER = "number"
    """A number that is read out: a code, an order number. `Expected.digits` says how many digits, if that is known."""
    PHONE = "phone"
    NAME = "name"
    FULL_NAME = "full_name"
    """First and last name."""
    SPELLING = "spelling"
    EMAIL = "email"
    ADDRESS = "address"
    DATE = "date"
    BIRTH_DATE = "birth_date"
    """A date with its year."""
    TIME = "time"
    DAY_AND_TIME = "day_and_time"
    ITEMS = "items"
    """Several things: "What would you like to order?"."""
    AMOUNT = "amount"
    """How many, how much, how old: a number that is a word of a sentence."""


@dataclass(frozen=True)
class Questions:
    """How one language asks. A value."""

    topics: tuple[tuple[re.Pattern[str], Asked], ...]
    request: re.Pattern[str]
    """A question for yes or no that asks for the thing itself: "Can I have your name?"."""
    yes_no: re.Pattern[str]
    """Begins a question for yes or no."""
    confirm: re.Pattern[str]
    """Asks for a yes without a question mark: "Please say yes to confirm."."""
    asks: re.Pattern[str]
    """Begins or marks a sentence that asks for something without a question mark."""
    choice: re.Pattern[str]
    numbers: dict[str, int]
    """How many digits: "four-digit", "the last four"."""
    digits: re.Pattern[str]
    """ "four digits", "a six-digit code": group 1 is the number."""


def _topics(*rows: tuple[str, Asked]) -> tuple[tuple[re.Pattern[str], Asked], ...]:
    return tuple((re.compile(pattern), asked) for pattern, asked in rows)


def _numbers(words: str) -> dict[str, int]:
    """Two, three, ... in order."""
    return {word: number for number, word in enumerate(words.split(), 2)}


QUESTIONS: Final[dict[Language, Questions]] = {
    "en": Questions(
        topics=_topics(
            (r"date of birth|birth ?da(?:y|te)|\bborn\b", Asked.BIRTH_DATE),
            (r"\bspell\b|\bspelled\b|\bspelt\b|letter by letter", Asked.SPELLING),
            (r"\be-?mail\b", Asked.EMAIL),
            (
                r"\b(?:phone|telephone|mobile|cell|callback|call-back|contact)\b(?: phone)? number|your (?:phone|"
                r"mobile|cell)\b|"
                r"number (?:can|may|should|could|do) (?:we|i) (?:reach|call)|(?:reach|call) you (?:on|at|"
                r"back)",
                Asked.PHONE,
            ),
            (
                r"\bdigits?\b|\bnumber\b(?! of)|\bcode\b|\bpin\b|\bzip\b|\bpost ?code\b|\biban\b|"
                r"\bpasscode\b",
                Asked.NUMBER,
            ),
            (r"\baddress\b|where do you live|street", Asked.ADDRESS),
            (
                r"(?:day|date) and (?:what |which )?time|time and (?:day|date)|when (?:would|should|do|can|"
                r"shall|will) |"
                r"when is (?:good|best|convenient)|what works (?:best )?for you",
                Asked.DAY_AND_TIME,
            ),
            (
                r"\bdate\b|\b(?:which|what|another|other|"
                r"on which) (?:other )?day\b|"
                r"day of the week|which month",
                Asked.DATE,
            ),
            (
                r"\bwhat time|\bwhich time|time would|which hour|what hour|time (?:suits|works|is best|"
                r"do you)",
                Asked.TIME,
            ),
            (r"how (?:many|much|old|long|tall|far)|what (?:amount|quantity|size)", Asked.AMOUNT),
            (r"(?:full|your complete|first and last) name|name and surname", Asked.FULL_NAME),
            (
                r"\b(?:name|surname)\b|who (?:am i|is) (?:speaking|calling)|what (?:are you|should i) call(?:ed|"
                r" you)",
                Asked.NAME,
            ),
            (
                r"what (?:(?:would|do|can|may|should) (?:you|i) )(?:like|want|need|get|bring|order)\b"
                r"(?! to (?:do|know|talk|say|ask))|"
                r"\b(?:which|what) (?!is|was|does|has|else)(?:\w+ )?(?:days|times|items|products|things|"
                r"toppings|symptoms|dates|names|numbers)\b|"
                r"\bto order\b",
                Asked.ITEMS,
            ),
        ),
        request=re.compile(
            r"^(?:and |so |okay,? |great,? |sure,? |now,? )*(?:can|could|may|might|would|will) (?:i|we|"
            r"you)(?: please| just| also)* "
            r"(?:have|get|take|ask|give|tell|spell|repeat|read|say|provide|share|confirm (?:your|the)|let me|mind)"
        ),
        yes_no=re.compile(
            r"^(?:and |so |okay,? |great,? |then |well,? |or |sure,? )*"
            r"(?:can|could|may|shall|should|would|will|do|does|did|is|are|was|were|have|has|had|am|isn't|aren't|"
            r"don't|doesn't|"
            r"won't|wouldn't|haven't) |,? \b(?:right|correct|okay|yes|isn't it|is that (?:right|correct|okay))\?$|"
            r"^(?:anything|something|someone|anyone) else\?$|^(?:ready|really|correct|right|okay|sure)\?$"
        ),
        confirm=re.compile(
            r"\b(?:say|saying|answer) ['\"]?(?:yes|no|okay|ok)\b|\byes or no\b|"
            r"\bplease confirm\.?$|\bconfirm (?:that|this|it)\b"
        ),
        asks=re.compile(
            r"\b(?:please|tell me|give me|i(?:'ll| will)? need|let me (?:have|know)|spell|say|read|"
            r"dictate|i would need|enter)\b"
        ),
        choice=re.compile(r"\b(?:which one|which of)\b|\w+ or (?:\w+ ){0,4}\w+\?$"),
        numbers=_numbers(
            "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        ),
        digits=re.compile(r"(?:\b(\w+)[- ](?:digits?|numbers?)\b|\blast (\w+)\b)"),
    ),
    "de": Questions(
        topics=_topics(
            (r"geburtsdatum|geburtstag|geboren", Asked.BIRTH_DATE),
            (r"buchstabier", Asked.SPELLING),
            (r"e-?mail", Asked.EMAIL),
            (
                r"telefon|handy|mobil|rückruf|vorwahl|(?:wir|ich) sie (?:erreichen|zurückrufen|anrufen)|(?:sind|"
                r"wären) sie (?:zu )?erreich",
                Asked.PHONE,
            ),
            (r"nummer|ziffern|\bstellen\b|stellig|\bcode\b|\bpin\b|postleitzahl|\bplz\b|\biban\b", Asked.NUMBER),
            (r"adresse|anschrift|wo wohnen|straße|hausnummer", Asked.ADDRESS),
            (
                r"tag und (?:um )?(?:welche |zu welcher )?(?:uhr)?zeit|\bwann\b|"
                r"termin(?:e)? passt",
                Asked.DAY_AND_TIME,
            ),
            (
                r"\bdatum\b|welche[nrm]? (?:anderen )?tag|an welchem|wochentag|"
                r"welche[nrm]? monat",
                Asked.DATE,
            ),
            (r"uhrzeit|wie viel uhr|welche zeit|welcher zeit|um welche|zu welcher", Asked.TIME),
            (r"wie (?:viele?|alt|lange|groß|weit|hoch)|welche (?:menge|größe)", Asked.AMOUNT),
            (r"vor- und (?:nach|zu)name|vollständige[rn]? name|ganze[rn]? name", Asked.FULL_NAME),
            (r"\bname|nachname|vorname|wie heißen|mit wem|wer (?:spricht|ruft)", Asked.NAME),
            (
                r"was (?:möchten|darf|hätten|brauchen|wollen|soll)|welche (?:tage|artikel|produkte|sachen|"
                r"zeiten|termine)|bestellen",
                Asked.ITEMS,
            ),
        ),
        request=re.compile(
            r"^(?:und |gut,? |okay,? |also,? |dann )*(?:können|könnten|würden|dürfte|darf|kann|könnte|mögen|"
            r"möchten) (?:sie|ich|wir)"
            r"(?:.*\b(?:nennen|sagen|geben|buchstabieren|wiederholen|mitteilen|haben|bekommen|notieren|fragen|"
            r"durchgeben)\b)"
        ),
        yes_no=re.compile(
            r"^(?:und |gut,? |okay,? |also,? |dann |oder )*"
            r"(?:kann|können|könnte|könnten|darf|dürfen|soll|sollen|sollte|würde|würden|wird|werden|wollen|will|"
            r"möchten|mögen|"
            r"ist|sind|war|waren|hat|haben|hatten|habe|bin|passt|stimmt|geht|gibt|brauchen|kennen|wissen|haben|"
            r"nehmen|sehen|gilt)"
            r"\b|\b(?:richtig|stimmt's|oder|nicht wahr|in ordnung|korrekt|okay)\?$|^(?:sonst noch|"
            r"noch) (?:etwas|was)\?$"
        ),
        confirm=re.compile(
            r"\bja oder nein\b|\b(?:sagen|antworten) sie (?:bitte )?(?:mit )?['\"„]?(?:ja|okay)|"
            r"bestätigen sie|mit ['\"„]?ja\b"
        ),
        asks=re.compile(r"\b(?:bitte|nennen|sagen sie|geben sie|ich brauche|ich bräuchte|buchstabieren)\b"),
        choice=re.compile(r"\bwelche[rns]? (?:der|davon|von)\b|\w+ oder (?:\w+ ){0,4}\w+\?$"),
        numbers=_numbers(
            "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn"
        ),
        digits=re.compile(r"(?:\b(\w+?)[- ]?(?:stellige?[nrs]?|ziffern|stellen|zahlen)\b|\bletzten (\w+)\b)"),
    ),
    "es": Questions(
        topics=_topics(
            (r"nacimiento|nació|cumpleaños", Asked.BIRTH_DATE),
            (r"deletre|letra por letra|cómo se escribe", Asked.SPELLING),
            (r"correo|e-?mail", Asked.EMAIL),
            (r"teléfono|telefono|móvil|celular|(?:llamar|contactar|localizar)(?:le|lo|la|te)\b", Asked.PHONE),
            (
                r"número(?! de (?:personas|noches|billetes))|numero|código|codigo|\bpin\b|dígitos|cifras|"
                r"\biban\b",
                Asked.NUMBER,
            ),
            (r"dirección|domicilio|dónde vive|calle", Asked.ADDRESS),
            (r"(?:día|fecha) y (?:a )?(?:qué )?hora|\bcuándo\b", Asked.DAY_AND_TIME),
            (r"fecha|qué (?:otro )?día|qué mes|cuál (?:otro )?día", Asked.DATE),
            (r"qué hora|a qué hora|cuál hora", Asked.TIME),
            (r"cuánt[oa]s?|qué (?:cantidad|tamaño|edad)", Asked.AMOUNT),
            (r"nombre (?:completo|y apellidos?)", Asked.FULL_NAME),
            (r"nombre|apellido|cómo se llama|quién (?:habla|llama)|con quién", Asked.NAME),
            (
                r"qué (?:desea|quiere|le pongo|necesita|va a)|qué (?:días|productos|cosas|artículos|síntomas)|pedir\b",
                Asked.ITEMS,
            ),
        ),
        request=re.compile(
            r"^¿?(?:y |bien,? |vale,? |entonces,? |perfecto,? )*(?:puede|podría|puedes|podrías|me puede|"
            r"me podría|puedo|podemos|quiere|me)"
            r"(?: .*?)?\b(?:decir\w*|dar\w*|da|dice|deletrear\w*|repetir\w*|facilitar\w*|indicar\w*|tener|saber|"
            r"dictar\w*)\b"
        ),
        yes_no=re.compile(
            r"^¿?(?:y |bien,? |vale,? |entonces,? |o )*"
            r"(?:puedo|puede|podría|podemos|quiere|querría|desea|le|lo|la|es|está|son|tiene|ha|hay|necesita|"
            r"prefiere|sabe|conoce|"
            r"debo|quieres|confirma|reservo|seguro|se)\b(?!.*\bo\b)|\b(?:verdad|correcto|no|de acuerdo|vale|"
            r"cierto)\?$|^¿?(?:algo|alguna cosa) más\?$"
        ),
        confirm=re.compile(r"\bsí o no\b|\bdiga ['\"«]?(?:sí|vale)|diciendo ['\"«]?sí|\bconfirme\b"),
        asks=re.compile(r"\b(?:por favor|dígame|deme|díganos|indique|necesito|deletree|diga)\b"),
        choice=re.compile(r"\bcuál (?:de|prefiere)\b|\w+ o (?:\w+ ){0,4}\w+\?$"),
        numbers=_numbers("dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis"),
        digits=re.compile(r"(?:\b(\w+) (?:dígitos|cifras|números)\b|\búltim[oa]s (\w+)\b)"),
    ),
    "fr": Questions(
        topics=_topics(
            (r"naissance|\bnée?\b|anniversaire", Asked.BIRTH_DATE),
            (r"épel|lettre par lettre|comment (?:ça|cela) s'écrit|s'écrit", Asked.SPELLING),
            (r"e-?mail|\bmail\b|courriel|adresse électronique", Asked.EMAIL),
            (r"téléphone|portable|mobile|(?:vous )?(?:joindre|rappeler|rappelle)", Asked.PHONE),
            (r"numéro|\bcode\b|\bpin\b|chiffres|\biban\b", Asked.NUMBER),
            (r"adresse|où habitez|domicile|\brue\b", Asked.ADDRESS),
            (r"(?:jour|date) et (?:à )?(?:quelle )?heure|\bquand\b", Asked.DAY_AND_TIME),
            (r"\bdate\b|quel (?:autre )?jour|quel mois", Asked.DATE),
            (r"quelle heure|quel horaire|quel créneau", Asked.TIME),
            (r"combien|quelle (?:quantité|taille)|quel âge", Asked.AMOUNT),
            (r"nom complet|nom et prénom|prénom et nom", Asked.FULL_NAME),
            (r"\bnom\b|prénom|comment vous appelez|qui (?:est à|parle|appelle)|à qui", Asked.NAME),
            (
                r"(?:que|qu'est-ce que vous) (?:désirez|voulez|voudriez|prenez|souhaitez)|quels (?:jours|"
                r"produits|articles)|commander",
                Asked.ITEMS,
            ),
        ),
        request=re.compile(
            r"^(?:et |bien,? |d'accord,? |alors,? |très bien,? )*(?:pouvez|pourriez|puis|pourrais|peux|"
            r"est-ce que (?:vous pouvez|je peux)|voulez)\b"
            r".*\b(?:dire|donner|épeler|répéter|indiquer|avoir|connaître|préciser|demander|dicter|communiquer)\b"
        ),
        yes_no=re.compile(
            r"^(?:et |bien,? |d'accord,? |alors,? |ou )*(?:est-ce (?:que|bien)|puis-je|pouvez|pourriez|voulez|"
            r"souhaitez|désirez|avez|"
            r"êtes|est|sont|c'est|dois-je|peut-on|préférez|connaissez|voudriez|je (?:vous|le|la)|ça|cela|y a-t-il)\b|"
            r"\b(?:n'est-ce pas|correct|d'accord|c'est (?:bien )?ça|juste|non|exact)\s?\?$|^autre chose\s?\?$"
        ),
        confirm=re.compile(r"\boui ou non\b|\bdites ['\"«]?\s?(?:oui|d'accord)|en disant ['\"«]?\s?oui|\bconfirmez\b"),
        asks=re.compile(
            r"\b(?:s'il vous plaît|dites-moi|donnez-moi|indiquez|j'ai besoin|épelez|veuillez|"
            r"il me faut)\b"
        ),
        choice=re.compile(r"\blequel\b|\blaquelle\b|\w+ ou (?:\w+ ){0,4}\w+\s?\?$"),
        numbers=_numbers("deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"),
        digits=re.compile(r"(?:\b(\w+) (?:(?:derniers|premiers) )?chiffres\b|\b(?:les )?(\w+) derniers\b)"),
    ),
    "it": Questions(
        topics=_topics(
            (r"nascita|\bnat[oa]\b|compleanno", Asked.BIRTH_DATE),
            (r"lettera per lettera|compit|come si scrive|sillab", Asked.SPELLING),
            (r"e-?mail|posta elettronica|\bmail\b", Asked.EMAIL),
            (r"telefono|cellulare|(?:chiamar|contattar|richiamar)(?:la|ti|lo)\b", Asked.PHONE),
            (r"numero(?! di (?:persone|notti))|codice|\bpin\b|cifre|\bcap\b|\biban\b", Asked.NUMBER),
            (r"indirizzo|dove abita|\bvia\b|domicilio", Asked.ADDRESS),
            (r"(?:giorno|data) e (?:a )?(?:che )?ora|\bquando\b", Asked.DAY_AND_TIME),
            (r"\bdata\b|che (?:altro )?giorno|quale (?:altro )?giorno|che mese", Asked.DATE),
            (r"che ora|quale ora|che orario|quale orario", Asked.TIME),
            (r"quant[oaie]\b|quale (?:quantità|misura)", Asked.AMOUNT),
            (r"nome (?:completo|e cognome)", Asked.FULL_NAME),
            (r"\bnome\b|cognome|come si chiama|chi (?:parla|chiama)|con chi", Asked.NAME),
            (
                r"(?:che )?cosa (?:desidera|vuole|prende|le serve)|quali (?:giorni|prodotti|articoli)|ordinare",
                Asked.ITEMS,
            ),
        ),
        request=re.compile(
            r"^(?:e |bene,? |allora,? |perfetto,? )*(?:può|potrebbe|puoi|potresti|mi può|mi potrebbe|posso|"
            r"possiamo|vuole|mi)\b"
            r".*\b(?:dir\w*|dare|darmi|dà|ripeter\w*|indicar\w*|aver\w*|saper\w*|dettar\w*|lasciar\w*|chieder\w*)\b"
        ),
        yes_no=re.compile(
            r"^(?:e |bene,? |allora,? |o )*(?:posso|può|potrebbe|possiamo|vuole|desidera|è|sono|ha|c'è|ci sono|"
            r"le|la|lo|devo|"
            r"preferisce|conosce|conferma|vorrebbe|serve|va|prenoto|gradisce)\b|\b(?:vero|giusto|corretto|no|"
            r"d'accordo|va bene)\?$|"
            r"^(?:qualcos'altro|altro)\?$"
        ),
        confirm=re.compile(r"\bsì o no\b|\bdica ['\"«]?(?:sì|va bene)|dicendo ['\"«]?sì|\bconfermi\b"),
        asks=re.compile(r"\b(?:per favore|per cortesia|mi dica|mi dia|indichi|ho bisogno|dica|mi serve)\b"),
        choice=re.compile(r"\bqual[ei]? (?:dei|delle|di|preferisce)\b|\w+ o (?:\w+ ){0,4}\w+\?$"),
        numbers=_numbers(
            "due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici"
        ),
        digits=re.compile(r"(?:\b(\w+) (?:cifre|numeri)\b|\bultim[ei] (\w+)\b)"),
    ),
}
