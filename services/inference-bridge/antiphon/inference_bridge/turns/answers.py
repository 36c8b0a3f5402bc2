"""How callers answer: words that make an answer whole, by language. Data, for `expected_answer`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from antiphon.inference_bridge.languages import Language


@dataclass(frozen=True)
class Answers:
    """How callers of one language answer. A value; all patterns are matched against lower case."""

    yes_no: re.Pattern[str]
    """Begins an answer to a question for yes or no."""
    day: re.Pattern[str]
    """A day that is named: weekday, "tomorrow"."""
    month: re.Pattern[str]
    time: re.Pattern[str]
    """A time of the day in words, and what stands behind its number."""
    about: re.Pattern[str]
    """What a time begins with, before its number."""
    leads: re.Pattern[str]
    """What stands before a name: "my name is"."""
    thinking: re.Pattern[str]
    """An answer that is to come: "let me see", "one moment"."""
    phone: int
    """The digits of most telephone numbers, without the country."""


ANSWERS: Final[dict[Language, Answers]] = {
    "en": Answers(
        yes_no=re.compile(
            r"^(?:yes|yeah|yep|yup|no|nope|nah|sure|okay|ok|of course|correct|right|exactly|absolutely|"
            r"definitely|certainly|"
            r"please do|go ahead|not really|i do|i don't|i am|i'm not|i have|i haven't|it is|it isn't|"
            r"that's (?:right|correct|fine)|"
            r"that (?:works|is (?:right|correct|fine))|sounds good|all right|alright|fine|never|maybe|perhaps|"
            r"not yet|mm-?hmm|uh-?huh)\b"
        ),
        day=re.compile(r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|today|tomorrow|tonight|yesterday)\b"),
        month=re.compile(
            r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december|"
            r"next (?:week|month))\b"
        ),
        time=re.compile(
            r"\b(?:noon|midday|midnight|morning|afternoon|evening|o'clock|half past|quarter (?:past|"
            r"to)|am|pm|a\.m|p\.m)\b"
        ),
        about=re.compile(r"\b(?:at|around|about|by|past|to)$"),
        leads=re.compile(
            r"^(?:(?:yes|sure|okay|ok|well|of course|hi|hello|so|um|uh)[,.]? )*(?:(?:my|the) (?:(?:first|last|"
            r"full|family) )?name(?:'s| is)|"
            r"it's|it is|this is|i'm|i am|that's|that is|you can call me|call me|for|under)? ?"
        ),
        thinking=re.compile(
            r"\b(?:let me (?:see|think|check|look|find)|one (?:moment|second|sec|minute)|just a (?:moment|"
            r"second|sec|minute)|"
            r"hold on|hang on|wait|bear with me|give me a|good question|that is|well|i think|it should be|"
            r"where (?:is|did|have))[.!,]*$"
        ),
        phone=10,
    ),
    "de": Answers(
        yes_no=re.compile(
            r"^(?:ja|jawohl|jep|jo|nein|nee|nö|klar|okay|ok|gern|gerne|natürlich|genau|richtig|stimmt|sicher|"
            r"selbstverständlich|"
            r"auf jeden fall|auf keinen fall|passt|in ordnung|einverstanden|doch|vielleicht|noch nicht|"
            r"das (?:ist richtig|stimmt|passt))\b"
        ),
        day=re.compile(r"\b(?:(?:mon|diens|donners|frei|sams|sonn)tags?|mittwochs?|heute|morgen|übermorgen)\b"),
        month=re.compile(
            r"\b(?:januar|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember|"
            r"nächste[rn]? (?:woche|monat))\b"
        ),
        time=re.compile(
            r"\b(?:uhr|mittags?|mitternacht|vormittags?|nachmittags?|abends?|früh|halb|"
            r"viertel (?:nach|vor))\b"
        ),
        about=re.compile(r"\b(?:um|gegen|ab|nach|vor|halb)$"),
        leads=re.compile(
            r"^(?:(?:ja|gern|gerne|also|hallo|äh|ähm)[,.]? )*(?:mein (?:(?:vor|nach))?name ist|ich (?:heiße|"
            r"bin)|hier (?:ist|spricht)|das ist|"
            r"auf)? ?"
        ),
        thinking=re.compile(
            r"\b(?:moment|augenblick|sekunde|warten sie|mal sehen|lassen sie mich|einen moment(?: bitte)?|"
            r"gute frage|ich glaube|also)[.!,]*$"
        ),
        phone=10,
    ),
    "es": Answers(
        yes_no=re.compile(
            r"^(?:sí|si|no|claro|vale|de acuerdo|por supuesto|correcto|exacto|exactamente|bueno|está bien|"
            r"perfecto|desde luego|"
            r"todavía no|quizás?|tal vez|así es|eso es)\b"
        ),
        day=re.compile(r"\b(?:lunes|martes|miércoles|jueves|viernes|sábado|domingo|hoy|mañana|pasado mañana)\b"),
        month=re.compile(
            r"\b(?:enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|"
            r"(?:semana|mes) que viene)\b"
        ),
        time=re.compile(
            r"\b(?:mediodía|medianoche|de la (?:mañana|tarde|noche)|por la (?:mañana|tarde|noche)|"
            r"en punto|y (?:media|cuarto))\b"
        ),
        about=re.compile(r"\b(?:a las?|sobre las?|hacia las?|las|la)$"),
        leads=re.compile(
            r"^(?:(?:sí|claro|hola|bueno|pues|eh)[,.]? )*(?:mi (?:nombre|apellido) es|me llamo|soy|"
            r"es|a nombre de)? ?"
        ),
        thinking=re.compile(
            r"\b(?:(?:un|espere un|deme un) (?:momento|segundo)|espere|a ver|déjeme (?:ver|pensar)|"
            r"buena pregunta|creo que|pues)[.!,]*$"
        ),
        phone=9,
    ),
    "fr": Answers(
        yes_no=re.compile(
            r"^(?:oui|ouais|non|si|d'accord|bien sûr|ok|okay|exact|exactement|absolument|certainement|"
            r"volontiers|parfait|tout à fait|"
            r"c'est (?:ça|bon|exact)|pas encore|peut-être|pas du tout)\b"
        ),
        day=re.compile(r"\b(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|aujourd'hui|demain|après-demain)\b"),
        month=re.compile(
            r"\b(?:janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre|"
            r"(?:semaine|mois) prochaine?)\b"
        ),
        time=re.compile(r"\b(?:heures?|midi|minuit|du matin|de l'après-midi|du soir|et (?:demie|quart))\b|\d ?h\b"),
        about=re.compile(r"\b(?:à|vers)$"),
        leads=re.compile(
            r"^(?:(?:oui|bien sûr|bonjour|alors|euh)[,.]? )*(?:mon (?:pré)?nom est|mon nom c'est|"
            r"je m'appelle|je suis|c'est|au nom de)? ?"
        ),
        thinking=re.compile(
            r"\b(?:un (?:moment|instant)|une seconde|attendez|voyons|laissez-moi (?:voir|réfléchir)|"
            r"bonne question|je crois(?: que)?|alors|euh)[.!,]*$"
        ),
        phone=10,
    ),
    "it": Answers(
        yes_no=re.compile(
            r"^(?:sì|si|no|certo|certamente|va bene|d'accordo|ok|okay|esatto|giusto|corretto|perfetto|"
            r"volentieri|assolutamente|"
            r"non ancora|forse|come no|naturalmente)\b"
        ),
        day=re.compile(r"\b(?:lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica|oggi|domani|dopodomani)\b"),
        month=re.compile(
            r"\b(?:gennaio|febbraio|marzo|aprile|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre|"
            r"(?:settimana|mese) prossim[ao]|prossim[ao] (?:settimana|mese))\b"
        ),
        time=re.compile(
            r"\b(?:mezzogiorno|mezzanotte|di (?:mattina|pomeriggio|sera)|del (?:mattino|pomeriggio)|"
            r"in punto|e (?:mezza|mezzo|un quarto))\b"
        ),
        about=re.compile(r"\b(?:alle?|verso le|le)$"),
        leads=re.compile(
            r"^(?:(?:sì|certo|ciao|allora|eh)[,.]? )*(?:il mio (?:nome|cognome) è|mi chiamo|sono|è|"
            r"a nome di)? ?"
        ),
        thinking=re.compile(
            r"\b(?:un (?:momento|attimo|secondo)|aspetti|vediamo|mi faccia (?:vedere|pensare)|buona domanda|"
            r"credo(?: che)?|allora)[.!,]*$"
        ),
        phone=10,
    ),
}
