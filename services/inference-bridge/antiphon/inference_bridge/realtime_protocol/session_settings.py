"""The settings of a session: what is in force, and how a client's changes and one response's wishes alter it. Pure.

Changes are partial: what an update does not name stays, what it names as null is switched off or is the default again.
Each field by itself is in force or refused; `session_changes` reads them, here they meet what is in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.fields import Part, refusal
from antiphon.inference_bridge.realtime_protocol.mcp_tools import McpServerTool
from antiphon.inference_bridge.realtime_protocol.response_parameters import ResponseParameters
from antiphon.inference_bridge.realtime_protocol.session_changes import PLACES, SessionChanges
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.realtime_protocol.tools import FunctionTool, Tool, ToolChoice, offers
from antiphon.inference_bridge.realtime_protocol.transcription import Transcription, shown_transcription
from antiphon.inference_bridge.realtime_protocol.turn_detection import (
    SemanticVad,
    ServerVad,
    TurnDetection,
    changed_detection,
    detector_settings,
    shown_detection,
)
from antiphon.inference_bridge.realtime_protocol.values import BadValue
from antiphon.inference_bridge.realtime_protocol.voice_choice import chosen_language, chosen_voice, voice_for
from antiphon.inference_bridge.turns.turn_settings import TurnSettings

__all__ = [
    "Applied",
    "FunctionTool",
    "SemanticVad",
    "ServerVad",
    "SessionChanges",
    "SessionSettings",
    "Transcription",
    "first_settings",
]

JsonObject = dict[str, Any]
Modality = Literal["text", "audio"]
MaxTokens = Annotated[int, Field(ge=1, le=100_000)] | Literal["inf"]
_SUPPORT: Final = SpeechSupport()
"""Of the built-in models."""


_TRANSCRIPTION: Final = Transcription()
_SERVER_VAD: Final = ServerVad()
_DEFAULTS: Final[Mapping[str, Any]] = {
    "instructions": "",
    "output_modalities": ("audio",),
    "tools": (),
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "speed": 1.0,
    "tracing": None,
    "truncation": "auto",
}
"""Settings that a client's value replaces, with what null stands for."""


class Applied(NamedTuple):
    """What became of a client's changes. A value."""

    settings: SessionSettings
    refused: tuple[ClientError, ...]
    taken: bool
    """Something of them is in force: the client is to be shown the session. False: all of them are refused."""


@dataclass(frozen=True)
class SessionSettings:
    """The settings in force. A value: `changed` returns another one."""

    instructions: str = ""
    output_modalities: tuple[Modality, ...] = ("audio",)
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    max_output_tokens: MaxTokens = "inf"
    transcription: Transcription | None = _TRANSCRIPTION
    turn_detection: TurnDetection | None = _SERVER_VAD
    speed: float = 1.0
    tracing: Any = None
    truncation: Any = "auto"
    language: str = ""
    """In which the caller is transcribed and answered; empty: the process's default."""
    voice: str = ""
    """Empty: the process's default."""

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

    def changed(self, changes: SessionChanges, support: SpeechSupport = _SUPPORT) -> SessionSettings:
        """These settings with what the update names and can be used; the rest as it is."""
        return self.applied(changes, support).settings

    def applied(self, changes: SessionChanges, support: SpeechSupport = _SUPPORT) -> Applied:
        """As `changed`, with an error for each field that is refused."""
        return _Change(self, changes.given, changes.path, support).applied(changes.refused)

    def for_response(self, asked: ResponseParameters | None, support: SpeechSupport = _SUPPORT) -> Applied:
        """The settings of one response that wants some of its own."""
        if asked is None:
            return Applied(self, (), True)
        return _Change(self, asked.given, asked.path, support, of_session=False).applied(asked.refused)

    def supported_by(self, support: SpeechSupport) -> SessionSettings:
        """These in a process that may have other speech models than the one before it: they speak and transcribe."""
        language = self.language
        if language and not support.can_transcribe(language):
            language = ""
        voice = voice_for(language or support.language, support, self.voice or support.voice)
        if voice is None and self.spoken:
            language, voice = "", voice_for(support.language, support, self.voice or support.voice)
        return replace(self, language=language, voice="" if voice in (None, support.voice) else voice)

    def shown(self, session_id: str, model: str, base: TurnSettings, support: SpeechSupport = _SUPPORT) -> JsonObject:
        """As `session.created` and `session.updated` show it."""
        wav = {"type": "audio/pcm", "rate": 24000}
        language = self.language or support.language
        choice = self.tool_choice
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "instructions": self.instructions,
            "output_modalities": list(self.output_modalities),
            "tools": [tool.shown() for tool in self.tools],
            "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
            "max_output_tokens": self.max_output_tokens,
            "tracing": self.tracing,
            "truncation": self.truncation,
            "audio": {
                "input": {
                    "format": wav,
                    "noise_reduction": None,
                    "transcription": shown_transcription(self.transcription, language, support),
                    "turn_detection": shown_detection(self.turn_detection, base),
                },
                "output": {"format": wav, "voice": self.voice or support.voice, "speed": self.speed},
            },
        }

    def turn_settings(self, base: TurnSettings) -> TurnSettings | None:
        """For the detector; None if the client ends the turns. `base`: the operator's defaults."""
        return detector_settings(self.turn_detection, replace(base, language=self.language or base.language))

    def turn_prompt(self) -> str:
        """Words that the recogniser may expect."""
        return self.transcription.words() if self.transcription else ""


class _Change:
    """Works out one change of settings. Made and used within one call."""

    def __init__(
        self,
        before: SessionSettings,
        given: Mapping[str, Any],
        path: Callable[[str], str],
        support: SpeechSupport,
        of_session: bool = True,
    ) -> None:
        """`of_session`: False for the wishes of one response."""
        self._of_session = of_session
        self._before, self._given, self._path, self._support = before, given, path, support
        self._new: dict[str, Any] = {}
        self._refused: list[ClientError] = []
        self._refused_settings: set[str] = set()

    def applied(self, refused: tuple[ClientError, ...]) -> Applied:
        given = self._given
        for name, default in _DEFAULTS.items():
            if name in given:
                self._new[name] = default if given[name] is None else given[name]
        if "tools" in self._new:
            self._choose_servers()
        if "tool_choice" in given or "tools" in given:
            self._choose_tool()
        if "turn_detection" in given:
            self._detect_turns(given["turn_detection"])
        self._choose_speech()
        settings = replace(self._before, **self._new)
        nothing = {
            name for name, value in given.items() if isinstance(value, Part) and value.refused and not value.values
        }
        taken = bool(set(given) - self._refused_settings - nothing) or not (refused or self._refused)
        return Applied(settings, (*refused, *self._refused), taken)

    def _refuse(self, setting: str, bad: BadValue, value: Any, inside: str = "") -> None:
        self._refused.append(refusal(self._path(setting) + inside, bad, value))
        if not inside:
            self._refused_settings.add(setting)
            self._new.pop(setting, None)

    def _detect_turns(self, part: Part | None) -> None:
        path, useless = self._path("turn_detection"), set()

        def refuse(name: str, bad: BadValue, value: Any) -> None:
            useless.add(name)
            self._refused.append(refusal(f"{path}.{name}", bad, value))

        self._new["turn_detection"] = changed_detection(self._before.turn_detection, part, refuse)
        if part and useless and not part.values.keys() - useless:
            self._refused_settings.add("turn_detection")

    def _choose_servers(self) -> None:
        """Of the MCP servers those that the operator allows."""
        given: tuple[Tool, ...] = self._new["tools"]
        used: list[Tool] = []
        for tool in given:
            if not isinstance(tool, McpServerTool):
                used.append(tool)
                continue
            why, where = self._support.mcp_hosts.refusal(tool.server_url), ".server_url"
            if not self._support.mcp_hosts.hosts:
                why, where = (
                    "no MCP server of a client is asked here: ANTIPHON_MCP_HOSTS of the bridge names none",
                    ".type",
                )
            elif not self._of_session:
                why, where = "MCP servers belong to the session: send them by session.update", ".type"
            if why:
                self._refuse("tools", BadValue(why), None, f"[{tool.at}]{where}")
            else:
                used.append(tool)
        if given and not used:
            self._new.pop("tools")
            self._refused_settings.add("tools")
        else:
            self._new["tools"] = tuple(used)

    def _choose_tool(self) -> None:
        offered = self._new.get("tools", self._before.tools)
        choice = self._new.get("tool_choice", self._before.tool_choice)
        if offers(choice, offered):
            return
        if "tool_choice" in self._new:
            self._refuse("tool_choice", BadValue("there is no such function among the tools"), choice.name)
            choice = self._before.tool_choice
        if not offers(choice, offered):  # it was one of the tools that are replaced
            self._new["tool_choice"] = "auto"

    def _choose_speech(self) -> None:
        """Language, voice and modalities: each answer that is spoken needs a voice for the language."""
        before, given, support = self._before, self._given, self._support
        if not given.keys() & {"transcription", "voice", "output_modalities"}:
            return
        spoken = "audio" in self._new.get("output_modalities", before.output_modalities)
        wanted = before.voice or support.voice
        if "transcription" in given:
            self._transcribe(given["transcription"], wanted, spoken)
        language = self._new.get("language", before.language) or support.language
        voice = voice_for(language, support, wanted)
        if voice is None and spoken and "output_modalities" in self._new and not before.spoken:
            text = f"no voice here speaks {language}, the language of the session: its answers stay text"
            self._refuse("output_modalities", BadValue(text), None)
        voice = voice or wanted
        if "voice" in given:
            try:
                name = given["voice"]
                if name is None:
                    voice = voice_for(language, support, support.voice) or support.voice
                else:
                    voice = chosen_voice(name, support, language, voice)
            except BadValue as bad:
                self._refuse("voice", bad, given["voice"])
        self._new["voice"] = "" if voice == support.voice else voice

    def _transcribe(self, part: Part | None, voice: str, spoken: bool) -> None:
        """The caller's speech: events about it, what to expect in it, and its language."""
        if part is None:
            self._new["transcription"] = None
            return
        given = {name: part.values[name] for name in ("model", "prompt", "keywords") if name in part.values}
        named = "language" if "language" in part.values else "languages"
        if named in part.values:
            tag = part.values[named]
            try:
                language = chosen_language(tag, self._support, voice, spoken) if tag else ""
                self._new["language"], given["language"] = language, tag
            except BadValue as bad:
                self._refuse("transcription", bad, tag, f".{named}")
        if not given and (part.values or part.refused):
            self._refused_settings.add("transcription")
            return
        self._new["transcription"] = (self._before.transcription or _TRANSCRIPTION).changed(given)


def first_settings(
    session: Any,
    support: SpeechSupport = _SUPPORT,
    locked: Iterable[str] = (),
    base: SessionSettings | None = None,
) -> tuple[SessionSettings, tuple[ClientError, ...]]:
    """What a call begins with, from the session of its offer; and an error for each field that could not be used.

    `base`: what is in force where the offer names nothing, such as the agent's own wishes.

    The offer was accepted before this is called: a field that can't be used costs that field, not the call.
    `locked`: paths that a client secret has fixed; a fixed field of the first version counts before the client's.
    """
    base = base or SessionSettings()
    try:
        changes = SessionChanges.offered(_without_overridden(session, locked))
    except ClientError as error:
        return base, (error,)
    applied = base.applied(changes, support)
    return applied.settings, applied.refused


def _without_overridden(session: Any, locked: Iterable[str]) -> Any:
    """Leave out what stands at a place of today although a secret has fixed it at its old one."""
    fixed = [PLACES[name] for name in locked if name in PLACES and isinstance(session, Mapping) and name in session]
    for path in fixed:
        session = _without(session, path.split("."))
    return session


def _without(value: Any, path: list[str]) -> Any:
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: each for name, each in value.items() if name != path[0]}
    return {**value, path[0]: _without(value[path[0]], path[1:])}
