"""What the speech models of a process can do, from its settings alone: `SpeechSupport`. Pure.

Settings that contradict one another are found here, before a model is loaded: a language without a voice is refused at
the start and not at the first call.
"""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.languages import primary
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.tts.kokoro_voices import KOKORO_VOICES, USUAL, is_other_kokoro

WHISPER_LANGUAGES: Final = frozenset({"en", "de", "es", "fr", "it"})
"""Those that the packaged Whisper was measured with, and German, for which there was no speech to measure it on."""
JOE: Final = "joe"


class SpeechSettingsError(ValueError):
    """Settings of voice and language that no process can obey. The process exits with the text."""


def speech_support(
    settings: Settings, own_voice_language: str = "en", transcribes: frozenset[str] | None = WHISPER_LANGUAGES
) -> SpeechSupport:
    """`own_voice_language`: of that at `ANTIPHON_VOICE_PATH`. `transcribes`: the recogniser's languages; None: any.

    `SpeechSettingsError` names the setting, its value and the way out.
    """
    language = primary(settings.language)
    if settings.tts_url:
        name = settings.voice_name
        return _checked(SpeechSupport(language, name, transcribes, {name: None}, any_voice=True))
    voices: dict[str, frozenset[str] | None] = {}
    for name in settings.voice_names:
        if settings.voice_path and name == settings.voice_path.stem:
            if own_voice_language != "en":
                raise SpeechSettingsError(
                    f"ANTIPHON_VOICE_PATH is a voice for {own_voice_language!r:.20}: there are phonemes for English "
                    f"Piper voices only; {_ways_out(own_voice_language)}"
                )
            voices[name] = frozenset({own_voice_language})
        elif name == JOE:
            voices[name] = frozenset({"en"})
        elif name in KOKORO_VOICES:
            voices[name] = frozenset({KOKORO_VOICES[name]})
        elif is_other_kokoro(name):
            raise SpeechSettingsError(f"ANTIPHON_VOICE names {name}, whose language has no phonemes here: {_KNOWN}")
        else:
            raise SpeechSettingsError(
                f"ANTIPHON_VOICE names {name!r:.80}, which is no voice here: {_KNOWN}; a Piper voice of your own is "
                "set by ANTIPHON_VOICE_PATH, a service by ANTIPHON_TTS_URL"
            )
    if any(name in KOKORO_VOICES for name in voices):
        # the usual ones first: they are taken where a call names a language only
        voices |= {name: frozenset({KOKORO_VOICES[name]}) for name in (*USUAL.values(), *KOKORO_VOICES)}
    return _checked(SpeechSupport(language, settings.voice_name, transcribes, voices))


_KNOWN: Final = f"joe, or with the extra `voices` one of {', '.join(KOKORO_VOICES)}"


def _checked(support: SpeechSupport) -> SpeechSupport:
    language, voice = support.language, support.voice
    if not support.can_speak(language, voice):
        spoken = ", ".join(sorted(support.voices[voice] or ()))
        raise SpeechSettingsError(
            f"ANTIPHON_LANGUAGE is {language!r}, but the voice {voice} speaks {spoken}: {_ways_out(language)}"
        )
    if not support.can_transcribe(language):
        known = ", ".join(sorted(support.transcribes or ()))
        raise SpeechSettingsError(
            f"ANTIPHON_LANGUAGE is {language!r}, but callers can be transcribed in {known} only: choose one of these, "
            "or a service for other languages by ANTIPHON_STT_URL"
        )
    return support


def _ways_out(language: str) -> str:
    usual = [
        f"ANTIPHON_VOICE={name} with the extra `voices`, or " for spoken, name in USUAL.items() if spoken == language
    ]
    return f"set {''.join(usual)}a service that speaks it by ANTIPHON_TTS_URL"
