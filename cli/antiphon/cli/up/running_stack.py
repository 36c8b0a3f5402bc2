"""The stacks of `antiphon up` that run for this user: how commands find their credentials without options.

`antiphon up` keeps credentials in its state directory, which its user alone may read. It leaves a note about that
directory in `~/.cache/antiphon/run`, which has mode 0700, for as long as it runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from antiphon.cli.errors import UsageError
from antiphon.runtime.nats.access import VARIABLES, Access, AccessError, from_environment, read_credential
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.server_url import without_password
from antiphon.runtime.nats.users import Users, UsersError

CREDENTIALS: Final = "credentials"
"""Folder of a stack's state directory, and of `ANTIPHON_CREDENTIALS`' default."""
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class RunningStack:
    """A stack that runs now. A value."""

    nats_url: str
    state: Path

    @property
    def users(self) -> Users:
        """Of its NATS server."""
        return Users(self.state / CREDENTIALS)

    def reload(self) -> None:
        """Have the server read its users again; those whose rights are the same stay connected."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.state / "nats.pid").read_text()), signal.SIGHUP)


def notes() -> Path:
    """Where the notes are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "antiphon" / "run"


@contextlib.contextmanager
def announced(stack: RunningStack) -> Iterator[str]:
    """Leave a note for the length of the block; yields why that is not possible, or nothing."""
    note = notes() / f"{stack.state.name}.json"
    trouble = ""
    try:
        folder = note.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
        for other in folder.glob("*.json"):
            if _read(other) is None:
                other.unlink(missing_ok=True)
        text = json.dumps({"nats_url": stack.nats_url, "state": str(stack.state)})
        with open(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
    except (OSError, RuntimeError) as error:  # no home
        trouble = f"commands need ANTIPHON_NATS_CREDENTIALS, because {note} can't be written: {error}"
    try:
        yield trouble
    finally:
        with contextlib.suppress(OSError):
            note.unlink(missing_ok=True)


def all_running() -> list[RunningStack]:
    """The newest first."""
    try:
        found = sorted(notes().glob("*.json"), key=lambda note: -note.stat().st_mtime)
    except (OSError, RuntimeError):
        return []
    return [stack for note in found if (stack := _read(note)) is not None]


def find(url: str) -> RunningStack | None:
    """The stack of ours whose server has this address."""
    wanted = _place(url)
    return next((stack for stack in all_running() if _place(stack.nats_url) == wanted), None)


def access_for(role: str, url: str) -> Access:
    """How a command shows NATS at `url` who it is: by its variables, else by what a running stack of ours has.

    `UsageError` for files that can't be used.
    """
    try:
        access = from_environment(role)
        if access.credentials is not None or "@" in url:
            return access
        stack = find(url)
        if stack is None:
            return access
        file = stack.users.seed_file(_user_of(role, stack))
        read_credential(file)
        return Access(role, "", file, access.tls_ca, access.tls_cert, access.tls_key)
    except AccessError as error:
        raise UsageError(str(error)) from None


def _user_of(role: str, stack: RunningStack) -> User:
    try:
        return next((each.user for each in stack.users.all() if each.user.role == role), User(role))
    except UsersError:
        return User(role)


def way_in(role: str, url: str) -> str:
    """What to do when NATS asks for a credential that the command has not."""
    return (
        f"NATS at {without_password(url)} asks for a credential: set {VARIABLES['credentials']} to the file of the "
        f"role {role} (`antiphon credentials` writes it; a stack of `antiphon up` of this user is found by itself)"
    )


@contextlib.contextmanager
def agent_for(name: str, url: str) -> Iterator[Access]:
    """How this process shows NATS that it is the agent `name`; a running stack of ours knows it for the block."""
    stack = find(url)
    if os.environ.get(VARIABLES["credentials"]) or "@" in url or stack is None:
        try:
            yield from_environment("agent", name)
        except AccessError as error:
            raise UsageError(str(error)) from None
        return
    user = User("agent", name)
    stack.users.add([user])
    stack.reload()
    time.sleep(0.2)  # the server reads its file; a connection before that is refused, and tried again
    try:
        yield Access("agent", name, stack.users.seed_file(user))
    finally:
        with contextlib.suppress(UsersError):
            stack.users.remove(user.title)
        stack.reload()


def _read(note: Path) -> RunningStack | None:
    """None if the stack has ended, or the note is not ours."""
    try:
        if note.stat().st_uid != os.getuid():
            return None
        said = json.loads(note.read_text())
        stack = RunningStack(str(said["nats_url"]), Path(said["state"]))
        handle = os.open(stack.state, os.O_RDONLY)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        if os.fstat(handle).st_uid != os.getuid():
            return None
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return stack  # its supervisor holds the lock while it lives
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url if "//" in url else f"//{url}")
    host = parts.hostname or ""
    return "loopback" if host in LOOPBACK else host, parts.port or 4222
