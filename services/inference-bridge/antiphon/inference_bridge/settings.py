"""What can be set from the environment. Every default gives a working offline bridge on two cores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from antiphon.runtime.agent_sessions import lease_crypto
from antiphon.runtime.nats.server_url import without_password
from antiphon.runtime.nats.settings import NatsSettings
from antiphon.runtime.tools.allowed_hosts import AllowedHosts


def default_cache_dir() -> Path:
    """`~/.cache/antiphon`, or below `XDG_CACHE_HOME` where that is set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "antiphon"


def what_is_wrong(error: ValidationError) -> str:
    """One line that names the first variable that can't be used, its value and why; without passwords."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:  # a mistake between settings, whose text names them
        return str(first["msg"]).removeprefix("Value error, ")
    name = "_".join(["ANTIPHON", *map(str, first["loc"])]).upper()
    value = without_password(str(first["input"]))  # of a NATS address
    return f"{name} is {value!r:.80}: {first['msg'].removeprefix('Value error, ')}"


_LANGUAGE_TAG: Final = r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$"
SERVICE_VOICE: Final = "alloy"
"""Asked of a service by URL if no voice is set: the one that the OpenAI API and most that speak it have."""


class Settings(NatsSettings):
    """`ANTIPHON_<NAME>` in the environment. Read once by `__main__`; a frozen value that all parts share."""

    model_config = SettingsConfigDict(env_prefix="ANTIPHON_", env_ignore_empty=True, frozen=True)

    role = "bridge"
    agent_name: str = Field(default="concierge", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The name under which this bridge answers claims."""
    lease_key_file: Path | None = None
    """The keys that seal what leases hold of calls; needed where NATS keeps leases on disk."""
    bridge_capacity: int = Field(default=32, ge=1, le=1000)
    """Calls at once; claims above it are refused."""
    bridge_max_wait: float = Field(default=1.5, ge=0, le=60)
    """Seconds that callers may wait for the models; claims that would make it more are refused. 0: none is for that."""
    bridge_idle: float = Field(default=60.0, ge=1)
    """Seconds without a frame or an event after which a call is dropped: its transceiver is gone."""
    orphan_seconds: float = Field(default=10.0, ge=0, le=3600)
    """Seconds after which callers of a dead agent without a successor get an apology and are hung up; 0: never."""
    bridge_threads: int = Field(default_factory=lambda: max(2, min(4, os.cpu_count() or 2)), ge=1, le=64)
    """Threads for speech to text and speech, one core each."""
    scripted_agent: str = ""
    """The agent that answers under `agent_name` if no language model is set: a class by its dotted name, an
    `agents.Agent`. Empty: there is none, and the bridge serves text agents and those of files."""
    agents_dir: Path | None = None
    """A folder with a file for each further agent, `NAME.toml`; it is read again when it changes."""
    greeting: str = ""
    """Spoken when the call is connected; `none` for silence, empty for the agent's own."""

    mcp_hosts: str = ""
    """Hosts of MCP servers that clients may name in their sessions, behind commas; empty: none."""
    patience_ms: int = Field(default=2500, ge=0, le=60_000)
    """Time after which a caller whose answer is late gets a short spoken sign; 0: never."""

    # turns
    turn_silence_ms: int | None = Field(default=None, ge=96, le=5000)
    """Silence that ends a turn; None: words, voice and what was asked decide how much."""
    turn_speculate_ms: int = Field(default=160, ge=64, le=5000)
    """Silence after which a speculative transcription starts while the processor has room; else at least 160 ms."""
    vad_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which on a window counts as speech."""

    smart_turn: Literal["auto", "off", "on"] = "auto"
    """A model judges by the caller's voice whether the turn has ended. `auto`: if it is there; `on`: it has to be."""

    echo: Literal["cancel", "keep"] = "cancel"
    """`cancel`: the agent's own voice is taken out of the callers' audio where it comes back as echo."""

    # models: a path, or empty for the installed package
    whisper_path: Path | None = None
    """A directory with a faster-whisper (CTranslate2) model."""
    whisper_sha256: str = ""
    """SHA-256 of `model.bin` in `whisper_path`; if it is empty, a model of the operator's is not checked."""
    voice_path: Path | None = None
    """A Piper voice, `<name>.onnx` with `<name>.onnx.json` beside it."""
    voice_sha256: str = ""
    language: str = Field(default="en", pattern=_LANGUAGE_TAG)
    """Of calls that ask for none: they are transcribed and spoken to in it."""
    voice: str = ""
    """The voice of calls that ask for none; behind commas further ones that calls may ask for. Empty: `voice_path`,
    else joe. With `tts_url` it is whatever the service calls its voice."""
    vad_path: Path | None = None
    """Silero VAD v5 as ONNX."""
    vad_sha256: str = ""
    smart_turn_path: Path | None = None
    """Smart-turn v3 as ONNX; without it the one that set-up fetches, else that of the package pipecat-ai."""
    smart_turn_sha256: str = ""
    cache_dir: Path = Field(default_factory=default_cache_dir)
    """Where the two halves of the packaged Whisper model are put together."""

    stt: Literal["local", "remote"] = "local"
    """Speech to text in this process, or by workers on NATS (`--worker stt`)."""
    tts: Literal["local", "remote"] = "local"
    """Speech in this process, or by workers on NATS (`--worker tts`)."""

    # speech to text by a service instead of a model of this process
    stt_url: str = ""
    """Base URL of an OpenAI-compatible service with `audio/transcriptions`, such as http://127.0.0.1:8000/v1."""
    stt_model: str = "whisper-1"
    stt_api_key: SecretStr = SecretStr("")
    stt_timeout: float = Field(default=10.0, gt=0, le=120)
    """Seconds for the transcription of at most 30 s of speech."""

    # speech by a service instead of a voice of this process
    tts_url: str = ""
    """Base URL of an OpenAI-compatible service with `audio/speech`, such as http://127.0.0.1:8000/v1."""
    tts_model: str = "tts-1"
    tts_api_key: SecretStr = SecretStr("")

    llm: Literal["local", "remote"] = "local"
    """The language model's server is asked by this process, or by workers on NATS (`--worker llm`)."""
    llm_at_once: int = Field(default=16, ge=1, le=1000)
    """Answers that one worker prepares at the same time; above it the bridge asks another worker."""

    # a language model instead of the scripted agent
    llm_url: str = ""
    """Base URL of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1."""
    llm_model: str = ""
    llm_api_key: SecretStr = SecretStr("")
    llm_timeout: float = Field(default=15.0, gt=0)
    """Seconds between words, and for which a busy server (429, 5xx) is asked again."""
    llm_load_timeout: float = Field(default=120.0, gt=0, le=900)
    """Seconds until the first word: a server may load its model, or the model think."""
    llm_warm_seconds: float = Field(default=60.0, ge=0)
    """Seconds without an answer after which the server is asked for a token while a call connects; 0: never."""
    llm_instructions: str = (
        "You are a friendly voice assistant on the telephone. Answer in one to three short spoken sentences, "
        "plain text, no lists, no markup. Begin with a very short clause."
    )

    @field_validator("lease_key_file")
    @classmethod
    def _is_key_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            lease_crypto.from_file(value)
        return value

    @field_validator("mcp_hosts")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        AllowedHosts.read(value, "ANTIPHON_MCP_HOSTS")
        return value

    @field_validator("llm_url", "tts_url", "stt_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError(f"{value!r} is no base URL: expected one such as http://127.0.0.1:11434/v1")
        return value

    def greeting_text(self, of_agent: str) -> str:
        """The first words of a call; empty for none. `of_agent`: the agent's own greeting."""
        greeting = self.greeting.strip() or of_agent
        return "" if greeting.lower() == "none" else greeting

    @property
    def has_language_model(self) -> bool:
        """A language model answers, and not the scripted agent."""
        return bool(self.llm_url) or self.llm == "remote"

    @model_validator(mode="after")
    def _is_one_voice(self) -> Self:
        if self.tts_url and self.tts == "remote":
            raise ValueError("ANTIPHON_TTS_URL and ANTIPHON_TTS=remote exclude each other: unset one of them")
        if self.stt_url and self.stt == "remote":
            raise ValueError("ANTIPHON_STT_URL and ANTIPHON_STT=remote exclude each other: unset one of them")
        return self

    @property
    def service_language(self) -> str:
        """What a service by URL is told of the language: nothing for English, which most take for granted."""
        return "" if self.language == "en" else self.language

    @property
    def voice_names(self) -> list[str]:
        """The voices that are set, the usual one first; never empty."""
        if self.tts_url:
            return [self.voice.strip() or SERVICE_VOICE]
        own = [self.voice_path.stem] if self.voice_path else []
        named = [name.strip().removeprefix("kokoro:") for name in self.voice.split(",") if name.strip()]
        return list(dict.fromkeys(named + own)) or ["joe"]

    @property
    def voice_name(self) -> str:
        """The usual voice's name, as `session.created` shows it."""
        return self.voice_names[0]
