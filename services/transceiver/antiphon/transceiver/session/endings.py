"""Why sessions of this process ended: kept for a while, for clients that ask. Sans-IO.

A client that never connected, or whose connection was closed, cannot distinguish an agent that hung up from a firewall.
Policy: a session is kept for `KEEP_SECONDS` after its end; above `MAX_KEPT` the oldest are forgotten. A request for one
of these gets no answer, as one for a session that never existed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from antiphon.schemas import messages
from antiphon.transceiver.session.output import MOVED
from antiphon.transceiver.session.session import Session

KEEP_SECONDS: Final = 120.0
"""A page asks when it finds its connection closed, at the latest after the 30 s of consent; a phone may sleep."""
MAX_KEPT: Final = 2048


class _Ending(NamedTuple):
    """What the status of an ended session is made of: a tenth of the memory that the message takes."""

    at: float
    connected: bool
    spoke: bool
    reason: messages.EndReason
    cause: str
    creator: str
    trace: str


class Endings:
    """The sessions that ended lately.

    Owner: `SessionTable`, for the life of the process; it notes each session that it removes. Event loop only.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Ending] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def note(self, session: Session, now: float) -> None:
        """The session has ended. One that is in another process now has not, and is left out."""
        if session.ended is None or session.ended == MOVED:
            return
        spoke = session.statistics().packets_sent > 0
        self._kept[session.state.session_id] = _Ending(
            now, session.got_through, spoke, session.ended, session.cause, session.state.creator, _root(session)
        )
        self.expire(now)

    def expire(self, now: float) -> None:
        """Forget what is too old or too much."""
        while self._kept and (len(self._kept) > MAX_KEPT or self._oldest() < now - KEEP_SECONDS):
            self._kept.popitem(last=False)

    def get(self, session_id: str, now: float) -> messages.CallStatus | None:
        self.expire(now)
        kept = self._kept.get(session_id)
        if kept is None:
            return None
        return messages.CallStatus(
            session_id=session_id,
            state="ended",
            connected=kept.connected,
            spoke=kept.spoke,
            reason=kept.reason,
            cause=kept.cause,
            creator=kept.creator,
            trace=kept.trace,
        )

    def _oldest(self) -> float:
        return next(iter(self._kept.values())).at


def status(session: Session) -> messages.CallStatus:
    """The status of a session, during the call and afterwards."""
    ended = session.ended if session.ended != MOVED else None
    return messages.CallStatus(
        session_id=session.state.session_id,
        state="running" if ended is None else "ended",
        connected=session.got_through,
        spoke=session.statistics().packets_sent > 0,
        reason=ended,
        cause=session.cause,
        creator=session.state.creator,
        trace=_root(session),
    )


def _root(session: Session) -> str:
    return str(session.state.call_trace.get("parent", ""))
