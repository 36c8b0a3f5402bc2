"""`POST /v1/realtime/prepare`: the answer to an offer before the caller presses the button.

The call begins with the client's first connectivity check, if that comes in time; docs/prepared-calls.md.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from antiphon.runtime.nats.buckets import PREPARED_TTL
from antiphon.runtime.telemetry import names
from antiphon.signaling.calls.admission import check_may_call
from antiphon.signaling.calls.configuration import configuration_of
from antiphon.signaling.calls.open_call import headers_of, offer_span
from antiphon.signaling.calls.prepare_call import prepare_call
from antiphon.signaling.http.api_description import OFFER_BODY, PLACING, PLACING_ERRORS, PREPARED, describe
from antiphon.signaling.http.dependencies import ServicesDep
from antiphon.signaling.http.request_body import read_offer
from antiphon.signaling.placement.ice_fragment import MEDIA_TYPE

KEPT: Final = "Antiphon-Prepared"
"""Header with the seconds for which the answer is good."""

router = APIRouter(prefix="/v1")


@router.post(
    "/realtime/prepare",
    openapi_extra=describe(
        "Prepare a call",
        "Calls",
        answers={201: PREPARED},
        errors=PLACING_ERRORS,
        description="The same as placing a call, but the call begins when the client uses the answer.",
        body=OFFER_BODY,
        parameters=PLACING,
    ),
)
async def prepare(request: Request, services: ServicesDep) -> Response:
    """Answer an offer whose call begins with the client's first check."""
    with offer_span(request, names.PREPARE) as offering:
        caller = services.authenticator.caller_of(request)
        check_may_call(caller)
        body = await read_offer(request)
        configuration = await configuration_of(request, services, caller, body.session)
        placed = await prepare_call(services, caller, body.sdp, configuration, offering)
    headers = headers_of(placed, configuration.options)
    headers["Location"] = f"/v1/realtime/calls/{placed.session_id}"
    headers |= {"Accept-Patch": MEDIA_TYPE, KEPT: f"{PREPARED_TTL:.0f}"}
    return Response(placed.answer, 201, headers, media_type="application/sdp")
