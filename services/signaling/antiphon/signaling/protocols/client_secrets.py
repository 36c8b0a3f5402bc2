"""The route that makes `ek_` secrets: `POST /v1/realtime/client_secrets`, as OpenAI's clients call it."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from antiphon.signaling.auth.credentials import DEFAULT_LIFETIME, MAX_LIFETIME, MIN_LIFETIME
from antiphon.signaling.http.dependencies import CallerDep, CredentialsDep
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.request_body import read_json

router = APIRouter(prefix="/v1")


@router.post("/realtime/client_secrets")
async def client_secrets(request: Request, caller: CallerDep, credentials: CredentialsDep) -> JSONResponse:
    """A secret for one browser, with the session settings of the body in it."""
    if not caller.server:
        raise ApiError(403, "server_key_needed", "an ek_ secret can't make secrets: this takes a server's API key")
    body = await read_json(request)
    session = body.get("session") or {}
    if not isinstance(session, dict):
        raise ApiError(400, "invalid_value", "session has to be a JSON object", param="session")
    lifetime = lifetime_of(body.get("expires_after"))
    try:
        secret = credentials.mint(session, lifetime, time.time())
    except ValueError as error:
        raise ApiError(400, "session_too_large", str(error), param="session") from None
    shown = {"type": "realtime", "object": "realtime.session", **session}
    return JSONResponse(
        {"value": secret.value, "expires_at": secret.expires_at, "session": shown},
        headers={"Cache-Control": "no-store"},
    )


def lifetime_of(expires_after: object) -> int:
    """Seconds from `{"anchor": "created_at", "seconds": N}`; `ApiError` 400 outside of what is allowed."""
    if expires_after is None:
        return DEFAULT_LIFETIME
    seconds = expires_after.get("seconds") if isinstance(expires_after, dict) else None
    if type(seconds) is not int or not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
        text = (
            f"expires_after.seconds is {seconds!r:.40}: a whole number from {MIN_LIFETIME} to {MAX_LIFETIME} is taken"
        )
        raise ApiError(400, "invalid_value", text, param="expires_after.seconds")
    return seconds
