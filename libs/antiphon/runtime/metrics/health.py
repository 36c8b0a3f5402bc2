"""Health of a process over HTTP, beside its metrics: for supervisors such as a kubelet.

/livez    200: the event loop runs. Nothing else is looked at: what a restart does not mend is no reason for one
/readyz   200 when this process would serve callers now, else 503 and `failing`, part -> what is wrong with it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from antiphon.runtime.metrics.http import Answer, Page

Failing = Callable[[], Mapping[str, str]]
"""Part of the process -> why it would not serve callers now; empty: it would."""

DRAINING: Final = {"state": "draining"}
NO_NATS: Final = {"nats": "not connected"}
STARTING: Final = {"state": "starting"}


def serving(leaving: bool, connected: bool) -> Mapping[str, str]:
    """What fails of a process that serves callers by NATS alone."""
    return DRAINING if leaving else {} if connected else NO_NATS


def answer(failing: Mapping[str, str]) -> Answer:
    """200 if nothing fails, else 503; the body names what does."""
    body = json.dumps({"failing": dict(failing)}).encode() + b"\n"
    return Answer("503 Service Unavailable" if failing else "200 OK", "application/json", body)


def health_pages(failing: Failing) -> dict[str, Page]:
    """`/livez` and `/readyz`, for an `HttpServer`."""

    async def livez(_: str) -> Answer:
        return answer({})

    async def readyz(_: str) -> Answer:
        return answer(failing())

    return {"/livez": livez, "/readyz": readyz}
