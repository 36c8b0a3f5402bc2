"""Figures that every process has: what it is, its CPU time and memory, its event loop, its connection to NATS."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import nats.errors
from nats.aio.client import Client

from antiphon.runtime.metrics.metrics import Metrics
from antiphon.runtime.nats import connection

TICK_SECONDS: Final = 0.5
"""Between two looks at how late the loop is."""
PING_SECONDS: Final = 10.0
"""Between two measurements of the round trip to NATS."""
PING_TIMEOUT: Final = 5
_STATM: Final = Path("/proc/self/statm")


def version() -> str:
    """Of the installed distribution."""
    try:
        return importlib.metadata.version("antiphon")
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"


def _spans_dropped() -> int:
    """0 where traces are off: their module, which loads much, is not loaded for this."""
    traces = sys.modules.get("antiphon.runtime.telemetry.spans")
    return traces.dropped() if traces is not None else 0


class ProcessFigures:
    """CPU, memory, loop, build. Owner: `MetricsService`; `start` and `stop` once each, on the event loop."""

    def __init__(self, metrics: Metrics, region: str = "", name: str = "") -> None:
        """`name`: of a relay or an agent; empty: the service has no names."""
        began = time.time()
        self._late = 0.0
        self._timer: asyncio.TimerHandle | None = None
        info: tuple[str, ...] = (metrics.service, version(), region, name)
        metrics.gauge("antiphon_process_info", lambda: {info: 1})
        metrics.gauge("antiphon_process_start_time_seconds", lambda: began)
        metrics.gauge("antiphon_process_cpu_seconds_total", time.process_time)
        metrics.gauge("antiphon_process_resident_bytes", resident_bytes)
        metrics.gauge("antiphon_process_threads", threading.active_count)
        metrics.gauge("antiphon_process_tasks", lambda: len(asyncio.all_tasks()))
        metrics.gauge("antiphon_process_loop_lateness_seconds", self._lateness)
        metrics.gauge("antiphon_process_spans_dropped_total", _spans_dropped)

    def start(self) -> None:
        """Watch the running loop."""
        loop = asyncio.get_running_loop()
        self._tick(loop, loop.time())

    def stop(self) -> None:
        """Watch it no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._late = max(self._late, loop.time() - due)
        due = loop.time() + TICK_SECONDS
        self._timer = loop.call_at(due, self._tick, loop, due)

    def _lateness(self) -> float:
        late, self._late = self._late, 0.0
        return late


class NatsFigures:
    """The connection to NATS. Owner: `MetricsService`; `run` is its task, which pings."""

    def __init__(self, metrics: Metrics, client: Callable[[], Client | None]) -> None:
        """`client()` is None until NATS was reached for the first time."""
        self._metrics, self._client = metrics, client

        def stats(name: str) -> int:
            found = client()
            return 0 if found is None else found.stats[name]

        metrics.gauge("antiphon_nats_connected", self._connected)
        metrics.gauge("antiphon_nats_reconnects_total", lambda: stats("reconnects"))
        metrics.gauge("antiphon_nats_pending_bytes", self._unsent)
        metrics.gauge("antiphon_nats_messages_total", lambda: {each: stats(f"{each}_msgs") for each in ("in", "out")})
        metrics.gauge("antiphon_nats_bytes_total", lambda: {each: stats(f"{each}_bytes") for each in ("in", "out")})

    def _connected(self) -> int:
        client = self._client()
        return int(client is not None and client.is_connected)

    def _unsent(self) -> int:
        client = self._client()
        return 0 if client is None else connection.unsent(client)

    async def run(self) -> None:
        """Measure the round trip, for ever."""
        while True:
            client, began = self._client(), time.perf_counter()
            if client is not None:
                # While NATS is away `antiphon_nats_connected` says so.
                with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                    await client.flush(PING_TIMEOUT)
                    self._metrics.observe("antiphon_nats_round_trip_seconds", time.perf_counter() - began)
            await asyncio.sleep(PING_SECONDS)


def resident_bytes() -> int:
    """Of this process; where the system does not say, the most that it ever had."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
