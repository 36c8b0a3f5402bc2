"""Metrics for Prometheus, health and readiness over HTTP, for those who have no NATS at hand.

    /metrics   text format 0.0.4
    /healthz   200 when every worker is up
    /readyz    200 when calls may be sent here: workers up, a transceiver announced, not draining

One answer per connection, requests of at most 8 KiB: an endpoint for a scraper on the same network, not a web
server. No client's address is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from antiphon.relay.settings import RelaySettings
from antiphon.relay.supervisor import Supervisor, total

if TYPE_CHECKING:
    from antiphon.relay.on_the_bus import OnTheBus

log = logging.getLogger(__name__)

MAX_REQUEST: Final = 8192
PATIENCE_SECONDS: Final = 5.0
BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


class HttpEndpoint:
    """Serves on `ANTIPHON_RELAY_HTTP_BIND`, if that is set."""

    def __init__(self, settings: RelaySettings, supervisor: Supervisor, bus: OnTheBus) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._bus = bus
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises OSError with a text that names the setting."""
        bind = self._settings.relay_http_bind
        if bind is None:
            return
        try:
            # Shared, like the public port: a new process stands beside an old one for a moment.
            self._server = await asyncio.start_server(
                self._serve, bind.host, bind.port, limit=MAX_REQUEST, reuse_port=bool(bind.port) or None
            )
        except OSError as error:
            raise OSError(error.errno, f"ANTIPHON_RELAY_HTTP_BIND {bind}: {error.strerror}") from None
        log.info("metrics and health on port %d", self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
        if not self._supervisor.complete:
            failing["workers"] = "not every forwarding worker is up"
        if ready and not self._bus.routes:
            failing["transceivers"] = "none is announced"
        if ready and self._bus.state == "draining":
            failing["state"] = "draining"
        return failing

    async def metrics(self) -> str:
        """The page for a scraper. Counters are sums over the workers, and fall when one of them was replaced."""
        parts = await self._supervisor.statistics()
        now = total(parts)
        page = _Page()
        up = {"direction": "to_transceivers"}, now.packets_to_transceivers, now.bytes_to_transceivers
        down = {"direction": "to_clients"}, now.packets_to_clients, now.bytes_to_clients
        page.family("packets_total", "counter", "Datagrams forwarded.", [(way, n) for way, n, _ in (up, down)])
        page.family("bytes_total", "counter", "Octets of clients' datagrams.", [(way, n) for way, _, n in (up, down)])
        flows = [({"state": "confirmed"}, now.flows_confirmed), ({"state": "half_open"}, now.flows_half_open)]
        page.family("flows", "gauge", "Flows in the tables of the workers.", flows)
        page.family("flows_found_total", "counter", "Flows learned by asking on the bus.", [({}, now.flows_found)])
        drops = [({"reason": reason}, count) for reason, count in now.drops.items()]
        page.family("drops_total", "counter", "Datagrams that went nowhere, by reason.", drops)
        page.family("hellos_total", "counter", "Transceivers asked for their clients.", [({}, now.hellos_sent)])
        page.family("transceivers", "gauge", "Transceivers that are announced.", [({}, self._bus.routes)])
        page.family("workers", "gauge", "Forwarding workers that answer.", [({}, len(parts))])
        page.family("worker_restarts_total", "counter", "Workers replaced.", [({}, self._supervisor.restarts)])
        page.family("nats_reachable", "gauge", "Announcements arrive.", [({}, int(self._bus.reachable))])
        page.family(
            "lateness_seconds",
            "gauge",
            "Most by which a worker's loop missed its tick since the last scrape.",
            [({}, now.lateness_ms / 1000)],
        )
        page.histogram("batch_datagrams", "Datagrams read at once.", now.batches)
        return page.text()


class _Page:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, says: str, samples: Sequence[tuple[dict[str, str], float]]) -> None:
        name = f"antiphon_relay_{name}"
        self._lines += [f"# HELP {name} {says}", f"# TYPE {name} {kind}"]
        for labels, value in samples:
            inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
            self._lines.append(f"{name}{{{inside}}} {value:g}" if labels else f"{name} {value:g}")

    def histogram(self, name: str, says: str, counts: dict[str, int]) -> None:
        name = f"antiphon_relay_{name}"
        self._lines += [f"# HELP {name} {says}", f"# TYPE {name} histogram"]
        so_far = 0
        for bound in BATCH_BOUNDS:
            so_far += counts.get(str(bound), 0)
            self._lines.append(f'{name}_bucket{{le="{bound}"}} {so_far}')
        self._lines += [f'{name}_bucket{{le="+Inf"}} {so_far}', f"{name}_count {so_far}"]

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"
