"""One turn of a call: what the caller said (or the greeting), the response to it, and the times between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace

from antiphon.inference_bridge.agents import ReplyPart
from antiphon.inference_bridge.conversation.response_playback import ResponsePlayback
from antiphon.inference_bridge.realtime_protocol.client_events import ResponseParameters


@dataclass
class Turn:
    """One thing the caller said, or the greeting, and the response to it.

    Made by `TurnHandling`, `Responses` or the session. `Responses` owns it from `begin` until its response was played
    or interrupted. Used on the event loop.
    """

    span: trace.Span
    transcription: asyncio.Task[str] | None = None
    """What the caller said; None for the greeting."""
    fixed: str = ""
    """Spoken without asking the agent: the greeting, an apology."""
    preamble: str = ""
    """Spoken before the agent's answer."""
    agent_before: Any = None
    """`Agent.saved()` before the agent was asked."""
    parameters: ResponseParameters | None = None
    """What the client wants different in this response."""
    asked_by_client: bool = False
    """By `response.create`: answered even without words."""
    item_id: str | None = None
    speech_end_ns: int | None = None
    """When the last sample of speech entered the stack (Unix, ns)."""
    speech_ms: float = 0.0
    ended_ns: int = 0
    """When the end of the turn was detected (Unix, ns)."""
    transcribed_ns: int = 0
    """When the text was there (Unix, ns); 0: not yet."""
    stt_ms: float = 0.0
    """What the transcription itself took, without waiting."""
    transcription_failed: bool = False
    asked: bool = False
    """The agent was asked: it must learn what was played of its reply."""
    text: str = ""
    """What the agent was asked."""
    interrupts: bool = False
    """The caller spoke while the agent did."""
    playback: ResponsePlayback | None = None
    """None before there is an answer."""
    task: asyncio.Task[None] | None = None
    """Answers the turn; None before that."""

    @property
    def on_record(self) -> bool:
        """The response becomes part of the conversation."""
        return self.parameters is None or self.parameters.conversation == "auto"

    @property
    def generating(self) -> bool:
        """The response is still being made; afterwards it is only played."""
        return self.playback is None or not self.playback.complete

    def latency_ms(self) -> dict[str, float]:
        """From the last sample of speech to the first of the answer, and its parts; empty before there is one."""
        if self.playback is None or self.speech_end_ns is None or not self.transcribed_ns:
            return {}
        times = self.playback.times
        parts = {
            "end_of_speech_to_first_audio_ms": times.first_audio - self.speech_end_ns,
            "end_of_turn_ms": self.ended_ns - self.speech_end_ns,
            "stt_wait_ms": max(0, self.transcribed_ns - self.ended_ns),
            "agent_ms": times.first_text - max(self.transcribed_ns, self.ended_ns),
            "tts_first_ms": times.first_clause - times.first_text,
        }
        return {name: round(ns / 1e6, 1) for name, ns in parts.items()} | {"stt_ms": round(self.stt_ms, 1)}


async def fixed_reply(text: str) -> AsyncGenerator[ReplyPart, None]:
    """A reply of one text, for turns that no agent answers."""
    yield text
