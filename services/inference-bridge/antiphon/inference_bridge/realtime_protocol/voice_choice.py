"""Which language and voice a session has, of those that the speech models of this process can do. Pure.

A client's language is in force or refused. So is a voice, but for the names of the hosted service: its clients always
send one, so a hosted name that is no voice here is no wish. The session keeps a voice that speaks its language, and
`session.updated` shows which.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from antiphon.inference_bridge.languages import primary
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.realtime_protocol.values import BadValue

HOSTED_VOICES: Final = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""Voices of the service whose protocol this is."""
_MAX_NAMED: Final = 60
"""Voices or languages in an error."""


def chosen_language(tag: str, support: SpeechSupport, voice: str, spoken: bool) -> str:
    """The language that a client asks for, as it is in force; `BadValue` if it can't be.

    `voice`: in force. `spoken`: answers are speech, so the language needs a voice.
    """
    language = primary(tag)
    if not support.can_transcribe(language):
        raise BadValue(f"speech is transcribed in {_names(support.transcribes or ())} here")
    if spoken and voice_for(language, support, voice) is None:
        raise BadValue(f"no voice here speaks it; the voices are {_spoken(support)}")
    return language


def chosen_voice(name: str, support: SpeechSupport, language: str, in_force: str) -> str:
    """The voice that a client asks for, as it is in force; `BadValue` if it can't be."""
    known = name in support.voices
    if not known and name in HOSTED_VOICES and support.voice not in HOSTED_VOICES:
        return in_force
    if not known and not support.any_voice:
        raise BadValue(f"there is no such voice here; the voices are {_spoken(support)}")
    if not support.can_speak(language, name):
        able = [voice for voice in support.voices if support.can_speak(language, voice)]
        speaks = _names(support.voices[name] or ())
        raise BadValue(
            f"it speaks {speaks}, and the session's language is {language}, for which there is {_names(able)}"
        )
    return name


def voice_for(language: str, support: SpeechSupport, in_force: str) -> str | None:
    """A voice that speaks the language: the one in force, the default, or another; None if there is none."""
    for voice in (in_force, support.voice, *support.voices):
        if support.can_speak(language, voice):
            return voice
    return None


def _spoken(support: SpeechSupport) -> str:
    """Which voices there are, and what each speaks."""
    names = list(support.voices)
    parts = [f"{name} ({_names(support.voices[name] or ('any language',))})" for name in names[:_MAX_NAMED]]
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"{', '.join(parts)}{more}"


def _names(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:_MAX_NAMED]) or "nothing"
