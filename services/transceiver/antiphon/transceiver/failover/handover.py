"""Gives our sessions to another process when this one is about to end. Nothing of them is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from nats.aio.client import Client

from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.failover.checkpoint_writer import CheckpointWriter
from antiphon.transceiver.failover.peers import Peers
from antiphon.transceiver.failover.takeover import REQUEST_SECONDS
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints

log = logging.getLogger(__name__)


class Handover:
    """Writes each connected session with exact counters, and asks another process to take our endpoints over.

    Owner: the process; it calls `hand_over_all` once, while it drains. Event loop only.
    """

    def __init__(
        self,
        client: Client,
        process_id: str,
        writer: CheckpointWriter,
        peers: Peers,
        demux: Demux,
        endpoints: Endpoints,
    ) -> None:
        self._client = client
        self._process_id = process_id
        self._writer = writer
        self._peers = peers
        self._demux = demux
        self._endpoints = endpoints

    @property
    def possible(self) -> bool:
        """Another process takes calls."""
        return bool(self._peers.ready())

    async def hand_over_all(self) -> int:
        """Ask another process to go on with all our connected sessions; returns how many of them are gone."""
        gone = 0
        for endpoint in self._endpoints:
            peers = self._peers.ready()
            if peers and (endpoint.sessions or endpoint.moved):
                gone += await self._hand_over(endpoint, peers)
        return gone

    async def _hand_over(self, endpoint: Endpoint, peers: Sequence[messages.TransceiverAnnouncement]) -> int:
        sessions = [session for each in endpoint.sessions if (session := self._demux.get(each)) is not None]
        gone = sum(await asyncio.gather(*map(self._writer.hand_over, sessions)))
        if gone or endpoint.moved:
            endpoint.withdraw()  # from here on only the process that has the sessions may announce it
            await self._ask_to_take_over(endpoint, peers)
        return gone

    async def _ask_to_take_over(self, endpoint: Endpoint, peers: Sequence[messages.TransceiverAnnouncement]) -> None:
        """The first one that does; the least loaded is asked first."""
        asked = messages.encode(messages.TakeOver(**endpoint.identity._asdict(), holder=self._process_id))
        for peer in peers:
            try:
                subject = subjects.transceiver_take_over(peer.cluster, peer.slot)
                answered = await self._client.request(subject, asked, timeout=REQUEST_SECONDS)
                reply = messages.decode(answered.data, messages.ControlReply)
            except (MalformedError, *BUS_ERRORS) as error:
                log.warning("slot %d.%d takes nothing over: %r", peer.cluster, peer.slot, error)
                continue
            if reply.ok:
                return
            log.warning("slot %d.%d takes nothing over: %s", peer.cluster, peer.slot, reply.message)
