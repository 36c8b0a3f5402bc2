"""Words that the core needs to know, as data per language: signs of presence, requests for an answer, our own phrases.

Signs of listening are in `turns.backchannel`. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from antiphon.inference_bridge.languages import Language, ruled

PATIENCE: Final[dict[Language, str]] = {
    "en": "One moment, please.",
    "de": "Einen Moment, bitte.",
    "es": "Un momento, por favor.",
    "fr": "Un instant, s'il vous plaît.",
    "it": "Un momento, per favore.",
}
"""Spoken while the first word of an answer is late."""
NOT_UNDERSTOOD: Final[dict[Language, str]] = {
    "en": "Sorry, could you say that again?",
    "de": "Entschuldigung, könnten Sie das wiederholen?",
    "es": "Perdón, ¿podría repetirlo?",
    "fr": "Pardon, pourriez-vous répéter ?",
    "it": "Scusi, potrebbe ripetere?",
}
"""Spoken where the caller has stopped the agent, and no words were understood."""
NO_WORDS: Final[dict[Language, str]] = {
    "en": "I have an answer, but I can't say it aloud.",
    "de": "Ich habe eine Antwort, aber ich kann sie nicht vorlesen.",
    "es": "Tengo una respuesta, pero no puedo decirla en voz alta.",
    "fr": "J'ai une réponse, mais je ne peux pas la dire à voix haute.",
    "it": "Ho una risposta, ma non posso dirla a voce.",
}
"""Spoken in place of an answer that holds nothing to be spoken; the answer is on record as it was written."""

_PRESENCE: Final[dict[Language, str]] = {
    "en": r"hello|hallo|hi|hey|yoo hoo|(?:is )?(?:anybody|anyone|somebody|someone) (?:there|here|home)"
    r"|(?:are )?you (?:still )?(?:there|here|with me)|still there|(?:can|do) you hear me|you there"
    r"|are we still connected|did (?:i|we) lose you|did you hear (?:me|that)|sir|excuse me",
    "de": r"hallo|hey|ist (?:da )?(?:jemand|wer) da|ist da (?:jemand|wer)|(?:sind|bist) (?:sie|du) (?:noch )?da"
    r"|noch da|(?:hören|hörst) (?:sie|du) mich|jemand da",
    "es": r"hola|oiga|oye|bueno|diga|(?:sigue|sigues|está|estás|hay alguien) ahí|hay alguien|me (?:oye|oyes|escucha|"
    r"escuchas)|alguien ahí",
    "fr": r"allô|allo|ohé|(?:vous êtes|tu es|êtes vous|es tu|t es) (?:toujours |encore )?là"
    r"|(?:il )?y a (?:t il )?quelqu'?\s?un|vous m'?\s?entendez|tu m'?\s?entends|est ce que vous m'?\s?entendez",
    "it": r"pronto|ehi|ciao|(?:c'?\s?è )?qualcuno|(?:è|sei) (?:ancora )?(?:lì|là)|mi (?:sente|senti)|ci (?:sei|siete)",
}
"""What a caller says to find out whether the line still stands, without punctuation."""
_ADDRESSES: Final = r"and|so|well|und|also|y|et|e|ok|okay|please|bitte"
_MAX_PRESENCE: Final = 8
"""Words; more say something."""

_ASKS: Final[dict[Language, str]] = {
    "en": r"\b(?:say|saying|answer|reply|respond|press|tell me|let me know|confirm|choose|spell|repeat)\b",
    "de": r"\b(?:sagen sie|sag|antworten|drücken|bestätigen|bestätige|nennen|buchstabieren|wählen)\b",
    "es": r"\b(?:diga|dime|dígame|responda|conteste|confirme|confírmeme|pulse|elija|deletree)\b",
    "fr": r"\b(?:dites|dis|répondez|confirmez|appuyez|choisissez|épelez|indiquez)\b",
    "it": r"\b(?:dica|dimmi|mi dica|risponda|confermi|conferma|prema|scelga)\b",
}
"""An imperative that wants words of the caller."""
_SENTENCES: Final = re.compile(r"(?<=[.!?…])\s+")


def phrase(phrases: dict[Language, str], language: str) -> str:
    """The phrase in this language; English where there is none."""
    return phrases[ruled(language) or "en"]


def is_presence_check(text: str, language: str) -> bool:
    """Whether `text` only asks if somebody is there: "Hello?", "Are you still there?"."""
    words = re.sub(r"[^\w']+", " ", text.lower()).strip()
    if not words or len(words.split()) > _MAX_PRESENCE:
        return False
    pattern = _PRESENCE[ruled(language) or "en"]
    return re.fullmatch(rf"(?:(?:{pattern}|{_ADDRESSES})(?: |$))+", words) is not None and (
        re.search(rf"\b(?:{pattern})\b", words) is not None
    )


def asks_for_words(text: str, language: str) -> bool:
    """Whether the agent's words want an answer: a question, or a last sentence such as "Please say yes"."""
    if "?" in text:
        return True
    sentences = [sentence for sentence in _SENTENCES.split(text.strip()) if sentence]
    pattern = _ASKS[ruled(language) or "en"]
    return any(re.search(pattern, sentence.lower()) for sentence in sentences[-2:])
