"""Client secrets: the short-lived `ek_` texts that a server hands to its browsers.

A secret is `ek_<payload>.<signature>`, both base64url; the payload is JSON, the signature an HMAC-SHA256 under a key
of its own (`ANTIPHON_SECRET_KEYS`), which is no API key: its holder can't guess at one. So any instance with the same
keys verifies it without a store; only how often it was used is kept in one (`limits.uses`). It names the API key that
made it, and ends with that one. It is signed, not encrypted: its holder can read the settings.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from antiphon.runtime.api_keys import ApiKey, KeyTable, opaque
from antiphon.runtime.watched_file import WatchedFile, WatchedFileError

log = logging.getLogger(__name__)

PREFIX: Final = "ek_"
DEFAULT_LIFETIME: Final = 60
"""Seconds: enough to load a page and place a call."""
MIN_LIFETIME: Final = 10
MAX_LIFETIME: Final = 7200
MAX_CALLS: Final = 1000
MAX_SETTINGS_BYTES: Final = 8192
"""Of the session settings in a secret, which has to fit into a request header."""
MAX_LOCKED: Final = 32
MAX_NAME: Final = 64
"""Settings that a secret fixes, and letters of their names: as `messages.LockedPaths` takes them."""

_CONTEXT = b"antiphon ek_ secret, version 2"
_KEY = re.compile(r"[0-9a-fA-F]{64}")
_MAX_KEYS: Final = 2
_MAX_FILE_BYTES: Final = 4096


class SecretError(ValueError):
    """An invalid secret. `code` tells an expired one from one that was not made here."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Minted(NamedTuple):
    """A secret as handed out. A value."""

    value: str
    expires_at: int
    """Unix time, s."""


class ClientSecret(NamedTuple):
    """What an authentic secret says. A value."""

    id: str
    key: ApiKey | None
    """The API key that made it; None where no keys are set."""
    settings: dict[str, Any]
    max_calls: int
    origin: str
    """The only Origin that may use it; empty: any."""
    expires_at: int
    """Unix time, s. Afterwards it makes no calls, and still manages those that it has made."""
    made_at: int
    """Unix time, s."""
    counter: str
    """Which store counts its uses: another one does not know them."""

    @property
    def creator(self) -> str:
        """The secret in `OpenRequest.creator`: below its key, which so manages the calls too."""
        return "" if self.key is None else f"{self.key.creator}.{opaque('secret that makes calls', self.id)}"


class SecretSigner:
    """Makes and reads secrets.

    Made by `create_app` and kept as long as the application; handlers call it on the event loop.
    """

    def __init__(self, keys: str = "", path: Path | None = None) -> None:
        """`keys`: one or two keys as `parsed` takes them; `path`: a file with the same. ValueError names the variable.

        Without both, a random key: secrets are then good at this process only.
        """
        self._file = WatchedFile(path, _MAX_FILE_BYTES) if path is not None else None
        self.shared = bool(keys.strip()) or path is not None
        """Other instances can verify the secrets."""
        if self._file is not None:
            try:
                keys = self._file.read().decode("ascii", "replace")
            except WatchedFileError as error:
                raise ValueError(f"ANTIPHON_SECRET_KEY_FILE {path}: {error}") from None
        self._keys: tuple[bytes, ...] = (secrets.token_bytes(32),)
        if self.shared:
            variable = f"ANTIPHON_SECRET_KEY_FILE {path}" if path is not None else "ANTIPHON_SECRET_KEYS"
            self._keys = tuple(_signer(key) for key in parsed(keys, variable))
        self._makers: tuple[object, dict[str, ApiKey]] = (None, {})

    @property
    def pepper(self) -> bytes:
        """Hides addresses: the same at all instances with the same first key, or without any key."""
        return hmac.new(self._keys[0] if self.shared else b"", b"antiphon addresses", hashlib.sha256).digest()

    def keys_for(self, purpose: bytes) -> tuple[bytes, ...]:
        """Keys for signing something else than secrets: the first one signs, all verify."""
        return tuple(hmac.new(key, purpose, hashlib.sha256).digest() for key in self._keys)

    def look(self, now: float) -> None:
        """Read the file if it has changed. Any thread, one call at a time."""
        if self._file is None:
            return
        try:
            data = self._file.look(now)
            if data is None:
                return
            keys = parsed(data.decode("ascii", "replace"), f"ANTIPHON_SECRET_KEY_FILE {self._file.path}")
        except ValueError as error:  # a WatchedFileError too
            log.error("ANTIPHON_SECRET_KEY_FILE: %s; the keys stay as they were", error)
            return
        self._keys = tuple(_signer(key) for key in keys)
        log.info("ANTIPHON_SECRET_KEY_FILE %s was read again: %d keys", self._file.path, len(keys))

    def mint(
        self,
        settings: dict[str, Any],
        lifetime: int,
        now: float,
        *,
        key: ApiKey | None = None,
        max_calls: int = 1,
        origin: str = "",
        counter: str = "",
    ) -> Minted:
        """A secret for one client, valid for `lifetime` seconds; ValueError if the settings are too many or long."""
        if len(settings) > MAX_LOCKED or any(len(name) > MAX_LOCKED for name in settings):
            raise ValueError(
                f"a secret fixes at most {MAX_LOCKED} settings, whose names have at most {MAX_LOCKED} letters"
            )
        size = len(_json(settings))
        if size > MAX_SETTINGS_BYTES:
            raise ValueError(f"the session settings have {size} bytes: a secret carries {MAX_SETTINGS_BYTES}")
        signer = self._keys[0]
        expires_at = int(now) + lifetime
        payload: dict[str, Any] = {"id": secrets.token_hex(12), "iat": int(now), "exp": expires_at, "n": max_calls}
        payload["session"] = settings
        if key is not None:
            payload["by"] = _maker(signer, key)
        if origin:
            payload["origin"] = origin
        if counter:
            payload["counter"] = counter
        data = _json(payload)
        return Minted(f"{PREFIX}{_text(data)}.{_text(_sign(signer, data))}", expires_at)

    def read(self, secret: str, table: KeyTable, now: float) -> ClientSecret:
        """What an authentic secret says, also an expired one; `SecretError` for any other text."""
        body, dot, signature = secret.removeprefix(PREFIX).partition(".")
        try:
            payload, given = _bytes(body), _bytes(signature)
        except (binascii.Error, ValueError):
            payload, given = b"", b""
        signed_by: bytes | None = None
        for signer in self._keys:
            if hmac.compare_digest(_sign(signer, payload), given):
                signed_by = signer
        if not secret.startswith(PREFIX) or not dot or signed_by is None:
            raise SecretError("invalid_api_key", "this ek_ secret was not made with a secret key of this server")
        read = json.loads(payload)  # ours: the signature says so
        key: ApiKey | None = None
        if "by" in read:
            maker = self._makers_of(table).get(read["by"])
            key = table.by_id(maker.id, now) if maker is not None else None
            if key is None or "secrets" not in key.scopes:
                raise SecretError("invalid_api_key", "the API key that made this ek_ secret was revoked or has expired")
        return ClientSecret(
            id=read["id"],
            key=key,
            settings=read["session"],
            max_calls=read["n"],
            origin=read.get("origin", ""),
            expires_at=read["exp"],
            made_at=read["iat"],
            counter=read.get("counter", ""),
        )

    def _makers_of(self, table: KeyTable) -> dict[str, ApiKey]:
        """The API keys by their names in secrets, computed once for each table and each set of our keys."""
        for_these = (table, self._keys)
        if self._makers[0] != for_these:
            self._makers = (for_these, {_maker(signer, key): key for signer in self._keys for key in table.keys})
        return self._makers[1]


def parsed(text: str, variable: str) -> list[bytes]:
    """One or two keys of 64 hex digits, separated by a comma or a line end; the first signs. ValueError otherwise."""
    keys = list(filter(None, (key.strip() for key in text.replace("\n", ",").split(","))))
    if not keys or len(keys) > _MAX_KEYS or not all(_KEY.fullmatch(key) for key in keys):
        raise ValueError(
            f"{variable} has to hold one or two keys of 64 hex digits, separated by a comma: the first signs, "
            "both verify (make one with: openssl rand -hex 32)"
        )
    return [bytes.fromhex(key) for key in keys]


def _signer(key: bytes) -> bytes:
    return hmac.new(key, _CONTEXT, hashlib.sha256).digest()


def _maker(signer: bytes, key: ApiKey) -> str:
    """An API key's name in a secret. Keyed: the id of a listed key is a hash of it, at which the holder could guess."""
    return _text(hmac.new(signer, b"made by " + key.id.encode(), hashlib.sha256).digest()[:15])


def _sign(signer: bytes, payload: bytes) -> bytes:
    return hmac.new(signer, payload, hashlib.sha256).digest()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """Strict: one spelling per value, so that a secret can't be altered and stay valid."""
    data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(data) != text:
        raise ValueError("not canonical")
    return data


def locked_paths(settings: dict[str, Any]) -> list[str]:
    """The paths of the settings that a secret fixes, for `OpenRequest.locked`: of `audio` each part by itself."""
    return sorted(path for path, _ in _parts(settings))


def fixed(session: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The session that a client asks for, with what its secret fixes in place of its own."""
    result = copy.deepcopy(session)
    for path, value in _parts(settings):
        *above, name = path.split(".") if path.startswith(_DEEP) else [path]
        inside = result
        for level in above:
            if not isinstance(inside.get(level), dict):
                inside[level] = {}
            inside = inside[level]
        inside[name] = value
    return result


_DEEP: Final = "audio."
"""Settings of the realtime protocol stand one by one, but for `audio.input.*` and `audio.output.*`."""


def _parts(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if name != "audio" or not isinstance(value, dict):
            yield name, value
            continue
        for direction, parts in value.items():
            if not isinstance(parts, dict):
                yield f"audio.{direction}", parts
                continue
            for part, setting in parts.items():
                yield f"audio.{direction}.{part}", setting
