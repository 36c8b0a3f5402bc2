"""What happens when another process announces a slot of ours: it was taken, or one of us was taken for dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from nats.aio.client import Client

from antiphon.runtime import tasks
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import messages
from antiphon.transceiver.bus.announcer import Announcer
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.calls.slot_service import SlotService
from antiphon.transceiver.failover.checkpoint_bucket import CheckpointBucket
from antiphon.transceiver.failover.slot_claim import claim_slot
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity

log = logging.getLogger(__name__)

_FIXED: Final = "; ANTIPHON_SLOT is fixed, so no new calls are taken: give each process a slot of its own"


class SlotKeeper:
    """Releases what another process has taken, and takes another slot for new calls.

    Owner: the process, from its start to `close`. Event loop only; a change of slot is a task, one at a time.
    """

    def __init__(
        self,
        client: Client,
        process_id: str,
        fixed: bool,
        demux: Demux,
        endpoints: Endpoints,
        open_endpoint: Callable[[TransceiverIdentity], Endpoint],
        opener: SessionOpener,
        announcer: Announcer,
        service: SlotService,
        bucket: CheckpointBucket | None,
    ) -> None:
        """`fixed`: ANTIPHON_SLOT is set, so no other slot may be taken. `bucket` None: without failover."""
        self._client = client
        self._process_id = process_id
        self._fixed = fixed
        self._demux = demux
        self._endpoints = endpoints
        self._open_endpoint = open_endpoint
        self._opener = opener
        self._announcer = announcer
        self._service = service
        self._bucket = bucket
        self._changing: asyncio.Task[None] | None = None

    async def announced(self, announcement: messages.TransceiverAnnouncement) -> None:
        """Another process announces this. Nothing happens unless it is a slot of ours."""
        for endpoint in self._endpoints:
            cluster, slot, epoch = endpoint.identity
            if (announcement.cluster, announcement.slot) != (cluster, slot):
                continue
            newer = 0 < (announcement.epoch - epoch) % (1 << 16) < 1 << 15
            if announcement.epoch == epoch and announcement.holder and self._bucket is not None:
                await self._check_claim(endpoint, self._bucket)
            elif newer and endpoint is self._endpoints.own:
                self._change("another process has taken it")

    async def close(self) -> None:
        if self._changing is not None:
            await tasks.end(self._changing)

    async def _check_claim(self, endpoint: Endpoint, bucket: CheckpointBucket) -> None:
        """Another process announces our very identity: the sessions belong to the process that claimed it."""
        if self._opener.draining:
            return
        if await self._is_ours(endpoint, bucket):
            self._announcer.changed()
            return
        endpoint.set_moved(())
        for session_id in tuple(endpoint.sessions):
            session = self._demux.get(session_id)
            if session is not None:
                session.detach()
        if endpoint is self._endpoints.own:
            endpoint.withdraw()
            self._change("its sessions were taken over by another process")

    async def _is_ours(self, endpoint: Endpoint, bucket: CheckpointBucket) -> bool:
        """Without an answer of NATS it is."""
        try:
            claimant = await bucket.claimant_of(endpoint.identity)
        except BUS_ERRORS:
            return True
        return claimant in (None, self._process_id)

    def _change(self, why: str) -> None:
        if self._changing is None or self._changing.done():
            self._changing = asyncio.create_task(self._change_slot(why))

    async def _change_slot(self, why: str) -> None:
        """Take another slot for new sessions; those at the lost endpoint run on there."""
        cluster, slot, epoch = self._endpoints.own.identity
        log.error("slot %d, epoch %d, is lost: %s%s", slot, epoch, why, _FIXED if self._fixed else "")
        if self._fixed:
            self._opener.drain()
            self._announcer.changed()
            return
        try:
            await self._service.stop()
            identity = await claim_slot(self._client.jetstream(), cluster, None)
            self._endpoints.replace_own(self._open_endpoint(identity))
            await self._service.start(identity)
        except (RuntimeError, *BUS_ERRORS) as error:
            log.error("no other slot could be taken: %r", error)  # the next announcement brings us here again
            return
        self._announcer.changed()
        log.info("slot %d of cluster %d, epoch %d, ready", identity.slot, cluster, identity.epoch)
