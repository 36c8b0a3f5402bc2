"""What is known of one turn that the caller has spoken: its item, its span, and when what was ready."""

from __future__ import annotations

from dataclasses import dataclass, field

from opentelemetry import trace

from antiphon.inference_bridge.conversation.response_playback import ResponseTimes
from antiphon.inference_bridge.conversation.turn_parts import TurnMarks


@dataclass
class SpokenTurn:
    """One turn of the caller.

    Made and owned by `Transcriptions`, until its response has ended or it turned out to be none. Used on the event
    loop.
    """

    item_id: str
    span: trace.Span
    speech_end_ns: int | None
    """When the last sample of speech entered the stack (Unix, ns)."""
    ended_ns: int
    """When the end of the turn was detected (Unix, ns)."""
    transcribed_ns: int = 0
    """When the text was there (Unix, ns); 0: not yet."""
    stt_ms: float = 0.0
    """What the transcription itself took, without waiting."""
    marks: TurnMarks = field(default_factory=TurnMarks)
    """The same for the trace, from the caller's last audible sample on."""

    def latency_ms(self, times: ResponseTimes) -> dict[str, float]:
        """From the last sample of speech to the first of the answer, and its parts; empty where that is not known."""
        if self.speech_end_ns is None or not self.transcribed_ns:
            return {}
        parts = {
            "end_of_speech_to_first_audio_ms": times.first_audio - self.speech_end_ns,
            "end_of_turn_ms": self.ended_ns - self.speech_end_ns,
            "stt_wait_ms": max(0, self.transcribed_ns - self.ended_ns),
            "agent_ms": times.first_text - max(self.transcribed_ns, self.ended_ns),
            "tts_first_ms": times.first_clause - times.first_text,
        }
        return {name: round(ns / 1e6, 1) for name, ns in parts.items()} | {"stt_ms": round(self.stt_ms, 1)}
