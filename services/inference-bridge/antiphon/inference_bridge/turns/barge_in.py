"""Barge-in: what the agent does when the caller makes a sound while it speaks. Pure: takes events and `now`.

                 speech_started                     the text is words: INTERRUPT
        FREE -----------------------> HOLDING ------------------------------> FREE (the agent has stopped)
                   HOLD the speech      |   noise, backchannel, patience at an end: RESUME
                                        +-----------------------------------> FREE (the agent speaks on)

At the first sign of speech the transceiver holds the agent's speech at an exact sample. Holding is cheap: `RESUME`
plays on from that very sample. Whether the caller wants to speak is decided when the sound has been transcribed. If no
transcription says within `patience_s` of the sound's end that it was words, the agent speaks on. So no noise stops the
agent for good.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

PATIENCE_S: Final = 3.0
MAX_HOLD_S: Final = 8.0
"""A sound that lasts this long without a word in it is a noise that does not end: the agent speaks against it."""
MIN_WORD_MS: Final = 160
"""Speech below this is no word, whatever a recogniser makes of it."""


class Act(Enum):
    """What `Responses` is to do now with the agent's speech."""

    HOLD = "hold"
    """Stop at the sample that is played now, and keep the rest."""
    INTERRUPT = "interrupt"
    """Drop the rest: the caller has the turn."""
    RESUME = "resume"
    """Play on from the sample at which the speech was held."""


class BargeInPolicy:
    """Decides for one call whether a caller's sound holds, interrupts or resumes the agent's speech.

    Owned by the call's `Responses`, for as long as the call. `Responses` and `TurnHandling` call it on the event loop.
    Each method returns what is to be done now; None: nothing changes.
    """

    def __init__(self, patience_s: float = PATIENCE_S, max_hold_s: float = MAX_HOLD_S) -> None:
        """`patience_s`: seconds that a text may come after the end of a sound. `max_hold_s`: the longest hold."""
        self._patience_s, self._max_hold_s = patience_s, max_hold_s
        self._holding_since: float | None = None
        self._silent_since: float | None = None
        """The caller has been silent since; None: the caller speaks."""
        self._texts_due = 0
        """Utterances that have ended and whose text is not known yet."""
        self._is_noise = False
        """The sound under way is known to be a noise: it does not hold the speech a second time."""

    @property
    def holding(self) -> bool:
        """The agent's speech is held, and not decided about yet."""
        return self._holding_since is not None

    def speech_started(self, now: float, agent_active: bool) -> Act | None:
        """The caller makes a sound. `agent_active`: the agent speaks or prepares an answer, and may be interrupted."""
        self._silent_since = None
        if self.holding or not agent_active or self._is_noise:
            return None
        self._holding_since = now
        return Act.HOLD

    def speech_stopped(self, now: float, text_follows: bool) -> Act | None:
        """The sound has ended. `text_follows`: it is being transcribed, `final_text` will tell what it was."""
        self._is_noise = False
        self._silent_since = now
        if not self.holding:
            return None
        if text_follows:
            self._texts_due += 1
            return None
        return self._resume_unless_undecided()

    def partial_text(self, is_words: bool) -> Act | None:
        """A transcription of the beginning of speech that has not ended."""
        return self._interrupt() if self.holding and is_words else None

    def final_text(self, is_words: bool) -> Act | None:
        """The transcription of an utterance that has ended. `is_words`: the caller wants to speak."""
        if not self.holding:
            return None
        self._texts_due = max(0, self._texts_due - 1)
        return self._interrupt() if is_words else self._resume_unless_undecided()

    def tick(self, now: float) -> Act | None:
        """Call each 0.1 s or so: ends a hold that has lasted too long."""
        if self._holding_since is None:
            return None
        if self._silent_since is not None and now - self._silent_since > self._patience_s:
            return self._resume()
        if now - self._holding_since > self._max_hold_s and not self._texts_due:
            self._is_noise = self._silent_since is None
            return self._resume()
        return None

    def released(self) -> None:
        """The agent's speech has ended, or was interrupted for another reason: there is nothing left to hold."""
        self._holding_since, self._texts_due = None, 0

    def _resume_unless_undecided(self) -> Act | None:
        return self._resume() if not self._texts_due and self._silent_since is not None else None

    def _resume(self) -> Act:
        self.released()
        return Act.RESUME

    def _interrupt(self) -> Act:
        self.released()
        return Act.INTERRUPT
