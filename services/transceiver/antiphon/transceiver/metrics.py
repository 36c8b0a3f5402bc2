"""What a process tells about itself in the services register: `nats micro stats antiphon-transceiver`."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import asdict
from typing import Any

from antiphon.transceiver.bus.publisher import Publisher
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.timing.scheduler import Scheduler


def figures(sessions: SessionTable, placing: SessionOpener, clock: Scheduler, publisher: Publisher) -> dict[str, Any]:
    """Everything that should be back where it was when the last session is over, and what was dropped so far."""
    return {
        "sessions": len(sessions.registry),
        "taken": placing.taken,
        "seats": sum(1 for _ in sessions.seats),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "visits": clock.visitors,
        "handshakes_waiting": clock.handshakes_waiting,
        "lateness_ms": {name: round(clock.lateness(share) * 1000, 2) for name, share in (("p50", 0.5), ("p99", 0.99))},
        "calls": sessions.totals(),
        "messages_dropped": publisher.dropped,
        "datagrams_dropped": sum(seat.port.dropped for seat in sessions.seats),
        "datagrams_ignored": asdict(sessions.registry.counters),
        **placing.claiming.figures(),
    }
