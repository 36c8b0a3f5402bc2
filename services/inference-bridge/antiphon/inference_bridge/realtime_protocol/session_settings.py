"""The settings of a session: which there are, what `session.update` may change, what is in force.

Changes are partial: what an update does not name stays, what it names as null is switched off. Fields of the
published protocol that mean nothing here (the hosted models' names, noise reduction, tracing, truncation) are taken and
shown, or shown as they really are; fields that are not in the protocol are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from antiphon.inference_bridge.realtime_protocol.bounds import excess, json_bytes
from antiphon.inference_bridge.realtime_protocol.errors import client_error, tagged
from antiphon.inference_bridge.turns.turn_settings import TurnSettings

JsonObject = dict[str, Any]
M = TypeVar("M", bound=BaseModel)
Modality = Literal["text", "audio"]

TRANSCRIBER: Final = "whisper-base"
MAX_TOOLS: Final = 128
MAX_TOOL_BYTES: Final = 16 * 1024
"""Of one tool as JSON."""
MAX_TOOLS_BYTES: Final = 64 * 1024
"""Of all tools together."""
MAX_DESCRIPTION: Final = 8192
"""Characters of a tool's description."""
MAX_INSTRUCTIONS: Final = 100_000
"""Characters."""
MAX_OPAQUE_BYTES: Final = 4096
"""Of a setting that means nothing here, as JSON."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ServerVad(_Part):
    """Turns end after a silence of fixed length."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float | None = Field(default=None, gt=0, lt=1)
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=2000)
    silence_duration_ms: int | None = Field(default=None, ge=96, le=10_000)
    idle_timeout_ms: int | None = Field(default=None, ge=1000, le=60_000)
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(_Part):
    """Turns end sooner or later, depending on whether the words sound complete."""

    type: Literal["semantic_vad"] = "semantic_vad"
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = Annotated[
    Annotated[ServerVad, Tag("tag:server_vad")] | Annotated[SemanticVad, Tag("tag:semantic_vad")],
    Discriminator(tagged("type")),
]


class Transcription(_Part):
    """How the caller's speech is transcribed for the client."""

    model: str | None = Field(default=None, max_length=256)
    language: str | None = Field(default=None, max_length=16)
    prompt: str | None = Field(default=None, max_length=2000)
    """Words to expect; the recogniser gets them as text before the utterance."""


class FunctionTool(_Part):
    """A function that the client answers."""

    type: Literal["function"]
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = Field(default="", max_length=MAX_DESCRIPTION)
    parameters: JsonObject | None = None


class ToolChoiceFunction(_Part):
    """The model must call the function of this name."""

    type: Literal["function"]
    name: str = Field(max_length=64)


def _bounded_tools(tools: list[FunctionTool]) -> list[FunctionTool]:
    """`ValueError` names the first tool that is too large, or all of them together."""
    whole = 0
    for tool in tools:
        size = json_bytes(tool.model_dump())
        if size > MAX_TOOL_BYTES:
            raise ValueError(f"the tool {tool.name} has {size} bytes as JSON, at most {MAX_TOOL_BYTES} are taken")
        whole += size
    if whole > MAX_TOOLS_BYTES:
        raise ValueError(f"the tools have {whole} bytes as JSON, at most {MAX_TOOLS_BYTES} are taken together")
    return tools


def _bounded_opaque(value: Any) -> Any:
    """`ValueError` for a value that is too large to be kept for nothing."""
    if (size := json_bytes(value)) > MAX_OPAQUE_BYTES:
        raise ValueError(f"it has {size} bytes as JSON, at most {MAX_OPAQUE_BYTES} are taken")
    return value


Opaque = Annotated[Any, AfterValidator(_bounded_opaque)]
Tools = Annotated[list[FunctionTool], Field(max_length=MAX_TOOLS), AfterValidator(_bounded_tools)]
ToolChoice = Literal["auto", "none", "required"] | ToolChoiceFunction
MaxTokens = Annotated[int, Field(ge=1, le=100_000)] | Literal["inf"]
Modalities = Annotated[list[Modality], Field(min_length=1, max_length=2)]


class AudioFormat(_Part):
    """Taken and without effect: the call carries the audio."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Literal[24000] | None = 24000


class _Input(_Part):
    format: AudioFormat | None = None
    noise_reduction: Annotated[JsonObject, AfterValidator(_bounded_opaque)] | None = None
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = None


class _Output(_Part):
    format: AudioFormat | None = None
    voice: Annotated[str | JsonObject, AfterValidator(_bounded_opaque)] | None = None
    speed: float | None = Field(default=None, ge=0.25, le=1.5)


class _Audio(_Part):
    input: _Input = _Input()
    output: _Output = _Output()


class SessionChanges(_Part):
    """The `session` of a `session.update`, or of the offer."""

    type: Literal["realtime"] | None = None
    instructions: str | None = Field(default=None, max_length=MAX_INSTRUCTIONS)
    output_modalities: Modalities | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    max_output_tokens: MaxTokens | None = None
    audio: _Audio | None = None
    tracing: Opaque = None
    truncation: Opaque = None


_TRANSCRIPTION: Final = Transcription()
_SERVER_VAD: Final = ServerVad()


@dataclass(frozen=True)
class SessionSettings:
    """The settings in force. A value: `changed` returns another one."""

    instructions: str = ""
    output_modalities: tuple[Modality, ...] = ("audio",)
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = "auto"
    max_output_tokens: MaxTokens = "inf"
    transcription: Transcription | None = _TRANSCRIPTION
    turn_detection: TurnDetection | None = _SERVER_VAD
    speed: float = 1.0
    tracing: Any = None
    truncation: Any = "auto"

    @property
    def spoken(self) -> bool:
        """Answers are audio (with a transcript); else they are text."""
        return "audio" in self.output_modalities

    @property
    def creates_responses(self) -> bool:
        """A turn that has ended is answered without a `response.create`."""
        return self.turn_detection is not None and self.turn_detection.create_response

    @property
    def interrupts(self) -> bool:
        """The caller's speech interrupts the agent."""
        return self.turn_detection is not None and self.turn_detection.interrupt_response

    def changed(self, changes: SessionChanges) -> SessionSettings:
        """These settings with what the update names; the rest as it is."""
        new: dict[str, Any] = {}
        named = changes.model_fields_set
        for name, default in (
            ("instructions", ""),
            ("tool_choice", "auto"),
            ("max_output_tokens", "inf"),
            ("tracing", None),
            ("truncation", "auto"),
        ):
            if name in named:
                value = getattr(changes, name)
                new[name] = default if value is None else value
        if "tools" in named:
            new["tools"] = tuple(changes.tools or ())
        if changes.output_modalities:
            new["output_modalities"] = tuple(dict.fromkeys(changes.output_modalities))
        if changes.audio is not None:
            given = changes.audio.input
            if "transcription" in given.model_fields_set:
                new["transcription"] = given.transcription
            if "turn_detection" in given.model_fields_set:
                new["turn_detection"] = given.turn_detection
            if changes.audio.output.speed is not None:
                new["speed"] = changes.audio.output.speed
        return replace(self, **new)

    def shown(self, session_id: str, model: str, voice: str, base: TurnSettings) -> JsonObject:
        """As `session.created` and `session.updated` show it."""
        wav = {"type": "audio/pcm", "rate": 24000}
        wanted = self.transcription
        transcription: JsonObject | None = None
        if wanted is not None:
            transcription = {"model": TRANSCRIBER, "language": "en"}
            if wanted.prompt:
                transcription["prompt"] = wanted.prompt
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "instructions": self.instructions,
            "output_modalities": list(self.output_modalities),
            "tools": [tool.model_dump(exclude_none=True) for tool in self.tools],
            "tool_choice": _plain(self.tool_choice),
            "max_output_tokens": self.max_output_tokens,
            "tracing": self.tracing,
            "truncation": self.truncation,
            "audio": {
                "input": {
                    "format": wav,
                    "noise_reduction": None,
                    "transcription": transcription,
                    "turn_detection": self._shown_detection(base),
                },
                "output": {"format": wav, "voice": voice, "speed": self.speed},
            },
        }

    def _shown_detection(self, base: TurnSettings) -> JsonObject | None:
        detection = self.turn_detection
        if isinstance(detection, ServerVad):
            turns = self.turn_settings(base)
            assert turns is not None
            return {
                **detection.model_dump(),
                "threshold": turns.threshold,
                "prefix_padding_ms": turns.preroll_ms,
                "silence_duration_ms": turns.silence_ms,
            }
        return detection.model_dump() if detection else None

    def turn_settings(self, base: TurnSettings) -> TurnSettings | None:
        """For the detector; None if the client ends the turns. `base`: the operator's defaults."""
        detection = self.turn_detection
        if detection is None:
            return None
        if isinstance(detection, SemanticVad):
            patience, longest_ms = _EAGERNESS[detection.eagerness]
            return replace(base, semantic=True, patience=patience, longest_ms=longest_ms)
        silence = base.silence_ms if detection.silence_duration_ms is None else detection.silence_duration_ms
        padding = base.preroll_ms if detection.prefix_padding_ms is None else detection.prefix_padding_ms
        return replace(
            base,
            threshold=base.threshold if detection.threshold is None else detection.threshold,
            silence_ms=silence,
            speculate_ms=min(base.speculate_ms, silence),
            preroll_ms=padding,
            judged=base.judged and detection.silence_duration_ms is None,  # a client that names a silence gets it
        )

    def turn_prompt(self) -> str:
        """Words that the recogniser may expect."""
        return (self.transcription.prompt or "") if self.transcription else ""


_EAGERNESS: Final[dict[str, tuple[float, int]]] = {
    # How many times as long a silence is awaited as by default, and the longest one, after words that ask for more.
    "high": (0.75, 2000),
    "medium": (1.25, 4000),
    "auto": (1.25, 4000),
    "low": (2.0, 8000),
}


def first_settings(session: Mapping[str, Any]) -> tuple[SessionSettings, str]:
    """What a call begins with, from the session of its offer; and what of it could not be used.

    The offer was accepted before this is called: a field that can't be used costs that field, not the call.
    """
    trouble = ""
    changes = dict(session)
    for name, value in session.items():
        if found := excess(value):
            trouble = trouble or f"{name:.60} is {found}"
            del changes[name]
    while True:
        try:
            return SessionSettings().changed(SessionChanges.model_validate(changes)), trouble
        except ValidationError as error:
            trouble = trouble or str(client_error(error, "session"))
            changes.pop(str(error.errors(include_url=False)[0]["loc"][0]), None)


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value
