"""What a signaling process tells when a scraper asks."""

from __future__ import annotations

import time

from antiphon.runtime.metrics import Metrics
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.webhooks.delivery import Webhooks
from antiphon.signaling.websocket_calls.service import WebSocketCalls


def register_metrics(metrics: Metrics, backend: Backend, calls: WebSocketCalls, webhooks: Webhooks) -> None:
    """Have a scraper read what the parts know: what is announced, and the calls over WebSocket."""
    directory, gauge = backend.directory, metrics.gauge

    def by_state(running: int) -> dict[tuple[str, ...], float]:
        return {("running", "websocket"): running}

    gauge("antiphon_signaling_transceivers", lambda: dict(directory.transceiver_states(time.monotonic())))
    gauge("antiphon_signaling_relays", lambda: len(directory.relays(time.monotonic())))
    gauge("antiphon_call_active", lambda: by_state(calls.taken))
    gauge("antiphon_call_capacity", lambda: calls.capacity)
    gauge("antiphon_webhook_waiting", lambda: webhooks.waiting)
    gauge("antiphon_process_draining", lambda: int(calls.draining))
    gauge("antiphon_nats_messages_dropped_total", lambda: calls.messages_dropped)
