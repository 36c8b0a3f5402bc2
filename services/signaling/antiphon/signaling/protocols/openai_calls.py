"""The routes of calls: offer, hang up, client secrets, agents."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from antiphon.schemas import MalformedError
from antiphon.signaling.auth import credentials as secret_limits
from antiphon.signaling.auth.authentication import Caller, caller_of
from antiphon.signaling.auth.credentials import Credentials
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.http.request_body import read_json, read_offer
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.call_status import CLIENT, ask_status
from antiphon.signaling.placement.placement import hang_up, no_call, place, restart_ice
from antiphon.signaling.placement.sdp import OfferError, check_offer
from antiphon.signaling.settings import Settings

log = logging.getLogger(__name__)
tracer = trace.get_tracer("antiphon.signaling")

MAX_PLACING: Final = 64
"""Offers being placed at once; above, 503 at once is kinder than a queue."""

_AGENT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SESSION_ID = re.compile(r"rtc_[A-Za-z0-9]{1,60}")


def routes(settings: Settings, stack: Backend, credentials: Credentials) -> APIRouter:
    """Everything below `/v1`."""
    router = APIRouter(prefix="/v1")
    placing = asyncio.Semaphore(MAX_PLACING)

    @router.post("/realtime/calls")
    async def offer(request: Request) -> Response:
        context = propagate.extract(dict(request.headers))
        with tracer.start_as_current_span("offer", context=context, kind=SpanKind.SERVER) as span:
            try:
                return await _take_offer(request)
            except ApiError as error:
                span.set_attribute("antiphon.refused", error.code)
                if error.status >= 500:
                    span.set_status(Status(StatusCode.ERROR, error.code))
                raise

    async def _take_offer(request: Request) -> Response:
        caller = caller_of(request, credentials)
        body = await read_offer(request)
        try:
            check_offer(body.sdp)
        except OfferError as error:
            raise ApiError(400, error.code, str(error), param="sdp") from None
        session = {**body.session, **caller.settings}  # what a secret fixes, its holder can't change
        agent = await _agent(request, caller, session)
        if placing.locked():
            raise unavailable("overloaded", f"{MAX_PLACING} calls are being placed right now", retry_after=1)
        async with placing:
            placed = await place(stack, body.sdp, agent, session)
        trace.get_current_span().set_attributes({"antiphon.session_id": placed.session_id, "antiphon.agent": agent})
        fields = {"session": placed.session_id, "agent": agent}
        log.info("call %s placed for agent %s", placed.session_id, agent, extra=fields)
        headers = {"Location": f"/v1/realtime/calls/{placed.session_id}", "Cache-Control": "no-store"}
        return Response(placed.answer, 201, headers, media_type="application/sdp")

    async def _agent(request: Request, caller: Caller, session: dict[str, Any]) -> str:
        """The secret's agent, else the URL's, else the session's, else the default.

        A `model` is a hint only: clients of other servers name models that nobody here has heard of.
        """
        asked = caller.settings.get("agent") or request.query_params.get("agent") or session.get("agent")
        if asked:
            if not isinstance(asked, str) or not _AGENT_NAME.fullmatch(asked):
                text = f"agent {asked!r:.80} is no agent's name: letters, digits, - and _, at most 64 of them"
                raise ApiError(400, "bad_agent", text, param="agent")
            return asked
        hint = session.get("model") or request.query_params.get("model")
        if isinstance(hint, str) and hint and hint in (await stack.roll()).agents:
            return hint
        return settings.default_agent

    async def _offer_again(request: Request, call_id: str) -> Response:
        caller_of(request, credentials)
        if not _SESSION_ID.fullmatch(call_id):
            raise no_call(call_id)
        body = await read_offer(request)
        try:
            check_offer(body.sdp)
        except OfferError as error:
            raise ApiError(400, error.code, str(error), param="sdp") from None
        context = propagate.extract(dict(request.headers))
        with tracer.start_as_current_span("restart_ice", context=context, kind=SpanKind.SERVER) as span:
            span.set_attribute("antiphon.session_id", call_id)
            try:
                placed = await restart_ice(stack, call_id, body.sdp)
            except MalformedError:
                raise no_call(call_id) from None
        log.info("call %s restarts ICE", call_id)
        return Response(placed.answer, 200, {"Cache-Control": "no-store"}, media_type="application/sdp")

    @router.post("/realtime/calls/{call_id}")
    async def offer_again(request: Request, call_id: str) -> Response:
        return await _offer_again(request, call_id)

    @router.patch("/realtime/calls/{call_id}")
    async def patch(request: Request, call_id: str) -> Response:
        return await _offer_again(request, call_id)

    async def _end(request: Request, call_id: str) -> None:
        caller_of(request, credentials)
        if not _SESSION_ID.fullmatch(call_id):
            raise no_call(call_id)
        if stack.client is None or not stack.connected:
            raise unavailable("nats_down", "signaling has no connection to NATS: the call can't be reached")
        context = propagate.extract(dict(request.headers))
        with tracer.start_as_current_span("hang_up", context=context, kind=SpanKind.SERVER) as span:
            span.set_attribute("antiphon.session_id", call_id)
            try:
                await hang_up(stack.client, call_id, CLIENT)
            except MalformedError:
                raise no_call(call_id) from None
        log.info("call %s hung up by its client", call_id, extra={"session": call_id})

    @router.get("/realtime/calls/{call_id}")
    async def status(request: Request, call_id: str) -> JSONResponse:
        caller_of(request, credentials)
        if not _SESSION_ID.fullmatch(call_id):
            raise no_call(call_id)
        if stack.client is None or not stack.connected:
            raise unavailable("nats_down", "signaling has no connection to NATS: the call can't be asked for")
        return JSONResponse(await ask_status(stack.client, call_id), headers={"Cache-Control": "no-store"})

    @router.post("/realtime/calls/{call_id}/hangup")
    async def hangup(request: Request, call_id: str) -> Response:
        await _end(request, call_id)
        return Response(status_code=200)

    @router.delete("/realtime/calls/{call_id}")
    async def delete(request: Request, call_id: str) -> Response:
        await _end(request, call_id)
        return Response(status_code=204)

    @router.post("/realtime/client_secrets")
    async def client_secrets(request: Request) -> JSONResponse:
        if not caller_of(request, credentials).server:
            raise ApiError(403, "server_key_needed", "an ek_ secret can't make secrets: this takes a server's API key")
        body = await read_json(request)
        session = body.get("session") or {}
        if not isinstance(session, dict):
            raise ApiError(400, "invalid_value", "session has to be a JSON object", param="session")
        lifetime = _lifetime(body.get("expires_after"))
        try:
            secret = credentials.mint(session, lifetime, time.time())
        except ValueError as error:
            raise ApiError(400, "session_too_large", str(error), param="session") from None
        shown = {"type": "realtime", "object": "realtime.session", **session}
        return JSONResponse(
            {"value": secret.value, "expires_at": secret.expires_at, "session": shown},
            headers={"Cache-Control": "no-store"},
        )

    @router.get("/agents")
    async def agents(request: Request) -> JSONResponse:
        caller_of(request, credentials)
        there = sorted((await stack.roll()).agents)
        return JSONResponse({"agents": there, "default": settings.default_agent}, headers={"Cache-Control": "no-store"})

    return router


def _lifetime(expires_after: object) -> int:
    """Seconds from `{"anchor": "created_at", "seconds": N}`, within what is allowed."""
    if expires_after is None:
        return secret_limits.DEFAULT_LIFETIME
    seconds = expires_after.get("seconds") if isinstance(expires_after, dict) else None
    lowest, highest = secret_limits.MIN_LIFETIME, secret_limits.MAX_LIFETIME
    if type(seconds) is not int or not lowest <= seconds <= highest:
        text = f"expires_after.seconds is {seconds!r:.40}: a whole number from {lowest} to {highest} is taken"
        raise ApiError(400, "invalid_value", text, param="expires_after.seconds")
    return seconds
