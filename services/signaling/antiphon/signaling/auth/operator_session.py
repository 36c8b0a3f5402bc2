"""The cookie of the console: stands for an operator's API key for some hours, so that no page has to keep the key.

It names the key and its end, signed with a key derived from `ANTIPHON_SECRET_KEYS`, so that any instance reads it
without a store. It ends with its API key too: a key that is revoked, replaced or has lost the scope is not found here.

Cookies go along with requests that other sites make a browser send. So this one is `SameSite=Strict`, counts on the
operator's paths only, and only beside a header of its own, which no foreign page may send: CORS does not allow it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

from starlette.requests import HTTPConnection

from antiphon.runtime.api_keys import ApiKey, KeyTable
from antiphon.signaling.auth.client_secret import SecretSigner

COOKIE: Final = "antiphon_operator"
PATH: Final = "/v1/operator"
HEADER: Final = "antiphon-console"
LIFETIME: Final = 8 * 3600
"""Seconds: a shift."""
_PURPOSE: Final = b"antiphon operator session, version 1"
_FORM: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


def cookie_of(connection: HTTPConnection) -> str:
    """The cookie's value where it counts; else empty."""
    if not connection.url.path.startswith(f"{PATH}/") or connection.headers.get(HEADER) != "1":
        return ""
    return connection.cookies.get(COOKIE, "")


def made(key: ApiKey, signer: SecretSigner, now: float) -> tuple[str, int]:
    """The cookie's value for this key, and its end in Unix time."""
    expires_at = int(now) + LIFETIME
    if key.expires is not None:
        expires_at = min(expires_at, int(key.expires.timestamp()))
    return f"{key.id}.{expires_at}.{_signature(signer.keys_for(_PURPOSE)[0], key, expires_at)}", expires_at


def read(cookie: str, signer: SecretSigner, table: KeyTable, now: float) -> ApiKey | None:
    """The operator's key that the cookie stands for; None for anything else."""
    match = _FORM.fullmatch(cookie)
    if match is None or int(match[2]) <= now:
        return None
    key = table.by_id(match[1], now)
    if key is None or "operator" not in key.scopes:
        return None
    signatures = (_signature(each, key, int(match[2])) for each in signer.keys_for(_PURPOSE))
    return key if any(hmac.compare_digest(each, match[3]) for each in signatures) else None


def _signature(signing_key: bytes, key: ApiKey, expires_at: int) -> str:
    """Over the key's hash as well: another key with the same id is another key."""
    signed = hmac.new(signing_key, f"{key.id}.{expires_at}.{key.hash}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")
