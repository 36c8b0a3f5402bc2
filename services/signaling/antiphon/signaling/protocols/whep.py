"""WHEP (draft-ietf-wish-whep): a listener to a running call gets both of its voices as one stream.

`POST /v1/whep/{call_id}` takes the listener's offer; `/v1/whep/{call_id}/{listener_id}` is the resource that the
answer's `Location` names. It takes a server's API key with the scope `listen`, and the call has to be one that this key
may see: one that it has made, or any with `calls.manage`. Nobody in the call is told.
"""

from __future__ import annotations

import logging
from typing import Final

from fastapi import APIRouter, Request, Response

from antiphon.runtime.telemetry import names
from antiphon.schemas.messages import ANY_CREATOR
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.calls.call_spans import call_span
from antiphon.signaling.calls.open_call import check_sdp, headers_of, offer_span
from antiphon.signaling.http.api_description import (
    ANSWERED_AGAIN,
    CALL_ERRORS,
    CALL_ID,
    CANDIDATES_TAKEN,
    DONE,
    FRAGMENT,
    OFFER_BODY,
    PLACED,
    PLACES,
    SDP,
    describe,
    ref,
)
from antiphon.signaling.http.client_place import CallOptionsDep, call_options_of, client_place_of
from antiphon.signaling.http.dependencies import BackendDep, CallerDep, Services, ServicesDep
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.http.request_body import read_offer
from antiphon.signaling.placement.call_status import CLIENT
from antiphon.signaling.placement.ice_fragment import MEDIA_TYPE
from antiphon.signaling.placement.placement import Placed, hang_up, listen, restart_ice
from antiphon.signaling.placement.region_urls import asked_path, wrong_region
from antiphon.signaling.protocols.ice_patch import is_fragment, patch_ice
from antiphon.signaling.protocols.openai_calls import SessionIdDep, session_id_of

log = logging.getLogger(__name__)
_ACCEPTED: Final = "application/sdp"

router = APIRouter(prefix="/v1/whep")


_LISTENER_ID: Final = {
    "name": "listener_id",
    "in": "path",
    "required": True,
    "description": "The listener's name: the last part of `Location`.",
    "schema": {"type": "string", "pattern": "^rtc_[A-Za-z0-9]{1,60}$"},
}


@router.post(
    "/{call_id}",
    openapi_extra=describe(
        "Listen to a call",
        "WHEP",
        answers={201: PLACED},
        errors=(307, 400, *CALL_ERRORS, 408, 413, 415, 421, 502),
        body=OFFER_BODY,
        parameters=(CALL_ID, *PLACES),
        description="Takes an API key with the scope `listen`. Nobody in the call is told.",
    ),
)
async def subscribe(request: Request, services: ServicesDep, session_id: SessionIdDep) -> Response:
    """Listen to the call."""
    with offer_span(request, names.LISTEN) as offering:
        caller = services.authenticator.caller_of(request)
        _check_may_listen(caller)
        body = await read_offer(request)
        check_sdp(body.sdp)
        how = await call_options_of(request, await client_place_of(request, services))
        if services.placing.locked():
            raise unavailable("overloaded", "too many calls are being placed right now", retry_after=1)
        async with services.placing:
            await services.limits.admit("calls", caller.address, caller.key)
            placed = await listen(services.backend, session_id, body.sdp, caller.manages, caller, how, offering.trace)
            offering.took()
            await _check_region(services, session_id, placed, asked_path(request.scope))
    key = caller.key.id if caller.key is not None else "no key"
    fields = {"session": session_id, "listener": placed.session_id, "key": key}
    log.info("%s listens to call %s by key %s", placed.session_id, session_id, key, extra=fields)
    location = {"Location": f"/v1/whep/{session_id}/{placed.session_id}", "Accept-Patch": MEDIA_TYPE}
    headers = location | headers_of(placed, how)
    return Response(placed.answer, 201, headers, media_type=_ACCEPTED)


@router.patch(
    "/{call_id}/{listener_id}",
    openapi_extra=describe(
        "Restart a listener's ICE by another offer, or by a fragment",
        "WHEP",
        answers={200: ANSWERED_AGAIN | {"content": SDP | FRAGMENT}, 204: CANDIDATES_TAKEN},
        errors=(400, *CALL_ERRORS, 408, 412, 413, 415, 428, 502),
        body=OFFER_BODY | FRAGMENT,
        parameters=(CALL_ID, _LISTENER_ID, ref("parameters", "if_match") | {"required": False}, *PLACES),
    ),
)
async def restart(
    request: Request,
    caller: CallerDep,
    session_id: SessionIdDep,
    listener_id: str,
    backend: BackendDep,
    how: CallOptionsDep,
) -> Response:
    """Another offer of the listener, or a fragment of Trickle ICE."""
    _check_may_listen(caller)
    listener = await session_id_of(listener_id)
    if is_fragment(request):
        return await patch_ice(request, caller, listener, backend, how)
    body = await read_offer(request)
    check_sdp(body.sdp)
    with call_span(request, backend, names.RESTART_ICE, listener):
        placed = await restart_ice(backend, listener, body.sdp, caller.manages, how)
    return Response(placed.answer, 200, headers_of(placed, how), media_type=_ACCEPTED)


@router.delete(
    "/{call_id}/{listener_id}",
    openapi_extra=describe(
        "Stop to listen", "WHEP", answers={200: DONE}, errors=CALL_ERRORS, parameters=(CALL_ID, _LISTENER_ID)
    ),
)
async def unsubscribe(caller: CallerDep, session_id: SessionIdDep, listener_id: str, backend: BackendDep) -> Response:
    """Stop to listen; the call goes on."""
    _check_may_listen(caller)
    if listener_id == session_id:
        raise ApiError(404, "no_call", "a call is no listener of itself", param="call_id")
    await hang_up(backend, await session_id_of(listener_id), CLIENT, caller.manages)
    return Response(status_code=200)


def _check_may_listen(caller: Caller) -> None:
    """`ApiError` 403: an `ek_` secret is for one browser, which has a call of its own."""
    if not caller.server:
        raise ApiError(403, "server_key_needed", "an ek_ secret listens to no call: this takes a server's API key")
    caller.need("listen")


async def _check_region(services: Services, session_id: str, placed: Placed, path: str) -> None:
    """`ApiError` 307 or 421 for a call of another region: what is spoken in it does not leave that region by us."""
    if services.backend.is_foreign(placed.region):
        await hang_up(services.backend, placed.session_id, CLIENT, ANY_CREATOR)
        what = f"call {session_id} runs in region {placed.region}: listen to it"
        raise wrong_region(placed.region, services.backend.url_of_region(placed.region), path, what)
