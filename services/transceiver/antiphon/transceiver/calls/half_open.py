"""Sessions whose client has not come yet: how many one caller may have, and which gives way to a new call. Pure.

An offer costs its caller one HTTP request and holds a slot until the first check, or until the handshake is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from antiphon.transceiver.session.session import Session

MIN_PER_CALLER: Final = 8
"""Sessions that one caller may have without a check, in the smallest process."""
SHARE_PER_CALLER: Final = 0.5
"""Of the capacity, likewise: a house behind one address or a server with one API key may place many calls at once, and
the other half is left to others."""
GRACE: Final = 2.0
"""Seconds in which no session gives way: a browser checks within one of getting its answer, a phone within two."""
HANDSHAKE_GRACE: Final = 10.0
"""Seconds from the offer in which a session whose handshake has begun does not give way."""


class HalfOpenSessions:
    """Which caller has made each session, for as long as that has had no check.

    Owner: the `SessionOpener`, for the life of the process; event loop only. Bounded by the sessions that there are:
    entries of others go from time to time.
    """

    def __init__(self, capacity: int) -> None:
        """`capacity`: of the process, in sessions."""
        self.per_caller = max(MIN_PER_CALLER, int(capacity * SHARE_PER_CALLER))
        """Sessions of one caller without a check, offers that are being answered included."""
        self._callers: dict[str, str] = {}
        self._opening: Counter[str] = Counter()
        self._prune_at = 128

    def has_too_many(self, caller: str, sessions: Iterable[Session]) -> bool:
        """Whether one more offer of this caller is refused. Callers that signaling does not name are not bounded."""
        if not caller:
            return False
        mine = sum(self._callers.get(each.state.session_id) == caller for each in sessions if _unchecked(each))
        return mine + self._opening[caller] >= self.per_caller

    def begin(self, caller: str) -> None:
        """An offer of this caller is being answered; `end` follows."""
        self._opening[caller] += 1

    def end(self, caller: str) -> None:
        self._opening[caller] -= 1
        if self._opening[caller] <= 0:
            del self._opening[caller]

    def opened(self, session_id: str, caller: str, sessions: Iterable[Session]) -> None:
        """The offer has become a session. `sessions`: all that there are."""
        self._callers[session_id] = caller
        if len(self._callers) >= self._prune_at:
            here = {each.state.session_id for each in sessions if _unchecked(each)} | {session_id}
            self._callers = {each: caller for each, caller in self._callers.items() if each in here}
            self._prune_at = 128 + 2 * len(self._callers)

    def to_evict(self, sessions: Iterable[Session], now: float) -> Session | None:
        """The session that makes room for a new call: of the caller with most without a check, the oldest one.

        If all have had a check: the oldest whose handshake is still not done.
        """
        half_open = [(since, each) for each in sessions if (since := each.half_open_since) is not None]
        unchecked = [(since, each) for since, each in half_open if _unchecked(each)]
        self._callers = {each.state.session_id: self._caller_of(each) for _, each in unchecked}
        held = Counter(self._callers.values())
        late = [(-held[self._caller_of(each)], since, each) for since, each in unchecked if now - since > GRACE]
        late = late or [(0, since, each) for since, each in half_open if now - since > HANDSHAKE_GRACE]
        return min(late, key=lambda each: each[:2])[2] if late else None

    def _caller_of(self, session: Session) -> str:
        return self._callers.get(session.state.session_id, "")


def _unchecked(session: Session) -> bool:
    return session.half_open_since is not None and session.ice.path is None
