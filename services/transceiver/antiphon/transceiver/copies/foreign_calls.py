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

from antiphon.schemas import subjects
from antiphon.schemas.addresses import Address
from antiphon.schemas.messages import CopyLease, StoreCopy, encode
from antiphon.schemas.route_token import ice_password
from antiphon.schemas.slot_moves import Identity, SlotMove
from antiphon.transceiver.copies import sealing
from antiphon.transceiver.copies.agent_leases import AgentLeases
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
MAX_MOVES: Final = 8
"""Of one call: relays follow no more."""
NOWHERE: Final = Address("0.0.0.0", 9)
"""Until a check comes, where no relay of ours is announced."""


class ForeignCalls:
    """Owner: the process, for its whole life; there is none without ANTIPHON_COPY_OF_FILE. Event loop only."""

    def __init__(
        self,
        clusters: Mapping[int, ForeignCluster],
        shelf: ShelfBucket,
        crypto: Mapping[int, CheckpointCrypto],
        relays: RelayDirectory,
        endpoints: Endpoints,
        adoption: Adoption,
        agent_leases: AgentLeases,
        moved: Callable[[], None],
        copied: bool,
    ) -> None:
        """`moved()`: calls were adopted, relays are to be told now. `copied`: our own cluster has a second region as
        well, which keeps copies of these calls from now on."""
        self._clusters = clusters
        self._shelf = shelf
        self._crypto = crypto
        self._relays = relays
        self._endpoints = endpoints
        self._adoption = adoption
        self._agent_leases = agent_leases
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
            # Side by side: each call waits for answers of NATS, and all of their callers receive nothing meanwhile.
            adopted += sum(await asyncio.gather(*(self._take(key, lease.generation, identity) for key in batch)))
        spent = (self._loop.time() - began) * 1000
        log.warning("slot %d.%d, epoch %d, is lost: %d of its calls go on here, %.0f ms", *identity, adopted, spent)
        return all_of_them

    async def _take(self, key: str, generation: int, identity: Identity) -> bool:
        copy = await self._shelf.take(key, generation)
        return copy is not None and await self._adopt(copy, identity)

    async def _adopt(self, copy: StoreCopy, identity: Identity) -> bool:
        try:
            content = sealing.Content.from_bytes(sealing.opened(self._crypto[copy.cluster], copy))
            state = SessionState.from_bytes(content.state)
        except Exception as error:  # whatever is in it: the other calls go on
            log.error("the copy of call %s can't be read: %s", copy.session_id, error)
            return False
        if state.session_id != copy.session_id:
            log.error("the copy of call %s is of another call", copy.session_id)
            return False
        endpoint = self._endpoints.for_call(self._copied)
        self._move(state, identity, endpoint)
        key = subjects.checkpoint_key(*endpoint.identity, state.session_id)
        if not await self._adoption.adopt(Found(key, 0, state), endpoint):
            return False
        self._moved()
        # Not before the call answers here: an agent that was woken for the one before finds this lease at once, and
        # takes a call that does not answer for one that is over.
        await self._agent_leases.free(content.agent_lease, state.agent, state.session_id)
        await self._agent_leases.wake(state.agent, state.session_id)
        return True

    def _move(self, state: SessionState, identity: Identity, endpoint: Endpoint) -> None:
        """What the other cluster wrote becomes a state of ours."""
        state.copied = self._copied
        if identity not in state.token_identities:
            state.token_identities.append(identity)
        from_cluster = self._clusters[identity[0]]
        for ufrag in state.ufrags:
            state.foreign_passwords.setdefault(ufrag, ice_password(from_cluster.password_key, ufrag))
        state.taken_at = time.time_ns() // 1_000_000
        move = SlotMove(identity, endpoint.identity, state.taken_at)
        state.slot_moves = [*state.slot_moves, encode(from_cluster.signed(move)).decode()][-MAX_MOVES:]
        state.handed_over = False
        if state.path_header and state.path_relay is not None:
            relay = Address(*state.path_relay)
            way = self._relays.way(state.path_header, relay, endpoint.identity, self._loop.time())
            state.path_header, state.path_aliases = way.header, way.also
            host, port = way.relay or NOWHERE
            state.path_relay = host, port
