"""The route that makes `ek_` secrets: `POST /v1/realtime/client_secrets`, as OpenAI's clients call it.

Two fields are ours: `max_calls` (1 without it) and `origin`, the only page that may use the secret.
"""

from __future__ import annotations

import re
import time
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from antiphon.signaling.auth.client_secret import DEFAULT_LIFETIME, MAX_CALLS, MAX_LIFETIME, MIN_LIFETIME
from antiphon.signaling.http.api_description import answer, describe, json_of
from antiphon.signaling.http.dependencies import AuthenticatorDep, CallerDep
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.request_body import read_json

_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")

router = APIRouter(prefix="/v1")


@router.post(
    "/realtime/client_secrets",
    openapi_extra=describe(
        "Make a client secret for a browser",
        "Client secrets",
        answers={200: answer("The secret.", json_of("ClientSecret"))},
        errors=(400, 401, 403, 408, 413, 415, 429, 503),
        body=json_of("ClientSecretRequest"),
    ),
)
async def client_secrets(request: Request, caller: CallerDep, authenticator: AuthenticatorDep) -> JSONResponse:
    """A secret for one browser, with the session settings of the body in it."""
    if not caller.server:
        raise ApiError(403, "server_key_needed", "an ek_ secret can't make secrets: this takes a server's API key")
    caller.need("secrets")
    body = await read_json(request)
    session = body.get("session") or {}
    if not isinstance(session, dict):
        raise ApiError(400, "invalid_value", "session has to be a JSON object", param="session")
    lifetime = lifetime_of(body.get("expires_after"))
    max_calls, origin = max_calls_of(body.get("max_calls")), origin_of(body.get("origin"))
    await authenticator.limits.admit("secrets", caller.address, caller.key)
    # Without keys nothing is counted: its holder could call without it just as well.
    counter = (await authenticator.limits.store.counter()).name if caller.key is not None else ""
    try:
        secret = authenticator.signer.mint(
            session, lifetime, time.time(), key=caller.key, max_calls=max_calls, origin=origin, counter=counter
        )
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


def max_calls_of(value: object) -> int:
    """How many calls the secret places; `ApiError` 400 outside of what is allowed."""
    if value is None:
        return 1
    if type(value) is not int or not 1 <= value <= MAX_CALLS:
        text = f"max_calls is {value!r:.40}: a whole number from 1 to {MAX_CALLS} is taken"
        raise ApiError(400, "invalid_value", text, param="max_calls")
    return value


def origin_of(value: object) -> str:
    """An origin as browsers send it (RFC 6454: no default port, no path), empty for None; `ApiError` 400 otherwise."""
    if value is None:
        return ""
    try:
        text = value.strip().lower() if isinstance(value, str) else ""
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        text, port = "", None
    if text and port == {"http": 80, "https": 443}.get(parts.scheme):
        text = text.removesuffix(f":{port}")
    if len(text) > 256 or not _ORIGIN.fullmatch(text):
        shown = f"origin is {value!r:.80}: scheme, host and port of a page are taken, such as https://shop.example"
        raise ApiError(400, "invalid_value", shown, param="origin")
    return text
