"""WHIP (RFC 9725): a client that only speaks, such as OBS or GStreamer's whipclientsink.

`/v1/whip` and `/v1/whip/{agent}` are endpoints; each call is a session at `/v1/whip/sessions/{call_id}`. With
`?sendrecv=true` a client also hears the agent, which WHIP itself does not have.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from antiphon.signaling.calls.admission import check_may_call
from antiphon.signaling.calls.configuration import configuration_of
from antiphon.signaling.calls.open_call import headers_of, offer_span, open_call
from antiphon.signaling.http.api_description import (
    AUTH_ERRORS,
    CALL_ERRORS,
    CALL_ID,
    CANDIDATES_TAKEN,
    DONE,
    FRAGMENT,
    ICE_RESTARTED,
    PLACED,
    PLACES,
    PLACING,
    PLACING_ERRORS,
    SDP,
    answer,
    describe,
    ref,
)
from antiphon.signaling.http.client_place import CallOptionsDep, wish
from antiphon.signaling.http.dependencies import BackendDep, CallerDep, Services, ServicesDep
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.request_body import MAX_SDP_BYTES, content_type_of, read_text
from antiphon.signaling.placement.call_status import ask_status
from antiphon.signaling.placement.ice_fragment import MEDIA_TYPE
from antiphon.signaling.placement.placement import no_call
from antiphon.signaling.protocols.ice_patch import is_fragment, patch_ice
from antiphon.signaling.protocols.openai_calls import SessionIdDep, end_call
from antiphon.signaling.protocols.whip_sdp import NotIngestError, ingest_answer, ingest_offer

ENDPOINT: Final = "/v1/whip"
SESSIONS: Final = f"{ENDPOINT}/sessions"

_UNUSABLE: Final = ("no_audio", "no_opus")
"""Codes for an offer that is SDP and that no call can be made of."""
_NOTHING: Final = answer("WHIP defines no representation.")
_SENDRECV: Final = {
    "name": "sendrecv",
    "in": "query",
    "description": "Answer an offer that is `sendrecv` likewise: the client hears the agent.",
    "schema": {"enum": ["true", "false"]},
}
_AGENT: Final = {"name": "agent", "in": "path", "required": True, "schema": ref("schemas", "AgentName")}

router = APIRouter(prefix=ENDPOINT)


_DESCRIBED: Final = describe(
    "Place the call of a client that speaks",
    "WHIP",
    answers={201: PLACED},
    errors=(*PLACING_ERRORS, 422),
    body=SDP,
    parameters=(*PLACING, _SENDRECV),
)
_EMPTY: Final = describe("Nothing to read", "WHIP", answers={204: _NOTHING}, errors=AUTH_ERRORS)


@router.post("", openapi_extra=_DESCRIBED)
async def endpoint(request: Request, services: ServicesDep) -> Response:
    """Place the call of a client that speaks."""
    return await _publish(request, services, {})


@router.post("/{agent}", openapi_extra=_DESCRIBED | {"parameters": [_AGENT, *PLACES, _SENDRECV]})
async def endpoint_of_agent(request: Request, services: ServicesDep, agent: str) -> Response:
    """The same, for the agent of the path."""
    return await _publish(request, services, {"agent": agent})


@router.api_route("", methods=["GET", "HEAD"], openapi_extra=_EMPTY)
@router.api_route("/{agent}", methods=["GET", "HEAD"], openapi_extra=_EMPTY | {"parameters": [_AGENT]})
async def nothing(caller: CallerDep) -> Response:
    """There is no representation to read, which is no error (RFC 9725 section 4.1)."""
    return Response(status_code=204)


@router.api_route(
    "/sessions/{call_id}",
    methods=["GET", "HEAD"],
    openapi_extra=describe(
        "Whether the call runs", "WHIP", answers={204: _NOTHING}, errors=CALL_ERRORS, parameters=[CALL_ID]
    ),
)
async def session(caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> Response:
    """The session has no representation either; 404 when the call has ended."""
    caller.need("calls", "calls.manage")
    if (await ask_status(backend, session_id, caller.manages))["status"] != "running":
        raise no_call(session_id)
    return Response(status_code=204)


@router.patch(
    "/sessions/{call_id}",
    openapi_extra=describe(
        "Add candidates, or restart ICE",
        "WHIP",
        answers={200: ICE_RESTARTED, 204: CANDIDATES_TAKEN},
        errors=(400, *CALL_ERRORS, 408, 412, 413, 415, 428),
        body=FRAGMENT,
        parameters=(CALL_ID, ref("parameters", "if_match"), *PLACES),
    ),
)
async def patch(
    request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep, options: CallOptionsDep
) -> Response:
    """A fragment of Trickle ICE: 204 for candidates, 200 for an ICE restart."""
    if not is_fragment(request):
        raise _unsupported(request, MEDIA_TYPE, "Accept-Patch")
    caller.need("calls", "calls.manage")
    return await patch_ice(request, caller, session_id, backend, options)


@router.delete(
    "/sessions/{call_id}",
    openapi_extra=describe("Hang up", "WHIP", answers={200: DONE}, errors=CALL_ERRORS, parameters=[CALL_ID]),
)
async def delete(request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> Response:
    """End the call. If-Match is not looked at (RFC 9725 section 4.3.1)."""
    await end_call(request, session_id, caller, backend)
    return Response(status_code=200)


async def _publish(request: Request, services: Services, asked: dict[str, str]) -> Response:
    with offer_span(request) as offering:
        caller = services.authenticator.caller_of(request)
        check_may_call(caller)
        if content_type_of(request) != "application/sdp":
            raise _unsupported(request, "application/sdp", "Accept-Post")
        offer = await read_text(request, MAX_SDP_BYTES)
        configuration = await configuration_of(request, services, caller, asked)
        both_ways = wish(request, "sendrecv")
        try:
            sdp = offer if both_ways else ingest_offer(offer)
            placed = await open_call(services, caller, sdp, configuration, offering)
        except NotIngestError as error:
            raise ApiError(422, "not_sending", str(error), param="sdp") from None
        except ApiError as error:
            if error.code not in _UNUSABLE:
                raise
            raise ApiError(422, error.code, str(error), param="sdp") from None
    location = {"Location": f"{SESSIONS}/{placed.session_id}", "Accept-Patch": MEDIA_TYPE}
    headers = location | headers_of(placed, configuration.options)
    return Response(ingest_answer(placed.answer), 201, headers, media_type="application/sdp")


def _unsupported(request: Request, taken: str, header: str) -> ApiError:
    text = f"Content-Type {content_type_of(request) or 'missing'!r:.80}: send {taken}"
    return ApiError(415, "unsupported_media_type", text, headers={header: taken, "Accept": taken})
