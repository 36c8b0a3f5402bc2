"""API keys, and the short-lived `ek_` secrets that a server hands to its browsers.

A secret needs no store. It is `ek_<payload>.<signature>`, both base64url; the payload is JSON with the
expiry and the session settings, the signature an HMAC-SHA256 under a key derived from an API key. So any
replica with the same keys verifies it, and it ends with the key that signed it. It is signed, not
encrypted: its holder can read the settings.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

PREFIX: Final = "ek_"
DEFAULT_LIFETIME: Final = 60
"""Seconds: enough to load a page and place a call."""
MIN_LIFETIME: Final = 10
MAX_LIFETIME: Final = 7200
MAX_SETTINGS_BYTES: Final = 8192
"""Of the session settings in a secret, which has to fit into a request header."""

_CONTEXT = b"antiphon ek_ secret, version 1"
_OPEN_KEY = b"open"


class SecretError(ValueError):
    """An invalid secret. `code` tells an expired one from one that no key of this server made."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Secret(NamedTuple):
    """A secret as handed out. A value."""

    value: str
    expires_at: int
    """Unix time, s."""


class Credentials:
    """The API keys of this deployment, and the secrets made from them.

    Made by `create_app`, never changed; handlers call it from any task.
    """

    def __init__(self, api_keys: Sequence[str]) -> None:
        self.open = not api_keys
        """No keys: every client may call. Secrets then carry settings only, under a key that is public."""
        self._digests = [hashlib.sha256(key.encode()).digest() for key in api_keys]
        roots = [key.encode() for key in api_keys] or [_OPEN_KEY]
        self._signers = [hmac.new(root, _CONTEXT, hashlib.sha256).digest() for root in roots]

    def is_api_key(self, text: str) -> bool:
        """Compared by digest, with all keys and in constant time, so that timing reveals nothing about a key."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found

    def mint(self, settings: dict[str, Any], lifetime: int, now: float) -> Secret:
        """A secret for one client, valid for `lifetime` seconds; ValueError if the settings are too long."""
        expires_at = int(now) + lifetime
        payload = json.dumps({"exp": expires_at, "session": settings}, separators=(",", ":")).encode()
        if len(payload) > MAX_SETTINGS_BYTES:
            raise ValueError(f"the session settings have {len(payload)} bytes: a secret carries {MAX_SETTINGS_BYTES}")
        return Secret(f"{PREFIX}{_text(payload)}.{_text(_sign(self._signers[0], payload))}", expires_at)

    def settings_of(self, secret: str, now: float) -> dict[str, Any]:
        """The session settings that a valid secret carries; `SecretError` for any other text."""
        body, dot, signature = secret.removeprefix(PREFIX).partition(".")
        try:
            payload, given = _bytes(body), _bytes(signature)
        except (binascii.Error, ValueError):
            payload, given = b"", b""
        genuine = False
        for signer in self._signers:
            genuine |= hmac.compare_digest(_sign(signer, payload), given)
        if not secret.startswith(PREFIX) or not dot or not genuine:
            raise SecretError("invalid_api_key", "this ek_ secret was not made with a key of this server")
        read = json.loads(payload)  # ours: the signature says so
        if now >= read["exp"]:
            raise SecretError("expired_secret", "this ek_ secret has expired: fetch a new one for each call")
        settings: dict[str, Any] = read["session"]
        return settings


def _sign(key: bytes, payload: bytes) -> bytes:
    return hmac.new(key, payload, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """Strict: one spelling per value, so that a secret can't be altered and stay valid."""
    data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(data) != text:
        raise ValueError("not canonical")
    return data
