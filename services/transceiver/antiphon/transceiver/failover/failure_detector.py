"""Lines between processes that break when one of them dies, which tells the others at once.

Each process listens on a TCP port, says who it is to whoever connects, and then holds the line. The kernel closes
it the moment the process is gone, however it went: its neighbours know within milliseconds, where announcements
would take seconds. A line that breaks proves nothing yet; a port that nobody answers on, or somebody else, does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from antiphon.runtime import tasks
from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas import messages
from antiphon.schemas.addresses import Address, parse_address
from antiphon.transceiver.net.endpoint import Identity

log = logging.getLogger(__name__)

NEIGHBOURS: Final = 2
"""Processes that each one watches: the next in the order of their names, so that each is watched by two."""
ANSWER_WITHIN: Final = 1.0
"""Seconds for a process to say who it is: longer than its loop ever stands still."""
MAX_LINES: Final = 64
MAX_KNOWN: Final = 4096


class FailureDetector:
    """Our end."""

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self.port = 0
        self._server: asyncio.Server
        self._lines: set[asyncio.StreamWriter] = set()

    async def start(self, host: str) -> None:
        """Listen on a free port of this address."""
        self._server = await asyncio.start_server(self._connected, host, 0, limit=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        for line in tuple(self._lines):
            line.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(writer)
        try:
            writer.write(self.holder.encode() + b"\n")
            if len(self._lines) <= MAX_LINES:
                await reader.read(1)  # nobody says anything: the end of the line
        except OSError:
            pass
        finally:
            self._lines.discard(writer)
            writer.close()


async def answers(lifeline: str, holder: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """A line to the process of that name, or None if it is not there any more."""
    address = parse_address(lifeline)
    writer = None
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            reader, writer = await asyncio.open_connection(address.host, address.port, limit=1024)
            if await reader.readline() == holder.encode() + b"\n":
                line, writer = (reader, writer), None
                return line
    except (OSError, TimeoutError, ValueError):
        pass
    finally:
        if writer is not None:
            writer.close()
    return None


class Known(NamedTuple):
    """What one process said last of one of its seats."""

    said: messages.TransceiverAnnouncement
    heard: float


class Peers:
    """The other processes, by what they announce, and lines to the next ones.

    `died` is called with a seat and the name of its dead process.
    """

    def __init__(self, holder: str, cluster: int, died: Callable[[Identity, str], Awaitable[None]]) -> None:
        self._holder = holder
        self._cluster = cluster
        self._died = died
        self._known: dict[Identity, Known] = {}
        self._lines: dict[str, asyncio.Task[None]] = {}
        self._questions: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def heard(self, said: messages.TransceiverAnnouncement) -> None:
        """Take note of an announcement of another process of our cluster."""
        if said.cluster != self._cluster or said.lifeline is None or said.holder in ("", self._holder):
            return
        identity = (said.cluster, said.slot, said.epoch)
        if identity in self._known or len(self._known) < MAX_KNOWN:
            self._known[identity] = Known(said, self._loop.time())
        if said.holder not in self._lines:
            self._choose()

    def poll(self, now: float, bus_answers: bool) -> None:
        """Look after processes that have fallen silent, while they could be heard."""
        for identity, known in tuple(self._known.items()):
            if not bus_answers:
                self._known[identity] = known._replace(heard=now)
            elif now - known.heard > ANNOUNCE_TTL:
                del self._known[identity]
                self._ask(self._look_after(identity, known.said))

    def identities(self) -> set[Identity]:
        """The seats that were announced lately."""
        return set(self._known)

    def others(self) -> list[messages.TransceiverAnnouncement]:
        """What the others announce that take calls, the least loaded first."""
        ready = [known.said for known in self._known.values() if known.said.state == "ready"]
        return sorted(ready, key=lambda said: said.sessions / max(1, said.capacity))

    def address_of(self, identity: Identity) -> Address | None:
        """Where the seat is reached, whoever has it."""
        known = self._known.get(identity)
        return parse_address(known.said.tunnel_address) if known is not None else None

    def lives(self, holder: str) -> bool:
        """Whether that process has announced anything lately; we ourselves do."""
        return holder == self._holder or any(known.said.holder == holder for known in self._known.values())

    def announces(self, address: Address) -> bool:
        """Whether one of the others is reached there."""
        return any(parse_address(known.said.tunnel_address) == address for known in self._known.values())

    async def close(self) -> None:
        await tasks.end(*self._lines.values(), *self._questions)

    def _ask(self, question: Awaitable[None]) -> None:
        task = asyncio.ensure_future(question)
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def _look_after(self, identity: Identity, said: messages.TransceiverAnnouncement) -> None:
        assert said.lifeline is not None
        line = await answers(said.lifeline, said.holder)
        if line is None:
            await self._died(identity, said.holder)
        else:
            line[1].close()

    def _choose(self) -> None:
        """Follow the next processes in the order of their names."""
        lifelines = {known.said.holder: known.said.lifeline for known in self._known.values()}
        after = sorted(lifelines, key=lambda holder: (holder < self._holder, holder))[:NEIGHBOURS]
        for holder in [holder for holder in self._lines if holder not in after]:
            self._lines.pop(holder).cancel()
        for holder in after:
            if holder not in self._lines:
                self._lines[holder] = asyncio.create_task(self._follow(holder, lifelines[holder] or ""))

    async def _follow(self, holder: str, lifeline: str) -> None:
        """Hold the line until its other end is dead."""
        try:
            while (line := await answers(lifeline, holder)) is not None:
                reader, writer = line
                try:
                    with contextlib.suppress(OSError):
                        await reader.read(1)
                finally:
                    writer.close()
        finally:
            if self._lines.get(holder) is asyncio.current_task():
                del self._lines[holder]
        dead = [identity for identity, known in self._known.items() if known.said.holder == holder]
        for identity in dead:
            del self._known[identity]
        self._ask(self._bury(holder, dead))

    async def _bury(self, holder: str, dead: list[Identity]) -> None:
        self._choose()
        for identity in dead:
            await self._died(identity, holder)


def lifeline_address(host: str, port: int) -> str:
    """As it is announced."""
    return str(Address(host, port))
