"""One turn of a call: what the caller said (or the greeting), the reply to it, and the times between."""

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
    """One thing the caller said, or the greeting, and the reply to it."""

    span: trace.Span
    hearing: asyncio.Task[str] | None = None
    """What was said; None for the greeting."""
    fixed: str = ""
    """Said without asking the agent: the greeting, an apology."""
    preamble: str = ""
    """Said before the agent's answer."""
    agent_before: Any = None
    """What the agent remembered before it was asked."""
    parameters: ResponseParameters | None = None
    """What the client wants different in this response."""
    asked_by_client: bool = False
    """By `response.create`: answered even if nothing was said."""
    item_id: str | None = None
    speech_end_ns: int | None = None
    """When the last sample of speech entered the stack (Unix, ns)."""
    speech_ms: float = 0.0
    ended_ns: int = 0
    """When the turn was found to be over."""
    heard_ns: int = 0
    stt_ms: float = 0.0
    unheard: bool = False
    """The transcription failed."""
    asked: bool = False
    """The agent was asked: it must be told what was heard."""
    text: str = ""
    interrupts: bool = False
    """The caller talked over a reply."""
    reply: ResponsePlayback | None = None
    task: asyncio.Task[None] | None = None

    @property
    def on_record(self) -> bool:
        return self.parameters is None or self.parameters.conversation == "auto"

    @property
    def generating(self) -> bool:
        """Its answer is still being made; afterwards it is only played."""
        return self.reply is None or not self.reply.complete

    def latency_ms(self) -> dict[str, float]:
        """From the last sample of speech to the first of the answer, and its parts; empty before there is one."""
        if self.reply is None or self.speech_end_ns is None or not self.heard_ns:
            return {}
        times = self.reply.times
        parts = {
            "end_of_speech_to_first_audio_ms": times.first_audio - self.speech_end_ns,
            "end_of_turn_ms": self.ended_ns - self.speech_end_ns,
            "stt_wait_ms": max(0, self.heard_ns - self.ended_ns),
            "agent_ms": times.first_text - max(self.heard_ns, self.ended_ns),
            "tts_first_ms": times.first_clause - times.first_text,
        }
        return {name: round(ns / 1e6, 1) for name, ns in parts.items()} | {"stt_ms": round(self.stt_ms, 1)}


async def say(text: str) -> AsyncGenerator[ReplyPart, None]:
    """A reply of one fixed text."""
    yield text
