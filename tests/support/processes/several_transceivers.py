"""Several transceiver processes behind a real relay; the test is their agent, signaling and the clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg
from nats.js.errors import BucketNotFoundError, NoKeysError
from support.peers.transceiver_peer import CarriedPeer
from support.processes.relay_process import PATIENCE, Datagrams, RelayProcess, relay_process
from support.processes.transceiver_process import ENVIRONMENT, Bench, Line

from antiphon.runtime import telemetry
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.access import OPEN, Access
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode, decode_any, encode

Identity = tuple[int, int, int]


class Several(Bench):
    """Processes by the pid that their holder has, and calls that may move between them."""

    through: RelayProcess

    async def start(self, **environment: str) -> None:
        """The agent only: processes follow with `spawn`."""
        self.environment = os.environ | ENVIRONMENT | {"ANTIPHON_NATS_URL": self.nats_url} | environment
        self.processes: list[subprocess.Popen[bytes]] = []
        self.endpoints: dict[Identity, messages.TransceiverAnnouncement] = {}
        """What was announced last of each endpoint."""
        self.sockets: list[Datagrams] = []
        await self.client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._announced)
        await self.client.subscribe(subjects.agent_claim("echo"), cb=self._claimed)
        for subject in subjects.session_observed():
            await self.client.subscribe(subject, cb=self._heard)

    async def spawn(self, **environment: str) -> messages.TransceiverAnnouncement:
        """One more process, ready and known to the relay; what it announces."""
        before = set(self.endpoints)
        self.processes.append(self._start_one(environment))
        await self.until(lambda: bool(set(self.endpoints) - before), "it announces itself", 20)
        await self.through.knows(routes=len(self.endpoints))
        return self.endpoints[(set(self.endpoints) - before).pop()]

    def _start_one(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "antiphon.transceiver"], env=self.environment | environment)

    async def _announced(self, message: Msg) -> None:
        said = decode(message.data, messages.TransceiverAnnouncement)
        self.endpoints[said.cluster, said.slot, said.epoch] = said

    def peer(self) -> CarriedPeer:
        """A client with a socket of its own."""
        sock = Datagrams()
        self.sockets.append(sock)
        peer = CarriedPeer(lambda data: sock.send(data, self.through.address))
        self.clients[str(sock.address).encode()] = peer

        def readable() -> None:
            for packet in sock.waiting():
                peer.receive(packet)

        self._loop().add_reader(sock.socket.fileno(), readable)
        return peer

    async def call_on(self, slot: int) -> tuple[CarriedPeer, Line]:
        """A call on the process of that slot, its media and its channel up and its checkpoint stored."""
        peer = self.peer()
        call = telemetry.new_call()
        request = messages.OpenRequest(offer=peer.offer(), agent="echo", trace=call)
        subject, headers = subjects.transceiver_open(0, slot), {"traceparent": call.parent}
        reply = await self.client.request(subject, encode(request), timeout=PATIENCE, headers=headers)
        opened = decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")
        assert isinstance(opened, messages.Opened), opened
        peer.begin(opened.answer)
        line = self.lines[opened.session_id]
        async with asyncio.timeout(PATIENCE):
            await peer.channel_open.wait()
        await self.until(lambda: bool(line.frames), "audio of the caller")
        await self.stored(opened.session_id)
        return peer, line

    async def stored(self, session_id: str) -> None:
        """Wait until the session has a checkpoint, the data channel in it: acknowledged is only what is stored."""
        deadline = time.monotonic() + PATIENCE
        while not any(key.endswith(session_id) for key in await self.checkpoints()):
            assert time.monotonic() < deadline, f"no checkpoint of {session_id}"
            await asyncio.sleep(0.02)

    async def checkpoints(self) -> list[str]:
        """The keys of what is stored."""
        try:
            bucket = await self.client.jetstream().key_value(subjects.BUCKET_SESSIONS)
            return await bucket.keys()
        except (BucketNotFoundError, NoKeysError):
            return []

    async def close(self) -> None:
        await super().close()
        for sock in self.sockets:
            self._loop().remove_reader(sock.socket.fileno())
            sock.close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@asynccontextmanager
async def several_transceivers(nats_url: str, access: Access = OPEN, **environment: str) -> AsyncIterator[Several]:
    """An agent named `echo`, a relay, and room for transceivers. `access`: of the test itself."""

    client = await connection.connect(nats_url, "test", access)
    several = Several(nats_url, client)
    try:
        async with relay_process(nats_url, path="portable") as relay:
            several.through = relay
            await several.start(**environment)
            try:
                yield several
            finally:
                await several.close()
    finally:
        await client.close()
