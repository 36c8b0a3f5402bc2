"""A real transceiver process. The test is its relay (a socket that speaks the tunnel), its agent and its signaling."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.peers.transceiver_peer import CarriedPeer
from support.processes.relay_process import PATIENCE, ROUTE_KEYS, Datagrams

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.audio import AudioFrame, pack_frame, unpack_frame
from antiphon.schemas.messages import decode, decode_any, encode

ENVIRONMENT = {
    "ANTIPHON_ROUTE_KEYS": ROUTE_KEYS,
    "ANTIPHON_PASSWORD_KEY": bytes(range(32)).hex(),
    "ANTIPHON_TRANSCEIVER_BIND": "127.0.0.1:0",
    "ANTIPHON_TRANSCEIVER_ADVERTISE": "127.0.0.1",
    # Tests share the machine with each other; the one about lateness sets its own limit.
    "ANTIPHON_MAX_LATENESS_MS": "1000",
}


class Line:
    """A call as its agent sees it."""

    def __init__(self, session_id: str, agent: str = "echo") -> None:
        self.session_id, self.agent = session_id, agent
        self.frames: list[AudioFrame] = []
        self.events: list[messages.Message] = []
        self.data: list[messages.DataMessage] = []

    @property
    def ended(self) -> str | None:
        return next((event.reason for event in self.events if isinstance(event, messages.Ended)), None)

    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, messages.Playout)]


class Bench:
    """The process and everything around it."""

    clients_host = "192.0.2.1"
    """Where our clients are, as the tunnel says it: an address names one client, whichever relay it comes by."""

    def __init__(self, nats_url: str, client: Client) -> None:
        self.nats_url = nats_url
        self.client = client
        self.lines: dict[str, Line] = {}
        self.also: dict[tuple[str, str], Line] = {}
        """By agent and session: of agents that a transfer asks."""
        self.announcement: messages.TransceiverAnnouncement
        self.relay = Datagrams()
        self.clients: dict[bytes, CarriedPeer] = {}
        """By tunnel header."""
        self.bare: list[bytes] = []
        """Headers that came without a payload."""
        self._forgotten = 0
        self.announcing = True
        self.claim_delay = 0.0
        self.accepting = True
        """Else the test answers the claims."""
        self.early: list[tuple[str, bytes]] = []
        """What the agent says before it answers a claim: (`audio` or `data`, payload)."""
        self._process: subprocess.Popen[bytes]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, **environment: str) -> None:
        """Agent and relay first, then the process; returns when it is ready and trusts the relay."""
        await self.client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._announced)
        await self.client.subscribe(subjects.agent_claim("echo"), cb=self._claimed)
        for subject in subjects.session_observed():
            await self.client.subscribe(subject, cb=self._heard)
        self._loop().add_reader(self.relay.socket.fileno(), self._readable)
        self._tasks.append(asyncio.create_task(self._announce_relay()))
        self._spawn(os.environ | ENVIRONMENT | {"ANTIPHON_NATS_URL": self.nats_url} | environment)
        await self.until(lambda: hasattr(self, "announcement"), "it announces itself")
        await self.is_trusted()

    def _spawn(self, settings: dict[str, str]) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "antiphon.transceiver"], env=settings)

    async def is_trusted(self) -> None:
        """Wait until the process has heard of our relay: it answers what was published after the announcement."""
        await self.client.publish(subjects.relay_announce("bench"), encode(self.relay_announcement()))
        await connection.flush(self.client)
        await self.client.request("$SRV.PING.antiphon-transceiver", b"", timeout=5)

    def relay_announcement(self) -> messages.RelayAnnouncement:
        address = str(self.relay.address)
        return messages.RelayAnnouncement(name="bench", public_addresses=[address], tunnel_addresses=[address])

    async def _announce_relay(self) -> None:
        while True:
            if self.announcing and self.client.is_connected:
                with contextlib.suppress(nats.errors.Error, OSError):
                    await self.client.publish(subjects.relay_announce("bench"), encode(self.relay_announcement()))
            await asyncio.sleep(0.2)

    async def _announced(self, message: Msg) -> None:
        self.announcement = decode(message.data, messages.TransceiverAnnouncement)

    async def _claimed(self, message: Msg) -> None:
        claim = decode(message.data, messages.Claim)
        self.lines[claim.session_id] = Line(claim.session_id, claim.agent)
        for kind, payload in self.early:
            subject = subjects.audio_out if kind == "audio" else subjects.data_out
            await self.client.publish(subject(claim.agent, claim.session_id), payload)
        if not self.accepting:
            return
        if self.claim_delay:
            await asyncio.sleep(self.claim_delay)
        await message.respond(encode(messages.ClaimReply(accepted=True, input_rate=16000)))

    async def _heard(self, message: Msg) -> None:
        agent, session_id, kind = subjects.parse_session_subject(message.subject)
        line = self.lines.get(session_id)
        if line is None or agent != line.agent:
            line = self.also.get((agent, session_id))
        if line is None:
            return
        if kind == "audio.in":
            line.frames.append(unpack_frame(message.data))
        elif kind == "event":
            line.events.append(decode_any(message.data, messages.SESSION_EVENT, "event"))
        elif kind == "data.in":
            line.data.append(decode(message.data, messages.DataMessage))

    # ---- the relay

    def _readable(self) -> None:
        for packet in self.relay.waiting():
            read = tunnel.unpack(packet)
            if not read.payload:
                self.bare.append(read.header)
            elif read.header in self.clients:
                self.clients[read.header].receive(read.payload)

    @property
    def address(self) -> Address:
        return parse_address(self.announcement.tunnel_address)

    def peer(self) -> CarriedPeer:
        """A client behind our relay, under an address of its own."""
        header = tunnel.pack_header(Address(self.clients_host, 10_000 + self._forgotten + len(self.clients)))
        peer = CarriedPeer(lambda data: self.relay.send(header + data, self.address))
        self.clients[header] = peer
        return peer

    # ---- signaling

    async def ask(
        self, offer: str, agent: str = "echo", session_id: str | None = None
    ) -> messages.Opened | messages.Refused:
        request = messages.OpenRequest(offer=offer, agent=agent, session_id=session_id)
        subject = subjects.transceiver_open(0, self.announcement.slot)
        if session_id is not None:
            subject = subjects.call_open(session_id)
        reply = await self.client.request(subject, encode(request), timeout=PATIENCE)
        return decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")

    async def opened(self, offer: str) -> messages.Opened:
        """As `ask`, again while our agent is too busy with other clients of the test to answer its claim in time."""
        async with asyncio.timeout(PATIENCE):
            while True:
                reply = await self.ask(offer)
                if isinstance(reply, messages.Opened):
                    return reply
                assert reply.code == "no_agent", reply

    async def call(self, connect: bool = True) -> tuple[CarriedPeer, Line]:
        """A call, with its media and its channel up."""
        peer = self.peer()
        opened = await self.opened(peer.offer())
        peer.begin(opened.answer)
        line = self.lines[opened.session_id]
        if connect:
            await asyncio.wait_for(peer.channel_open.wait(), PATIENCE)
            assert peer.failure is None
            await self.until(lambda: bool(line.frames), "audio of the caller")
        return peer, line

    def forget_clients(self) -> None:
        """What they heard is of no interest any more; addresses are not used again."""
        self._forgotten += len(self.clients)
        self.clients.clear()

    async def control(self, line: Line, control: messages.Message) -> messages.ControlReply:
        reply = await self.client.request(
            subjects.session_control(line.agent, line.session_id), encode(control), timeout=5
        )
        return decode(reply.data, messages.ControlReply)

    async def say(self, line: Line, frames: list[AudioFrame]) -> None:
        for frame in frames:
            await self.client.publish(subjects.audio_out(line.agent, line.session_id), pack_frame(frame))

    async def sessions(self, count: int) -> None:
        """Wait until this many are announced."""
        await self.until(lambda: self.announcement.sessions == count, f"{count} sessions are announced")

    # ---- the process

    @property
    def pid(self) -> int:
        return self._process.pid

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def memory(self) -> float:
        """Resident megabytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    async def figures(self) -> dict[str, Any]:
        """What it tells about itself in the services register."""
        reply = await self.client.request("$SRV.STATS.antiphon-transceiver", b"", timeout=PATIENCE)
        told: dict[str, Any] = json.loads(reply.data)["endpoints"][0]["data"]
        return told

    def threads(self) -> int:
        """As the system counts them."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def is_running(self) -> bool:
        return self._process.poll() is None

    def exit_status(self) -> int | None:
        return self._process.poll()

    async def terminate(self) -> tuple[int, float]:
        """Ask it to end: its exit status, and the seconds it took."""
        began = time.monotonic()
        self._process.terminate()
        status = await asyncio.to_thread(self._process.wait, 10)
        return status, time.monotonic() - began

    async def until(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"not within {patience} s: {what}"
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        for peer in tuple(self.clients.values()):
            await peer.vanish()
        await tasks.end(*self._tasks)
        self._loop().remove_reader(self.relay.socket.fileno())
        if hasattr(self, "_process") and self.is_running():
            self._process.kill()
            self._process.wait()
        self.relay.close()

    @staticmethod
    def _loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()


@asynccontextmanager
async def transceiver_process(nats_url: str, **environment: str) -> AsyncIterator[Bench]:
    """A running transceiver with a relay and an agent named `echo`."""

    client = await connection.connect(nats_url, "test")
    bench = Bench(nats_url, client)
    try:
        await bench.start(**environment)
        yield bench
    finally:
        await bench.close()
        await client.close()
