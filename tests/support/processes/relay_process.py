"""A real relay process for tests, a transceiver that is only a socket, and the STUN requests of clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import (
    FlowFind,
    FlowOwner,
    RelayAnnouncement,
    RelayStatistics,
    TransceiverAnnouncement,
    decode,
    encode,
)
from antiphon.schemas.route_token import RouteKeyring

ROUTE_KEYS = "A:00112233445566778899aabbccddeeff"
PATIENCE = 10.0
"""Seconds until a condition that was waited for has failed."""


def binding_request(ufrag: str, peer: str = "peer", padding: int = 0) -> bytes:
    """A STUN binding request with a USERNAME, as RFC 8489 lays it out; nobody here checks its integrity."""
    username = f"{ufrag}:{peer}".encode()
    attributes = struct.pack("!HH", 0x0006, len(username)) + username + bytes(-len(username) % 4)
    if padding:
        attributes = struct.pack("!HH", 0x8022, padding) + bytes(padding + -padding % 4) + attributes
    return struct.pack("!HHI", 0x0001, len(attributes), 0x2112A442) + os.urandom(12) + attributes


def mint(slot: int = 1, epoch: int = 1, cluster: int = 0, hours_ago: float = 0, keys: str = ROUTE_KEYS) -> str:
    """A ufrag for the transceiver in that slot."""
    return RouteKeyring.from_text(keys).mint(cluster, slot, epoch, time.time() - hours_ago * 3600)[0]


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition, not for time."""
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.02)


class Datagrams:
    """A UDP socket that a test awaits."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.socket.setblocking(False)

    @property
    def address(self) -> Address:
        return Address(*self.socket.getsockname()[:2])

    def send(self, data: bytes, to: Address) -> None:
        self.socket.sendto(data, tuple(to))

    async def receive(self, patience: float = PATIENCE) -> tuple[bytes, Address]:
        data, source = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(self.socket, 4096), patience)
        return data, Address(*source[:2])

    def waiting(self) -> list[bytes]:
        """What has come and was not read."""
        seen = []
        with contextlib.suppress(BlockingIOError):
            while True:
                seen.append(self.socket.recv(4096))
        return seen

    def close(self) -> None:
        self.socket.close()


@dataclass
class FakeTransceiver:
    """The owner's end of the tunnel; it announces itself for as long as `announcing` is set."""

    datagrams: Datagrams
    slot: int
    epoch: int
    cluster: int = 0
    announcing: bool = True
    hellos: list[Address] = field(default_factory=list)

    @property
    def address(self) -> Address:
        return self.datagrams.address

    def announcement(self) -> TransceiverAnnouncement:
        return TransceiverAnnouncement(
            cluster=self.cluster,
            slot=self.slot,
            epoch=self.epoch,
            tunnel_address=str(self.address),
            state="ready",
            sessions=0,
            capacity=10,
        )

    def ufrag(self) -> str:
        return mint(self.slot, self.epoch, self.cluster)

    async def receive(self, patience: float = PATIENCE) -> tuple[tunnel.Tunnelled, Address]:
        """The next client packet, and the relay that sent it."""
        while True:
            packet, relay = await self.datagrams.receive(patience)
            if packet == tunnel.HELLO:
                self.hellos.append(relay)
            elif tunnel.ingress_of_hello(packet) is None:
                return tunnel.unpack(packet), relay

    async def answer_finds(self, client: Client, clients: Sequence[Address]) -> None:
        """Answer `flow.find` for these clients, as their owner does."""
        mine = {str(each) for each in clients}

        async def on_question(message: Msg) -> None:
            if decode(message.data, FlowFind).client in mine:
                await message.respond(encode(FlowOwner(cluster=self.cluster, slot=self.slot, epoch=self.epoch)))

        await client.subscribe(subjects.FLOW_FIND, cb=on_question)
        await connection.flush(client)

    async def hello(self) -> Address:
        """The next relay that asks for clients."""
        while True:
            packet, relay = await self.datagrams.receive()
            if packet == tunnel.HELLO:
                return relay


@asynccontextmanager
async def fake_transceiver(nats_url: str, slot: int = 1, epoch: int = 1) -> AsyncIterator[FakeTransceiver]:
    """A transceiver that announces itself on NATS five times a second."""
    fake = FakeTransceiver(Datagrams(), slot, epoch)
    client = await _connect(nats_url)

    async def announce() -> None:
        while True:
            if fake.announcing and client.is_connected:
                with contextlib.suppress(nats.errors.Error, OSError):
                    await client.publish(
                        subjects.transceiver_announce(fake.cluster, fake.slot), encode(fake.announcement())
                    )
                    await client.flush(1)
            await asyncio.sleep(0.2)

    task = asyncio.create_task(announce())
    try:
        yield fake
    finally:
        await tasks.end(task)
        await client.close()
        fake.datagrams.close()


class RelayProcess:
    """`python -m antiphon.relay`, and its counters."""

    def __init__(self, nats_url: str, bind: str, path: str, client: Client, settings: dict[str, str]) -> None:
        self.nats_url = nats_url
        self.name = settings.get("ANTIPHON_RELAY_NAME", "test")
        self._settings = settings
        self.bind = bind
        self.path = path
        self.public: list[Address] = []
        self.tunnels: list[Address] = []
        self.tcp: list[Address] = []
        self._client = client
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        """Where IPv4 clients reach it."""
        return next(each for each in self.public if ":" not in each.host)

    @property
    def tunnel(self) -> Address:
        """Where the tunnel packets of the first worker come from."""
        return self.tunnels[0]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, beside: Sequence[RelayProcess] = ()) -> None:
        """Start it and wait until it is announced and forwards; `beside` others that stand under the same name."""
        others = [[str(address) for address in other.tunnels] for other in beside]
        announced = await self._client.subscribe(subjects.relay_announce(self.name))
        self._process = self._spawn(self._environment())
        deadline = time.monotonic() + PATIENCE
        while True:
            said = decode((await announced.next_msg(PATIENCE)).data, RelayAnnouncement)
            if said.state == "ready" and said.tunnel_addresses not in others:
                break
            assert time.monotonic() < deadline, f"only others are announced: {said}"
        await announced.unsubscribe()
        self.public = [parse_address(text) for text in said.public_addresses]
        self.tunnels = [parse_address(text) for text in said.tunnel_addresses]
        self.tcp = [parse_address(text) for text in said.tcp_addresses]
        self.bind = ",".join(map(str, self.public))  # a restart takes the same ports
        await until(self._forwards, "the relay's packet loop is up")

    def start_anew(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Another process on the same ports with these changes to its environment, not waited for."""
        return self._spawn({**self._environment(), **environment})

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "ANTIPHON_NATS_URL": self.nats_url,
            "ANTIPHON_RELAY_NAME": "test",
            "ANTIPHON_RELAY_BIND": self.bind,
            "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
            "ANTIPHON_RELAY_PATH": self.path,
            "ANTIPHON_RELAY_WORKERS": "1",
            "ANTIPHON_ROUTE_KEYS": ROUTE_KEYS,
            **self._settings,
        }

    def _spawn(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "antiphon.relay"], env=environment)

    async def _forwards(self) -> bool:
        with contextlib.suppress(nats.errors.Error):
            return (await self.statistics()).path == self.path
        return False

    async def statistics(self) -> RelayStatistics:
        reply = await self._client.request(subjects.relay_stats(self.name), b"", timeout=2)
        return decode(reply.data, RelayStatistics)

    async def knows(self, routes: int) -> None:
        """Wait until it forwards to this many transceivers."""

        async def known() -> bool:
            with contextlib.suppress(nats.errors.Error):  # while NATS is away
                return (await self.statistics()).routes == routes
            return False

        await until(known, f"{routes} routes are known")

    async def dropped(self, reason: str, count: int = 1) -> None:
        """Wait until it has dropped this many packets for this reason."""

        async def counted() -> bool:
            return (await self.statistics()).drops.get(reason, 0) >= count

        await until(counted, f"{count} drops for {reason}")

    async def dropped_in_all(self, count: int) -> None:
        """Wait until it has dropped exactly this many packets, for whatever reasons."""

        async def counted() -> bool:
            return sum((await self.statistics()).drops.values()) == count

        await until(counted, f"{count} drops in all")

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)

    def terminate(self) -> int:
        """Ask it to end; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(5)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None


def workers_of(pid: int) -> list[int]:
    """A relay's workers, in the order of their starts: its children but the one that watches its event loop.

    A second after the start the spare one is the last.
    """
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    workers = []
    for each in children:
        with contextlib.suppress(FileNotFoundError):  # it has ended since they were listed
            if b"standstill.py" not in Path(f"/proc/{each}/cmdline").read_bytes():
                workers.append(each)
    return workers


async def _connect(nats_url: str) -> Client:
    return await connection.connect(nats_url, "test")


@asynccontextmanager
async def relay_process(
    nats_url: str,
    path: str = "batched",
    bind: str = "127.0.0.1:0",
    beside: Sequence[RelayProcess] = (),
    settings: dict[str, str] | None = None,
) -> AsyncIterator[RelayProcess]:
    """A running relay on free ports of loopback, with one worker; `settings` are more variables."""
    client = await _connect(nats_url)
    relay = RelayProcess(nats_url, bind, path, client, settings or {})
    try:
        await relay.start(beside)
        yield relay
    finally:
        if relay.is_running():
            relay.terminate()
        await client.close()
