"""Adopts the calls of another region's lost cluster from their copies, as calls of our own endpoint.

The lease on them is ours already. Each copy is taken by compare-and-swap, so that no later one is confirmed to the
former owner; then the session begins behind everything that its owner may have used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from nats.aio.client import Client
from nats.js.errors import KeyWrongLastSequenceError

from antiphon.runtime.nats import buckets
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.addresses import Address
from antiphon.schemas.messages import CopyLease, StoreCopy
from antiphon.schemas.slot_moves import Identity
from antiphon.transceiver.bus.publisher import Publisher
from antiphon.transceiver.copies import sealing
from antiphon.transceiver.copies.copy_keys import ForeignCluster
from antiphon.transceiver.copies.relay_directory import RelayDirectory
from antiphon.transceiver.copies.shelf_bucket import ShelfBucket
from antiphon.transceiver.failover.adoption import Adoption
from antiphon.transceiver.failover.checkpoint_bucket import Found
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints
from antiphon.transceiver.session.state import SessionState

log = logging.getLogger(__name__)

READS_AT_ONCE: Final = 16
NOWHERE: Final = Address("0.0.0.0", 9)
"""Until a check comes, where no relay of ours is announced."""
LEASE_SECONDS: Final = 1.0


class ForeignCalls:
    """Owner: the process, for its whole life; there is none without ANTIPHON_COPY_OF_FILE. Event loop only."""

    def __init__(
        self,
        client: Client,
        shelf: ShelfBucket,
        clusters: Mapping[int, ForeignCluster],
        process_id: str,
        relays: RelayDirectory,
        endpoints: Endpoints,
        adoption: Adoption,
        publisher: Publisher,
        moved: Callable[[], None],
        copied: bool,
    ) -> None:
        """`moved()`: calls were adopted, relays are to be told now. `copied`: our own cluster has a second region as
        well, which keeps copies of these calls from now on."""
        self._client = client
        self._shelf = shelf
        self._crypto = {each.cluster: CheckpointCrypto(each.password_key, process_id) for each in clusters.values()}
        self._relays = relays
        self._endpoints = endpoints
        self._adoption = adoption
        self._publisher = publisher
        self._moved = moved
        self._copied = copied
        self._loop = asyncio.get_running_loop()

    async def adopt(self, lease: CopyLease) -> bool:
        """All calls of this lease that have a copy which counts; False if some are left for want of room."""
        identity: Identity = (lease.cluster, lease.slot, lease.epoch)
        began, adopted, all_of_them = self._loop.time(), 0, True
        keys = await self._shelf.keys(identity)
        for start in range(0, len(keys), READS_AT_ONCE):
            room = self._adoption.load.room
            batch = keys[start : start + min(READS_AT_ONCE, max(0, room))]
            all_of_them &= len(batch) == len(keys[start : start + READS_AT_ONCE])
            taken = await asyncio.gather(*(self._shelf.take(key, lease.generation) for key in batch))
            for copy in taken:
                if copy is not None:
                    adopted += await self._adopt(copy, identity)
        spent = (self._loop.time() - began) * 1000
        log.warning("slot %d.%d, epoch %d, is lost: %d of its calls go on here, %.0f ms", *identity, adopted, spent)
        return all_of_them

    async def _adopt(self, copy: StoreCopy, identity: Identity) -> bool:
        try:
            state = SessionState.from_bytes(sealing.opened(self._crypto[copy.cluster], copy))
        except Exception as error:  # whatever is in it: the other calls go on
            log.error("the copy of call %s can't be read: %s", copy.session_id, error)
            return False
        if state.session_id != copy.session_id:
            log.error("the copy of call %s is of another call", copy.session_id)
            return False
        endpoint = self._endpoints.for_call(self._copied)
        self._move(state, identity, endpoint)
        await self._write_agent_lease(copy, state)
        key = subjects.checkpoint_key(*endpoint.identity, state.session_id)
        if not await self._adoption.adopt(Found(key, 0, state), endpoint):
            return False
        self._moved()
        self._wake_agents(state)
        return True

    def _move(self, state: SessionState, identity: Identity, endpoint: Endpoint) -> None:
        """What the other cluster wrote becomes a state of ours."""
        state.copied = self._copied
        if identity not in state.token_identities:
            state.token_identities.append(identity)
        for ufrag in state.ufrags:
            state.ufrag_clusters.setdefault(ufrag, identity[0])
        state.taken_at = time.time_ns() // 1_000_000
        state.handed_over = False
        if state.path_header and state.path_relay is not None:
            relay = Address(*state.path_relay)
            way = self._relays.way(state.path_header, relay, endpoint.identity, self._loop.time())
            state.path_header, state.path_aliases = way.header, way.also
            host, port = way.relay or NOWHERE
            state.path_relay = host, port

    async def _write_agent_lease(self, copy: StoreCopy, state: SessionState) -> None:
        """As if its holder had left: the next instance of the agent takes the call, with the conversation so far."""
        if not copy.agent_lease:
            return
        try:
            lease = messages.decode(copy.agent_lease.encode(), messages.Lease)
            if (lease.session_id, lease.agent) != (state.session_id, state.agent):
                return
            free = messages.encode(lease.model_copy(update={"instance": ""}))
            async with asyncio.timeout(LEASE_SECONDS):
                bucket = await buckets.bucket(self._client.jetstream(), subjects.BUCKET_LEASES)
                await bucket.create(subjects.lease_key(lease.agent, lease.session_id), free)
        except KeyWrongLastSequenceError:
            log.info("call %s: an agent has its lease here already", state.session_id)
        except (MalformedError, *BUS_ERRORS) as error:
            log.warning("call %s: its agent's lease is not written here: %r", state.session_id, error)

    def _wake_agents(self, state: SessionState) -> None:
        """Instances look for free leases when one of their name has left: this one beats in the lost region, if at
        all."""
        beat = messages.AgentBeat(instance=f"lost-{state.session_id}", leaving=True)
        self._publisher.publish(subjects.agent_beat(state.agent), messages.encode(beat))
