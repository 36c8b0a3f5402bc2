"""What `antiphon bench relay` measures: the relay by its batched and its portable loop, and a compiled loop.

Each is a process of its own on one pinned core, with one public and one tunnel port on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nats.errors
from nats.aio.client import Client

from antiphon.cli.errors import UsageError
from antiphon.runtime import tasks
from antiphon.schemas import subjects
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, RelayStatistics, TransceiverAnnouncement, decode, encode

SOURCE: Final = Path(__file__).with_name("forward.c")
START_SECONDS: Final = 15.0
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Subject:
    """A running forwarder."""

    name: str
    public: tuple[str, int]
    tunnel: tuple[str, int]
    pid: int
    """Of the process that forwards."""
    statistics: Callable[[], RelayStatistics] | None = None

    def cpu_seconds(self) -> tuple[float, float]:
        """User and kernel time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) / _TICK, int(fields[12]) / _TICK


def cores() -> tuple[int, int]:
    """The core for the forwarder and the core for the load."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise UsageError("bench relay needs two cores: one forwards, the other one makes the load")
    return available[0], available[1]


def _on(core: int) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, {core})


@asynccontextmanager
async def compiled(core: int) -> AsyncIterator[Subject | None]:
    """The C loop; None without a compiler or its source."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not SOURCE.exists():
        yield None
        return
    with tempfile.TemporaryDirectory() as directory:
        binary = Path(directory, "forward")
        await asyncio.to_thread(subprocess.run, [compiler, "-O2", "-o", str(binary), str(SOURCE)], check=True)
        public, tunnel = _free_port(), _free_port()
        command = [str(binary), str(public), str(tunnel)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=_on(core))  # noqa: ASYNC220
        try:
            assert process.stdout is not None
            if await asyncio.to_thread(process.stdout.readline) != b"ready\n":
                raise UsageError("the compiled loop does not start")
            yield Subject("c", ("127.0.0.1", public), ("127.0.0.1", tunnel), process.pid)
        finally:
            process.kill()
            process.communicate()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def relay(
    client: Client, url: str, path: str, core: int, owner: socket.socket, keys: str
) -> AsyncIterator[Subject]:
    """A relay with one worker and this packet loop, which knows `owner` as its only transceiver."""
    name = f"bench-{path}-{secrets.token_hex(4)}"
    settings = {
        "ANTIPHON_NATS_URL": url,
        "ANTIPHON_ROUTE_KEYS": keys,
        "ANTIPHON_RELAY_NAME": name,
        "ANTIPHON_RELAY_BIND": "127.0.0.1:0",
        "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
        "ANTIPHON_RELAY_PATH": path,
        "ANTIPHON_RELAY_WORKERS": "1",
        "ANTIPHON_RELAY_MAX_FLOWS": "200000",
        "ANTIPHON_RELAY_DRAIN_SECONDS": "0",
        "ANTIPHON_LOG_LEVEL": "WARNING",
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ANTIPHON_")}
    heard = await client.subscribe(subjects.relay_announce(name))
    command = [sys.executable, "-m", "antiphon.relay"]
    process = subprocess.Popen(command, env=clean | settings, preexec_fn=_on(core))  # noqa: ASYNC220
    announcing = asyncio.create_task(_announce(client, owner))
    loop = asyncio.get_running_loop()

    async def ask() -> RelayStatistics:
        return decode((await client.request(subjects.relay_stats(name), timeout=2)).data, RelayStatistics)

    try:
        said = decode((await heard.next_msg(START_SECONDS)).data, RelayAnnouncement)
        await heard.unsubscribe()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(nats.errors.Error):
                if (now := await ask()).routes and now.path == path:
                    break
            await asyncio.sleep(0.05)
        else:
            raise UsageError(f"the relay for this bench does not forward by the {path} loop")
        yield Subject(
            path,
            parse_address(said.public_addresses[0]),
            parse_address(said.tunnel_addresses[0]),
            _worker_of(process.pid),
            lambda: asyncio.run_coroutine_threadsafe(ask(), loop).result(5),
        )
    finally:
        await tasks.end(announcing)
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _worker_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def _announce(client: Client, owner: socket.socket) -> None:
    said = TransceiverAnnouncement(
        cluster=0,
        slot=1,
        epoch=1,
        tunnel_address=str(Address(*owner.getsockname())),
        state="ready",
        sessions=1,
        capacity=1,
    )
    while True:
        await client.publish(subjects.transceiver_announce(0, 1), encode(said))
        await asyncio.sleep(0.5)
