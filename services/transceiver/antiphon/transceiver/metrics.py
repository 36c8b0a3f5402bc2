"""Statistics of a process in the services register: `nats micro stats antiphon-transceiver`."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import asdict
from typing import Any

from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls.agent_claims import AgentClaims
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.timing.scheduler import Scheduler


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
