"""Fresh route, password and secret keys, written to files: `antiphon keys`.

The route key goes to relays and transceivers, the password key to transceivers alone, the secret key, which signs
client secrets, to signaling alone: so each has a file. This module uses the standard library only and runs as a plain
script too: the one-shot `keys` service of compose.yaml is this file in an otherwise empty image.
"""

from __future__ import annotations

import argparse
import os
import secrets
import string
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

KEY_IDS: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits
MAX_CLUSTERS: Final = 1 << 12
LIVE_KEYS: Final = 2
"""The newest key seals or signs; the one before it still opens what belongs to running calls."""


def fresh_route_keys() -> str:
    """One new route key as `ANTIPHON_ROUTE_KEYS` takes it: `A:<32 hex digits>`."""
    return f"A:{secrets.token_hex(16)}"


def rotated_route_keys(current: str) -> str:
    """`current` with a new key in front, under the next key id; keys older than the one before it are dropped."""
    return _rotated(current, secrets.token_hex(16))


def _rotated(current: str, key: str) -> str:
    keys = [key for key in (part.strip() for part in current.split(",")) if key]
    newest = keys[0][0] if keys else KEY_IDS[-1]
    following = KEY_IDS[(KEY_IDS.find(newest) + 1) % len(KEY_IDS)]
    return ",".join([f"{following}:{key}", *keys][:LIVE_KEYS])


def fresh_lease_keys() -> str:
    """One new lease key as the file of `ANTIPHON_LEASE_KEY_FILE` holds it: `A:<64 hex digits>`."""
    return f"A:{secrets.token_hex(32)}"


def rotated_lease_keys(current: str) -> str:
    """As `rotated_route_keys`, of lease keys."""
    return _rotated(current, secrets.token_hex(32))


def fresh_password_key() -> str:
    """A new password key as `ANTIPHON_PASSWORD_KEY` takes it: 64 hex digits."""
    return secrets.token_hex(32)


def fresh_secret_key() -> str:
    """A new key for client secrets as `ANTIPHON_SECRET_KEYS` takes it: 64 hex digits."""
    return secrets.token_hex(32)


def rotated_secret_keys(current: str) -> str:
    """`current` with a new key in front; the one before it still verifies the secrets that it signed."""
    keys = [key for key in (part.strip() for part in current.replace("\n", ",").split(",")) if key]
    return ",".join([fresh_secret_key(), *keys][:LIVE_KEYS])


def stepped_backbone_keys(current: str, step: str) -> str:
    """`current` after one step of a rotation: `old` -add-> `old,new` -use-> `new,old` -drop-> `new`.

    The first key seals, both open. Relays of several places get the file one after the other, so a new key may seal
    only when all of them open it. ValueError where the step does not fit.
    """
    keys = [key for key in (part.strip() for part in current.replace("\n", ",").split(",")) if key]
    if len(keys) != (1 if step == "add" else LIVE_KEYS):
        raise ValueError(f"holds {len(keys)} keys, so that {step!r} is not the next step: add, then use, then drop")
    match step:
        case "add":
            keys.append(secrets.token_hex(32))
        case "use":
            keys.reverse()
        case _:
            keys.pop()
    return ",".join(keys)


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
    parser.add_argument("--secret", type=Path, metavar="FILE", help="also a key for client secrets, of signaling")
    parser.add_argument(
        "--lease",
        type=Path,
        metavar="FILE",
        help="also write the key that seals leases, for agents and bridges (ANTIPHON_LEASE_KEY_FILE); default: none",
    )
    parser.add_argument(
        "--backbone",
        type=Path,
        metavar="FILE",
        help="also write the key of the tags between relays (ANTIPHON_BACKBONE_KEY_FILE), the same for all relays",
    )
    parser.add_argument(
        "--backbone-step",
        choices=("add", "use", "drop"),
        help="rotate that key: add a new one that opens only, use it, drop the old one; copy the file to all relays "
        "after each step, which notice by themselves",
    )
    parser.add_argument(
        "--copy-of",
        type=Path,
        metavar="FILE",
        help="also write what the second region of a cluster needs for its copies (ANTIPHON_COPY_OF_FILE there): the "
        "key of --password and an announcement key, under the number of --cluster. Prints the public part, which all "
        "relays get in ANTIPHON_CLUSTER_KEYS. May be repeated with other clusters: all are kept",
    )
    parser.add_argument(
        "--cluster", type=int, metavar="NUMBER", help="of --copy-of: the cluster that has the key of --password"
    )
    parser.add_argument("--owner", type=int, metavar="UID", help="give the files to this user (needs root)")
    parser.add_argument(
        "--own", type=Path, metavar="DIRECTORY", help="give this directory and all in it to --owner as well"
    )
    parser.add_argument(
        "--rotate",
        action="store_true",
        help="put a new route key in front of the present one, which still opens the tokens of running calls; "
        "relays that read the file notice by themselves; then restart the transceivers. Likewise a new secret key, "
        "which signaling notices. With --lease a new lease key too: then restart agents and bridges one after the "
        "other, as they take over each other's calls",
    )


def run(args: argparse.Namespace) -> int:
    """Write missing files only, so that running calls keep their keys, unless `--rotate` is given. The exit status."""
    route: Path = args.route
    password: Path = args.password
    try:
        if args.own is not None and args.owner is not None:
            give(args.own, args.owner)
        _write_or_rotate(route, "route", fresh_route_keys, rotated_route_keys, args)
        if password.exists():
            print(f"{password}: kept")
        else:
            write_secret(password, fresh_password_key(), args.owner)
            print(f"{password}: a fresh password key")
        if args.secret is not None:
            _write_or_rotate(args.secret, "secret", fresh_secret_key, rotated_secret_keys, args)
        if args.lease is not None:
            _write_or_rotate(args.lease, "lease", fresh_lease_keys, rotated_lease_keys, args)
        if args.backbone is not None:
            _write_or_step(args.backbone, args.backbone_step, args.owner)
        if args.copy_of is not None:
            _write_copy_keys(args.copy_of, args.cluster, password.read_text().strip(), args.owner)
    except ValueError as error:
        print(f"keys: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"keys: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _write_or_rotate(
    path: Path, kind: str, fresh: Callable[[], str], rotated: Callable[[str], str], args: argparse.Namespace
) -> None:
    if not path.exists():
        write_secret(path, fresh(), args.owner)
        print(f"{path}: a fresh {kind} key")
    elif args.rotate:
        write_secret(path, rotated(path.read_text()), args.owner)
        print(f"{path}: a new {kind} key in front, the former one behind it")
    else:
        print(f"{path}: kept")


def _write_or_step(path: Path, step: str | None, owner: int | None) -> None:
    if not path.exists():
        write_secret(path, secrets.token_hex(32), owner)
        print(f"{path}: a fresh backbone key")
    elif step is None:
        print(f"{path}: kept")
    else:
        try:
            text = stepped_backbone_keys(path.read_text(), step)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None
        write_secret(path, text, owner)
        print(f"{path}: step {step!r} is done; copy the file to all relays before the next one")


def with_copy_of(current: str, cluster: int, password_key: str) -> tuple[str, str]:
    """The file of `ANTIPHON_COPY_OF_FILE` with this cluster's keys, and its announcement key, which is kept.

    ValueError for a file that is of another form.
    """
    try:
        tables = tomllib.loads(current)
    except tomllib.TOMLDecodeError:
        raise ValueError("is no file of `antiphon keys --copy-of`") from None
    if any(not isinstance(table, dict) for table in tables.values()):
        raise ValueError("is no file of `antiphon keys --copy-of`")
    known = tables.setdefault(str(cluster), {})
    known["password_key"] = password_key
    known.setdefault("announce_key", secrets.token_hex(32))
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f'{key} = "{table[key]}"' for key in table), ""]
    return "\n".join(lines).rstrip(), str(known["announce_key"])


def _write_copy_keys(path: Path, cluster: int | None, password_key: str, owner: int | None) -> None:
    if cluster is None or not 0 <= cluster < MAX_CLUSTERS:
        raise ValueError(f"--copy-of {path} needs --cluster, 0 to {MAX_CLUSTERS - 1}")
    current = path.read_text() if path.exists() else ""
    try:
        text, announce_key = with_copy_of(current, cluster, password_key)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    if text != current.rstrip():
        write_secret(path, text, owner)
    print(f"{path}: {'kept' if text == current.rstrip() else f'the keys of cluster {cluster}'}")
    try:
        from antiphon.schemas.slot_moves import AnnouncementKey
    except ImportError:  # as a plain script
        return
    try:
        public = AnnouncementKey.from_text(announce_key).public
    except ValueError as error:
        raise ValueError(f"{path}, cluster {cluster}: {error}") from None
    print(f"{path}: for all relays, ANTIPHON_CLUSTER_KEYS={cluster}:{public}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write fresh route and password keys.")
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
