"""`POST /v1/live/sessions`: an offer and session settings in one JSON object, and the answer in another.

The call is a call like any other: its own path is `/v1/realtime/calls/{call_id}`, and its events are those of the
realtime protocol. `/v1/live/sessions/{call_id}/attach` is its side channel (`protocols.side_channel`).
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from antiphon.signaling.calls.admission import check_may_call
from antiphon.signaling.calls.configuration import configuration_of
from antiphon.signaling.calls.open_call import headers_of, offer_span, open_call
from antiphon.signaling.http.api_description import (
    CALL_ERRORS,
    CALL_ID,
    DONE,
    PLACED,
    PLACING,
    PLACING_ERRORS,
    SDP,
    describe,
    json_of,
)
from antiphon.signaling.http.dependencies import BackendDep, CallerDep, ServicesDep
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.request_body import MAX_JSON_BYTES, MAX_SDP_BYTES, read_json
from antiphon.signaling.placement.ice_fragment import MEDIA_TYPE
from antiphon.signaling.protocols.openai_calls import SessionIdDep, end_call

_TRANSPORT: Final = "webrtc"

router = APIRouter(prefix="/v1/live")


@router.post(
    "/sessions",
    openapi_extra=describe(
        "Place a call by JSON",
        "Live sessions",
        answers={201: PLACED | {"content": json_of("LiveSession") | SDP}},
        errors=PLACING_ERRORS,
        body=json_of("LiveSessionRequest"),
        parameters=PLACING,
        description="The answer is JSON, or the SDP alone for a client that accepts `application/sdp` and no JSON.",
    ),
)
async def create(request: Request, services: ServicesDep) -> Response:
    """Place a call."""
    with offer_span(request) as offering:
        caller = services.authenticator.caller_of(request)
        check_may_call(caller)
        body = await read_json(request, MAX_JSON_BYTES + MAX_SDP_BYTES)
        offer, session = offer_of(body), session_of(body)
        configuration = await configuration_of(request, services, caller, session)
        placed = await open_call(services, caller, offer, configuration, offering)
    location = {"Location": f"/v1/realtime/calls/{placed.session_id}", "Accept-Patch": MEDIA_TYPE}
    headers = location | headers_of(placed, configuration.options)
    accepted = request.headers.get("accept", "")
    if "application/sdp" in accepted and "json" not in accepted:
        return Response(placed.answer, 201, headers, media_type="application/sdp")
    transport = {"type": _TRANSPORT, "sdp": placed.answer}
    return JSONResponse({"session": {"id": placed.session_id}, "transport": transport}, 201, headers)


@router.post(
    "/sessions/{call_id}/hangup",
    openapi_extra=describe("Hang up", "Live sessions", answers={200: DONE}, errors=CALL_ERRORS, parameters=[CALL_ID]),
)
async def hangup(request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> Response:
    """End the call."""
    await end_call(request, session_id, caller, backend)
    return Response(status_code=200)


def offer_of(body: dict[str, Any]) -> str:
    """The SDP offer in `transport`; `ApiError` 400 without one."""
    transport = body.get("transport")
    if not isinstance(transport, dict):
        text = 'transport has to be an object: {"type": "webrtc", "sdp": "<the SDP offer>"}'
        raise ApiError(400, "missing_transport", text, param="transport")
    kind = transport.get("type", _TRANSPORT)
    if kind != _TRANSPORT:
        raise ApiError(
            400, "invalid_value", f"transport.type is {kind!r:.80}: webrtc is served", param="transport.type"
        )
    offer = transport.get("sdp")
    if not isinstance(offer, str) or not offer:
        raise ApiError(400, "missing_sdp", "transport.sdp has to be the SDP offer", param="transport.sdp")
    if len(offer.encode()) > MAX_SDP_BYTES:
        raise ApiError(
            413, "body_too_large", f"transport.sdp is longer than {MAX_SDP_BYTES} bytes", param="transport.sdp"
        )
    return offer


def session_of(body: dict[str, Any]) -> dict[str, Any]:
    """The session settings, as an agent of the realtime protocol reads them; `ApiError` 400 for another type."""
    session = body.get("session")
    if session is None:
        return {}
    if not isinstance(session, dict):
        raise ApiError(400, "invalid_value", "session has to be a JSON object", param="session")
    return session | {"type": "realtime"} if session.get("type", "live") == "live" else session
