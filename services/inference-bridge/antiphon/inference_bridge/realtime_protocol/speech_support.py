"""What the speech models of this process can do: which languages they transcribe, and which voices speak which.

Sessions are checked against it: a language or voice that a client asks for is in force, or refused by an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from antiphon.inference_bridge.languages import primary
from antiphon.runtime.tools.allowed_hosts import AllowedHosts


@dataclass(frozen=True)
class SpeechSupport:
    """A value, made once by the process from its settings and shared by its calls."""

    language: str = "en"
    """Of a session that asks for none."""
    voice: str = "joe"
    """Of a session that asks for none."""
    transcribes: frozenset[str] | None = frozenset({"en"})
    """Languages that the recogniser takes; None: it takes any, as a service by URL does."""
    voices: Mapping[str, frozenset[str] | None] = field(default_factory=lambda: {"joe": frozenset({"en"})})
    """Each voice with the languages that it speaks; None: any."""
    recogniser: str = "whisper-base"
    """The name of the model that transcribes, as sessions show it."""
    any_voice: bool = False
    """A service by URL speaks: it may have voices that are not named here."""
    mcp_hosts: AllowedHosts = field(default_factory=AllowedHosts)
    """Of MCP servers that a client may name: no matter of speech, but of what a session may ask for all the same."""

    def can_transcribe(self, language: str) -> bool:
        """The recogniser takes this language."""
        return self.transcribes is None or primary(language) in self.transcribes

    def can_speak(self, language: str, voice: str) -> bool:
        """The voice speaks this language."""
        if voice not in self.voices:
            return self.any_voice
        spoken = self.voices[voice]
        return spoken is None or primary(language) in spoken
