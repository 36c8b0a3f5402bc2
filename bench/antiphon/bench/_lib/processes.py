"""Child processes of a bench: pinned to a core where it matters, and ended with the block."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from antiphon.cli.errors import UsageError
from antiphon.cli.up import embedded_nats
from antiphon.cli.up.embedded_nats import server_binary
from antiphon.testing.stores import make_stores

START_SECONDS: Final = 15.0


def clean_environment() -> dict[str, str]:
    """This process's environment without the settings of a service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}


@contextmanager
def process(
    command: list[str], core: int | None = None, env: dict[str, str] | None = None, **kwargs: Any
) -> Iterator[Any]:
    """A child without our own settings, pinned to `core` if one is given."""
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    child = subprocess.Popen(command, env=clean_environment() | (env or {}), preexec_fn=pin, **kwargs)
    try:
        yield child
    finally:
        if child.stdin is not None:
            child.stdin.close()
        child.terminate()
        try:
            child.wait(3)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def nats_server(directory: Path, core: int | None = None) -> Iterator[str]:
    """A NATS server of the bench's own; yields its URL."""
    binary = server_binary()
    command = [*embedded_nats.command(embedded_nats.ANY_PORT, directory), "--ports_file_dir", str(directory)]
    with process(command, core, stderr=subprocess.DEVNULL) as server:
        written = directory / f"{binary.name}_{server.pid}.ports"
        deadline = time.monotonic() + START_SECONDS
        while not written.exists() or not written.read_text().strip():
            if server.poll() is not None or time.monotonic() > deadline:
                raise UsageError("the NATS server for this bench does not start")
            time.sleep(0.01)
        url: str = json.loads(written.read_text())["nats"][0]
        make_stores(url)
        yield url
