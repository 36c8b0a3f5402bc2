"""What a client's `session` names, in an update or an offer, in the shape of today or of the first version. Pure.

A field of the published protocol that means nothing here (the hosted models' names, noise reduction, tracing) is taken
without effect. A field that is not in it is refused as unknown, and costs no other one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.fields import Field, Group, Part, read
from antiphon.inference_bridge.realtime_protocol.tools import tool_choice, tools
from antiphon.inference_bridge.realtime_protocol.values import (
    BadValue,
    boolean,
    integer,
    number,
    one_of,
    opaque,
    opaque_object,
    several,
    text,
)

MAX_INSTRUCTIONS: Final = 100_000
"""Characters."""
MAX_PROMPT: Final = 2000
"""Characters of the words that the recogniser may expect."""
MAX_KEYWORDS: Final = 100
MAX_TOKENS: Final = 100_000
MODALITIES: Final = ("text", "audio")
LEAST_SPEED: Final = 0.25
MOST_SPEED: Final = 1.5
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,3}")


def max_tokens(value: Any) -> Any:
    """A number of tokens, or `inf`."""
    return value if value == "inf" else integer(1, MAX_TOKENS)(value)


def voice_name(value: Any) -> str:
    """A voice by its name, or as the object `{"id": name}`."""
    inside = ""
    if isinstance(value, Mapping):
        inside, value = ".id", value.get("id")
        if value is None:
            raise BadValue("", "missing_required_parameter", inside)
    if not isinstance(value, str):
        raise BadValue("the name of a voice is expected", "invalid_type", inside, value if inside else None)
    if not 0 < len(value) <= 256:
        raise BadValue(f"it has {len(value)} characters, from 1 to 256 are taken", inside=inside)
    return value


def _language(value: Any) -> str:
    if not isinstance(value, str):
        raise BadValue("a text is expected", "invalid_type")
    if not _LANGUAGE.fullmatch(value):
        raise BadValue("a language such as en, es or de-AT is expected")
    return value


def _languages(value: Any) -> str | None:
    """Possible languages: one, because a session speaks and transcribes one."""
    if not isinstance(value, list):
        raise BadValue("a list is expected", "invalid_type")
    if len(value) > 1:
        raise BadValue("a session has one language: send it as language")
    return _language(value[0]) if value else None


def _keywords(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadValue("a list of texts is expected", "invalid_type")
    if len(value) > MAX_KEYWORDS or sum(map(len, value)) > MAX_PROMPT:
        raise BadValue(f"at most {MAX_KEYWORDS} with {MAX_PROMPT} characters together are taken")
    return tuple(value)


def no_template(value: Any) -> Any:
    """A prompt template is kept by the hosted service: what it says can't be known here."""
    raise BadValue("prompt templates are not kept here: send their text as instructions")


FORMAT: Final = Group({"type": Field(one_of("audio/pcm", "audio/pcmu", "audio/pcma")), "rate": Field(one_of(24000))})
"""Taken without effect: the call carries the audio."""
FLAT_FORMAT: Final = Field(one_of("pcm16", "g711_ulaw", "g711_alaw"))
_NOISE_REDUCTION: Final = Group({"type": Field(one_of("near_field", "far_field")), "strength": Field(number(0, 100))})
_TRANSCRIPTION: Final = Group(
    {
        "model": Field(text(256), "model"),
        "language": Field(_language, "language"),
        "languages": Field(_languages, "languages"),
        "prompt": Field(text(MAX_PROMPT), "prompt"),
        "keywords": Field(_keywords, "keywords"),
        "delay": Field(one_of("minimal", "low", "medium", "high", "xhigh")),
    },
    "transcription",
)
_TURN_DETECTION: Final = Group(
    {
        "type": Field(one_of("server_vad", "semantic_vad"), "type"),
        "threshold": Field(number(0, 1), "threshold"),
        "prefix_padding_ms": Field(integer(0, 2000), "prefix_padding_ms"),
        "silence_duration_ms": Field(integer(96, 10_000), "silence_duration_ms"),
        "idle_timeout_ms": Field(integer(1000, 60_000), "idle_timeout_ms"),
        "eagerness": Field(one_of("low", "medium", "high", "auto"), "eagerness"),
        "create_response": Field(boolean, "create_response"),
        "interrupt_response": Field(boolean, "interrupt_response"),
    },
    "turn_detection",
)
VOICE: Final = Field(voice_name, "voice")
SPEED: Final = Field(number(LEAST_SPEED, MOST_SPEED), "speed")
OUTPUT_MODALITIES: Final = Field(several(MODALITIES, 2), "output_modalities")
MAX_OUTPUT_TOKENS: Final = Field(max_tokens, "max_output_tokens")
TEMPERATURE: Final = Field(number(0, 2))
_OPAQUE: Final = Field(opaque)

FIELDS: Final[Mapping[str, Field | Group]] = {
    "type": Field(one_of("realtime")),
    "instructions": Field(text(MAX_INSTRUCTIONS), "instructions"),
    "output_modalities": OUTPUT_MODALITIES,
    "tools": Field(tools, "tools"),
    "tool_choice": Field(tool_choice, "tool_choice"),
    "max_output_tokens": MAX_OUTPUT_TOKENS,
    "tracing": Field(opaque, "tracing"),
    "truncation": Field(opaque, "truncation"),
    "audio": Group(
        {
            "input": Group(
                {
                    "format": FORMAT,
                    "noise_reduction": _NOISE_REDUCTION,
                    "transcription": _TRANSCRIPTION,
                    "turn_detection": _TURN_DETECTION,
                }
            ),
            "output": Group({"format": FORMAT, "voice": VOICE, "speed": SPEED}),
        }
    ),
    "prompt": Field(no_template),
    "include": _OPAQUE,
    "model": _OPAQUE,
    "reasoning": Field(opaque_object),
    "parallel_tool_calls": Field(boolean),
    "temperature": TEMPERATURE,
    # of a session object that a client sends back as it got it, and of the offer
    "agent": _OPAQUE,
    "client_secret": _OPAQUE,
    "expires_at": _OPAQUE,
    "id": _OPAQUE,
    "object": _OPAQUE,
}
"""The session of today, with the top fields of the first version that have kept their place."""
FLAT: Final[Mapping[str, Field | Group]] = {
    "modalities": OUTPUT_MODALITIES,
    "max_response_output_tokens": MAX_OUTPUT_TOKENS,
    "turn_detection": _TURN_DETECTION,
    "input_audio_transcription": _TRANSCRIPTION,
    "input_audio_noise_reduction": _NOISE_REDUCTION,
    "input_audio_format": FLAT_FORMAT,
    "output_audio_format": FLAT_FORMAT,
    "voice": VOICE,
    "speed": SPEED,
}
"""Fields of the first version at the top, which have another place or name today."""
PLACES: Final[Mapping[str, str]] = {
    "modalities": "output_modalities",
    "max_response_output_tokens": "max_output_tokens",
    "turn_detection": "audio.input.turn_detection",
    "input_audio_transcription": "audio.input.transcription",
    "input_audio_noise_reduction": "audio.input.noise_reduction",
    "input_audio_format": "audio.input.format",
    "output_audio_format": "audio.output.format",
    "voice": "audio.output.voice",
    "speed": "audio.output.speed",
}
"""Field of `FLAT` -> its path today."""


@dataclass(frozen=True)
class SessionChanges:
    """The settings that a client's `session` names, by `SessionSettings`' names for them. A value."""

    given: Mapping[str, Any] = field(default_factory=dict)
    """Setting -> value; None: the client sent null."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Setting -> the client's own path for it, such as `session.turn_detection`."""
    refused: tuple[ClientError, ...] = ()
    """One for each field that can't be used whatever is in force, in the client's order."""

    @classmethod
    def model_validate(cls, session: Any) -> SessionChanges:
        """Read a client's object; `ClientError` only if it is none."""
        return cls._of(session, False)

    @classmethod
    def offered(cls, session: Any) -> SessionChanges:
        """Read the session of an offer, of which nothing has looked at depth and sizes."""
        return cls._of(session, True)

    @classmethod
    def _of(cls, session: Any, offered: bool) -> SessionChanges:
        reading = read(session, "session", FIELDS, FLAT, offered)
        return cls(reading.given, reading.names, tuple(reading.refused))

    @property
    def is_useless(self) -> bool:
        """There is nothing in it that could be in force."""
        return all(isinstance(value, Part) and value.is_useless for value in self.given.values())

    def path(self, setting: str) -> str:
        """The client's own path of a setting that it has named."""
        return self.names.get(setting, f"session.{setting}")
