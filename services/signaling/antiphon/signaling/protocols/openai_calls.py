"""The routes of calls, as OpenAI's clients use them: place, offer again, ask for the status, hang up.

Also `GET /v1/agents`, the names that an offer may ask for.
"""

from __future__ import annotations

import logging
import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from antiphon.schemas import MalformedError
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.calls.admission import check_may_call
from antiphon.signaling.calls.configuration import configuration_of
from antiphon.signaling.calls.open_call import check_sdp, headers_of, offer_span, open_call
from antiphon.signaling.http.client_place import CallOptionsDep
from antiphon.signaling.http.dependencies import BackendDep, CallerDep, ServicesDep, SettingsDep
from antiphon.signaling.http.request_body import read_offer
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.call_status import CLIENT, ask_status
from antiphon.signaling.placement.placement import hang_up, no_call, restart_ice

log = logging.getLogger(__name__)
tracer = trace.get_tracer("antiphon.signaling")

_SESSION_ID: Final = re.compile(r"rtc_[A-Za-z0-9]{1,60}")

router = APIRouter(prefix="/v1")


async def session_id_of(call_id: str) -> str:
    """The call that the path names; `ApiError` 404 for a text that no call has as its name."""
    if not _SESSION_ID.fullmatch(call_id):
        raise no_call(call_id)
    return call_id


SessionIdDep = Annotated[str, Depends(session_id_of)]


@router.post("/realtime/calls")
async def offer(request: Request, services: ServicesDep) -> Response:
    """Place a call."""
    with offer_span(request):
        caller = services.authenticator.caller_of(request)
        check_may_call(caller)
        body = await read_offer(request)
        configuration = await configuration_of(request, services, caller, body.session)
        placed = await open_call(services, caller, body.sdp, configuration)
    location = {"Location": f"/v1/realtime/calls/{placed.session_id}"}
    headers = location | headers_of(placed, configuration.options)
    return Response(placed.answer, 201, headers, media_type="application/sdp")


@router.post("/realtime/calls/{call_id}")
@router.patch("/realtime/calls/{call_id}")
async def offer_again(
    request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep, options: CallOptionsDep
) -> Response:
    """Another offer of a running call's client: ICE restarts. The client may be in another place than it was."""
    caller.need("calls", "calls.manage")
    body = await read_offer(request)
    check_sdp(body.sdp)
    context = propagate.extract(dict(request.headers))
    with tracer.start_as_current_span("restart_ice", context=context, kind=SpanKind.SERVER) as span:
        span.set_attribute("antiphon.session_id", session_id)
        try:
            placed = await restart_ice(backend, session_id, body.sdp, caller.manages, options)
        except MalformedError:
            raise no_call(session_id) from None
    log.info("call %s restarts ICE", session_id)
    return Response(placed.answer, 200, headers_of(placed, options), media_type="application/sdp")


@router.get("/realtime/calls/{call_id}")
async def status(caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> JSONResponse:
    """Whether the call runs, and else why it ended."""
    caller.need("calls", "calls.manage")
    return JSONResponse(await ask_status(backend, session_id, caller.manages), headers={"Cache-Control": "no-store"})


@router.post("/realtime/calls/{call_id}/hangup")
async def hangup(request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> Response:
    """End the call, in the way of OpenAI's API."""
    await _end_call(request, session_id, caller, backend)
    return Response(status_code=200)


@router.delete("/realtime/calls/{call_id}")
async def delete(request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep) -> Response:
    """End the call, in the way of WHIP (RFC 9725)."""
    await _end_call(request, session_id, caller, backend)
    return Response(status_code=204)


@router.get("/agents")
async def agents(caller: CallerDep, settings: SettingsDep, backend: BackendDep) -> JSONResponse:
    """The agents that answer in the services register, and the default one."""
    names = sorted((await backend.services()).agents)
    return JSONResponse({"agents": names, "default": settings.default_agent}, headers={"Cache-Control": "no-store"})


async def _end_call(request: Request, session_id: str, caller: Caller, backend: Backend) -> None:
    caller.need("calls", "calls.manage")
    context = propagate.extract(dict(request.headers))
    with tracer.start_as_current_span("hang_up", context=context, kind=SpanKind.SERVER) as span:
        span.set_attribute("antiphon.session_id", session_id)
        try:
            await hang_up(backend, session_id, CLIENT, caller.manages)
        except MalformedError:
            raise no_call(session_id) from None
    log.info("call %s hung up by its client", session_id, extra={"session": session_id})
