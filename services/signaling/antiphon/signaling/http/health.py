"""Would a call succeed right now? The report behind `GET /healthz`.

Beside it `troubles`: agents that take calls, and say themselves that callers would not be pleased.
"""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.service_discovery import RELAY_SERVICE, TRANSCEIVER_SERVICE
from antiphon.signaling.settings import Settings


async def failing_parts(settings: Settings, stack: Backend) -> dict[str, str]:
    """What stands in the way of a call: part -> what is wrong with it. Empty when nothing does.

    A transceiver and a relay have to be announced (which says that they have room) and to answer in the
    register (which says that they live: an announcement outlasts its author by up to five seconds).
    """
    if not stack.connected:
        return {"nats": "signaling is not connected to NATS"}
    roll = await stack.roll()
    now = time.monotonic()
    failing: dict[str, str] = {}
    if not stack.directory.transceivers(now):
        failing["transceiver"] = "none is announced that is ready and has room"
    elif not roll.instances[TRANSCEIVER_SERVICE]:
        failing["transceiver"] = "announced, but none answers in the services register"
    if not stack.directory.relays(now):
        failing["relay"] = "none is announced"
    elif not roll.instances[RELAY_SERVICE]:
        failing["relay"] = "announced, but none answers in the services register"
    if settings.default_agent not in roll.agents:
        failing["agent"] = f"the default agent {settings.default_agent!r} does not answer in the services register"
    return failing


def routes(settings: Settings, stack: Backend) -> APIRouter:
    router = APIRouter()

    @router.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> JSONResponse:
        failing = await failing_parts(settings, stack)
        body: dict[str, object] = {"status": "failing", "failing": failing} if failing else {"status": "ok"}
        if troubles := (await stack.roll()).troubles:
            body["troubles"] = troubles
        return JSONResponse(body, 503 if failing else 200, headers={"Cache-Control": "no-store"})

    return router
