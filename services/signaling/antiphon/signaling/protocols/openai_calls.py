"""The routes of calls, as OpenAI's clients use them: place, offer again, ask for the status, hang up.

Also `GET /v1/agents`, the names that an offer may ask for.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from antiphon.schemas import MalformedError
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.auth.client_secret import ClientSecret
from antiphon.signaling.http.client_place import CallOptionsDep, call_options_of, client_place_of
from antiphon.signaling.http.dependencies import BackendDep, CallerDep, Services, ServicesDep, SettingsDep
from antiphon.signaling.http.errors import ApiError, as_header, unavailable
from antiphon.signaling.http.request_body import OfferBody, read_offer
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.call_status import CLIENT, ask_status
from antiphon.signaling.placement.placement import CallOptions, Placed, hang_up, no_call, place, restart_ice
from antiphon.signaling.placement.sdp import OfferError, check_offer
from antiphon.signaling.settings import Settings

log = logging.getLogger(__name__)
tracer = trace.get_tracer("antiphon.signaling")

MAX_PLACING: Final = 64
"""Offers being placed at once; above, 503 at once is kinder than a queue."""

_AGENT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SESSION_ID = re.compile(r"rtc_[A-Za-z0-9]{1,60}")

router = APIRouter(prefix="/v1")


async def session_id_of(call_id: str) -> str:
    """The call that the path names; `ApiError` 404 for a text that no call has as its name."""
    if not _SESSION_ID.fullmatch(call_id):
        raise no_call(call_id)
    return call_id


SessionIdDep = Annotated[str, Depends(session_id_of)]


@router.post("/realtime/calls")
async def offer(request: Request, services: ServicesDep) -> Response:
    """Place a call. Its span includes the authentication, so that a trace shows refused callers too."""
    context = propagate.extract(dict(request.headers))
    with tracer.start_as_current_span("offer", context=context, kind=SpanKind.SERVER) as span:
        try:
            return await _place_call(request, services)
        except ApiError as error:
            span.set_attribute("antiphon.refused", error.code)
            if error.status >= 500:
                span.set_status(Status(StatusCode.ERROR, error.code))
            raise


@router.post("/realtime/calls/{call_id}")
@router.patch("/realtime/calls/{call_id}")
async def offer_again(
    request: Request, caller: CallerDep, session_id: SessionIdDep, backend: BackendDep, options: CallOptionsDep
) -> Response:
    """Another offer of a running call's client: ICE restarts. The client may be in another place than it was."""
    caller.need("calls", "calls.manage")
    body = await _read_checked_offer(request)
    context = propagate.extract(dict(request.headers))
    with tracer.start_as_current_span("restart_ice", context=context, kind=SpanKind.SERVER) as span:
        span.set_attribute("antiphon.session_id", session_id)
        try:
            placed = await restart_ice(backend, session_id, body.sdp, caller.manages, options)
        except MalformedError:
            raise no_call(session_id) from None
    log.info("call %s restarts ICE", session_id)
    return Response(placed.answer, 200, _headers(placed, options), media_type="application/sdp")


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


async def agent_of(
    request: Request, caller: Caller, session: dict[str, Any], settings: Settings, backend: Backend
) -> str:
    """The agent of the caller's secret, else of the URL, else of the session settings, else the default.

    A `model` is a hint only: clients of other servers name models that no agent here is called by. Where it is one, a
    secret with it fixes the agent.
    """
    fixed = caller.settings.get("model")
    if not caller.settings.get("agent") and isinstance(fixed, str) and fixed in (await backend.services()).agents:
        return fixed
    asked = caller.settings.get("agent") or request.query_params.get("agent") or session.get("agent")
    if asked:
        if not isinstance(asked, str) or not _AGENT_NAME.fullmatch(asked):
            text = f"agent {asked!r:.80} is no agent's name: letters, digits, - and _, at most 64 of them"
            raise ApiError(400, "bad_agent", text, param="agent")
        return asked
    hint = session.get("model") or request.query_params.get("model")
    if isinstance(hint, str) and hint and hint in (await backend.services()).agents:
        return hint
    return settings.default_agent


async def _place_call(request: Request, services: Services) -> Response:
    caller = services.authenticator.caller_of(request)
    caller.need("calls")
    secret = caller.secret if caller.key is not None else None
    if secret is not None and time.time() >= secret.expires_at:
        raise _used_up("expired_secret", "this ek_ secret has expired: fetch a new one for each call")
    body = await _read_checked_offer(request)
    options = await call_options_of(request, await client_place_of(request, services))
    session = caller.session(body.session)  # what a secret fixes, its holder can't change
    agent = await agent_of(request, caller, session, services.settings, services.backend)
    if services.placing.locked():
        raise unavailable("overloaded", f"{MAX_PLACING} calls are being placed right now", retry_after=1)
    async with services.placing:
        await services.limits.admit("calls", caller.address, caller.key)
        if secret is not None:
            await _count_use(secret, services)
        try:
            placed = await place(services.backend, body.sdp, agent, session, caller, options)
        except BaseException:
            if secret is not None:
                await asyncio.shield(services.limits.store.give_back(secret.id))
            raise
    trace.get_current_span().set_attributes({"antiphon.session_id": placed.session_id, "antiphon.agent": agent})
    fields = {"session": placed.session_id, "agent": agent}
    where = ""
    if placed.region:
        fields |= {"region": placed.region, "ingress": placed.ingress, "place_source": options.place.source}
        where = f" in region {placed.region}, ingress in {placed.ingress}, place by {options.place.source}"
    log.info("call %s placed for agent %s%s", placed.session_id, agent, where, extra=fields)
    headers = {"Location": f"/v1/realtime/calls/{placed.session_id}", **_headers(placed, options)}
    return Response(placed.answer, 201, headers, media_type="application/sdp")


def _headers(placed: Placed, options: CallOptions) -> dict[str, str]:
    """What an answer says of the way that its call takes; nothing where regions have no names."""
    headers = {"Cache-Control": "no-store"}
    if placed.region:
        headers["Antiphon-Region"] = as_header(placed.region)
        headers["Antiphon-Ingress"] = as_header(placed.ingress)
        if placed.second_ingress:
            headers["Antiphon-Second-Ingress"] = as_header(placed.second_ingress)
        headers["Antiphon-Place-Source"] = options.place.source
    return headers


async def _count_use(secret: ClientSecret, services: Services) -> None:
    """One of the calls that the secret may place; `ApiError` 401 if it has placed all of them."""
    if not await services.limits.store.use(secret.id, secret.max_calls, secret.made_at, secret.counter):
        times = "its call" if secret.max_calls == 1 else f"its {secret.max_calls} calls"
        raise _used_up("secret_used", f"this ek_ secret has placed {times}: fetch a new one for each call")


def _used_up(code: str, message: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})


async def _read_checked_offer(request: Request) -> OfferBody:
    body = await read_offer(request)
    try:
        check_offer(body.sdp)
    except OfferError as error:
        raise ApiError(400, error.code, str(error), param="sdp") from None
    return body


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
