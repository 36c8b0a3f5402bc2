"""What happens when the caller interrupts: the one place that says so.

                 STARTED: HOLD                        WORDS: INTERRUPT
        FREE ---------------------> HOLDING --------------------------------> FREE (the agent has stopped)
                                    |  ^   \\
                     ENDED_WITH_TEXT|  |    \\ ENDED, NOTHING_LEFT, NOISE: RESUME
                                    v  |     +------------------------------> FREE (the agent speaks on)
                                  DECIDING -- NO_WORDS, PATIENCE_OVER: RESUME -> FREE

At the first sign of speech the transceiver holds the agent's speech at an exact sample, within some 20 ms. Holding is
cheap: `RESUME` plays on from that very sample. Whether the caller wants to speak is decided when the sound has been
transcribed. If no transcription says within `PATIENCE_S` of the sound's end that it was words, the agent speaks on. So
no noise stops the agent for good.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import lifecycle
from antiphon.inference_bridge.conversation.core.commands import Command
from antiphon.inference_bridge.conversation.core.state import HoldPhase, Kind, State
from antiphon.inference_bridge.turns.window import RATE

PATIENCE_S: Final = 3.0
"""Seconds that a text may come after the end of a sound."""
MAX_HOLD_S: Final = 8.0
"""A sound that lasts this long without a word in it is a noise that does not end: the agent speaks against it."""
REPAIR_GAP_S: Final = 2.0
"""A caller who speaks on within this time after the end of a turn had only paused."""


class Sound(Enum):
    """What the caller's sound turned out to be, so far."""

    STARTED = auto()
    ENDED = auto()
    """It was too short for words."""
    ENDED_WITH_TEXT = auto()
    WORDS = auto()
    """The caller wants to speak."""
    NO_WORDS = auto()
    """All texts are known, none of them is of a caller who wants to speak."""
    PATIENCE_OVER = auto()
    NOISE = auto()
    """It has lasted for `MAX_HOLD_S`."""
    CANT_HOLD = auto()
    """The transceiver does not hold the speech."""
    NOTHING_LEFT = auto()
    """The speech has ended, or was stopped for another reason."""


class Act(Enum):
    """What is done with the agent's speech."""

    NOTHING = auto()
    HOLD = auto()
    INTERRUPT = auto()
    RESUME = auto()
    RELEASE = auto()
    """Nothing is left to be held."""


_FREE, _HOLDING, _DECIDING = HoldPhase.FREE, HoldPhase.HOLDING, HoldPhase.DECIDING
TABLE: Final[dict[tuple[HoldPhase, Sound], tuple[HoldPhase, Act]]] = {
    (_FREE, Sound.STARTED): (_HOLDING, Act.HOLD),
    (_HOLDING, Sound.ENDED): (_FREE, Act.RESUME),
    (_HOLDING, Sound.ENDED_WITH_TEXT): (_DECIDING, Act.NOTHING),
    (_HOLDING, Sound.WORDS): (_FREE, Act.INTERRUPT),
    (_HOLDING, Sound.NO_WORDS): (_HOLDING, Act.NOTHING),  # of the sound before this one
    (_HOLDING, Sound.NOISE): (_FREE, Act.RESUME),
    (_HOLDING, Sound.CANT_HOLD): (_FREE, Act.INTERRUPT),
    (_HOLDING, Sound.NOTHING_LEFT): (_FREE, Act.RELEASE),
    (_DECIDING, Sound.STARTED): (_HOLDING, Act.NOTHING),
    (_DECIDING, Sound.WORDS): (_FREE, Act.INTERRUPT),
    (_DECIDING, Sound.NO_WORDS): (_FREE, Act.RESUME),
    (_DECIDING, Sound.PATIENCE_OVER): (_FREE, Act.RESUME),
    (_DECIDING, Sound.CANT_HOLD): (_FREE, Act.INTERRUPT),
    (_DECIDING, Sound.NOTHING_LEFT): (_FREE, Act.RELEASE),
}
"""Pairs that are not listed change nothing."""


def sound(state: State, what: Sound, now: float) -> list[Command]:
    """The caller's sound does to the agent's speech what `TABLE` says."""
    hold = state.hold
    held_since = hold.since
    hold.phase, act = TABLE.get((hold.phase, what), (hold.phase, Act.NOTHING))
    match act:
        case Act.HOLD:
            hold.since, hold.texts_due = now, 0
            return [do.HoldSpeech()]
        case Act.RESUME:
            state.resumed_at = now
            return [do.ResumeSpeech(round((now - held_since) * 1000, 1))]
        case Act.RELEASE:
            return [do.ResumeSpeech()]
        case Act.INTERRUPT:
            return interrupt(state, now)
    return []


def interrupt(state: State, now: float) -> list[Command]:
    """The caller takes the turn: all speech stops, what was asked and not answered is answered with what follows.

    A caller who speaks on shortly after the end of a turn had only paused: that turn is repaired. Its answer counts as
    never given, and its text and what follows are answered as one.
    """
    current = state.current
    if current is not None and current.kind is Kind.TURN and current.texts:
        gap = state.onset - current.texts[-1].speech_end
        current.repaired = current.texts[-1].speech_end > 0 and 0 <= gap <= REPAIR_GAP_S * RATE
    state.has_interrupted = state.has_interrupted or (state.speaking and bool(state.speech))
    return lifecycle.stop_speech(state, now, "turn_detected")
