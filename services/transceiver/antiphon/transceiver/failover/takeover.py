"""Takes over the sessions of a process that has died, or that asks for it because it is about to end.

One process takes a whole endpoint of another: the tokens of its clients name that endpoint, and relays route them to
the process that announces it last. Which one that is a compare-and-swap decides; each session is fenced by another one.
Sessions that are too many for it go to third processes, at endpoints of theirs (`distribution`): media finds them by
their flows, and checks, which name the old endpoint, are forwarded to them (`forwarding`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from nats.aio.client import Client

from antiphon.runtime import telemetry
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls.control_rpc import Refusal, Request, answer
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.failover.adoption import Adoption
from antiphon.transceiver.failover.checkpoint_bucket import CheckpointBucket, Found
from antiphon.transceiver.failover.peers import Peers
from antiphon.transceiver.failover.takeover_planner import Adopt, Leave, Rescan, Share, TakeoverPlanner, orphans
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity

log = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 5.0
"""For another process to take over, or to adopt, what we ask it to."""
ADOPTED_AT_ONCE: Final = 8
"""Nearly all of an adoption is waiting for NATS: one at a time, ten calls took 165 ms, and 960 ms on crowded cores."""


class Takeover:
    """Makes the endpoints of dead processes ours, with their sessions.

    Owner: the process, for its whole life. Event loop only. Called by `PeerMonitor`, by requests of other processes
    and by its own `find_orphans`, which is a task; several takeovers may run at a time, of different endpoints.
    """

    def __init__(
        self,
        client: Client,
        bucket: CheckpointBucket,
        peers: Peers,
        endpoints: Endpoints,
        open_endpoint: Callable[[TransceiverIdentity], Endpoint],
        adoption: Adoption,
        publisher: Publisher,
        announce: Callable[[], None],
        take_back: Callable[[TransceiverIdentity], Awaitable[bool]] | None = None,
    ) -> None:
        """`open_endpoint` makes an endpoint that receives; `announce` announces all endpoints now. `take_back`: makes
        the copies of its calls void, in whichever region; None: we have no second region."""
        self._take_back = take_back
        self._client = client
        self._bucket = bucket
        self._peers = peers
        self._endpoints = endpoints
        self._open_endpoint = open_endpoint
        self._adoption = adoption
        self._publisher = publisher
        self._announce = announce
        self._loop = asyncio.get_running_loop()

    async def died(self, identity: TransceiverIdentity, process_id: str | None) -> None:
        """A process is gone: take over this endpoint of it, if no other process does.

        `process_id` None: whichever process has it does not announce it.
        """
        began = self._loop.time()
        planner = TakeoverPlanner(identity)
        if isinstance(planner.process_died(self._adoption.load, self._peers.ready()), Leave):
            return
        try:
            taken = await self._take(planner, identity, process_id)
        except BUS_ERRORS as error:
            log.warning("the sessions of slot %d.%d, epoch %d, can't be taken over: %r", *identity, error)
            return
        if process_id is not None:
            with contextlib.suppress(*BUS_ERRORS):
                await self._take_what_it_had_taken(process_id)
        if taken:
            spent = (self._loop.time() - began) * 1000
            log.warning("slot %d.%d, epoch %d, is dead: %d sessions taken over in %.0f ms", *identity, taken, spent)

    async def _take_what_it_had_taken(self, process_id: str) -> None:
        """Endpoints that the dead process had taken over itself, and had not announced to us yet."""
        for identity in await self._bucket.claimed_by(process_id):
            await self._take(TakeoverPlanner(identity), identity, process_id)

    async def requested(self, request: Request) -> None:
        """Handler of the `take_over` subject."""
        await answer(request, self._take_as_asked)

    async def _take_as_asked(self, data: bytes) -> str:
        asked = messages.decode(data, messages.TakeOver)
        if self._adoption.load.room <= 0:
            raise Refusal("no room: all sessions are taken, or this transceiver ends as well")
        identity = TransceiverIdentity(asked.cluster, asked.slot, asked.epoch)
        return f"{await self._take(TakeoverPlanner(identity), identity, asked.holder)} sessions"

    async def find_orphans(self) -> None:
        """Once, some time after our start: sessions of processes that died before any process watched them."""
        started_at = self._loop.time()
        plan = orphans(started_at, started_at, (), ())
        while isinstance(plan, Rescan):
            await asyncio.sleep(plan.at - self._loop.time())
            known = {endpoint.identity for endpoint in self._endpoints} | self._peers.identities()
            try:
                plan = orphans(started_at, self._loop.time(), await self._bucket.identities(), known)
            except BUS_ERRORS:
                return
        for take in plan:
            await self.died(take.identity, None)

    async def _take(self, planner: TakeoverPlanner, identity: TransceiverIdentity, process_id: str | None) -> int:
        """The number of its sessions that are with us or where we forward to."""
        prefix = subjects.checkpoint_prefix(*identity)
        found, moved = await self._bucket.read(prefix)
        if not (found or moved) or not await self._bucket.claim(identity, process_id, self._peers.is_alive):
            return 0
        endpoint = self._open_endpoint(identity)
        self._endpoints.keep(endpoint)
        may_adopt_copied: bool | None = None
        with endpoint.filling():
            self._announce()  # relays route the dead one's clients to us before the first session is made
            while True:
                endpoint.set_moved(moved)
                if may_adopt_copied is None and any(each.state.copied for each in found):
                    may_adopt_copied = await self._may_adopt_copied(identity)
                found = [each for each in found if may_adopt_copied or not each.state.copied]
                plan = planner.checkpoints_read(found, endpoint.sessions, self._adoption.load, self._peers.ready())
                if isinstance(plan, Leave):
                    break
                await self._carry_out(plan, endpoint)
                found, moved = await self._bucket.read(prefix)
        await self._end(plan.unplaced, identity)
        return len(endpoint.sessions) + len(endpoint.moved)

    async def _may_adopt_copied(self, identity: TransceiverIdentity) -> bool:
        """A copied call goes on here only once its copy in the second region is void: else both would send."""
        if self._take_back is not None and await self._take_back(identity):
            return True
        log.error("slot %d.%d, epoch %d: its calls with copies are left to the second region", *identity)
        return False

    async def _carry_out(self, plan: Adopt, endpoint: Endpoint) -> None:
        elsewhere = (self._ask_to_adopt(share, endpoint) for share in plan.elsewhere)
        await asyncio.gather(self._adopt_here(plan.here, endpoint), *elsewhere)

    async def _adopt_here(self, waiting: Sequence[Found], endpoint: Endpoint) -> None:
        """`ADOPTED_AT_ONCE` at a time. To make a session takes milliseconds: between two, frames of calls are sent."""
        left = iter(waiting)

        async def adopt_some(turn: int) -> None:
            for _ in range(turn):
                await asyncio.sleep(0)
            for found in left:
                await self._adoption.adopt(found, endpoint)

        await asyncio.gather(*map(adopt_some, range(min(len(waiting), ADOPTED_AT_ONCE))))

    async def _ask_to_adopt(self, share: Share, endpoint: Endpoint) -> None:
        peer = share.peer
        asked = messages.Adopt(**endpoint.identity._asdict(), sessions=share.sessions)
        try:
            subject = subjects.transceiver_adopt(peer.cluster, peer.slot)
            answered = await self._client.request(subject, messages.encode(asked), timeout=REQUEST_SECONDS)
            reply = messages.decode(answered.data, messages.ControlReply)
        except (MalformedError, *BUS_ERRORS) as error:
            log.warning("slot %d.%d adopts nothing: %r", peer.cluster, peer.slot, error)
            return
        count = len(share.sessions)
        log.info("slot %d.%d was asked to adopt %d sessions: %s", peer.cluster, peer.slot, count, reply.message)

    async def _end(self, unplaced: list[Found], identity: TransceiverIdentity) -> None:
        if unplaced:
            log.error("%d sessions of slot %d.%d, epoch %d, could not be taken over and end", len(unplaced), *identity)
        for found in unplaced:
            state = found.state
            telemetry.end_call(state.call_trace, state.session_id, "internal", "no_room")
            ended = messages.encode(messages.Ended(reason="internal"))
            self._publisher.publish(subjects.session_event(found.state.agent, found.state.session_id), ended)
            await self._bucket.delete(found.key)
