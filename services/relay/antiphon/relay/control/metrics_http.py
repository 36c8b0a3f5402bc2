"""The relay's metrics, and its health and readiness over HTTP, for tools that do not use NATS.

/metrics   for Prometheus, as on `ANTIPHON_METRICS_BIND`
/livez     200: the event loop of the control process runs
/healthz   200 when every worker is up
/readyz    200 when calls may be sent here: workers up, a way on (transceiver or relay), not draining; this page is on
           `ANTIPHON_METRICS_BIND` too
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from antiphon.relay.control.worker_supervisor import WorkerSupervisor
from antiphon.relay.counters import PREFIX, Counters, Histogram, figures, merged
from antiphon.relay.settings import RelaySettings
from antiphon.runtime.metrics.health import DRAINING, answer
from antiphon.runtime.metrics.http import Answer, HttpServer, Page
from antiphon.runtime.metrics.metrics import Metrics
from antiphon.runtime.metrics.service import metrics_pages
from antiphon.runtime.metrics.store import Buckets
from antiphon.runtime.metrics.table import METRICS

if TYPE_CHECKING:
    from antiphon.relay.control.backbone_client import BackboneClient
    from antiphon.relay.control.nats_client import RelayNatsClient

log = logging.getLogger(__name__)


class RelayFigures:
    """What a scraper reads. Counters are sums over the workers, and fall when one of them was replaced.

    Belongs to `Control`; runs on the event loop of the control process.
    """

    def __init__(
        self, metrics: Metrics, supervisor: WorkerSupervisor, nats_client: RelayNatsClient, backbone: BackboneClient
    ) -> None:
        self._supervisor = supervisor
        self._workers = 0
        self._figures = figures(Counters())
        metrics.prepare(self._ask_workers)
        for name in self._figures:
            metrics.gauge(name, partial(self._shown, name))
        for name, value in (
            ("transceivers", lambda: nats_client.routes),
            ("workers", lambda: self._workers),
            ("worker_restarts_total", lambda: supervisor.restarts),
            ("nats_reachable", lambda: int(nats_client.reachable)),
            ("ingress_number", lambda: backbone.ingress),
            ("relays", lambda: backbone.relays),
            ("relays_out", lambda: len(supervisor.relays_out)),
            ("slot_moves", lambda: backbone.moves),
        ):
            metrics.gauge(f"{PREFIX}{name}", value)
        metrics.gauge(f"{PREFIX}round_trip_seconds", self._round_trips)
        metrics.gauge("antiphon_process_draining", lambda: int(nats_client.state == "draining"))

    async def _ask_workers(self) -> None:
        parts = await self._supervisor.statistics()
        self._workers, self._figures = len(parts), figures(merged(parts))

    def _shown(self, name: str) -> Mapping[tuple[str, ...], float | Buckets]:
        bounds = METRICS[name].buckets
        return {
            labels: Buckets(bounds, value.counts, value.sum) if isinstance(value, Histogram) else value
            for labels, value in self._figures[name].items()
        }

    def _round_trips(self) -> dict[str, float]:
        return {str(cluster): ms / 1000 for cluster, ms in self._supervisor.round_trips.items()}


def failing(supervisor: WorkerSupervisor, nats_client: RelayNatsClient) -> dict[str, str]:
    """Why no calls may be sent here. NATS is no part of it: a relay without it forwards the calls that it has."""
    found = _failing_workers(supervisor)
    if not nats_client.has_way:
        found["transceivers"] = "none is announced"
    if nats_client.state == "draining":
        found |= DRAINING
    return found


def _failing_workers(supervisor: WorkerSupervisor) -> dict[str, str]:
    return {} if supervisor.all_up else {"workers": "not every forwarding worker is up"}


def health_pages(supervisor: WorkerSupervisor, nats_client: RelayNatsClient) -> dict[str, Page]:
    """`/livez`, `/healthz` and `/readyz`."""

    async def livez(_: str) -> Answer:
        return answer({})

    async def healthz(_: str) -> Answer:
        return answer(_failing_workers(supervisor))

    async def readyz(_: str) -> Answer:
        return answer(failing(supervisor, nats_client))

    return {"/livez": livez, "/healthz": healthz, "/readyz": readyz}


class MetricsHttp:
    """Serves on `ANTIPHON_RELAY_HTTP_BIND`, if that is set: `start` once, `close` at the end.

    Belongs to `Control`; runs on the event loop of the control process.
    """

    def __init__(self, settings: RelaySettings, metrics: Metrics, health: Mapping[str, Page]) -> None:
        self._settings = settings
        self._server = HttpServer({**metrics_pages(metrics), **health})

    async def start(self) -> int:
        """The port, 0 without one. Raises OSError with a text that names the setting."""
        bind = self._settings.relay_http_bind
        if bind is None:
            return 0
        try:
            # Shared, like the public port: a new process runs beside an old one for a moment.
            port = await self._server.start(bind.host, bind.port, shared=True)
        except OSError as error:
            raise OSError(error.errno, f"ANTIPHON_RELAY_HTTP_BIND {bind}: {error.strerror}") from None
        log.info("metrics and health on port %d", port)
        return port

    def close(self) -> None:
        """Stop listening."""
        self._server.close()
