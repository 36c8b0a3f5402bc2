"""How much an agent may ask of one session. Pure: takes `now`.

An agent's speech is bounded by the playout queue. Its messages to the client, its requests and its mistakes cost this
process time that the other calls need, so each has a rate; a request beyond it is refused, a message beyond it is
dropped, and the agent gets an `error` for as many of them as it can read.
"""

from __future__ import annotations

from typing import Final

from antiphon.runtime.token_bucket import TokenBucket

MESSAGES: Final = (500, 1000)
"""To the client, per second and at once. A reply has some tens of events a second; the client's channel takes 4096."""
MESSAGE_BYTES: Final = (2 << 20, 4 << 20)
"""Of these messages as JSON."""
CONTROLS: Final = (50, 200)
"""Flushes, pauses, resumes and probes. A hang-up is always carried out."""
ERRORS: Final = (5, 20)
"""Events `error` for frames and messages that can't be used."""


class AgentBounds:
    """The rates of one session's agent.

    Owner: `SessionBus`, for as long as it listens to the session; event loop only.
    """

    def __init__(self) -> None:
        self.dropped = 0
        """Messages to the client, and mistakes, of which the agent was not told."""
        self._messages, self._bytes = TokenBucket(*MESSAGES), TokenBucket(*MESSAGE_BYTES)
        self._controls, self._errors = TokenBucket(*CONTROLS), TokenBucket(*ERRORS)

    def takes_message(self, size: int, now: float) -> bool:
        """Whether a message of so many bytes is read."""
        if self._messages.wait(1, now) > 0 or self._bytes.wait(size, now) > 0:
            return False
        self._messages.spend(1)
        self._bytes.spend(size)
        return True

    def takes_control(self, now: float) -> bool:
        """Whether a request is carried out."""
        return self._controls.take(1, now)

    def tells_error(self, now: float) -> bool:
        """Whether the agent gets an event for a mistake."""
        if self._errors.take(1, now):
            return True
        self.dropped += 1
        return False
