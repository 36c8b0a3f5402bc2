"""`GET /v1/regions`: where this deployment stands, and where the call of this request would be placed.

It says what any caller finds out by calling from many places, and no more: no addresses, no numbers of load.
"""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from antiphon.signaling.http.api_description import AUTH_ERRORS, PLACES, answer, describe, json_of
from antiphon.signaling.http.client_place import ClientPlaceDep
from antiphon.signaling.http.dependencies import BackendDep, CallerDep

router = APIRouter(prefix="/v1")


@router.get(
    "/regions",
    openapi_extra=describe(
        "The regions, and where a call of this client would be placed",
        "Calls",
        answers={200: answer("The regions.", json_of("Regions"))},
        errors=(400, *AUTH_ERRORS, 503),
        parameters=PLACES[:2],
    ),
)
async def regions(caller: CallerDep, backend: BackendDep, place: ClientPlaceDep) -> JSONResponse:
    """The regions, and the ones that a call of this client would get now: null where there is no way."""
    report = backend.directory.region_report(time.monotonic(), place)
    body = {
        "object": "list",
        "data": [
            {
                "name": each.site.region,
                "latitude": each.site.coordinates and each.site.coordinates.latitude,
                "longitude": each.site.coordinates and each.site.coordinates.longitude,
                "clusters": [{"cluster": cluster, "room": room} for cluster, room in each.clusters],
                "ingress": each.ingress,
            }
            for each in report.rows
        ],
        "placement": {"region": report.region, "ingress": report.ingress, "source": place.source},
    }
    return JSONResponse(body, headers={"Cache-Control": "no-store"})
