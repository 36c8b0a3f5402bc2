"""Fresh route and password keys, written to files: `antiphon keys`.

The route key goes to relays and transceivers, the password key to transceivers alone, so they are two
files. This module uses the standard library only and runs as a plain script too: the one-shot `keys`
service of compose.yaml is this file in an otherwise empty image.
"""

from __future__ import annotations

import argparse
import os
import secrets
import string
import sys
from pathlib import Path
from typing import Final

KEY_IDS: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits
LIVE_ROUTE_KEYS: Final = 2
"""The newest key seals; the one before it still opens the tokens of running calls."""


def fresh_route_keys() -> str:
    """One new route key as `ANTIPHON_ROUTE_KEYS` takes it: `A:<32 hex digits>`."""
    return f"A:{secrets.token_hex(16)}"


def rotated_route_keys(current: str) -> str:
    """`current` with a new key in front, under the next key id; keys older than the one before it are dropped."""
    keys = [key for key in (part.strip() for part in current.split(",")) if key]
    newest = keys[0][0] if keys else KEY_IDS[-1]
    following = KEY_IDS[(KEY_IDS.find(newest) + 1) % len(KEY_IDS)]
    return ",".join([f"{following}:{secrets.token_hex(16)}", *keys][:LIVE_ROUTE_KEYS])


def fresh_password_key() -> str:
    """A new password key as `ANTIPHON_PASSWORD_KEY` takes it: 64 hex digits."""
    return secrets.token_hex(32)


def write_secret(path: Path, text: str, owner: int | None) -> None:
    """Put the file in its place in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(text + "\n")
    if owner is not None:
        os.chown(scratch, owner, owner)
    scratch.replace(path)


def give(directory: Path, owner: int) -> None:
    """Make this user the owner of a directory and all in it: of a volume, which begins as root's."""
    for path in (directory, *directory.rglob("*")):
        if path.lstat().st_uid != owner:
            os.chown(path, owner, owner, follow_symlinks=False)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon keys`."""
    parser.add_argument("--route", type=Path, default=Path("keys/route"), metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--password", type=Path, default=Path("keys/password"), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--owner", type=int, metavar="UID", help="give the files to this user (needs root)")
    parser.add_argument(
        "--own", type=Path, metavar="DIRECTORY", help="give this directory and all in it to --owner as well"
    )
    parser.add_argument(
        "--rotate",
        action="store_true",
        help="put a new route key in front of the present one, which still opens the tokens of running calls; "
        "relays that read the file notice by themselves; then restart the transceivers",
    )


def run(args: argparse.Namespace) -> int:
    """Write missing files only, so that running calls keep their keys, unless `--rotate` is given. The exit status."""
    route: Path = args.route
    password: Path = args.password
    try:
        if args.own is not None and args.owner is not None:
            give(args.own, args.owner)
        if not route.exists():
            write_secret(route, fresh_route_keys(), args.owner)
            print(f"{route}: a fresh route key")
        elif args.rotate:
            write_secret(route, rotated_route_keys(route.read_text()), args.owner)
            print(f"{route}: a new route key in front, the former one behind it")
        else:
            print(f"{route}: kept")
        if password.exists():
            print(f"{password}: kept")
        else:
            write_secret(password, fresh_password_key(), args.owner)
            print(f"{password}: a fresh password key")
    except OSError as error:
        print(f"keys: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write fresh route and password keys.")
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
