"""Metrics for Prometheus, health and readiness over HTTP, for tools that do not use NATS.

    /metrics   text format 0.0.4
    /healthz   200 when every worker is up
    /readyz    200 when calls may be sent here: workers up, a way on (transceiver or relay), not draining

One answer per connection, requests of at most 8 KiB, `MAX_CONNECTIONS` at a time: an endpoint for a scraper on the same
network, not a web server. It shows no client's address.

The text format is written here, by `_text_of` (8 lines): `prometheus_client` would do that part alone, because
`counters` defines the metrics, and costs the control process 43 ms of CPU at its start beyond asyncio, json and logging
(0.26.0, CPython 3.11; median CPU of `python -c 'import prometheus_client.core, prometheus_client.exposition'` behind
those imports, 9 runs) and a dependency more. Label values are ours and need no escaping.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Final

from antiphon.relay.control.worker_supervisor import WorkerSupervisor
from antiphon.relay.counters import Family, merged, metrics
from antiphon.relay.settings import RelaySettings

if TYPE_CHECKING:
    from antiphon.relay.control.backbone_client import BackboneClient
    from antiphon.relay.control.nats_client import RelayNatsClient

log = logging.getLogger(__name__)

MAX_REQUEST: Final = 8192
PATIENCE_SECONDS: Final = 5.0
MAX_CONNECTIONS: Final = 32
"""Above it the oldest one makes room: each has its answer at once, or has sent no request."""
_BACKLOG: Final = 1
"""asyncio tries to accept as often as this in one go, and logs each failure: one line a second without a descriptor."""
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetricsHttp:
    """Serves on `ANTIPHON_RELAY_HTTP_BIND`, if that is set: `start` once, `close` at the end.

    Belongs to `Control`; runs on the event loop of the control process.
    """

    def __init__(
        self,
        settings: RelaySettings,
        supervisor: WorkerSupervisor,
        nats_client: RelayNatsClient,
        backbone: BackboneClient,
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._backbone = backbone
        self._nats = nats_client
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    async def start(self) -> None:
        """Raises OSError with a text that names the setting."""
        bind = self._settings.relay_http_bind
        if bind is None:
            return
        try:
            # Shared, like the public port: a new process runs beside an old one for a moment.
            self._server = await asyncio.start_server(
                self._serve,
                bind.host,
                bind.port,
                limit=MAX_REQUEST,
                backlog=_BACKLOG,
                reuse_port=bool(bind.port) or None,
            )
        except OSError as error:
            raise OSError(error.errno, f"ANTIPHON_RELAY_HTTP_BIND {bind}: {error.strerror}") from None
        log.info("metrics and health on port %d", self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CONNECTIONS:
            oldest = next(iter(self._writers))
            del self._writers[oldest]
            oldest.transport.abort()
        self._writers[writer] = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(request.split(b"\r\n", 1)[0].decode("ascii", "replace"))
                head = (
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._writers.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, request_line: str) -> tuple[str, str, bytes]:
        method, _, target = request_line.partition(" ")
        path = target.partition(" ")[0].partition("?")[0]
        if method != "GET":
            return "405 Method Not Allowed", "text/plain", b"GET only\n"
        if path == "/metrics":
            return "200 OK", _TEXT, (await self.metrics()).encode()
        if path in ("/healthz", "/readyz"):
            failing = self._failing(ready=path == "/readyz")
            body = json.dumps({"failing": failing}).encode() + b"\n"
            return "503 Service Unavailable" if failing else "200 OK", "application/json", body
        return "404 Not Found", "text/plain", b"/metrics, /healthz or /readyz\n"

    def _failing(self, ready: bool) -> dict[str, str]:
        failing: dict[str, str] = {}
        if not self._supervisor.all_up:
            failing["workers"] = "not every forwarding worker is up"
        if ready and not self._nats.has_way:
            failing["transceivers"] = "none is announced"
        if ready and self._nats.state == "draining":
            failing["state"] = "draining"
        return failing

    async def metrics(self) -> str:
        """The page for a scraper. Counters are sums over the workers, and fall when one of them was replaced."""
        parts = await self._supervisor.statistics()
        nats_client, supervisor, backbone = self._nats, self._supervisor, self._backbone
        gauges = [
            ("transceivers", "gauge", "Transceivers that are announced.", nats_client.routes),
            ("workers", "gauge", "Forwarding workers that answer.", len(parts)),
            ("worker_restarts_total", "counter", "Workers replaced.", supervisor.restarts),
            ("nats_reachable", "gauge", "Announcements arrive.", int(nats_client.reachable)),
            ("ingress_number", "gauge", "Number in backbone headers; 0 for none.", backbone.ingress),
            ("relays", "gauge", "Announced processes of other clusters' relays.", backbone.relays),
            ("relays_out", "gauge", "Of these, relays that do not answer a worker.", len(supervisor.relays_out)),
            ("slot_moves", "gauge", "Slots whose sessions go on in another cluster.", backbone.moves),
        ]
        own = [Family(name, kind, text, [("", {}, value)]) for name, kind, text, value in gauges]
        round_trips = sorted(supervisor.round_trips.items())
        samples = [("", {"cluster": str(cluster)}, ms / 1000) for cluster, ms in round_trips]
        own.append(Family("round_trip_seconds", "gauge", "To the nearest relay of a cluster that answers.", samples))
        return "".join(map(_text_of, metrics(merged(parts)) + own))


def _text_of(family: Family) -> str:
    name = f"antiphon_relay_{family.name}"
    lines = [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
    for suffix, labels, value in family.samples:
        inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
        lines.append(f"{name}{suffix}{{{inside}}} {value}" if labels else f"{name}{suffix} {value}")
    return "\n".join(lines) + "\n"
