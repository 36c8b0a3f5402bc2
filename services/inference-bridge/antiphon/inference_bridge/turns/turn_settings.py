"""What the turn detector is set to, and how much silence ends a turn. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class TurnSettings:
    """Settings of a turn detector. A value; milliseconds, unless a field says otherwise."""

    threshold: float = 0.5
    onset_windows: int = 3
    silence_ms: int = 400
    speculate_ms: int = 160
    preroll_ms: int = 300
    """Kept from before the onset: a soft first consonant is not yet likely speech."""
    min_speech_ms: int = 120
    max_turn_ms: int = 60_000
    """A longer turn is cut at a pause: the first part is answered. The bound of the memory that a caller takes."""
    sustained_ms: int = 800
    """Speech after which `StillSpeaking` brings the speech so far; again after as much."""
    semantic: bool = False
    """`silence_ms` holds until there is a verdict; then one of the following."""
    complete_ms: int = 320
    """Silence that ends a turn whose words sound complete."""
    incomplete_ms: int = 4000
    """Silence that ends one whose words do not."""
    disagreeing_ms: int = 1200
    """Silence that ends one of which words and voice say different things."""
    judged: bool = False
    """Without `semantic`: `silence_ms` is less where the voice sounds done, and more where it does not."""


_SOUNDS_DONE: Final = 0.7
_SOUNDS_OPEN: Final = 0.3
"""How likely it must be that the caller is done, or may be at most, for the voice to change anything."""
_SHORTER: Final = 0.7
_LONGER: Final = 3.0


def wait_ms(settings: TurnSettings, likely: float | None = None, complete: bool | None = None) -> int:
    """How much silence ends a turn, given how likely its voice sounds done and whether its words are complete.

    None: that is not known, yet or ever. A voice that is not decided changes nothing.
    """
    done = None
    if likely is not None and not _SOUNDS_OPEN < likely < _SOUNDS_DONE:
        done = likely >= _SOUNDS_DONE
    if settings.semantic:
        if complete is None:
            return settings.silence_ms
        if done is not None and done is not complete:
            return settings.disagreeing_ms
        return settings.complete_ms if complete else settings.incomplete_ms
    if not settings.judged or done is None:
        return settings.silence_ms
    return round(settings.silence_ms * (_SHORTER if done else _LONGER))
