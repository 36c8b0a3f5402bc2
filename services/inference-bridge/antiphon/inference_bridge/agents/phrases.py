"""What a caller hears instead of a model's answer, by language."""

from __future__ import annotations

from typing import Final, NamedTuple

from antiphon.inference_bridge.languages import ruled


class Phrases(NamedTuple):
    """The phrases of one language. A value."""

    apology: str
    """The chat server does not answer."""
    too_long: str
    """The answer does not end."""
    refused: str
    """The server won't answer this, by its content filter."""


PHRASES: Final = {
    "en": Phrases(
        "Sorry, I can't think just now. Please try again in a moment.",
        "Sorry, I have to stop here, this gets too long.",
        "Sorry, I can't say anything about that.",
    ),
    "de": Phrases(
        "Entschuldigung, ich kann gerade nicht nachdenken. Bitte versuchen Sie es gleich noch einmal.",
        "Entschuldigung, ich muss hier aufhören, das wird zu lang.",
        "Entschuldigung, dazu kann ich nichts sagen.",
    ),
    "es": Phrases(
        "Perdón, ahora mismo no puedo pensar. Inténtelo de nuevo en un momento, por favor.",
        "Perdón, tengo que parar aquí, esto se hace demasiado largo.",
        "Perdón, no puedo decir nada sobre eso.",
    ),
    "fr": Phrases(
        "Pardon, je n'arrive pas à réfléchir pour l'instant. Réessayez dans un moment, s'il vous plaît.",
        "Pardon, je dois m'arrêter ici, cela devient trop long.",
        "Pardon, je ne peux rien dire à ce sujet.",
    ),
    "it": Phrases(
        "Scusi, in questo momento non riesco a pensare. Riprovi tra un attimo, per favore.",
        "Scusi, devo fermarmi qui, diventa troppo lungo.",
        "Scusi, non posso dire nulla al riguardo.",
    ),
}


def phrases(language: str) -> Phrases:
    """Those of a language; English where there are none."""
    return PHRASES[ruled(language) or "en"]
