"""What the turn detector is set to, and how much silence ends a turn. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.inference_bridge.turns import end_of_turn
from antiphon.inference_bridge.turns.dictation import Ending
from antiphon.inference_bridge.turns.end_of_turn import Evidence


@dataclass(frozen=True)
class TurnSettings:
    """Settings of a turn detector. A value; milliseconds, unless a field says otherwise."""

    threshold: float = 0.5
    onset_windows: int = 3
    silence_ms: int = 400
    """Silence that ends a turn, unless it is `judged`."""
    speculate_ms: int = 160
    """Silence after which a turn may be over, so that its transcription begins."""
    early_ms: int | None = None
    """The same while the processor has room; None: no sooner than `speculate_ms`."""
    preroll_ms: int = 300
    """Kept from before the onset: a soft first consonant is not yet likely speech."""
    min_speech_ms: int = 120
    max_turn_ms: int = 60_000
    """A longer turn is cut at a pause: the first part is answered. The bound of the memory that a caller takes."""
    sustained_ms: int = 800
    """Speech after which `StillSpeaking` brings the speech so far; again after as much."""
    judged: bool = False
    """All that is known of the turn decides how much silence ends it (`end_of_turn`), not `silence_ms`."""
    semantic: bool = False
    """The client has asked for that: it is `judged`, with the following two."""
    patience: float = 1.0
    """Waits are so many times as long."""
    longest_ms: int = end_of_turn.LONGEST_MS
    """Silence that ends any turn; where the client has asked for `semantic`, also one whose words ask for more."""
    relative_gate: bool = True
    """What is much softer than the caller counts as silence (`level_gate`)."""
    language: str = "en"
    """Of the words."""


def wait_ms(settings: TurnSettings, evidence: Evidence | None = None) -> int:
    """How much silence ends a turn of which so much is known; None: nothing yet."""
    if not (settings.judged or settings.semantic):
        return settings.silence_ms
    known = evidence or Evidence()
    if settings.semantic and known.ending is Ending.INCOMPLETE:
        return settings.longest_ms
    wait = end_of_turn.wait_ms(known)
    return max(end_of_turn.SHORTEST_MS, min(settings.longest_ms, round(wait * settings.patience)))
