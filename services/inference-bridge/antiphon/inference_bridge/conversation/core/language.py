"""Words by which an agent asks for an answer, as data per language. Pure.

Signs of listening and of presence are in `turns.backchannel`, the bridge's own sentences in `phrases`.
"""

from __future__ import annotations

import re
from typing import Final

from antiphon.inference_bridge.languages import Language, ruled

_ASKS: Final[dict[Language, str]] = {
    "en": r"\b(?:say|saying|answer|reply|respond|press|tell me|let me know|confirm|choose|spell|repeat)\b",
    "de": r"\b(?:sagen sie|sag|antworten|drücken|bestätigen|bestätige|nennen|buchstabieren|wählen)\b",
    "es": r"\b(?:diga|dime|dígame|responda|conteste|confirme|confírmeme|pulse|elija|deletree)\b",
    "fr": r"\b(?:dites|dis|répondez|confirmez|appuyez|choisissez|épelez|indiquez)\b",
    "it": r"\b(?:dica|dimmi|mi dica|risponda|confermi|conferma|prema|scelga)\b",
}
"""An imperative that wants words of the caller."""
_SENTENCES: Final = re.compile(r"(?<=[.!?…])\s+")


def asks_for_words(text: str, language: str) -> bool:
    """Whether the agent's words want an answer: a question, or a last sentence such as "Please say yes"."""
    if "?" in text:
        return True
    sentences = [sentence for sentence in _SENTENCES.split(text.strip()) if sentence]
    pattern = _ASKS[ruled(language) or "en"]
    return any(re.search(pattern, sentence.lower()) for sentence in sentences[-2:])
