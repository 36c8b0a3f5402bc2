"""How long one more client would wait for its connection, from how fast those before it got theirs. Pure.

A hundred clients that come at once take turns at the processors: of this process for their handshakes, of the relay, of
NATS. What they all wait for is seen from outside: the time between two clients that finish while others wait. So many
times that long waits a new one. Clients that are slow themselves finish as seldom as they come, and then few wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

FIRST_SPACING: Final = 0.03
"""Seconds between two clients that finish, as long as nothing was measured: 83 clients connect within 2.5 s. On two
cores that they share with the stack, 50 clients took 14 ms each (`antiphon bench admission`)."""
MAX_SPACING: Final = 0.1
"""However slow clients were, so many may still come at once: 25 within 2.5 s."""
BUSY: Final = 8
"""Clients that wait, from which on the next one to finish says how fast they are served, not how often they come."""
WEIGHT: Final = 0.2
"""Of one measurement."""
FORGET: Final = 30.0
"""Seconds in which half of what was measured is forgotten."""
COMES_WITHIN: Final = 2.0
"""Seconds after its offer for which a client without a check counts: an offer that nobody follows costs nothing."""
CONNECTS_WITHIN: Final = 4.0
"""Likewise for one whose handshake has begun: one that has not finished by then waits for its own network."""


class Connecting(Protocol):
    """What is looked at in a session: `Session`."""

    @property
    def connected(self) -> bool: ...
    @property
    def checked(self) -> bool: ...
    @property
    def setup_seconds(self) -> float: ...


class ConnectEstimate:
    """Watches the sessions from their offers until they are connected.

    Owner: the `SessionOpener`, for the life of the process; event loop only. Bounded by the sessions that there are.
    """

    def __init__(self, within: float, now: float) -> None:
        """`within`: seconds that a client may wait for its connection; 0: there is no bound."""
        self.within = within
        self._since: dict[str, float] = {}
        """When the offers came of those that are not connected."""
        self._spacing = FIRST_SPACING
        self._at = now
        self._last = now
        """When the last one was connected."""

    @property
    def spacing(self) -> float:
        """Seconds between two clients that finish while others wait."""
        return self._spacing

    def opened(self, session_id: str, now: float) -> None:
        """The offer, which came at `now`, has become a session."""
        self._since[session_id] = now

    def seconds(self, find: Callable[[str], Connecting | None], opening: int, queued: float, now: float) -> float:
        """How long one more client would wait.

        `find`: the session of this id, as long as there is one. `opening`: offers that are being answered. `queued`:
        seconds that the steps of handshakes need which wait already.
        """
        waiting = self._look(find, now)
        return max((waiting + opening + 1) * self._spacing, queued)

    def refuses(self, find: Callable[[str], Connecting | None], opening: int, queued: float, now: float) -> float:
        """The seconds that one more client would wait, if they are too many; else 0."""
        if not self.within:
            return 0.0
        seconds = self.seconds(find, opening, queued, now)
        return seconds if seconds > self.within else 0.0

    def _look(self, find: Callable[[str], Connecting | None], now: float) -> int:
        """Take the measurements since the last look; how many clients wait."""
        self._spacing = FIRST_SPACING + (self._spacing - FIRST_SPACING) * 0.5 ** ((now - self._at) / FORGET)
        self._at = now
        waiting: dict[str, float] = {}
        finished: list[float] = []
        count = 0
        for session_id, since in self._since.items():
            session = find(session_id)
            if session is None:
                continue  # it was hung up, or gave up
            if session.connected:
                finished.append(since + session.setup_seconds)
                continue
            waiting[session_id] = since
            count += now - since < (CONNECTS_WITHIN if session.checked else COMES_WITHIN)
        self._since = waiting
        finished.sort()
        for number, at in enumerate(finished):
            others = len(finished) - number - 1 + count
            if others >= BUSY and at - self._last < CONNECTS_WITHIN:
                measured = min(MAX_SPACING, max(0.0, at - self._last))
                self._spacing += WEIGHT * (measured - self._spacing)
            self._last = max(self._last, at)
        return count
