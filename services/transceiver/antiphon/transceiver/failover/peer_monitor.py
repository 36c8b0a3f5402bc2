"""Finds out that another process has died: a connection breaks or brings no beats, or announcements stay away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from antiphon.runtime import tasks
from antiphon.schemas import messages
from antiphon.transceiver.failover.failure_detector import probe, until_silent
from antiphon.transceiver.failover.peers import Peers, Watched
from antiphon.transceiver.net.endpoint import TransceiverIdentity


class PeerMonitor:
    """Holds a connection to each of the next processes, and probes those that fall silent.

    Owner: the process, from its start to `close`. Event loop only; each connection and each probe is a task of its own.
    """

    def __init__(self, peers: Peers, died: Callable[[TransceiverIdentity, str], Awaitable[None]]) -> None:
        """`died` is awaited with an endpoint and the id of its dead process."""
        self._peers = peers
        self._died = died
        self._connections: dict[str, asyncio.Task[None]] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def announced(self, announcement: messages.TransceiverAnnouncement) -> None:
        """Take note of an announcement of another process."""
        known = self._peers.announced(announcement, self._loop.time())
        if known and announcement.holder not in self._connections:
            self._choose()

    def poll(self, now: float, bus_answers: bool) -> None:
        """Probe the processes of endpoints that are no longer announced."""
        for announcement in self._peers.expire(now, bus_answers):
            self._spawn(self._probe_silent(announcement))

    async def close(self) -> None:
        await tasks.end(*self._connections.values(), *self._probes)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _probe_silent(self, announcement: messages.TransceiverAnnouncement) -> None:
        assert announcement.lifeline is not None
        connection = await probe(announcement.lifeline, announcement.holder)
        if connection is None:
            identity = TransceiverIdentity(announcement.cluster, announcement.slot, announcement.epoch)
            await self._died(identity, announcement.holder)
        else:
            connection[1].close()

    def _choose(self) -> None:
        """Watch the next processes in the order of their ids."""
        watched = self._peers.to_watch()
        for process_id in [each for each in self._connections if each not in watched]:
            self._connections.pop(process_id).cancel()
        for process_id, peer in watched.items():
            if process_id not in self._connections:
                self._connections[process_id] = asyncio.create_task(self._watch(process_id, peer))

    async def _watch(self, process_id: str, peer: Watched) -> None:
        """Hold a connection until the process is dead."""
        try:
            while (connection := await probe(peer.address, process_id)) is not None:
                await until_silent(connection, peer.beats)
        finally:
            if self._connections.get(process_id) is asyncio.current_task():
                del self._connections[process_id]
        self._spawn(self._report(process_id, self._peers.remove_process(process_id)))

    async def _report(self, process_id: str, endpoints: list[TransceiverIdentity]) -> None:
        self._choose()
        for identity in endpoints:
            await self._died(identity, process_id)
