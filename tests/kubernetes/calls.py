"""Calls that are held while a cluster is worked on, and what they notice: packets lost each way, gaps, ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import httpx

from antiphon.cli.call.webrtc_client import Peer
from antiphon.cli.errors import CallError
from antiphon.rtc.rtp.packet import is_rtcp

PERIOD: Final = 0.02
LONGEST_JUMP: Final = 1000
"""Numbers that a stream leaves out by itself when another process goes on with it (reserved ranges): no losses."""


@dataclass
class Downlink:
    """The packets of a call's agent as they arrive, counted before anything is decrypted."""

    received: int = 0
    lost: int = 0
    jumps: int = 0
    gap: float = 0.0
    """The longest time without a packet, s."""
    last: float = 0.0
    highest: int = -1

    def add(self, datagram: bytes, now: float) -> None:
        """Count one SRTP packet."""
        number = int.from_bytes(datagram[2:4], "big")
        if self.last:
            self.gap = max(self.gap, now - self.last)
        self.last = now
        self.received += 1
        if self.highest < 0:
            self.highest = number
            return
        ahead = (number - self.highest) & 0xFFFF
        if ahead < 0x8000:
            self.highest = number
            if ahead > LONGEST_JUMP:
                self.jumps += 1
            else:
                self.lost += ahead - 1 if ahead else 0
        else:
            self.lost -= 1  # it was counted as lost, and came late

    def start(self, now: float) -> None:
        """Begin a phase."""
        self.received = self.lost = self.jumps = 0
        self.gap, self.last = 0.0, now if self.last else 0.0


class MeasuredCall(Peer):
    """One call, and what its client notices. Owner: `Calls`; event loop only."""

    def __init__(self, agent: str) -> None:
        super().__init__(lambda _: None, lambda _: None)
        self.agent = agent
        self.downlink = Downlink()
        self.reported = False
        """Its end was told of in a phase."""
        self._lost_up_before = 0

    @property
    def over(self) -> bool:
        """The server has ended it."""
        return self.closed.is_set() or self.failure is not None

    def start_phase(self) -> None:
        """What is counted from now on belongs to the next phase."""
        self.downlink.start(time.monotonic())
        self._lost_up_before = self.lost_to_server or 0

    @property
    def lost_up(self) -> int:
        """Of our packets in this phase, as the server reports it."""
        return max(0, (self.lost_to_server or 0) - self._lost_up_before)

    @property
    def gap(self) -> float:
        """The longest time without speech of the agent in this phase, the one that lasts included."""
        link = self.downlink
        return max(link.gap, time.monotonic() - link.last) if link.last else 0.0

    def _receive(self, datagram: bytes, now: float) -> None:
        if 127 < datagram[0] < 192 and not is_rtcp(datagram):
            self.downlink.add(datagram, time.monotonic())
        super()._receive(datagram, now)


@dataclass(frozen=True)
class Phase:
    """What the calls noticed of one piece of work. A value."""

    name: str
    seconds: float
    calls: int
    ended: list[str]
    """Why, of each that ended."""
    lost_down: int
    lost_up: int
    gaps: list[float]
    """Of the calls whose agent speaks without end, s, the shortest first."""

    @property
    def gap_p95(self) -> float:
        return self.gaps[max(0, -(-len(self.gaps) * 95 // 100) - 1)] if self.gaps else 0.0

    def row(self) -> str:
        """A line of the table."""
        ended = len(self.ended)
        gaps = f"{self.gap_p95 * 1000:.0f} / {self.gaps[-1] * 1000 if self.gaps else 0:.0f} ms"
        return f"| {self.name} | {self.seconds:.0f} s | {ended} | {self.lost_up} | {self.lost_down} | {gaps} |"


HEADER: Final = "| what | took | calls ended | packets lost up | down | gap p95 / max |\n|---|---|---|---|---|---|"


class Calls:
    """All calls of a run. Owner: the run."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key
        self.calls: list[MeasuredCall] = []

    async def place(self, agents: list[str], speaking: str) -> None:
        """One call to each agent in turn, connected, its data channel open; `speaking` speaks without end.

        `CallError` says what failed.
        """
        for agent in agents:
            self.calls.append(await self._place_one(agent))
        async with asyncio.timeout(20):
            while not all(  # noqa: ASYNC110  # packets end it
                call.downlink.received > 50 for call in self.calls if call.agent == speaking
            ):
                await asyncio.sleep(0.1)

    async def _place_one(self, agent: str) -> MeasuredCall:
        for attempt in range(8):
            call = MeasuredCall(agent)
            try:
                await call.connect(self._url, agent, self._key)
                async with asyncio.timeout(10):
                    await call.channel_open.wait()
                return call
            except (CallError, TimeoutError) as error:
                await call.vanish()
                if attempt == 7:
                    raise CallError(f"no call to {agent}: {error}") from None
                await asyncio.sleep(2)
        raise AssertionError

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(*(call.close() for call in self.calls), return_exceptions=True)

    def start_phase(self) -> float:
        """When the next phase began."""
        for call in self.calls:
            call.start_phase()
        return time.monotonic()

    async def phase(self, name: str, seconds: float, speaking: str) -> Phase:
        """What was noticed since `start_phase`; `seconds`: how long the work took."""
        held = [call for call in self.calls if not call.reported]
        ended = [reason for call in held if (reason := await self._why_over(call))]
        going_on = [call for call in held if not call.reported]
        return Phase(
            name,
            seconds,
            len(going_on),
            ended,
            sum(max(0, call.downlink.lost) for call in going_on),
            sum(call.lost_up for call in going_on),
            sorted(call.gap for call in going_on if call.agent == speaking),
        )

    @staticmethod
    async def _why_over(call: MeasuredCall) -> str:
        """Empty: it goes on, at the client and at the server."""
        try:
            status = await call.fate()
        except (httpx.HTTPError, CallError, OSError):
            status = None
        if not call.over and not (status is not None and status.over):
            return ""
        call.reported = True
        return f"{call.agent} {call.session_id}: {status.message if status else 'closed'}"
