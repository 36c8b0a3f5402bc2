"""One call of this transceiver as operators see it: `CallSummary`, for listings, ended calls and webhooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from antiphon.schemas import messages, tunnel
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.net.endpoint import Endpoints
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist
from antiphon.transceiver.session.session import Session


class OwnerFigures(NamedTuple):
    """What a summary says of the process. A value, made by the composition root."""

    instance: Callable[[], str]
    """Its id in the services register; empty before it is registered."""
    region: str
    lateness: Callable[[], float]
    """Seconds by which 99 % of the last visits of the timing wheel were late at most."""


class CallSummaries:
    """Owner: the process, for its whole life. Event loop only; it keeps nothing."""

    def __init__(self, owner: OwnerFigures, endpoints: Endpoints, relays: RelayAllowlist) -> None:
        self._owner = owner
        self._endpoints = endpoints
        self._relays = relays

    def summary_of(self, session: Session) -> messages.CallSummary:
        """The call as it is now, or at its end while the table still has it."""
        state = session.state
        identity = self._endpoints.of(state.session_id).identity
        counted = session.statistics()
        path = session.ice.path
        trace = state.call_trace.get("parent", "").split("-")
        return messages.CallSummary(
            session_id=state.session_id,
            agent=state.agent,
            state=_state(session),
            began=state.began_at,
            region=self._owner.region,
            cluster=identity.cluster,
            slot=identity.slot,
            owner=self._owner.instance(),
            relay=self._relays.name_of(path.relay) if path is not None else "",
            path=_kind(path),
            round_trip_ms=counted.round_trip_ms,
            packets_lost=counted.packets_lost,
            packets_received=counted.packets_received,
            remote_packets_lost=counted.remote_packets_lost,
            jitter_ms=counted.jitter_ms,
            frames_concealed=counted.frames_concealed,
            lateness_ms=round(self._owner.lateness() * 1000, 2),
            turns=state.turns,
            last_turn=messages.Turn.model_validate(state.last_turn) if state.last_turn else None,
            moves=state.moves,
            trace_id=trace[1] if len(trace) == 4 else "",
            client=session.client_statistics,
        )


def _state(session: Session) -> Literal["connecting", "running", "suspect", "ended"]:
    if session.ended is not None:
        return "ended"
    if not session.got_through:
        return "connecting"
    return "suspect" if session.suspect else "running"


def _kind(path: Path | None) -> Literal["", "udp", "tcp", "backbone"]:
    if path is None or not path.header:
        return ""
    bits = path.header[1] << 8
    return "backbone" if bits & tunnel.BACKBONE_BIT else "tcp" if bits & tunnel.TCP_BIT else "udp"
