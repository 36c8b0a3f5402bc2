"""The users of a NATS server as a directory: their credentials, and the file that the server includes.

    users.json      role, name and public key of each user: what is known of them
    users.conf      for the server: `include "users.conf"`; written from users.json and `permissions`
    <title>/nkey    the seed of a user, for the process that it belongs to, mode 0400; may be moved away

`antiphon credentials` and `antiphon agents` write it, `antiphon up` for each run, and the container `credentials` of
compose.yaml, which runs `python -m antiphon.runtime.nats.users DIRECTORY`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from antiphon.runtime.nats import nkeys
from antiphon.runtime.nats.permissions import AT_HUB, NAMED, ROLES, Permissions, User, permissions_of
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError

SEED_FILE: Final = "nkey"
LEAF_FILE: Final = "leaf.conf"
"""In place of it for a region: its server takes the seed from its configuration only."""
MAX_USERS: Final = 1000
ANY_RELAY: Final = "*"
"""In place of a relay's name: the credential is good for all names. For relays whose names are not known before."""
ONE_EACH: Final = ("setup", "signaling", "websocket", "worker", "operator", "recorder")
"""Roles that nothing narrows: one credential for all processes of the role."""


class UsersError(ValueError):
    """The directory can't be used, or a user is named wrongly; the text says what is wrong and the way out."""


@dataclass(frozen=True)
class KnownUser:
    """A user of the server. A value."""

    user: User
    key: str
    """Its public key."""


class Users:
    """The directory. Owned by one command or test, which calls it; several processes may do so at the same time."""

    def __init__(self, directory: Path, owner: int | None = None) -> None:
        """`owner`: the files are given to this user id (needs root)."""
        self.directory = directory
        self.server_file = directory / "users.conf"
        """What the server includes."""
        self._known = directory / "users.json"
        self._owner = owner

    def all(self) -> list[KnownUser]:
        """In their order; `UsersError` if the file is not ours."""
        try:
            text = self._known.read_text()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsersError(f"{self._known} can't be read: {error.strerror}") from None
        try:
            rows = json.loads(text)
            return [KnownUser(_checked(_read(row["user"])), str(row["key"])) for row in rows]
        except (ValueError, TypeError, KeyError):
            raise UsersError(
                f"{self._known} does not list users: remove it with its directory, and begin anew"
            ) from None

    def seed_file(self, user: User) -> Path:
        """Where the user's credential is written."""
        return self.directory / user.title / (LEAF_FILE if user.role == "leaf" else SEED_FILE)

    def add(self, wanted: Sequence[User]) -> list[User]:
        """Make a credential for each user that has none yet; returns those. The server has to read its file again."""
        with self._locked():
            known, new = self.all(), []
            for user in wanted:
                _checked(user)
                same = next((each for each in known if each.user.title == user.title), None)
                if same is not None:
                    if same.user != user and user.role != "leaf":
                        raise UsersError(f"{user.title} exists with other rights: remove it first")
                    known[known.index(same)] = KnownUser(user, same.key)  # a region's clusters and relays may change
                    continue
                if len(known) >= MAX_USERS:
                    raise UsersError(f"there are {MAX_USERS} users in {self._known}: remove some")
                seed = nkeys.new_seed()
                text = f'leaf_seed: "{seed}"\n' if user.role == "leaf" else f"{seed}\n"
                self._write(self.seed_file(user), text, 0o400)
                known.append(KnownUser(user, nkeys.public_key(seed)))
                new.append(user)
            self._save(known)
        return new

    def remove(self, title: str) -> User:
        """Take a user and its seed away. Its connections end when the server reads its file again."""
        with self._locked():
            known = self.all()
            found = next((each for each in known if each.user.title == title), None)
            if found is None:
                there = ", ".join(each.user.title for each in known) or "none"
                raise UsersError(f"there is no user {title} in {self.directory}; there are: {there}")
            self._save([each for each in known if each is not found])
            shutil.rmtree(self.directory / title, ignore_errors=True)
        return found.user

    def _save(self, known: Sequence[KnownUser]) -> None:
        rows = [{"user": each.user.__dict__, "key": each.key} for each in known]
        self._write(self._known, json.dumps(rows, indent=1) + "\n", 0o600)
        self._write(self.server_file, server_configuration(known), 0o644)  # holds no secret; the server reads it

    def _write(self, path: Path, text: str, mode: int) -> None:
        """Put the file in its place in one step."""
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700, parents=True)
                self._give(path.parent)
            scratch = path.with_name(f".{path.name}.new")
            scratch.unlink(missing_ok=True)
            with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                file.write(text)
            if path.name in (SEED_FILE, LEAF_FILE):  # the others are read by the server, and by this command again
                self._give(scratch)
            scratch.replace(path)
        except OSError as error:
            raise UsersError(f"{path} can't be written: {error.strerror}") from None

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, self._owner, self._owner)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.directory, os.O_RDONLY)
        except OSError as error:
            raise UsersError(f"{self.directory} can't be used: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def stack_users(
    relays: Sequence[str], clusters: Sequence[int] = (0,), bridges: Sequence[str] = ("concierge",)
) -> list[User]:
    """The users of a whole stack, without its plug-ins."""
    return [
        *(User(role) for role in ONE_EACH),
        *(User("relay", "" if name == ANY_RELAY else name) for name in relays),
        *(User("transceiver", cluster=cluster) for cluster in clusters),
        *(User("bridge", name) for name in bridges),
    ]


class Region(NamedTuple):
    """A region that is joined to the hub. A value."""

    name: str
    clusters: tuple[int, ...]
    relays: tuple[str, ...]
    """Names that its relays may have; empty: any."""


def region_from(text: str) -> Region:
    """`eu:1,2` or `eu:1,2:eu-a,eu-b`: name, clusters, relays. `UsersError` for what is none."""
    name, _, rest = text.partition(":")
    clusters, _, relays = rest.partition(":")
    try:
        return Region(name, tuple(int(each) for each in clusters.split(",")), tuple(filter(None, relays.split(","))))
    except ValueError:
        raise UsersError(
            f"--region {text!r:.80} names no region: expected NAME:CLUSTER or NAME:CLUSTER,CLUSTER:RELAY,RELAY, such "
            "as eu:1 or eu:1:eu-a,eu-b"
        ) from None


def hub_users(regions: Sequence[Region]) -> list[User]:
    """The users of the hub's servers."""
    return [
        User("hub_setup"),
        *(User("leaf", each.name, clusters=each.clusters, relays=each.relays) for each in regions),
        *(User(role, each.name) for each in regions for role in ("hub_relay", "hub_transceiver")),
    ]


def _read(row: dict[str, Any]) -> User:
    lists = {field: tuple(row.get(field, ())) for field in ("clusters", "relays")}
    return User(**{**row, **lists})


def _checked(user: User) -> User:
    if user.role not in ROLES:
        raise UsersError(f"there is no role {user.role!r:.40}: there are {', '.join(ROLES)}")
    try:
        if user.role in NAMED and (user.name or user.role != "relay"):  # a relay without a name may have any
            subjects.agent_claim(user.name)
        if user.role == "shadow":
            subjects.agent_claim(user.of)
        for cluster in (user.cluster, *user.clusters):
            subjects.transceiver_announce(cluster, 0)
        for relay in user.relays:
            subjects.relay_announce(relay)
    except (MalformedError, TypeError) as error:
        raise UsersError(f"{user.role} {user.name!r:.80}: {error}") from None
    return user


# ---- the server's file ---------------------------------------------------------------------------------


def server_configuration(known: Sequence[KnownUser]) -> str:
    """The block `authorization` of a NATS server. Without any user nobody may connect."""
    users = "".join(f"    # {each.user.title}\n    {_user(each)}\n" for each in known)
    return (
        "# Written by antiphon from users.json and antiphon.runtime.nats.permissions: changes here are lost.\n"
        f"authorization {{\n  timeout: 5\n  users = [\n{users or NOBODY}  ]\n}}\n"
    )


NOBODY: Final = f"    {{ nkey: {nkeys.public_key(nkeys.new_seed())} }}\n"
"""A key that nothing has the seed of: a block without a user would let everybody in."""


def _user(each: KnownUser) -> str:
    by = "LEAFNODE" if each.user.role == "leaf" else "STANDARD"
    only = f', allowed_connection_types: ["{by}"]' if each.user.role in AT_HUB else ""
    return f"{{ nkey: {each.key}{only}, permissions: {_written(permissions_of(each.user))} }}"


def _written(permissions: Permissions) -> str:
    publish = f"{{ allow: {_list(permissions.publish)} }}" if permissions.publish else '{ deny: [">"] }'
    text = f"publish: {publish}, subscribe: {{ allow: {_list(permissions.subscribe)} }}"
    return f"{{ {text} }}"


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(json.dumps(name) for name in names) + "]"


# ---- the command ---------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, with_directory: bool = True) -> None:
    """Which users the directory is to have."""
    if with_directory:
        parser.add_argument("directory", type=Path, help="where credentials and the server's file are written")
    parser.add_argument(
        "--relay",
        action="append",
        metavar="NAME",
        help="a relay's name, ANTIPHON_RELAY_NAME (default: relay); * is one credential for relays of any name",
    )
    parser.add_argument(
        "--cluster", action="append", type=int, metavar="NUMBER", help="transceivers of this cluster (default: 0)"
    )
    parser.add_argument(
        "--bridge", action="append", metavar="AGENT", help="a bridge's ANTIPHON_AGENT_NAME (default: concierge)"
    )
    parser.add_argument("--agent", action="append", metavar="NAME", help="an agent plug-in's name")
    parser.add_argument("--text-agent", action="append", metavar="NAME", help="a text agent's name")
    parser.add_argument("--hub", action="store_true", help="for the servers of the hub, which joins regions")
    parser.add_argument(
        "--region",
        action="append",
        metavar="NAME:CLUSTERS[:RELAYS]",
        help="with --hub: a region, its clusters' numbers and its relays' names, such as eu:1:eu-a,eu-b",
    )
    parser.add_argument("--remove", metavar="USER", help="take one away, such as leaf-eu, and make none")
    parser.add_argument("--owner", type=int, metavar="UID", help="give the files to this user (needs root)")


def wanted(args: argparse.Namespace) -> list[User]:
    """The users that the arguments name; `UsersError` for arguments that do not go together."""
    if args.hub:
        if not args.region or args.relay or args.cluster or args.bridge or args.agent or args.text_agent:
            raise UsersError("--hub needs a --region for each region, and nothing else: a region's users are its own")
        return hub_users([region_from(each) for each in args.region])
    if args.region:
        raise UsersError("--region goes with --hub; a region's own NATS server needs no users for the hub")
    found = stack_users(args.relay or ["relay"], args.cluster or [0], args.bridge or ["concierge"])
    agents = [User("agent", name) for name in args.agent or []]
    return found + agents + [User("text_agent", name) for name in args.text_agent or []]


def run(args: argparse.Namespace) -> int:
    """Make the credentials that are missing; the exit status."""
    users = Users(args.directory, args.owner)
    try:
        if args.remove:
            users.remove(args.remove)
            print(f"{args.remove} is gone from {users.server_file}: its connections end when the server reads it again")
            return 0
        for user in users.add(wanted(args)):
            print(f"{users.seed_file(user)}: a fresh credential")
        print(f"{users.server_file}: what each of {len(users.all())} users may do")
    except UsersError as error:
        print(f"antiphon: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Make the credentials of a stack for its NATS server.")
    add_arguments(arguments)
    sys.exit(run(arguments.parse_args()))
