"""Authentication: the Authorization header, read once into a typed value."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from fastapi import Request

from antiphon.signaling.auth.credentials import PREFIX, Credentials, SecretError
from antiphon.signaling.http.errors import ApiError


class Caller(NamedTuple):
    """A client that may call. A value, made for one request."""

    server: bool
    """The client has an API key, or none is needed: it may make secrets for others."""
    settings: dict[str, Any]
    """The session settings that its `ek_` secret fixes; empty for others."""


def caller_of(request: Request, credentials: Credentials) -> Caller:
    """The caller of this request, or `ApiError` 401."""
    return caller_with(request.headers.get("authorization", ""), credentials)


def caller_with(authorization: str, credentials: Credentials) -> Caller:
    """The caller with this text in the Authorization header, or `ApiError` 401."""
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
    """Without keys every token is accepted. One that was made for another server has no settings for us."""
    try:
        return credentials.settings_of(token, time.time())
    except SecretError:
        return {}


def _unauthorized(code: str, message: str) -> ApiError:
    return ApiError(401, code, message, headers={"WWW-Authenticate": "Bearer"})
