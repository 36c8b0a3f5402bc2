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
from typing import TYPE_CHECKING, Final

from antiphon.relay.control.worker_supervisor import WorkerSupervisor
from antiphon.relay.counters import Family, merged, metrics
from antiphon.relay.settings import RelaySettings

if TYPE_CHECKING:
    from antiphon.relay.control.nats_client import RelayNatsClient

log = logging.getLogger(__name__)

MAX_REQUEST: Final = 8192
PATIENCE_SECONDS: Final = 5.0
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetricsHttp:
    """Serves on `ANTIPHON_RELAY_HTTP_BIND`, if that is set."""

    def __init__(self, settings: RelaySettings, supervisor: WorkerSupervisor, bus: RelayNatsClient) -> None:
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
        bus, supervisor = self._bus, self._supervisor
        gauges = [
            ("transceivers", "gauge", "Transceivers that are announced.", bus.routes),
            ("workers", "gauge", "Forwarding workers that answer.", len(parts)),
            ("worker_restarts_total", "counter", "Workers replaced.", supervisor.restarts),
            ("nats_reachable", "gauge", "Announcements arrive.", int(bus.reachable)),
        ]
        own = [Family(name, kind, says, [("", {}, value)]) for name, kind, says, value in gauges]
        return "".join(map(_text_of, metrics(merged(parts)) + own))


def _text_of(family: Family) -> str:
    name = f"antiphon_relay_{family.name}"
    lines = [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
    for suffix, labels, value in family.samples:
        inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
        lines.append(f"{name}{suffix}{{{inside}}} {value}" if labels else f"{name}{suffix} {value}")
    return "\n".join(lines) + "\n"
