"""Several voices as one `Synthesizer`: each request names one, or a language, or leaves it to the set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.inference_bridge.languages import primary
from antiphon.inference_bridge.tts.synthesizer import Samples, Synthesizer


class UnknownVoiceError(ValueError):
    """There is no such voice here, or none of that language. The text names those that are."""


@dataclass(frozen=True)
class NamedVoice:
    """A voice of a set. A value."""

    name: str
    language: str
    synthesizer: Synthesizer


class VoiceSet:
    """A `Synthesizer` that hands each clause to the right one of several.

    Owned by the bridge or a model worker, for the life of the process. Without state: any thread may call it.
    """

    def __init__(self, voices: Sequence[NamedVoice]) -> None:
        """`voices`: the usual one first; those that come first are preferred where only a language is named."""
        self._voices = {voice.name: voice for voice in voices}
        self._usual = voices[0]

    def synthesize(self, clause: str, speed: float = 1.0, voice: str = "", language: str = "") -> Samples:
        """As the protocol says; `UnknownVoiceError` for a voice or a language that is not there."""
        chosen = self._chosen(voice, language)
        return chosen.synthesizer.synthesize(clause, speed, chosen.name, chosen.language)

    def _chosen(self, name: str, language: str) -> NamedVoice:
        if name:
            if name not in self._voices:
                raise UnknownVoiceError(f"there is no voice {name!r:.80}; there are: {', '.join(self._voices)}")
            voice = self._voices[name]
            if language and primary(language) != voice.language:
                raise UnknownVoiceError(f"the voice {name} speaks {voice.language}, not {language!r:.80}")
            return voice
        if not language or primary(language) == self._usual.language:
            return self._usual
        for voice in self._voices.values():
            if voice.language == primary(language):
                return voice
        raise UnknownVoiceError(f"no voice speaks {language!r:.80}; there are: {', '.join(self._voices)}")
