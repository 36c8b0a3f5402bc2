"""Metrics of a service from its start to its end: `/metrics` over HTTP, OTLP, and the figures of the process.

The same HTTP server has the pages of `health`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import secrets
import socket
from collections.abc import Callable, Mapping
from typing import Final

from nats.aio.client import Client

from antiphon.runtime import tasks
from antiphon.runtime.metrics.figures import NatsFigures, ProcessFigures, version
from antiphon.runtime.metrics.health import STARTING, Failing, health_pages
from antiphon.runtime.metrics.http import Answer, HttpServer, Page
from antiphon.runtime.metrics.metrics import Metrics
from antiphon.runtime.metrics.settings import TRIED, VARIABLE, MetricsSettings
from antiphon.runtime.metrics.table import Service
from antiphon.schemas.addresses import Address

log = logging.getLogger(__name__)
LAST_SECONDS: Final = 1.0
"""For the collector to take the last metrics."""
_WILDCARDS: Final = ("0.0.0.0", "::")


class MetricsService:
    """Owner: the composition root of a service: `start` once its parts are built, `close` at the end; event loop only.

    A page that can't be served is a warning: no call fails for it. Off means no socket, no task, no client library.
    """

    def __init__(
        self,
        service: Service,
        settings: MetricsSettings,
        *,
        region: str = "",
        name: str = "",
        lazy: bool = False,
        shown_elsewhere: bool = False,
    ) -> None:
        """`region` and `name` are labels of `antiphon_process_info`.

        `shown_elsewhere`: another server has the page too, so that metrics are kept in any case.
        `lazy`: `prometheus_client` is loaded at the first scrape, 43 ms of CPU, and not by `start`.
        """
        self._lazy = lazy
        self.metrics: Final = Metrics(service, settings.on or shown_elsewhere)
        self.address = ""
        """Where a scraper reaches the page, from `start` on; empty: nowhere."""
        self._settings = settings
        self._process = ProcessFigures(self.metrics, region, name)
        self._server: HttpServer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failing: Failing = lambda: STARTING

    async def start(self, client: Callable[[], Client | None] | None = None) -> None:
        """Show metrics from now on. `client()`: the connection to NATS, whose figures are shown."""
        if not self.metrics.on:
            return
        self._process.start()
        if client is not None:
            self._tasks.append(asyncio.create_task(NatsFigures(self.metrics, client).run()))
        if self._settings.bind is not None:
            await self._listen(self._settings.bind)
            if not self._lazy:
                with contextlib.suppress(ImportError):
                    import antiphon.runtime.metrics.prometheus  # noqa: F401  (for the first scrape)
        if self._settings.otlp:
            self._tasks.append(asyncio.create_task(self._export()))

    def started(self, failing: Failing) -> None:
        """The process would serve callers from now on, but for what `failing()` returns; before, it is `starting`."""
        self._failing = failing

    def metadata(self) -> dict[str, str]:
        """For the services register."""
        return {"metrics": self.address} if self.address else {}

    async def close(self) -> None:
        """Show nothing any more; the collector gets the last metrics."""
        self._process.stop()
        if self._server is not None:
            self._server.close()
        await tasks.end(*self._tasks)

    async def _listen(self, bind: Address) -> None:
        server = HttpServer({**metrics_pages(self.metrics), **health_pages(lambda: self._failing())})
        for port in range(bind.port, min(bind.port + (TRIED if bind.port else 1), 1 << 16)):
            try:
                bound = await server.start(bind.host, port)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                log.warning("metrics: %s %s can't be bound: %s", VARIABLE, bind, error.strerror)
                return
            self._server = server
            host = socket.gethostname() if bind.host in _WILDCARDS else bind.host
            self.address = str(Address(host, bound))
            log.info("metrics at http://%s/metrics", self.address)
            return
        log.warning("metrics: %s %s and the %d ports behind it are taken: no page is served", VARIABLE, bind, TRIED - 1)

    async def _export(self) -> None:
        try:
            from antiphon.runtime.metrics.otlp import OtlpMetrics
        except ImportError as error:
            log.warning("metrics are not sent to the collector: %s; install antiphon[telemetry]", error)
            return
        otlp = OtlpMetrics(self.metrics, version(), secrets.token_hex(8))
        try:
            await otlp.run()
        finally:
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    await otlp.send()
            except TimeoutError:
                log.debug("the collector does not take the last metrics")
            otlp.close()


def metrics_pages(metrics: Metrics) -> Mapping[str, Page]:
    """`/metrics`, for an `HttpServer`."""

    async def answer(accept: str) -> Answer:
        try:
            from antiphon.runtime.metrics.prometheus import page
        except ImportError:
            text = b"prometheus_client is not installed: pip install antiphon[telemetry]\n"
            return Answer("503 Service Unavailable", "text/plain", text)
        body, kind = page(await metrics.collect(), accept)
        return Answer("200 OK", kind, body)

    return {"/metrics": answer}
