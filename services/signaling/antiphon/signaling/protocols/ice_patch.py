"""PATCH of a call's own path with a fragment of Trickle ICE: candidates, or an ICE restart (RFC 9725 section 4.3)."""

from __future__ import annotations

import logging
import re
from typing import Final

from fastapi import Request, Response

from antiphon.schemas import MalformedError
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.request_body import MAX_SDP_BYTES, content_type_of, read
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.ice_exchange import exchange_ice
from antiphon.signaling.placement.ice_fragment import MEDIA_TYPE, Fragment, FragmentError, read_fragment
from antiphon.signaling.placement.placement import CallOptions, no_call

log = logging.getLogger(__name__)

MAX_TAGS: Final = 16
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"|(\*)|([!#-+\--~]+)')
"""As RFC 9110 section 8.8.3 has it, `*`, or a tag whose quotes were lost on the way."""


def is_fragment(request: Request) -> bool:
    """The body is a fragment, by its Content-Type."""
    return content_type_of(request) == MEDIA_TYPE


async def patch_ice(
    request: Request, caller: Caller, session_id: str, backend: Backend, options: CallOptions
) -> Response:
    """204 for candidates of the call's ICE session, 200 with a fragment for a restart; else `ApiError`.

    Whether the caller has a scope for it was asked before.
    """
    sessions = _sessions(request)
    fragment = await _fragment(request)
    try:
        restarted = await exchange_ice(backend, session_id, fragment, sessions, caller.manages, options)
    except MalformedError:
        raise no_call(session_id) from None
    if restarted is None:
        return Response(status_code=204)
    log.info("call %s restarts ICE", session_id, extra={"session": session_id})
    headers = {"Cache-Control": "no-store", "ETag": f'"{restarted.ufrag}"'}
    return Response(restarted.fragment, 200, headers, media_type=MEDIA_TYPE)


def _sessions(request: Request) -> list[str]:
    """The ICE sessions that If-Match names. A weak tag matches nothing (RFC 9110 section 13.1.1)."""
    values = request.headers.getlist("if-match")
    if not values:
        text = "If-Match is missing: send the ETag of the ICE session, or * to restart ICE"
        raise ApiError(428, "missing_if_match", text, param="If-Match")
    named = []
    for value in ",".join(values).split(","):
        match = _ENTITY_TAG.fullmatch(value.strip())
        if match is not None and not match[1]:
            named.append(match[2] or match[3] or match[4] or "")  # some send "*" in quotes
    return [tag for tag in named if len(tag) <= 256][:MAX_TAGS]


async def _fragment(request: Request) -> Fragment:
    data = await read(request, MAX_SDP_BYTES)
    try:
        return read_fragment(data.decode())
    except UnicodeDecodeError:
        raise ApiError(400, "bad_fragment", "the SDP fragment is no UTF-8 text", param="body") from None
    except FragmentError as error:
        raise ApiError(400, "bad_fragment", str(error), param="body") from None
