"""What a lease holds of its call, encrypted for the bucket: AES-256-GCM, keys of `ANTIPHON_LEASE_KEY_FILE`.

Only agents and bridges have these keys. They are not those of the checkpoints, which transceivers alone have: so
neither opens what is the other's.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from antiphon.runtime.private_file import is_private
from antiphon.schemas import subjects
from antiphon.schemas.messages import HandedCall, Lease

MAX_KEYS: Final = 2
"""The first one seals; the one before it still opens the leases of running calls."""
_KEY = re.compile(r"([A-Za-z0-9]):([0-9a-fA-F]{64})")
_NONCE: Final = 12
_PURPOSE: Final = b"antiphon lease "


class LeaseKeyError(ValueError):
    """The lease key can't be used; the text names the file, what is wrong and the way out."""


class SealedLeaseError(ValueError):
    """A lease can't be opened, or is in clear where it should not be; the text says why."""


class LeaseCrypto:
    """Seals `session` and `state` of a lease, bound to its agent and its session.

    Owner: the keeper of leases of a process. Any task or thread may call: it has no state but its keys. Each lease has
    a key of its own, derived from the file's: one key sees a few thousand random nonces, whatever the stack's load.
    """

    def __init__(self, text: str) -> None:
        """`text`: `A:<64 hex digits>`, or two of them with a comma between; `LeaseKeyError` for anything else."""
        parts = [part.strip() for part in text.split(",")]
        matches = [_KEY.fullmatch(part) for part in parts]
        keys = {match[1]: bytes.fromhex(match[2]) for match in matches if match is not None}
        if None in matches or len(keys) != len(parts) or len(parts) > MAX_KEYS:
            raise LeaseKeyError(f"expected one key such as A:<64 hex digits>, or {MAX_KEYS} with a comma between them")
        self._keys = keys
        self._newest = parts[0][0]

    def seal(self, lease: Lease) -> Lease:
        """The lease as it goes into the bucket: `session`, `state` and `handed` are in `sealed` only."""
        handed = [lease.handed.model_dump()] if lease.handed is not None else []  # the version before reads two parts
        plain = json.dumps([lease.session, lease.state, *handed]).encode()
        nonce = os.urandom(_NONCE)
        key = _place(lease)
        cipher = self._cipher(self._newest, key).encrypt(nonce, plain, _PURPOSE + key)
        sealed = self._newest + base64.b64encode(nonce + cipher).decode()
        return lease.model_copy(update={"session": {}, "state": {}, "handed": None, "sealed": sealed})

    def open(self, lease: Lease) -> Lease:
        """The lease as its holder wrote it; `SealedLeaseError` if another key or place sealed it, or none did."""
        if not lease.sealed:
            if lease.session or lease.state or lease.handed:
                raise SealedLeaseError("it is in clear, although this process has a lease key: refused")
            return lease
        key_id = lease.sealed[0]
        if key_id not in self._keys:
            raise SealedLeaseError(f"key {key_id!r} is not in ANTIPHON_LEASE_KEY_FILE")
        key = _place(lease)
        try:
            data = base64.b64decode(lease.sealed[1:], validate=True)
        except binascii.Error:
            raise SealedLeaseError("it is damaged") from None
        session, state, handed = _opened(self._cipher(key_id, key), data, key)
        opened = {"session": session, "state": state, "sealed": "", "handed": handed}
        return lease.model_copy(update=opened)

    def _cipher(self, key_id: str, place: bytes) -> Any:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return AESGCM(HKDF(hashes.SHA256(), 32, salt=None, info=_PURPOSE + place).derive(self._keys[key_id]))


def _place(lease: Lease) -> bytes:
    return subjects.lease_key(lease.agent, lease.session_id).encode()


def _opened(cipher: Any, data: bytes, place: bytes) -> tuple[dict[str, Any], dict[str, Any], HandedCall | None]:
    from cryptography.exceptions import InvalidTag

    try:
        session, state, *rest = json.loads(cipher.decrypt(data[:_NONCE], data[_NONCE:], _PURPOSE + place))
        handed = HandedCall.model_validate(rest[0]) if rest else None
    except (InvalidTag, ValueError):
        raise SealedLeaseError("another key sealed it, or it was changed") from None
    return session, state, handed


def from_file(path: Path) -> LeaseCrypto:
    """The keys in the file, which others may not read; `LeaseKeyError` if they can't be used."""
    what = f"ANTIPHON_LEASE_KEY_FILE {path}"
    try:
        with path.open("rb") as file:
            private = is_private(os.fstat(file.fileno()))
            text = file.read(4096).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise LeaseKeyError(f"{what} can't be read: {getattr(error, 'strerror', '') or 'it is no text'}") from None
    if not private:
        raise LeaseKeyError(f"{what} may be read or written by others: chmod 0400 {path}")
    try:
        import cryptography  # noqa: F401 - now, and not with the first call
    except ImportError:
        raise LeaseKeyError(f"{what} needs the package cryptography") from None
    try:
        return LeaseCrypto(text)
    except LeaseKeyError as error:
        raise LeaseKeyError(f"{what}: {error}; `antiphon keys --lease FILE` writes one") from None


def from_environment(environment: Mapping[str, str] = os.environ) -> LeaseCrypto | None:
    """The keys that `ANTIPHON_LEASE_KEY_FILE` names; None where it is not set."""
    path = environment.get("ANTIPHON_LEASE_KEY_FILE", "").strip()
    return from_file(Path(path)) if path else None
