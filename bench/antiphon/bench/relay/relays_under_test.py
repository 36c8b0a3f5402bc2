"""What the relay's benches measure: the relay by its batched or its portable loop, and a compiled loop.

Each is a process of its own with one public and one tunnel port on loopback, pinned to a core if one is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nats.errors
from nats.aio.client import Client

from antiphon.bench._lib.cores import cores
from antiphon.bench._lib.free_port import free_port
from antiphon.bench._lib.proc import children, user_and_kernel_seconds
from antiphon.bench._lib.processes import START_SECONDS, process
from antiphon.cli.errors import UsageError
from antiphon.runtime import tasks
from antiphon.schemas import subjects
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, RelayStatistics, TransceiverAnnouncement, decode, encode

PAYLOAD: Final = b"\x80" + bytes(159)
"""As long as an RTP packet with 20 ms of Opus."""
SOURCE: Final = Path(__file__).with_name("forward.c")


@dataclass
class RelayUnderTest:
    """A running forwarder."""

    name: str
    """`c`, or the relay's packet loop: `batched` or `portable`."""
    public: tuple[str, int]
    tunnel: tuple[str, int]
    pid: int
    """Of the process that forwards."""
    statistics: Callable[[], RelayStatistics] | None = None
    """Asks the relay; from any thread but that of the event loop. None: the compiled loop counts nothing."""
    backbone: tuple[str, int] = ("", 0)
    """Where other relays send to; ("", 0): it has no backbone."""

    def cpu_seconds(self) -> tuple[float, float]:
        """User and kernel time so far."""
        return user_and_kernel_seconds(self.pid)


def two_cores() -> tuple[int, int]:
    """(core of the forwarder, core of the load); UsageError if this process may use only one."""
    measured, rest = cores()
    if measured == rest:
        raise UsageError("bench relay needs two cores: one forwards, the other one makes the load")
    return measured, rest


@asynccontextmanager
async def compiled_loop(core: int) -> AsyncIterator[RelayUnderTest | None]:
    """The C loop; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as directory:
        binary = Path(directory, "forward")
        await asyncio.to_thread(subprocess.run, [compiler, "-O2", "-o", str(binary), str(SOURCE)], check=True)
        public, tunnel = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        with process([str(binary), str(public), str(tunnel)], core, stdout=subprocess.PIPE) as child:
            if await asyncio.to_thread(child.stdout.readline) != b"ready\n":
                raise UsageError("the compiled loop does not start")
            yield RelayUnderTest("c", ("127.0.0.1", public), ("127.0.0.1", tunnel), child.pid)


@asynccontextmanager
async def relay(
    client: Client,
    url: str,
    path: str,
    owner: socket.socket,
    keys: str,
    core: int | None = None,
    cluster: int = 0,
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[RelayUnderTest]:
    """A relay with one worker and this packet loop (or `auto`), which knows `owner` as the only transceiver of its
    cluster. `more`: settings."""
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
        **(more or {}),
    }
    announcements = await client.subscribe(subjects.relay_announce(name))
    loop = asyncio.get_running_loop()

    async def ask() -> RelayStatistics:
        return decode((await client.request(subjects.relay_stats(name), timeout=2)).data, RelayStatistics)

    with process([sys.executable, "-m", "antiphon.relay"], core, settings) as child:
        announcing = asyncio.create_task(_announce_transceiver(client, owner, cluster))
        try:
            try:
                announced = decode((await announcements.next_msg(START_SECONDS)).data, RelayAnnouncement)
            except nats.errors.TimeoutError:
                raise UsageError(f"the relay for this bench does not start within {START_SECONDS:.0f} s") from None
            await announcements.unsubscribe()
            loop_name = await _until_forwarding(ask, path)
            yield RelayUnderTest(
                loop_name,
                parse_address(announced.public_addresses[0]),
                parse_address(announced.tunnel_addresses[0]),
                children(child.pid)[0],
                lambda: asyncio.run_coroutine_threadsafe(ask(), loop).result(5),
                parse_address(announced.backbone_addresses[0]) if announced.backbone_addresses else ("", 0),
            )
        finally:
            await tasks.end(announcing)


async def _until_forwarding(ask: Callable[[], Awaitable[RelayStatistics]], path: str) -> str:
    """The packet loop by which the relay forwards, once it knows the transceiver."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(nats.errors.Error):
            counted = await ask()
            if counted.routes and counted.path != "none" and path in ("auto", counted.path):
                return counted.path
        await asyncio.sleep(0.05)
    raise UsageError(f"the relay for this bench does not forward by the {path} loop")


async def _announce_transceiver(client: Client, owner: socket.socket, cluster: int) -> None:
    announcement = TransceiverAnnouncement(
        cluster=cluster,
        slot=1,
        epoch=1,
        tunnel_address=str(Address(*owner.getsockname())),
        state="ready",
        sessions=1,
        capacity=1,
    )
    while True:
        await client.publish(subjects.transceiver_announce(cluster, 1), encode(announcement))
        await asyncio.sleep(0.5)
