"""Who is calling: the Authorization header, read once, into a typed value."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from fastapi import Request

from antiphon.signaling.auth.credentials import PREFIX, Credentials, SecretError
from antiphon.signaling.http.errors import ApiError


class Caller(NamedTuple):
    """Somebody who may call."""

    server: bool
    """Has an API key (or none is asked for): may make secrets for others."""
    settings: dict[str, Any]
    """The session settings that its `ek_` secret fixes; empty for others."""


def caller_of(request: Request, credentials: Credentials) -> Caller:
    """Who sent this request, or `ApiError` 401."""
    return caller_with(request.headers.get("authorization", ""), credentials)


def caller_with(authorization: str, credentials: Credentials) -> Caller:
    """Who says this in the Authorization header, or `ApiError` 401."""
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if credentials.open:
        return Caller(True, _settings_if_any(token, credentials))
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized("missing_api_key", "this server asks for a key: send Authorization: Bearer KEY")
    if token.startswith(PREFIX):
        try:
            return Caller(False, credentials.settings_of(token, time.time()))
        except SecretError as error:
            if not credentials.is_api_key(token):  # nothing forbids an API key that looks like a secret
                raise _unauthorized(error.code, str(error)) from None
    elif not credentials.is_api_key(token):
        raise _unauthorized("invalid_api_key", "this key is none of this server's keys")
    return Caller(True, {})


def _settings_if_any(token: str, credentials: Credentials) -> dict[str, Any]:
    """Without keys every token is good, also one made for another server: it just says nothing then."""
    try:
        return credentials.settings_of(token, time.time())
    except SecretError:
        return {}


def _unauthorized(code: str, message: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
