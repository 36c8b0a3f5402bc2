"""`antiphon api-keys`: makes, lists and revokes the API keys of a file that holds their hashes.

Signaling reads the file again when it changes. The file is replaced in one step, so it never reads half of it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from antiphon.cli.errors import UsageError
from antiphon.runtime.api_keys import (
    ALL_SCOPES,
    MAX_FILE_BYTES,
    WEAK_BITS,
    ApiKey,
    KeyFileError,
    KeyLimits,
    document,
    entropy_bits,
    is_document,
    read_document,
    when,
)

KEY_BYTES: Final = 32
"""256 random bits: why no slow hash is needed (`antiphon.runtime.api_keys`)."""
LIMITS: Final = ("calls", "secrets", "requests")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon api-keys`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make a key and show it, once", description="Make a key and show it, once.")
    add.add_argument("--name", default="", help="what the key is for, a note for people")
    add.add_argument(
        "--scope",
        action="append",
        choices=sorted(ALL_SCOPES),
        help="what it may do: calls (place calls, and manage those that it made), calls.manage (manage every call), "
        "secrets (make client secrets), listen (listen to the calls that it may manage), operator; may be repeated "
        "(default: calls and secrets)",
    )
    end = add.add_mutually_exclusive_group()
    end.add_argument("--days", type=float, metavar="N", help="it ends after N days (default: never)")
    end.add_argument("--expires", metavar="TIME", help="it ends at this time, such as 2027-01-31T12:00:00Z")
    for kind in LIMITS:
        add.add_argument(
            f"--{kind}-per-minute", type=int, metavar="N", help="in place of signaling's setting; 0: no limit"
        )
    add.add_argument(
        "--stdin", action="store_true", help="take the key from standard input, one line, such as one that is in use"
    )
    shown = actions.add_parser("list", help="show the keys", description="Show the keys; their text is not stored.")
    revoke = actions.add_parser(
        "revoke",
        help="remove a key",
        description="Remove a key: within a second it and the client secrets that it made are refused.",
    )
    revoke.add_argument("id", help="as `antiphon api-keys list` shows it")
    for each in (add, shown, revoke):
        each.add_argument(
            "--file",
            type=Path,
            default=Path(os.environ.get("ANTIPHON_API_KEYS_FILE") or "keys/api-keys.json"),
            metavar="FILE",
            help="(default: ANTIPHON_API_KEYS_FILE, else keys/api-keys.json)",
        )


def run(args: argparse.Namespace) -> int:
    """One action; returns the exit status."""
    path: Path = args.file.resolve()  # a link stays a link: its target is replaced
    try:
        if args.action == "list":
            return _list(_read(path, missing_ok=False))
        with _locked(path):
            return _add(path, args) if args.action == "add" else _revoke(path, args.id)
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror}") from None


def _add(path: Path, args: argparse.Namespace) -> int:
    keys = _read(path, missing_ok=True)
    text = _given_key() if args.stdin else f"sk-antiphon-{secrets.token_urlsafe(KEY_BYTES)}"
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        key = ApiKey(
            id=f"key_{secrets.token_hex(6)}",
            name=args.name,
            hash=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
            scopes=frozenset(args.scope or ("calls", "secrets")),
            created=now,
            expires=_end(args, now),
            limits=KeyLimits(**{f"{kind}_per_minute": vars(args)[f"{kind}_per_minute"] for kind in LIMITS}),
        )
        # What signaling would refuse is not written: a key twice, or too many.
        written = document(_fields(each) for each in [*keys, key])
        read_document(written.encode())
    except (ValueError, OverflowError) as error:
        raise UsageError(f"no key was made: {_first_line(error)}") from None
    _write(path, written)
    print(f"{path}: key {key.id} added ({', '.join(sorted(key.scopes))})", file=sys.stderr)
    if not args.stdin:
        print("The key, which is shown only now:", file=sys.stderr)
        print(text)
    return 0


def _list(keys: list[ApiKey]) -> int:
    now = datetime.now(UTC)
    for key in keys:
        end = (
            "never ends"
            if key.expires is None
            else f"{'ended' if key.expires <= now else 'ends'} {_shown(key.expires)}"
        )
        limits = "".join(f" {name}={value}" for name, value in key.limits.model_dump(exclude_none=True).items())
        made = _shown(key.created) if key.created is not None else "?"
        print(f"{key.id}  {','.join(sorted(key.scopes))}  made {made}  {end}{limits}  {key.name}".rstrip())
    return 0


def _revoke(path: Path, key_id: str) -> int:
    keys = _read(path, missing_ok=False)
    left = [key for key in keys if key.id != key_id]
    if len(left) == len(keys):
        raise UsageError(f"{path} has no key {key_id!r:.80}: see `antiphon api-keys list`")
    _write(path, document(_fields(key) for key in left))
    print(f"{path}: key {key_id} revoked", file=sys.stderr)
    return 0


def _given_key() -> str:
    text = sys.stdin.readline(1000).strip()
    if not text.isascii() or not text.isprintable() or " " in text or "," in text:
        raise UsageError("a key is one line of printable ASCII letters without blanks and commas")
    bits = entropy_bits(text)
    if bits < WEAK_BITS:
        raise UsageError(
            f"this key may be guessed: it is worth about {bits:.0f} bits, and {WEAK_BITS} are needed, because its hash "
            "is a fast one. Leave --stdin out to get a random key, or take the output of: openssl rand -hex 32"
        )
    return text


def _end(args: argparse.Namespace, now: datetime) -> datetime | None:
    end = None
    if args.days is not None:
        end = now + timedelta(days=args.days)
    elif args.expires is not None:
        end = when(args.expires)
    if end is not None and end <= now:
        raise ValueError(f"it would have ended already, {_shown(end)}")
    return end


def _read(path: Path, *, missing_ok: bool) -> list[ApiKey]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        if missing_ok:
            return []
        raise
    if not data.strip() and missing_ok:
        return []
    if not is_document(data):
        raise UsageError(
            f"{path} is a plain list of keys in clear. Write another file: for each key of it that stays in use "
            "`antiphon api-keys add --file NEW --stdin`, then set ANTIPHON_API_KEYS_FILE to the new one"
        )
    try:
        return read_document(data)
    except KeyFileError as error:
        raise UsageError(f"{path}: {error}") from None


def _fields(key: ApiKey) -> dict[str, object]:
    fields: dict[str, object] = key.model_dump(mode="json", exclude_none=True)
    fields["scopes"] = sorted(key.scopes)
    if not fields.get("limits"):
        fields.pop("limits", None)
    return fields


def _write(path: Path, text: str) -> None:
    """Replace the file in one step. It keeps its mode and its owner; a new one is for its owner only."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    known = path.stat() if path.exists() else None
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        if known is not None:
            os.fchmod(descriptor, known.st_mode & 0o777)
            if (known.st_uid, known.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, known.st_uid, known.st_gid)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    scratch.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time: of two that read the same keys, the second would undo what the first wrote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]
