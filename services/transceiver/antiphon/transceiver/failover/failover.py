"""The parts of failover that run in a process: started, polled and stopped together."""

from __future__ import annotations

import asyncio

from antiphon.runtime import tasks
from antiphon.schemas import messages, subjects
from antiphon.transceiver.failover.checkpoint_writer import CheckpointWriter
from antiphon.transceiver.failover.failure_detector import FailureDetector
from antiphon.transceiver.failover.forwarding import MovedRenewal
from antiphon.transceiver.failover.handover import Handover
from antiphon.transceiver.failover.peer_monitor import PeerMonitor
from antiphon.transceiver.failover.takeover import Takeover
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoints


class Failover:
    """Owner: the process, from its start to `close`; there is none with ANTIPHON_HAND_OVER=0. Event loop only."""

    def __init__(
        self,
        demux: Demux,
        endpoints: Endpoints,
        detector: FailureDetector,
        monitor: PeerMonitor,
        writer: CheckpointWriter,
        takeover: Takeover,
        handover: Handover,
        renewal: MovedRenewal,
    ) -> None:
        self._demux = demux
        self._endpoints = endpoints
        self._detector = detector
        self._monitor = monitor
        self._writer = writer
        self._takeover = takeover
        self._handover = handover
        self._renewal = renewal
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks += [
            asyncio.create_task(each)
            for each in (self._writer.run(), self._takeover.find_orphans(), self._renewal.run())
        ]

    def announced(self, announcement: messages.TransceiverAnnouncement) -> None:
        """Another process announces this endpoint."""
        self._monitor.announced(announcement)

    def poll(self, now: float, bus_answers: bool) -> bool:
        """To be called every 50 ms. True if endpoints were closed: what is announced has changed."""
        for session in self._demux:
            if session.connected and not session.state.listens_to and not self._writer.keeps(session):
                session_id = session.state.session_id
                identity = self._endpoints.of(session_id).identity
                self._writer.keep(session, subjects.checkpoint_key(*identity, session_id))
        self._writer.poll(now)
        self._monitor.poll(now, bus_answers)
        return bool(self._endpoints.close_idle())

    @property
    def can_hand_over(self) -> bool:
        return self._handover.possible

    async def hand_over_all(self) -> int:
        """Ask another process to go on with all our connected sessions; returns how many of them are gone."""
        return await self._handover.hand_over_all()

    async def stop(self) -> None:
        """Take nothing over any more, and write nothing but the ends of sessions."""
        await tasks.end(*self._tasks)
        await self._writer.close()
        await self._monitor.close()

    async def close(self) -> None:
        """The last step of the process: other processes see from now on that it is gone."""
        await self._detector.close()
