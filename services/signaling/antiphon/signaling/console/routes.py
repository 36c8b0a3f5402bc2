"""Routes of the console: `/console`, signing in, a call's time line, the calls that have ended.

The page itself is for everybody and holds nothing; all that it shows comes from routes that ask for the scope
`operator`.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from antiphon.runtime.api_keys import ApiKey
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.signaling.auth import operator_session
from antiphon.signaling.console.stream_reader import Page, read_page
from antiphon.signaling.http.api_description import AUTH_ERRORS, CALL_ID, OPEN, answer, describe, json_of, ref
from antiphon.signaling.http.dependencies import AuthenticatorDep, Services, ServicesDep
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.middleware import SECURITY_HEADERS
from antiphon.signaling.http.request_body import read_json
from antiphon.signaling.http.static_files import REVALIDATE, STATIC
from antiphon.signaling.operators.routes import OperatorDep, check_operator

NO_STORE: Final = {"Cache-Control": "no-store"}
_POLICY: Final = "Content-Security-Policy"
_PAGE_HEADERS: Final = {
    **REVALIDATE,
    # As all pages; the sound of a recording that an operator opens comes from memory.
    _POLICY: SECURITY_HEADERS[_POLICY].replace("media-src 'self'", "media-src 'self' blob:"),
    "Permissions-Policy": "microphone=(), camera=(), geolocation=()",
}
MAX_KEY: Final = 1024
"""Characters of a key that is looked at."""

page_router = APIRouter()
router = APIRouter(prefix="/v1/operator")

AfterQuery = Annotated[int, Query(ge=0, lt=1 << 53)]


@page_router.api_route("/console", methods=["GET", "HEAD"])
async def page() -> FileResponse:
    """The operators' page."""
    return FileResponse(STATIC / "console.html", headers=_PAGE_HEADERS)


# ---- signing in


@router.post(
    "/session",
    openapi_extra=describe(
        "Sign in to the console",
        "Operators",
        description="Takes the header `Antiphon-Console: 1`, and answers with a cookie for some hours.",
        answers={200: answer("Signed in.", json_of("OperatorSession"))},
        errors=(400, *AUTH_ERRORS, 408, 413, 415),
        body=json_of("OperatorSessionRequest"),
        security=OPEN,
    ),
)
async def sign_in(request: Request, authenticator: AuthenticatorDep) -> JSONResponse:
    """A cookie for the operator's key in the body."""
    if request.headers.get(operator_session.HEADER) != "1":
        raise ApiError(403, "console_only", "the cookie is for the console: other programs send their key as Bearer")
    key = (await read_json(request)).get("key")
    if not isinstance(key, str) or not key.strip() or len(key) > MAX_KEY or not key.isprintable():
        raise ApiError(400, "invalid_value", f"key has to be a text of 1 to {MAX_KEY} characters", param="key")
    caller = authenticator.caller_of(request, f"Bearer {key.strip()}")
    check_operator(caller)
    if caller.key is None:
        return _session(None, None)
    cookie, expires_at = operator_session.made(caller.key, authenticator.signer, time.time())
    response = _session(caller.key, expires_at)
    response.set_cookie(
        operator_session.COOKIE,
        cookie,
        max_age=max(0, expires_at - int(time.time())),
        path=operator_session.PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.get(
    "/session",
    openapi_extra=describe(
        "Who is signed in",
        "Operators",
        answers={200: answer("An operator, or no keys are set.", json_of("OperatorSession"))},
        errors=AUTH_ERRORS,
    ),
)
async def signed_in(caller: OperatorDep) -> JSONResponse:
    """The operator's key by its id."""
    return _session(caller.key, None)


@router.delete(
    "/session",
    openapi_extra=describe(
        "Sign out of the console", "Operators", answers={204: answer("Signed out.")}, errors=(), security=OPEN
    ),
)
async def sign_out() -> Response:
    """The cookie is taken back."""
    response = Response(status_code=204, headers=NO_STORE)
    response.delete_cookie(operator_session.COOKIE, path=operator_session.PATH, httponly=True, samesite="strict")
    return response


def _session(key: ApiKey | None, expires_at: int | None) -> JSONResponse:
    body = {
        "object": "operator.session",
        "key": key.id if key is not None else None,
        "name": key.name if key is not None else "",
        "expires_at": expires_at,
    }
    return JSONResponse(body, headers=NO_STORE)


# ---- what the owners of calls have written

_AFTER = ref("parameters", "after_entry")


@router.get(
    "/calls/{call_id}/timeline",
    openapi_extra=describe(
        "A call's time line",
        "Operators",
        description="Kept for six hours. Read page by page: `after` is the `last` of the page before.",
        answers={200: answer("A page, oldest entry first.", json_of("Timeline"))},
        errors=(*AUTH_ERRORS, 404, 422, 503),
        parameters=(CALL_ID, _AFTER),
    ),
)
async def timeline(caller: OperatorDep, services: ServicesDep, call_id: str, after: AfterQuery = 0) -> JSONResponse:
    """Entries of a call's time line."""
    try:
        subject = subjects.call_timeline(call_id)
    except MalformedError:
        raise ApiError(404, "no_call", f"{call_id!r:.80} is no name of a call") from None
    client = services.backend.connection("no time line can be read")
    page = await read_page(client, services.operator_pages, subjects.STREAM_TIMELINES, subject, after, _entry)
    return _page(page)


@router.get(
    "/ended",
    openapi_extra=describe(
        "The calls that have ended",
        "Operators",
        description="The last 1,000, for seven days. Read page by page: `after` is the `last` of the page before.",
        answers={200: answer("A page, in the order in which they ended.", json_of("EndedCalls"))},
        errors=(*AUTH_ERRORS, 422, 503),
        parameters=(_AFTER,),
    ),
)
async def ended(caller: OperatorDep, services: ServicesDep, after: AfterQuery = 0) -> JSONResponse:
    """Calls that have ended: reason, times and figures."""
    return await _ended_on(services, subjects.ANY_CALL_ENDED, after)


@router.get(
    "/calls/{call_id}/ended",
    openapi_extra=describe(
        "How a call has ended",
        "Operators",
        answers={200: answer("Its end, if it has ended: one entry or none.", json_of("EndedCalls"))},
        errors=(*AUTH_ERRORS, 404, 503),
        parameters=(CALL_ID,),
    ),
)
async def ended_call(caller: OperatorDep, services: ServicesDep, call_id: str) -> JSONResponse:
    """One call that has ended."""
    try:
        subject = subjects.call_ended(call_id)
    except MalformedError:
        raise ApiError(404, "no_call", f"{call_id!r:.80} is no name of a call") from None
    return await _ended_on(services, subject, 0)


async def _ended_on(services: Services, subject: str, after: int) -> JSONResponse:
    client = services.backend.connection("no ended calls can be read")
    return _page(await read_page(client, services.operator_pages, subjects.STREAM_ENDED_CALLS, subject, after, _ended))


def _page(found: Page) -> JSONResponse:
    body = {"object": "list", "data": found.entries, "last": found.last, "more": found.more}
    return JSONResponse(body, headers=NO_STORE)


def _entry(data: bytes) -> dict[str, Any]:
    entry: messages.Message = messages.decode_any(data, messages.TIMELINE_ENTRY, "TimelineEntry")
    return entry.model_dump(mode="json", exclude={"version"})


def _ended(data: bytes) -> dict[str, Any]:
    return messages.decode(data, messages.CallEnded).model_dump(mode="json", exclude={"version"})
