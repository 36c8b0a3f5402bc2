"""The exchange of Pipecat's small WebRTC transport: its JavaScript client connects with a base URL of ours.

`POST /api/offer` takes `{sdp, type, pc_id, restart_pc, request_data}` and answers `{sdp, type, pc_id}`, where `pc_id`
is the call's name; `PATCH` takes candidates, which nothing here needs. `POST /start` is the form with a first request
of its own: it answers `{sessionId}`, and the offer goes to `/sessions/{sessionId}/api/offer`. Nothing is kept between
the two: the settings of the first request stand in `sessionId`, so any replica takes the second. On its data channel
such a client speaks RTVI, which the transceiver translates.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from antiphon.runtime.telemetry import names
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.calls.admission import check_may_call
from antiphon.signaling.calls.configuration import CallConfiguration, configuration_of
from antiphon.signaling.calls.open_call import Offering, check_sdp, headers_of, offer_span, open_call
from antiphon.signaling.http.api_description import (
    AUTH_ERRORS,
    PLACING,
    PLACING_ERRORS,
    Json,
    answer,
    describe,
    ref,
)
from antiphon.signaling.http.dependencies import CallerDep, Services, ServicesDep
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.request_body import json_object, read_json
from antiphon.signaling.placement.call_status import CLIENT, ask_status
from antiphon.signaling.placement.placement import Placed, hang_up, no_call, restart_ice

log = logging.getLogger(__name__)

MAX_CANDIDATES: Final = 256
"""In one `PATCH`."""
MAX_SETTINGS_BYTES: Final = 2048
"""Of the settings in a `sessionId`, which has to fit into a URL."""

_CALL_ID: Final = re.compile(r"rtc_[A-Za-z0-9]{1,60}")
_SETTINGS: Final = ("agent", "model", "session")
"""What of `request_data` (of `body`, for `/start`) is read; applications put their own fields beside it."""
_PREFIX: Final = "s_"
_ANY_TYPE: Final = ("application/json", "text/plain", "")
"""The client sends its JSON under another type where the application gave it a `Request` of its own."""


class _WithDetail(APIRoute):
    """Errors have `detail` beside `error`: Pipecat's client shows that one to its application."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def with_detail(request: Request) -> Response:
            try:
                return await handler(request)
            except ApiError as error:
                response = error.response()
                content = json.loads(bytes(response.body)) | {"detail": str(error)}
                headers = {"Cache-Control": "no-store", **error.headers}
                return JSONResponse(content, error.status, headers)

        return with_detail


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


router = APIRouter(route_class=_WithDetail)


_PC_OFFER: Final = {
    "type": "object",
    "required": ["sdp", "type"],
    "properties": {
        "sdp": ref("schemas", "Sdp"),
        "type": {"const": "offer"},
        "pc_id": {"type": ["string", "null"], "description": "Of an earlier answer: another offer of that call."},
        "restart_pc": {"type": ["boolean", "null"], "description": "Place a new call in place of that one."},
        "request_data": {"type": "object", "description": "`agent`, `model` and `session` of it are read."},
    },
}
_PC_ANSWER: Final = {
    "type": "object",
    "required": ["sdp", "type", "pc_id"],
    "properties": {"sdp": ref("schemas", "Sdp"), "type": {"const": "answer"}, "pc_id": {"type": "string"}},
}
_SESSION: Final = {
    "name": "session",
    "in": "path",
    "required": True,
    "description": "The `sessionId` of `POST /start`.",
    "schema": {"type": "string"},
}
_OFFER: Final = describe(
    "Place a call of Pipecat's small WebRTC transport",
    "Pipecat",
    answers={200: answer("The call is placed, or ICE restarts.", _json(_PC_ANSWER))},
    errors=(*PLACING_ERRORS, 504),
    body=_json(_PC_OFFER),
    parameters=PLACING,
)
_CANDIDATES: Final = describe(
    "Add candidates, which are not needed",
    "Pipecat",
    answers={200: answer("They are taken note of.", _json({"type": "object"}))},
    errors=(400, *AUTH_ERRORS, 404, 408, 413, 415),
    body=_json({"type": "object", "required": ["pc_id", "candidates"]}),
)
_START: Final = describe(
    "Choose the settings of a call of Pipecat's client",
    "Pipecat",
    answers={200: answer("Offer to `/sessions/{sessionId}/api/offer`.", _json({"type": "object"}))},
    errors=(400, *AUTH_ERRORS, 408, 413, 415),
    body=_json({"type": "object"}),
)


@router.post("/start", openapi_extra=_START)
async def start(request: Request, caller: CallerDep) -> JSONResponse:
    """The settings of a call to come, as a `sessionId`; nothing is opened yet."""
    check_may_call(caller)
    body = await read_json(request, kinds=_ANY_TYPE)
    if body.get("transport", "webrtc") not in ("webrtc", "smallwebrtc", None):
        text = f"transport is {body['transport']!r:.40}: webrtc is served"
        raise ApiError(400, "invalid_value", text, param="transport")
    settings = _settings_of(body.get("body") or {}, "body")
    return JSONResponse({"sessionId": session_of(settings)}, headers={"Cache-Control": "no-store"})


@router.post("/api/offer", openapi_extra=_OFFER)
async def offer(request: Request, services: ServicesDep) -> JSONResponse:
    """Place a call, or take another offer of a running one: the body names it as `pc_id`."""
    return await _offered(request, services, {})


@router.post("/sessions/{session}/api/offer", openapi_extra=_OFFER | {"parameters": [_SESSION, *PLACING]})
async def offer_of_session(request: Request, services: ServicesDep, session: str) -> JSONResponse:
    """The same after `/start`."""
    return await _offered(request, services, settings_in(session))


@router.patch("/api/offer", openapi_extra=_CANDIDATES)
@router.patch("/sessions/{session}/api/offer", openapi_extra=_CANDIDATES | {"parameters": [_SESSION]})
async def candidates(request: Request, caller: CallerDep, session: str = "") -> JSONResponse:
    """The client's candidates: checked for their shape and not used, for the client's checks say where it is."""
    caller.need("calls", "calls.manage")
    body = await read_json(request, kinds=_ANY_TYPE)
    given = body.get("candidates")
    if _call_of(body.get("pc_id")) is None:
        raise no_call(str(body.get("pc_id")))
    if not isinstance(given, list) or len(given) > MAX_CANDIDATES:
        text = f"candidates has to be a list of at most {MAX_CANDIDATES}"
        raise ApiError(400, "invalid_value", text, param="candidates")
    return JSONResponse({"status": "success"}, headers={"Cache-Control": "no-store"})


async def _offered(request: Request, services: Services, settings: dict[str, Any]) -> JSONResponse:
    with offer_span(request) as offering:
        caller = services.authenticator.caller_of(request)
        caller.need("calls", "calls.manage")
        body = await read_json(request, kinds=_ANY_TYPE)
        sdp, call_id = _sdp_of(body), _call_of(body.get("pc_id"))
        data = body.get("request_data", body.get("requestData")) or {}
        asked = settings | _settings_of(data, "request_data")
        session = asked.pop("session", {}) | asked
        configuration = await configuration_of(request, services, caller, session)
        if call_id is None:
            placed = await _placed(services, caller, sdp, configuration, offering)
        elif body.get("restart_pc") is True:
            placed = await _placed_again(services, caller, call_id, sdp, configuration, offering)
        else:
            offering.is_no_call(names.RESTART_ICE)
            check_sdp(sdp)
            placed = await restart_ice(services.backend, call_id, sdp, caller.manages, configuration.options)
            log.info("call %s restarts ICE", call_id)
    headers = headers_of(placed, configuration.options)
    return JSONResponse({"sdp": placed.answer, "type": "answer", "pc_id": placed.session_id}, headers=headers)


async def _placed(
    services: Services, caller: Caller, sdp: str, configuration: CallConfiguration, offering: Offering
) -> Placed:
    check_may_call(caller)
    options = configuration.options._replace(dialect="rtvi")
    return await open_call(services, caller, sdp, configuration._replace(options=options), offering)


async def _placed_again(
    services: Services, caller: Caller, call_id: str, sdp: str, configuration: CallConfiguration, offering: Offering
) -> Placed:
    """A new call in place of one whose client has thrown its connection away; `ApiError` 404 if that was hung up.

    The client does so when its path is gone. It does so, too, when it has missed that its call was ended: a caller to
    whom the agent said good-bye is not called back.
    """
    status = await ask_status(services.backend, call_id, caller.manages)
    if status["status"] == "ended" and status["reason"] == "hang_up" and status["cause"] != "agent_lost":
        raise no_call(call_id)
    placed = await _placed(services, caller, sdp, configuration, offering)
    if status["status"] == "running":
        try:
            await hang_up(services.backend, call_id, CLIENT, caller.manages)
        except ApiError as error:
            log.info("call %s, in whose place call %s came: %s", call_id, placed.session_id, error)
    return placed


def _call_of(pc_id: object) -> str | None:
    """The call of this name; None for another server's names, and for none: the client wants a new call."""
    return pc_id if isinstance(pc_id, str) and _CALL_ID.fullmatch(pc_id) else None


def _sdp_of(body: dict[str, Any]) -> str:
    sdp, type_ = body.get("sdp"), body.get("type")
    if not isinstance(sdp, str) or not sdp:
        raise ApiError(400, "missing_sdp", "the body has no SDP offer in the field sdp", param="sdp")
    if type_ != "offer":
        raise ApiError(400, "invalid_value", f"type is {type_!r:.40}: offer is taken", param="type")
    return sdp


def _settings_of(data: object, name: str) -> dict[str, Any]:
    """The settings in an application's own data; `ApiError` 400 for a session that is none."""
    if not isinstance(data, dict):
        raise ApiError(400, "invalid_value", f"{name} has to be a JSON object", param=name)
    settings = {field: data[field] for field in _SETTINGS if data.get(field)}
    if not isinstance(settings.get("session", {}), dict):
        raise ApiError(400, "invalid_value", f"{name}.session has to be a JSON object", param=f"{name}.session")
    return settings


def session_of(settings: dict[str, Any]) -> str:
    """The `sessionId` that carries these settings; `ApiError` 413 if they are too long for a URL."""
    data = json.dumps(settings, separators=(",", ":")).encode()
    if len(data) > MAX_SETTINGS_BYTES:
        text = f"body has {len(data)} bytes of settings, a sessionId carries {MAX_SETTINGS_BYTES}: send them as "
        raise ApiError(413, "session_too_large", text + "requestData of the offer", param="body")
    return _PREFIX + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def settings_in(session: str) -> dict[str, Any]:
    """The settings that `session_of` put in; `ApiError` 404 for a text that it has not made.

    Not signed: they are the client's own words, and are read as `request_data` is.
    """
    try:
        if not session.startswith(_PREFIX) or len(session) > 2 * MAX_SETTINGS_BYTES:
            raise ValueError("no session")
        text = session.removeprefix(_PREFIX)
        return _settings_of(json_object(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "session"), "session")
    except (ApiError, binascii.Error, ValueError):
        raise ApiError(404, "no_session", f"{session!r:.40} is no sessionId of POST /start", param="session") from None
