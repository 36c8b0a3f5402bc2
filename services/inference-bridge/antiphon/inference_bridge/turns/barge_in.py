"""Who may speak: what the agent does when the caller makes a sound meanwhile. Pure: takes events and `now`.

                     onset                        words that are words: TAKE
        FREE -----------------------> HELD --------------------------------> FREE (the agent has stopped)
                   HOLD the speech      |  noise, "mm-hm", silence for too long: GO_ON
                                        +----------------------------------> FREE (the agent speaks on)

At the first sign of speech the agent falls silent, at an exact sample; that is all the caller hears of it, and it is
undone as exactly. Whether the caller wants to speak is decided when it is known what was said. A sound of which
nobody knows within `patience_s` of its end that it was words was none, so no noise stops the agent for good.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

PATIENCE_S: Final = 3.0
MAX_HELD_S: Final = 8.0
"""A sound that goes on for so long without a word in it is a noise that will not end: the agent speaks against it."""
MIN_WORD_MS: Final = 160
"""Speech below this is no word, whatever a recogniser makes of it."""


class Act(Enum):
    """What is to be done now."""

    HOLD = "hold"
    TAKE = "take"
    GO_ON = "go_on"


class BargeInPolicy:
    """Of one call."""

    def __init__(self, patience_s: float = PATIENCE_S, max_held_s: float = MAX_HELD_S) -> None:
        self._patience_s, self._max_held_s = patience_s, max_held_s
        self._held_since: float | None = None
        self._quiet_since: float | None = None
        """The caller has been silent since; None: speaks."""
        self._unread = 0
        """Utterances that were said and not read yet."""
        self._deaf = False
        """This sound is known to be a noise."""

    @property
    def held(self) -> bool:
        return self._held_since is not None

    def onset(self, now: float, agent_active: bool) -> Act | None:
        """The caller makes a sound."""
        self._quiet_since = None
        if self.held or not agent_active or self._deaf:
            return None
        self._held_since = now
        return Act.HOLD

    def stopped(self, now: float, to_be_read: bool) -> Act | None:
        """The sound is over; `to_be_read`: somebody is finding out what was said."""
        self._deaf = False
        self._quiet_since = now
        if not self.held:
            return None
        if to_be_read:
            self._unread += 1
            return None
        return self._settle()

    def peeked(self, is_words: bool) -> Act | None:
        """What was said so far, by a caller who goes on speaking."""
        return self._take() if self.held and is_words else None

    def read(self, is_words: bool) -> Act | None:
        """What an utterance was, in the end."""
        if not self.held:
            return None
        self._unread = max(0, self._unread - 1)
        return self._take() if is_words else self._settle()

    def tick(self, now: float) -> Act | None:
        """Call now and then."""
        if self._held_since is None:
            return None
        if self._quiet_since is not None and now - self._quiet_since > self._patience_s:
            return self._go_on()
        if now - self._held_since > self._max_held_s and not self._unread:
            self._deaf = self._quiet_since is None
            return self._go_on()
        return None

    def released(self) -> None:
        """The agent's speech was ended by somebody else: there is nothing to hold any more."""
        self._held_since, self._unread = None, 0

    def _settle(self) -> Act | None:
        return self._go_on() if not self._unread and self._quiet_since is not None else None

    def _go_on(self) -> Act:
        self.released()
        return Act.GO_ON

    def _take(self) -> Act:
        self.released()
        return Act.TAKE
