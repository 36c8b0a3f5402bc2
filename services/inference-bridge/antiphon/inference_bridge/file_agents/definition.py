"""What a file of an agent may hold: `agents/NAME.toml`, as pydantic models. Every field is bounded. Pure.

`docs/agents.files.md` shows the fields as a table that is made of this file.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, field_validator

from antiphon.inference_bridge.realtime_protocol.turn_detection import SemanticVad, ServerVad

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of an agent, and so of its file without `.toml`."""
MAX_FILE_BYTES: Final = 256 * 1024
MAX_PARAMETERS: Final = 4096
"""Bytes of `chat.parameters` as JSON."""
MAX_HTTP_TOOLS: Final = 64
MAX_MCP_SERVERS: Final = 8
RESERVED: Final = frozenset(["model", "messages", "stream", "stream_options", "tools", "tool_choice", "functions", "n"])
"""Fields of a request that the bridge decides about."""
Sentence = Annotated[str, StringConstraints(max_length=500)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Chat(_Part):
    """The chat server that answers. A value."""

    url: str = Field(max_length=2000, examples=["http://127.0.0.1:11434/v1"])
    """Base URL of an OpenAI-compatible server."""
    model: str = Field(min_length=1, max_length=256, examples=["qwen3"])
    """The model's name there."""
    key_env: VariableName | None = Field(default=None, examples=["OPENAI_API_KEY"])
    """The environment variable of the bridge that holds the server's key."""
    key_file: str | None = Field(default=None, min_length=1, max_length=1000, examples=["/run/secrets/chat"])
    """The file that holds the server's key; a relative path begins at the agent's file. Read again when it changes."""
    timeout: float = Field(default=15.0, gt=0, le=120)
    """Seconds from word to word, and for which a busy server is asked again."""
    load_timeout: float = Field(default=120.0, gt=0, le=900)
    """Seconds until the first word."""
    warm_seconds: float = Field(default=60.0, ge=0, le=86_400)
    """Seconds without an answer after which the server is asked for a token while a call connects; 0: never."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Passed on to the server, as the others down to `parameters` are."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """The share of the likeliest tokens that are chosen from."""
    max_tokens: int | None = Field(default=None, ge=1, le=100_000)
    """Length of an answer; a client's own `max_output_tokens` counts before it."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Of words that were there before."""
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Of words, by how often they were there."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """For answers that can be repeated, where the server knows it."""
    stop: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(default=[], max_length=4)
    """Texts at which an answer ends."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    """How long the model thinks before it speaks."""
    parameters: dict[str, Any] = Field(default={}, max_length=32)
    """Further fields of the request, as this server has them."""

    @field_validator("url")
    @classmethod
    def _is_base_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("a base URL such as http://127.0.0.1:11434/v1 is expected")
        if parts.username is not None or parts.password is not None:
            raise ValueError("no key stands in a URL: name its variable as key_env, or key_file")
        return url

    @field_validator("parameters")
    @classmethod
    def _is_for_the_server(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for name in parameters:
            if name in RESERVED:
                raise ValueError(f"{name} is decided by the bridge: leave it out")
            if name in cls.model_fields:
                raise ValueError(f"{name} stands in [chat] itself")
        try:
            size = len(json.dumps(parameters, allow_nan=False))
        except (ValueError, TypeError, RecursionError):
            raise ValueError("JSON is expected: texts, numbers, true, false, lists, tables") from None
        if size > MAX_PARAMETERS:
            raise ValueError(f"it has {size} bytes as JSON, at most {MAX_PARAMETERS} are taken")
        return parameters

    def request_fields(self) -> dict[str, Any]:
        """What each request has besides model, messages and tools."""
        named = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "seed": self.seed,
            "stop": self.stop or None,
            "reasoning_effort": self.reasoning_effort,
        }
        return {**{name: value for name, value in named.items() if value is not None}, **self.parameters}


class ServerTurns(ServerVad):
    """Turns end after a silence. A value."""

    model_config = _Part.model_config

    patience_ms: int | None = Field(default=None, ge=0, le=60_000)
    """Time after which a caller whose answer is late gets a short spoken sign; 0: never."""


class SemanticTurns(SemanticVad):
    """Turns end when the words sound complete. A value."""

    model_config = _Part.model_config

    patience_ms: int | None = Field(default=None, ge=0, le=60_000)
    """Time after which a caller whose answer is late gets a short spoken sign; 0: never."""


def _kind_of_turns(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("type") or ("semantic_vad" if "eagerness" in value else "server_vad"))
    return str(getattr(value, "type", "server_vad"))


Turns = Annotated[
    Annotated[ServerTurns, Tag("server_vad")] | Annotated[SemanticTurns, Tag("semantic_vad")],
    Discriminator(
        _kind_of_turns,
        custom_error_type="turns",
        custom_error_message="server_vad or semantic_vad is expected",
    ),
]


class Silence(_Part):
    """What happens when the caller says nothing. A value."""

    after_ms: int = Field(ge=1000, le=600_000, examples=[8000])
    """Silence of the caller after which it is prompted."""
    prompts: list[Annotated[str, StringConstraints(min_length=1, max_length=500)]] = Field(default=[], max_length=16)
    """Said one after the other, until the caller speaks; none: the model is asked what to say."""


class Failures(_Part):
    """What the caller hears when something fails. A value."""

    apology: Sentence = ""
    """There is no answer; empty, as the others: the bridge's own sentence."""
    too_long: Sentence = ""
    """The answer is cut."""
    tool_failed: Sentence = ""
    """A tool gave no result, and the model says nothing itself."""


class Tools(_Part):
    """What the agent can do. Each is checked by its own model, `antiphon.runtime.tools`. A value."""

    http: list[dict[str, Any]] = Field(default=[], max_length=MAX_HTTP_TOOLS)
    """Requests over HTTP."""
    mcp: list[dict[str, Any]] = Field(default=[], max_length=MAX_MCP_SERVERS)
    """MCP servers."""


class AgentDefinition(_Part):
    """One file. A value."""

    greeting: str | None = Field(default=None, max_length=4000)
    """Said first; empty: nothing; not there: a short one in the agent's language."""
    instructions: str | None = Field(default=None, max_length=32_000)
    """What the model is told about its task; not there: those of the bridge, `ANTIPHON_LLM_INSTRUCTIONS`."""
    language: str = Field(default="", max_length=35, pattern=r"^([A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*)?$")
    """A language tag such as `en` or `de-AT`; empty: the bridge's."""
    voice: str = Field(default="", max_length=64)
    """Empty: the bridge's."""
    longest_call: float | None = Field(default=None, ge=10, le=86_400)
    """Seconds after which the call is ended, with a sentence; not there: no bound."""
    chat: Chat | None = None
    """The chat server; not there: the bridge's, `ANTIPHON_LLM_URL`."""
    turns: Turns | None = None
    """How the caller's turns end, as `turn_detection` of the realtime protocol; not there: the bridge's way."""
    silence: Silence | None = None
    """Prompts to silent callers; not there: none."""
    failures: Failures = Failures()
    """Sentences of its own."""
    tools: Tools = Tools()
    """What it can do besides talking."""
