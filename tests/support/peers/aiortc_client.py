"""A call by stock aiortc through HTTP and UDP, as a foreign client places it."""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import httpx
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame
from support.conditions import until
from support.models.sounds import tone
from support.net.middlebox import with_relay

from antiphon.runtime import tasks
from antiphon.schemas.addresses import Address

LOOK_SECONDS = 0.01


class Tone(MediaStreamTrack):
    """20 ms of a tone at a time, on schedule."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._pcm = tone(1.0, 48000)
        self._number = 0
        self._due = 0.0

    async def recv(self) -> AudioFrame:
        loop = asyncio.get_running_loop()
        self._due = max(self._due + 0.02, loop.time() - 0.1)
        await asyncio.sleep(max(0.0, self._due - loop.time()))
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        at = self._number % 50 * 1920
        frame.planes[0].update(self._pcm[at : at + 1920])
        frame.sample_rate, frame.pts, frame.time_base = 48000, self._number * 960, fractions.Fraction(1, 48000)
        self._number += 1
        return frame


class AiortcClient:
    """One call, and when packets of the agent arrived."""

    def __init__(self) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.arrivals: list[float] = []
        """Unix times at which more had been received than before."""
        self.channel = self.peer.createDataChannel("oai-events")
        self.states: list[str] = []
        """Of the connection, as they came."""
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, url: str, agent: str, relay: Address | None = None) -> None:
        """Place the call; `relay` stands in for those of the answer."""
        peer = self.peer
        peer.on("connectionstatechange", lambda: self.states.append(peer.connectionState))
        peer.on("track", lambda track: self._tasks.append(asyncio.create_task(_play(track))))
        peer.addTrack(Tone())
        await peer.setLocalDescription(await peer.createOffer())
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.post(
                urljoin(url, "/v1/realtime/calls"),
                params={"agent": agent},
                content=peer.localDescription.sdp,
                headers={"Content-Type": "application/sdp"},
            )
        assert reply.status_code == 201, reply.text
        answer = reply.text if relay is None else with_relay(reply.text, relay)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        self._tasks.append(asyncio.create_task(self._watch()))
        await until(lambda: len(self.arrivals) > 50, 30)

    async def packets_received(self) -> int:
        """RTP packets so far."""
        stats = await self.peer.getReceivers()[0].getStats()
        return sum(each.packetsReceived for each in stats.values() if each.type == "inbound-rtp")

    async def _watch(self) -> None:
        so_far = 0
        while True:
            stats = await self.peer.getStats()
            received = sum(each.packetsReceived for each in stats.values() if each.type == "inbound-rtp")
            if received > so_far:
                so_far = received
                self.arrivals.append(time.time())
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        await self.peer.close()
        await tasks.end(*self._tasks)


async def _play(track: MediaStreamTrack) -> None:
    """Take frames as they come: what nobody takes is kept."""
    while True:
        await track.recv()


@asynccontextmanager
async def aiortc_call(url: str, agent: str, relay: Address | None = None) -> AsyncIterator[AiortcClient]:
    """A connected call in which the agent is heard."""
    client = AiortcClient()
    try:
        await client.connect(url, agent, relay)
        yield client
    finally:
        await client.close()
