"""The parts of copies that run in a process: started, polled and stopped together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.runtime import tasks
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.copies.copy_owner import CopyOwner
from antiphon.transceiver.copies.copy_service import CopyService
from antiphon.transceiver.copies.lease_watch import LeaseWatch
from antiphon.transceiver.copies.move_announcer import MoveAnnouncer
from antiphon.transceiver.copies.relay_directory import RelayDirectory
from antiphon.transceiver.failover.slot_claim import claim_slot
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 5.0
"""After no slot for copied calls could be claimed."""


class SecondRegion:
    """What a process does for other clusters. A value."""

    def __init__(self, watch: LeaseWatch, service: CopyService, moves: MoveAnnouncer, relays: RelayDirectory) -> None:
        self.watch = watch
        self.service = service
        self.moves = moves
        self.relays = relays


class CopiesOfCalls:
    """Owner: the process, from its start to `close`. Event loop only."""

    def __init__(
        self,
        client: Client,
        cluster: int,
        endpoints: Endpoints,
        open_endpoint: Callable[[TransceiverIdentity], Endpoint],
        announce: Callable[[], None],
        owner: CopyOwner | None,
        second: SecondRegion | None,
    ) -> None:
        """`owner` None: our own calls have no copies. `second` None: we keep none of other clusters."""
        self._client = client
        self._cluster = cluster
        self._endpoints = endpoints
        self._open_endpoint = open_endpoint
        self._announce = announce
        self._owner = owner
        self._second = second
        self._claiming: asyncio.Task[None] | None = None
        self._claim_at = 0.0
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Take a slot for copied calls, and serve the clusters that we are the second region of."""
        if self._owner is not None:
            await self._claim()
        if self._second is not None:
            await self._client.subscribe(subjects.ANY_RELAY_ANNOUNCE, cb=self._relay_announced)
            await self._second.service.start(self._cluster)
            self._second.watch.start()

    def poll(self, now: float) -> None:
        """To be called every 50 ms."""
        if self._owner is not None:
            self._owner.poll()
            if self._owner.lost(self._endpoints.for_call(copied=True)) and self._claiming is None:
                # Relays send what names this slot elsewhere: new calls need another one.
                self._claiming = asyncio.create_task(self._claim_another())
        if self._second is not None:
            self._second.watch.poll()
            self._second.moves.poll(now)

    async def _relay_announced(self, message: Msg) -> None:
        if self._second is not None:
            try:
                relay = messages.decode(message.data, messages.RelayAnnouncement)
            except MalformedError:
                return  # `RelayLink` says so
            self._second.relays.announced(relay, self._loop.time())

    async def _claim(self) -> None:
        identity = await claim_slot(self._client.jetstream(), self._cluster, None)
        self._endpoints.set_copied(self._open_endpoint(identity))
        log.info("slot %d of cluster %d, epoch %d, is for calls with a copy", identity.slot, *identity[::2])
        self._announce()

    async def _claim_another(self) -> None:
        try:
            await self._claim()
        except (RuntimeError, *BUS_ERRORS) as error:
            log.error("no other slot for copied calls could be taken: %r", error)
            await asyncio.sleep(AGAIN_SECONDS)
        finally:
            self._claiming = None

    async def close(self) -> None:
        """Take nothing on any more, and finish what was begun for calls that have ended."""
        if self._claiming is not None:
            await tasks.end(self._claiming)
        if self._second is not None:
            await self._second.watch.close()
            await self._second.service.close()
        if self._owner is not None:
            await self._owner.close()
