"""Steady speech: one level after the other, all sessions joined first, and the same way for every server.

No client stops speaking while sessions join, while statistics are made, or in between. Records are evaluated one
session per turn of the load, so that the load generator does not stumble over its own sums.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from antiphon.bench._lib.proc import cpu_seconds, stolen_seconds, waited_seconds
from antiphon.bench.media.lateness import Evaluation
from antiphon.bench.media.load_clients import PERIOD, Load

SETTLE_SECONDS: Final = 1.5
GRACE_SECONDS: Final = 0.25
"""For what is on its way when a window ends; what comes later than that is missing."""
TRIES: Final = 3
"""Windows in a row in which the load generator itself may be late."""


class Server(Protocol):
    """A server under test and its load."""

    load: Load
    pid: int
    has_agent: bool
    """Frames go to an agent; without one only packets are looked at."""

    def join(self, count: int) -> bool:
        """So many more sessions; False if they do not come up."""


def window(server: Server, seconds: float) -> tuple[Evaluation, dict[str, Any]]:
    """So much of steady speech, and its statistics."""
    load, pid, count = server.load, server.pid, len(server.load.clients)
    load.forget()
    begin_ns, began, cpu = time.time_ns(), time.monotonic(), cpu_seconds(pid)
    waited, stolen = waited_seconds(pid), stolen_seconds()
    load.run(seconds)
    end_ns, elapsed, cpu = time.time_ns(), time.monotonic() - began, cpu_seconds(pid) - cpu
    waited, stolen = waited_seconds(pid) - waited, stolen_seconds() - stolen
    driver_ms, load.late_ms = load.late_ms, array("d")
    load.run(GRACE_SECONDS)
    evaluation = Evaluation(begin_ns, end_ns, driver_ms=list(driver_ms))
    for client in tuple(load.clients):
        evaluation.add(client, server.has_agent)
        load.turn()
    return evaluation, {
        "sessions": count,
        "core_percent": cpu / elapsed * 100,
        "cpu_percent_per_session": cpu / elapsed * 100 / count,
        "us_per_pair": cpu / elapsed * PERIOD / count * 1e6,
        "waited_percent": waited / elapsed * 100,
        "stolen_percent": stolen / elapsed * 100,
        **evaluation.statistics(),
    }


def level(server: Server, seconds: float) -> dict[str, Any]:
    """One number of sessions: windows in which the load generator was late do not count, a failure has to repeat."""
    discarded, failed = 0, 0
    while True:
        server.load.run(SETTLE_SECONDS)
        evaluation, found = window(server, seconds)
        if evaluation.driver_was_late and discarded < TRIES - 1:
            discarded += 1
            continue
        if not evaluation.in_time and not evaluation.driver_was_late and not failed:
            failed = 1
            continue
        return found | {"discarded": discarded, "failed_before": failed, "driver_was_late": evaluation.driver_was_late}


def search(server: Server, levels: Iterable[int], seconds: float) -> Iterator[dict[str, Any]]:
    """Levels upwards, up to the first that is not in time, or that the load generator can't make."""
    for count in levels:
        if not server.join(count - len(server.load.clients)):
            return
        found = level(server, seconds)
        yield found
        if not found["in_time"] or found["driver_was_late"]:
            return


def capacity(found: Iterable[dict[str, Any]]) -> int:
    """The most sessions of the levels that were in time, none below having failed."""
    best = 0
    for one in found:
        if not one["in_time"] or one["driver_was_late"]:
            break
        best = one["sessions"]
    return best
