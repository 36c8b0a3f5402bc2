"""How the caller's speech is transcribed: what a client may set. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport


class Transcription(BaseModel):
    """How the caller's speech is transcribed for the client. A value."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = Field(default=None, max_length=256)
    """As the client calls it; the recogniser is always the operator's."""
    language: str | None = Field(default=None, max_length=64)
    prompt: str | None = Field(default=None, max_length=2000)
    """Words to expect; the recogniser gets them as text before the utterance."""
    keywords: tuple[str, ...] = ()
    """More of them."""

    def words(self) -> str:
        """What the recogniser may expect, as one text."""
        return ", ".join(filter(None, (self.prompt, *self.keywords)))

    def changed(self, given: dict[str, Any]) -> Transcription:
        """With these fields; None is the default."""
        fields = Transcription.model_fields
        return self.model_copy(
            update={name: fields[name].default if value is None else value for name, value in given.items()}
        )


def shown_transcription(wanted: Transcription | None, language: str, support: SpeechSupport) -> dict[str, Any] | None:
    """As a session shows it. `language`: in force."""
    if wanted is None:
        return None
    shown: dict[str, Any] = {"model": support.recogniser, "language": language}
    if wanted.prompt:
        shown["prompt"] = wanted.prompt
    if wanted.keywords:
        shown["keywords"] = list(wanted.keywords)
    return shown
