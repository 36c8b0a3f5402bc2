"""The routes of calls, as OpenAI's clients use them: place, offer again, ask for the status, hang up.

`POST /v1/realtime` is the path of the first version, which clients on microcontrollers still use; they take 201 only.
A call's own path takes WHIP's fragments too. Also `GET /v1/agents`, the names that an offer may ask for.
"""

from __future__ import annotations

import logging
import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from opentelemetry import propagate
from opentelemetry.trace import SpanKind

from antiphon.runtime.telemetry import spans
from antiphon.schemas import MalformedError
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.calls.admission import check_may_call
from antiphon.signaling.calls.configuration import configuration_of
from antiphon.signaling.calls.open_call import check_sdp, headers_of, offer_span, open_call
from antiphon.signaling.http.api_description import (
    ANSWERED_AGAIN,
    AUTH_ERRORS,
    CALL_ERRORS,
    CALL_ID,
    CANDIDATES_TAKEN,
    DONE,
    FRAGMENT,
    OFFER_BODY,
    PLACED,
    PLACES,
    PLACING,
    PLACING_ERRORS,
    SDP,
    answer,
    describe,
    json_of,
    ref,
)
from antiphon.signaling.http.client_place import CallOptionsDep
from antiphon.signaling.http.dependencies import BackendDep, CallerDep, ServicesDep, SettingsDep
from antiphon.signaling.http.request_body import read_offer
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.call_status import CLIENT, ask_status
from antiphon.signaling.placement.ice_fragment import MEDIA_TYPE
from antiphon.signaling.placement.placement import hang_up, no_call, restart_ice
from antiphon.signaling.protocols.ice_patch import is_fragment, patch_ice

log = logging.getLogger(__name__)
_SESSION_ID: Final = re.compile(r"rtc_[A-Za-z0-9]{1,60}")

router = APIRouter(prefix="/v1")


async def session_id_of(call_id: str) -> str:
    """The call that the path names; `ApiError` 404 for a text that no call has as its name."""
    if not _SESSION_ID.fullmatch(call_id):
        raise no_call(call_id)
    return call_id


SessionIdDep = Annotated[str, Depends(session_id_of)]


_PLACE: Final = describe(
    "Place a call", "Calls", answers={201: PLACED}, errors=PLACING_ERRORS, body=OFFER_BODY, parameters=PLACING
)


@router.post("/realtime/calls", openapi_extra=_PLACE)
@router.post("/realtime", openapi_extra=_PLACE | {"summary": "Place a call, by the path of the first version"})
async def offer(request: Request, services: ServicesDep) -> Response:
    """Place a call."""
    with offer_span(request) as offering:
        caller = services.authenticator.caller_of(request)
        check_may_call(caller)
        body = await read_offer(request)
        configuration = await configuration_of(request, services, caller, body.session)
        placed = await open_call(services, caller, body.sdp, configuration, offering)
    location = {"Location": f"/v1/realtime/calls/{placed.session_id}", "Accept-Patch": MEDIA_TYPE}
    headers = location | headers_of(placed, configuration.options)
    return Response(placed.answer, 201, headers, media_type="application/sdp")


_OFFER_AGAIN: Final = describe(
    "Restart ICE by another offer",
    "Calls",
    answers={200: ANSWERED_AGAIN},
    errors=(400, *CALL_ERRORS, 408, 413, 415, 502),
    body=OFFER_BODY,
    parameters=(CALL_ID, *PLACES),
)
_PATCH: Final = describe(
    "Restart ICE by another offer, or by a fragment",
    "Calls",
    answers={200: ANSWERED_AGAIN | {"content": SDP | FRAGMENT}, 204: CANDIDATES_TAKEN},
    errors=(400, *CALL_ERRORS, 408, 412, 413, 415, 428, 502),
    body=SDP | FRAGMENT,
    parameters=(CALL_ID, ref("parameters", "if_match") | {"required": False}, *PLACES),
)


@router.patch("/realtime/calls/{call_id}", openapi_extra=_PATCH)
async def patch(
    request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep, options: CallOptionsDep
) -> Response:
    """Another offer, or a fragment of Trickle ICE (RFC 9725 section 4.3)."""
    if is_fragment(request):
        caller.need("calls", "calls.manage")
        return await patch_ice(request, caller, session_id, backend, options)
    return await offer_again(request, caller, session_id, backend, options)


@router.post("/realtime/calls/{call_id}", openapi_extra=_OFFER_AGAIN)
async def offer_again(
    request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep, options: CallOptionsDep
) -> Response:
    """Another offer of a running call's client: ICE restarts. The client may be in another place than it was."""
    caller.need("calls", "calls.manage")
    body = await read_offer(request)
    check_sdp(body.sdp)
    context = propagate.extract(dict(request.headers))
    with spans.current("restart_ice", context=context, kind=SpanKind.SERVER) as span:
        span.set_attribute("antiphon.session_id", session_id)
        try:
            placed = await restart_ice(backend, session_id, body.sdp, caller.manages, options)
        except MalformedError:
            raise no_call(session_id) from None
    log.info("call %s restarts ICE", session_id)
    return Response(placed.answer, 200, headers_of(placed, options), media_type="application/sdp")


@router.get(
    "/realtime/calls/{call_id}",
    openapi_extra=describe(
        "Whether a call runs, and why it ended",
        "Calls",
        answers={200: answer("The state of the call.", json_of("CallStatus"))},
        errors=CALL_ERRORS,
        parameters=[CALL_ID],
    ),
)
async def status(caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> JSONResponse:
    """Whether the call runs, and else why it ended."""
    caller.need("calls", "calls.manage")
    return JSONResponse(await ask_status(backend, session_id, caller.manages), headers={"Cache-Control": "no-store"})


@router.post(
    "/realtime/calls/{call_id}/hangup",
    openapi_extra=describe("Hang up", "Calls", answers={200: DONE}, errors=CALL_ERRORS, parameters=[CALL_ID]),
)
async def hangup(request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> Response:
    """End the call, in the way of OpenAI's API."""
    await end_call(request, session_id, caller, backend)
    return Response(status_code=200)


@router.delete(
    "/realtime/calls/{call_id}",
    openapi_extra=describe("Hang up", "Calls", answers={204: DONE}, errors=CALL_ERRORS, parameters=[CALL_ID]),
)
async def delete(request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> Response:
    """End the call, in the way of WHIP (RFC 9725)."""
    await end_call(request, session_id, caller, backend)
    return Response(status_code=204)


@router.get(
    "/agents",
    openapi_extra=describe(
        "The agents that take calls",
        "Calls",
        answers={200: answer("Their names.", json_of("Agents"))},
        errors=AUTH_ERRORS,
    ),
)
async def agents(caller: CallerDep, settings: SettingsDep, backend: BackendDep) -> JSONResponse:
    """The agents that answer in the services register, and the default one."""
    names = sorted((await backend.services()).agents)
    return JSONResponse({"agents": names, "default": settings.default_agent}, headers={"Cache-Control": "no-store"})


async def end_call(request: Request, session_id: str, caller: Caller, backend: Backend) -> None:
    """Hang the call up in the name of its client."""
    caller.need("calls", "calls.manage")
    context = propagate.extract(dict(request.headers))
    with spans.current("hang_up", context=context, kind=SpanKind.SERVER) as span:
        span.set_attribute("antiphon.session_id", session_id)
        try:
            await hang_up(backend, session_id, CLIENT, caller.manages)
        except MalformedError:
            raise no_call(session_id) from None
    log.info("call %s hung up by its client", session_id, extra={"session": session_id})
