"""One call of this process as operators see it. It names no address of a client."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

from antiphon.schemas import messages
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.session.session import Session

MAX_NAME: Final = 64
"""Characters of an agent's instance that are shown: an agent chooses its name itself."""


class CallSummaries:
    """Makes summaries. Owner: the process, for its whole life. Event loop only."""

    def __init__(
        self,
        as_owner: Callable[[], messages.CallList],
        relay_name: Callable[[Path], str],
        instance_of: Callable[[str], str],
        lateness: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`as_owner()`: whose the calls are. `instance_of(session id)`: of its agent. `lateness()`: in seconds."""
        self._as_owner = as_owner
        self._clock = clock
        self._late_ms, self._late_until = 0.0, float("-inf")
        self._relay_name = relay_name
        self._instance_of = instance_of
        self._lateness = lateness

    def summary_of(self, session: Session) -> messages.CallSummary:
        """This call now, or at its end while the table still has it."""
        return self.summary(session, self._as_owner())

    def summary(self, session: Session, owner: messages.CallList) -> messages.CallSummary:
        """This call now. `owner`: whose it is."""
        state, path, counted = session.state, session.ice.path, session.statistics()
        return messages.CallSummary(
            session_id=state.session_id,
            agent=state.agent,
            instance=self._instance_of(state.session_id)[:MAX_NAME],
            state=_state(session),
            began=session.began_at,
            region=owner.region,
            cluster=owner.cluster,
            slot=owner.slot,
            owner=owner.owner,
            relay=self._relay_name(path) if path is not None else "",
            path=path.kind if path is not None and path.header else "",
            round_trip_ms=counted.round_trip_ms,
            packets_lost=counted.packets_lost,
            packets_received=counted.packets_received,
            remote_packets_lost=counted.remote_packets_lost,
            jitter_ms=counted.jitter_ms,
            frames_concealed=counted.frames_concealed,
            lateness_ms=self._lateness_ms(),
            turns=state.turns,
            last_turn=messages.Turn.model_validate(state.last_turn) if state.last_turn else None,
            moves=state.moves,
            client=session.client_statistics,
            trace_id=state.call_trace.get("parent", "")[3:35],
        )

    def _lateness_ms(self) -> float:
        """Worked out once a second: it sorts what the last 5 s have measured."""
        if (now := self._clock()) >= self._late_until:
            self._late_ms, self._late_until = round(self._lateness() * 1000, 2), now + 1.0
        return self._late_ms


def _state(session: Session) -> Literal["connecting", "running", "suspect", "ended"]:
    if session.ended is not None:
        return "ended"
    if not session.got_through:
        return "connecting"
    return "suspect" if session.suspect else "running"
