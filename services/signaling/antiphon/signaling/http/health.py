"""Would a call succeed right now? The report behind `GET /healthz`.

The report also holds `troubles`: agents that take calls and say that they could not serve the callers.
"""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from antiphon.signaling.http.api_description import OPEN, answer, describe, json_of
from antiphon.signaling.http.dependencies import BackendDep, SettingsDep
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.service_discovery import RELAY_SERVICE, TRANSCEIVER_SERVICE
from antiphon.signaling.settings import Settings

router = APIRouter()


async def failing_parts(settings: Settings, backend: Backend) -> dict[str, str]:
    """What prevents a call: part -> what is wrong with it. Empty when a call would succeed.

    A transceiver and a relay have to be announced, which says that they have room. They also have to answer in the
    services register, which says that they live: an announcement outlasts its author by up to five seconds. Those of
    other regions, with their agents, are in the registers of these: where no other has room, their announcement counts.
    """
    if not backend.connected:
        return {"nats": "signaling is not connected to NATS"}
    services = await backend.services()
    now = time.monotonic()
    failing: dict[str, str] = {}
    transceivers = backend.directory.transceivers(now)
    relays = backend.directory.relays(now)
    near = any(not backend.foreign_region(each.cluster) for each in transceivers)
    if not transceivers:
        failing["transceiver"] = "none is announced that is ready and has room"
    elif near and not services.instances[TRANSCEIVER_SERVICE]:
        failing["transceiver"] = "announced, but none answers in the services register"
    if not relays:
        failing["relay"] = "none is announced"
    elif not services.instances[RELAY_SERVICE] and any(not backend.is_foreign(each.region) for each in relays):
        failing["relay"] = "announced, but none answers in the services register"
    if (near or not transceivers) and settings.default_agent not in services.agents:
        failing["agent"] = f"the default agent {settings.default_agent!r} does not answer in the services register"
    return failing


@router.api_route(
    "/healthz",
    methods=["GET", "HEAD"],
    openapi_extra=describe(
        "Whether a call would succeed",
        "Operation",
        answers={
            200: answer("A call would succeed.", json_of("Health")),
            503: answer("It would not: `failing` says why.", json_of("Health")),
        },
        errors=(),
        security=OPEN,
    ),
)
async def healthz(settings: SettingsDep, backend: BackendDep) -> JSONResponse:
    """200 while a call would succeed, else 503 with what fails."""
    failing = await failing_parts(settings, backend)
    report: dict[str, object] = {"status": "failing", "failing": failing} if failing else {"status": "ok"}
    if troubles := (await backend.services()).troubles:
        report["troubles"] = troubles
    return JSONResponse(report, 503 if failing else 200, headers={"Cache-Control": "no-store"})
