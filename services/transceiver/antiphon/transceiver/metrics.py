"""What a transceiver process tells of itself: in the services register (`nats micro stats antiphon-transceiver`), and
as metrics that are read when a scraper asks.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from dataclasses import asdict
from typing import Any, Final

from antiphon.runtime.metrics import Metrics
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls.agent_claims import AgentClaims
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.timing.scheduler import Scheduler

_REFUSED: Final = {
    "refused": "packets_refused",
    "replayed": "packets_replayed",
    "records_refused": "records_refused",
    "over_budget": "packets_over_budget",
    "checks_replayed": "checks_replayed",
    "events_dropped": "events_dropped",
}
"""Values of the label `reason`, and the counters of calls that they are."""


def service_statistics(
    sessions: SessionTable, opener: SessionOpener, claims: AgentClaims, scheduler: Scheduler, publisher: Publisher
) -> dict[str, Any]:
    """All that should be back where it was when the last session has ended, and what was dropped so far.

    The keys are public: monitoring reads them.
    """
    lateness = {name: round(scheduler.lateness(share) * 1000, 2) for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {
        "sessions": len(sessions.demux),
        "taken": opener.taken,
        "seats": sum(1 for _ in sessions.endpoints),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "visits": scheduler.visitors,
        "handshakes_waiting": scheduler.handshakes_waiting,
        "lateness_ms": lateness,
        "calls": sessions.totals(),
        "messages_dropped": publisher.dropped,
        "datagrams_dropped": sum(endpoint.socket.dropped for endpoint in sessions.endpoints),
        "datagrams_ignored": asdict(sessions.demux.counters),
        **claims.statistics(),
    }


def register_metrics(
    metrics: Metrics,
    sessions: SessionTable,
    opener: SessionOpener,
    scheduler: Scheduler,
    publisher: Publisher,
    relays: RelayAllowlist,
) -> None:
    """Have a scraper read what the parts count. Nothing of it is counted twice, and nothing per frame."""
    demux, gauge = sessions.demux, metrics.gauge

    def states() -> dict[tuple[str, ...], float]:
        counted = Counter(_state(session) for session in demux)
        return {(state, "webrtc"): counted[state] for state in ("connecting", "running", "suspect")}

    def queued() -> dict[str, float]:
        waiting = [session.sender.queued_ms / 1000 for session in demux]
        return {"all": sum(waiting), "longest": max(waiting, default=0.0)}

    def total(name: str) -> float:
        return sessions.totals()[name]

    gauge("antiphon_call_active", states)
    gauge("antiphon_call_capacity", lambda: opener.capacity)
    gauge("antiphon_process_draining", lambda: int(opener.draining))
    gauge("antiphon_media_queue_seconds", queued)
    gauge(
        "antiphon_media_packets_total",
        lambda: {"received": total("packets_received"), "sent": total("packets_sent")},
    )
    gauge("antiphon_media_packets_lost_total", lambda: total("packets_lost"))
    gauge("antiphon_media_packets_late_total", lambda: total("packets_late"))
    gauge("antiphon_media_frames_concealed_total", lambda: total("frames_concealed"))
    gauge(
        "antiphon_media_packets_refused_total",
        lambda: {reason: total(name) for reason, name in _REFUSED.items()},
    )
    gauge(
        "antiphon_media_lateness_seconds",
        lambda: {str(share): scheduler.lateness(share) for share in (0.5, 0.99)},
    )
    gauge("antiphon_process_queue_length", lambda: {"handshakes": scheduler.handshakes_waiting})
    gauge("antiphon_nats_messages_dropped_total", lambda: publisher.dropped)
    gauge(
        "antiphon_transceiver_datagrams_dropped_total",
        lambda: sum(endpoint.socket.dropped for endpoint in sessions.endpoints),
    )
    gauge("antiphon_transceiver_datagrams_ignored_total", lambda: asdict(demux.counters))
    gauge("antiphon_transceiver_relays", lambda: relays.trusted)
    gauge("antiphon_transceiver_slots", lambda: sum(1 for _ in sessions.endpoints))


def _state(session: Session) -> str:
    if not session.got_through:
        return "connecting"
    return "suspect" if session.suspect else "running"
