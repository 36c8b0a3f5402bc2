"""The fixed sentences that a bridge itself says to a caller, in each language that it has rules for. Pure data.

An agent's own sentences are not here. Each of these is short, has no number or name to normalise, and ends with a mark
that makes it a clause of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from antiphon.inference_bridge.languages import Language, ruled

Phrase = Literal[
    "greeting",
    "not_understood",
    "trouble",
    "apology",
    "too_long",
    "refused",
    "no_voice",
    "no_words",
    "tool_failed",
    "back_again",
    "give_up",
    "patience",
    "idle_prompt",
    "longest_call",
]
"""
`greeting`: the first words, where neither agent nor setting has any.
`not_understood`: an interruption, or a turn whose transcription failed, had no words.
`trouble`: the agent raised an error.
`apology`: the language model gives no answer, or not its end.
`too_long`: the language model's answer does not end.
`refused`: the chat server won't answer this, by its content filter.
`no_voice`: no speech could be made of an answer. Synthesised at the start and kept.
`no_words`: an answer has nothing that can be spoken.
`tool_failed`: a tool gave no result, or the model called none that there is, and says nothing about it.
`back_again`: another process continues the call after the first one was lost.
`give_up`: no process can continue the call; it is hung up.
`patience`: the first word of an answer is late.
`idle_prompt`: the caller has been silent for `idle_timeout_ms`.
`longest_call`: the call has lasted as long as its agent wants calls to last; it is hung up.
"""
PHRASES: Final[tuple[Phrase, ...]] = get_args(Phrase)

_ENGLISH: Final[Mapping[Phrase, str]] = {
    "greeting": "Hello, how can I help you?",
    "not_understood": "Sorry, could you say that again?",
    "trouble": "Sorry, something went wrong on my side. Could you say that again?",
    "apology": "Sorry, I can't think just now. Please try again in a moment.",
    "too_long": "Sorry, I have to stop here, this gets too long.",
    "refused": "Sorry, I can't say anything about that.",
    "no_voice": "Sorry, I have lost my words. Please give me a moment.",
    "no_words": "I have an answer, but I can't say it aloud.",
    "tool_failed": "Sorry, I could not get that done just now.",
    "back_again": "Sorry, I was gone for a moment.",
    "give_up": (
        "I am sorry, I have technical trouble and cannot go on with this call. Please call again later. Goodbye."
    ),
    "patience": "One moment, please.",
    "idle_prompt": "Are you still there?",
    "longest_call": "I am sorry, our time is up, and I have to end this call. Goodbye.",
}
_GERMAN: Final[Mapping[Phrase, str]] = {
    "greeting": "Hallo, wie kann ich Ihnen helfen?",
    "not_understood": "Entschuldigung, können Sie das bitte noch einmal sagen?",
    "trouble": "Entschuldigung, bei mir ist etwas schiefgegangen. Können Sie das bitte noch einmal sagen?",
    "apology": "Entschuldigung, ich kann gerade nicht nachdenken. Bitte versuchen Sie es gleich noch einmal.",
    "too_long": "Entschuldigung, ich muss hier aufhören, das wird zu lang.",
    "refused": "Entschuldigung, dazu kann ich nichts sagen.",
    "no_voice": "Entschuldigung, mir fehlen gerade die Worte. Bitte geben Sie mir einen Moment.",
    "no_words": "Ich habe eine Antwort, aber ich kann sie nicht vorlesen.",
    "tool_failed": "Entschuldigung, das hat gerade nicht geklappt.",
    "back_again": "Entschuldigung, ich war kurz weg.",
    "give_up": (
        "Es tut mir leid, ich habe technische Probleme und kann dieses Gespräch nicht fortsetzen. "
        "Bitte rufen Sie später noch einmal an. Auf Wiederhören."
    ),
    "patience": "Einen Moment, bitte.",
    "idle_prompt": "Sind Sie noch da?",
    "longest_call": "Es tut mir leid, unsere Zeit ist um, und ich muss das Gespräch beenden. Auf Wiederhören.",
}
_SPANISH: Final[Mapping[Phrase, str]] = {
    "greeting": "Hola, ¿en qué puedo ayudarle?",
    "not_understood": "Perdón, ¿puede repetirlo, por favor?",
    "trouble": "Perdón, algo ha fallado por mi parte. ¿Puede repetirlo, por favor?",
    "apology": "Perdón, ahora mismo no puedo pensar. Inténtelo de nuevo en un momento, por favor.",
    "too_long": "Perdón, tengo que parar aquí, esto se hace demasiado largo.",
    "refused": "Perdón, no puedo decir nada sobre eso.",
    "no_voice": "Perdón, me he quedado sin palabras. Deme un momento, por favor.",
    "no_words": "Tengo una respuesta, pero no puedo decirla en voz alta.",
    "tool_failed": "Perdón, ahora mismo no he podido hacerlo.",
    "back_again": "Perdón, me he ausentado un momento.",
    "give_up": (
        "Lo siento, tengo problemas técnicos y no puedo continuar con esta llamada. Llame más tarde, por favor. Adiós."
    ),
    "patience": "Un momento, por favor.",
    "idle_prompt": "¿Sigue usted ahí?",
    "longest_call": "Lo siento, se nos ha acabado el tiempo y tengo que terminar la llamada. Adiós.",
}
_FRENCH: Final[Mapping[Phrase, str]] = {
    "greeting": "Bonjour, comment puis-je vous aider ?",
    "not_understood": "Pardon, pouvez-vous répéter, s'il vous plaît ?",
    "trouble": "Pardon, j'ai rencontré un problème. Pouvez-vous répéter, s'il vous plaît ?",
    "apology": "Pardon, je n'arrive pas à réfléchir pour l'instant. Réessayez dans un moment, s'il vous plaît.",
    "too_long": "Pardon, je dois m'arrêter ici, cela devient trop long.",
    "refused": "Pardon, je ne peux rien dire à ce sujet.",
    "no_voice": "Pardon, je ne trouve plus mes mots. Un instant, s'il vous plaît.",
    "no_words": "J'ai une réponse, mais je ne peux pas la dire à voix haute.",
    "tool_failed": "Pardon, je n'ai pas pu le faire pour l'instant.",
    "back_again": "Pardon, je me suis absenté un instant.",
    "give_up": (
        "Je suis désolé, j'ai un problème technique et je ne peux pas poursuivre cet appel. "
        "Veuillez rappeler plus tard. Au revoir."
    ),
    "patience": "Un instant, s'il vous plaît.",
    "idle_prompt": "Êtes-vous toujours là ?",
    "longest_call": "Je suis désolé, notre temps est écoulé et je dois mettre fin à l'appel. Au revoir.",
}
_ITALIAN: Final[Mapping[Phrase, str]] = {
    "greeting": "Buongiorno, come posso aiutarla?",
    "not_understood": "Scusi, può ripetere, per favore?",
    "trouble": "Scusi, qualcosa è andato storto da parte mia. Può ripetere, per favore?",
    "apology": "Scusi, in questo momento non riesco a pensare. Riprovi tra un attimo, per favore.",
    "too_long": "Scusi, devo fermarmi qui, diventa troppo lungo.",
    "refused": "Scusi, non posso dire nulla al riguardo.",
    "no_voice": "Scusi, mi mancano le parole. Mi dia un momento, per favore.",
    "no_words": "Ho una risposta, ma non posso dirla a voce.",
    "tool_failed": "Scusi, al momento non è stato possibile.",
    "back_again": "Scusi, mi sono assentato un momento.",
    "give_up": (
        "Mi dispiace, ho un problema tecnico e non posso continuare questa chiamata. "
        "Richiami più tardi, per favore. Arrivederci."
    ),
    "patience": "Un momento, per favore.",
    "idle_prompt": "È ancora in linea?",
    "longest_call": "Mi dispiace, il nostro tempo è finito e devo chiudere la chiamata. Arrivederci.",
}
_TEXTS: Final[Mapping[Language, Mapping[Phrase, str]]] = {
    "en": _ENGLISH,
    "de": _GERMAN,
    "es": _SPANISH,
    "fr": _FRENCH,
    "it": _ITALIAN,
}


def phrase(name: Phrase, language: str = "en") -> str:
    """The sentence in the language of this tag (BCP 47); in English, if it has none: every caller is told something."""
    return _TEXTS[ruled(language) or "en"][name]
