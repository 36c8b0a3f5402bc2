"""The owner's side of copies: keeps a lease for each endpoint that has copied calls, and sends each checkpoint along.

Decisions are in `owned_lease` and `copied_calls`; this is their shell: reads and swaps at the hub, requests to the
second region, and what follows for sessions.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from nats.aio.client import Client

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import CopyLease, CopyReply, StoreCopy
from antiphon.schemas.slot_moves import Identity
from antiphon.transceiver.copies import sealing
from antiphon.transceiver.copies.agent_leases import AgentLeases
from antiphon.transceiver.copies.copied_calls import LOOK_AGAIN, CopiedCalls, Numbered
from antiphon.transceiver.copies.lease_bucket import LeaseBucket
from antiphon.transceiver.copies.owned_lease import Copies, OwnedLease
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity
from antiphon.transceiver.session.session import Session

T = TypeVar("T")
log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

ANSWER_WITHIN: Final = 2.0
"""Seconds for the second region to confirm a copy, before a newer one is sent in its place."""
MAX_BYTES: Final = 300_000
"""Of what is in a copy. A client that takes no data has a longer one: such a call has no copy for a while."""
TAKE_BACK_TRIES: Final = 5
TAKE_BACK_SECONDS: Final = 2.0
PROBE: Final = "probe"
"""The session id of a request that asks nothing but an answer."""

clock: Callable[[], float] = (
    (lambda: time.clock_gettime(time.CLOCK_BOOTTIME)) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Runs on while the machine is suspended, where the system has such a clock."""


@dataclass(eq=False)
class _Kept:
    """The lease of one endpoint."""

    calls: CopiedCalls
    held: bool = False
    """Its bound sessions were told to use no counter."""
    state: Copies = Copies.WITHDRAWN
    """As sessions were told last."""
    look_at: float = 0.0
    """When to look next whether the second region answers again."""
    writing: asyncio.Task[None] | None = None
    looking: asyncio.Task[None] | None = None


class CopyOwner:
    """Which of our calls have copies, and whether they may send. A `SessionListener`, a `Copier`, and `SendGates`.

    Owner: the process, from its start to `close`; there is none without ANTIPHON_COPY_CLUSTER. Event loop only.
    """

    def __init__(
        self,
        client: Client,
        hub: LeaseBucket,
        copy_cluster: int,
        password_key: bytes,
        process_id: str,
        demux: Demux,
        endpoints: Endpoints,
    ) -> None:
        """`copy_cluster`: of the second region."""
        self._client = client
        self._hub = hub
        self._subject = subjects.copy_store(copy_cluster)
        self._crypto = CheckpointCrypto(password_key, process_id)
        self._process_id = process_id
        self._agent_leases = AgentLeases(client)
        self._demux = demux
        self._endpoints = endpoints
        self._kept: dict[TransceiverIdentity, _Kept] = {}
        self._of: dict[str, _Kept] = {}
        """Session id -> the lease that it was bound to last."""
        self._at_work: set[asyncio.Task[Any]] = set()
        self._confirmed = self._not_confirmed = self._bytes_sent = 0

    def statistics(self) -> dict[str, Any]:
        """For the services register."""
        states = [kept.calls.lease.copies.value for kept in self._kept.values()]
        return {
            "confirmed": self._confirmed,
            "not_confirmed": self._not_confirmed,
            "bytes_sent": self._bytes_sent,
            "leases": {state: states.count(state) for state in set(states)},
        }

    # ---- whether a call may send ------------------------------------------------------------------------

    def gate(self, session_id: str) -> Callable[[], bool]:
        """Asked for each datagram of a copied call, because nothing else runs first after a process has stood still."""

        def may_send() -> bool:
            kept = self._of.get(session_id)
            return kept is None or kept.calls.may_send(session_id, clock())

        return may_send

    def check(self) -> None:
        """Before each slot of the timing wheel: calls whose lease has run out use no counter, until it is renewed."""
        for kept in self._kept.values():
            lease = kept.calls.lease
            hold = lease.copies is not Copies.WITHDRAWN and not lease.is_valid(clock())
            if hold != kept.held:
                kept.held = hold
                self._tell_bound(kept, hold)

    def _tell_bound(self, kept: _Kept, hold: bool) -> None:
        bound = set(kept.calls.bound()) if hold else None
        for session_id, of in self._of.items():
            session = self._demux.get(session_id) if of is kept else None
            if session is not None and (bound is None or session_id in bound):
                session.checkpoints.hold() if hold else session.checkpoints.release()
        if hold:
            log.warning("the hub has not renewed our lease in time: calls with copies are silent until it does")

    def lost(self, endpoint: Endpoint) -> bool:
        """Another process owns this endpoint's calls: it takes no more of them."""
        kept = self._kept.get(endpoint.identity)
        return kept is not None and kept.calls.lease.copies is Copies.LOST

    # ---- the leases -------------------------------------------------------------------------------------

    def poll(self) -> None:
        """To be called every 50 ms."""
        now = clock()
        self.check()
        self._keep_leases()
        for identity, kept in self._kept.items():
            lease = kept.calls.lease
            if kept.calls.is_lost_sight_of(now):
                complaints.warning("the second region confirms no copies: they are withdrawn, calls go on without")
                lease.withdraw()
                kept.look_at = now + LOOK_AGAIN
            if lease.copies is not kept.state:
                self._changed(kept)
            if lease.copies is Copies.WITHDRAWN and lease.settled and now >= kept.look_at and kept.looking is None:
                kept.look_at = now + LOOK_AGAIN
                kept.looking = self._start(self._look_again(kept, identity))
            if kept.writing is None and (lease.must_read or lease.due_at(now)):
                kept.writing = self._start(self._write(kept, identity))

    def _keep_leases(self) -> None:
        """A lease for each endpoint that has a session which shall have a copy; none for those that are gone."""
        here = {endpoint.identity: endpoint for endpoint in self._endpoints}
        for identity, endpoint in here.items():
            if identity not in self._kept and any(map(self._is_copied, endpoint.sessions)):
                self._kept[identity] = _Kept(CopiedCalls(self._new_lease(identity)))
        for identity in [each for each in self._kept if each not in here]:
            del self._kept[identity]

    def _new_lease(self, identity: Identity, found: tuple[CopyLease, int] | None = None) -> OwnedLease:
        return OwnedLease(identity, self._process_id, found, generation=time.time_ns() // 1_000_000)

    def _is_copied(self, session_id: str) -> bool:
        session = self._demux.get(session_id)
        return session is not None and session.state.copied and session.connected

    def _changed(self, kept: _Kept) -> None:
        """The hub has confirmed that copies count, or do not any more; or another process owns the calls."""
        kept.state = kept.calls.lease.copies
        sessions = [session for session in self._demux if self._of_endpoint(session) is kept and session.state.copied]
        if kept.state is Copies.LOST:
            bound = set(kept.calls.bound())
            lost = [session for session in sessions if session.state.session_id in bound]
            log.error("another process goes on with %d calls of ours: their lease was taken", len(lost))
            for session in lost:
                session.detach()
            return
        if kept.state is Copies.WITHDRAWN:
            kept.calls.withdrawn()
        for session in sessions:
            session.checkpoints.touch()

    def _of_endpoint(self, session: Session) -> _Kept | None:
        return self._kept.get(self._endpoints.of(session.state.session_id).identity)

    async def _write(self, kept: _Kept, identity: Identity) -> None:
        lease = kept.calls.lease
        try:
            if lease.must_read:
                found = await self._hub.read(identity)
                lease.read(found, clock())
                return
            write = lease.due(clock())
            if write is None:
                return
            try:
                revision = await self._hub.swap(write.lease, write.revision)
            except BaseException:
                lease.unanswered(write)
                raise
            if revision is None:
                lease.refused(write)
            else:
                lease.written(write, revision)
        except BUS_ERRORS as error:
            log.debug("the lease of slot %d.%d, epoch %d, is not renewed: %r", *identity, error)
            await asyncio.sleep(0.05)
        finally:
            kept.writing = None

    async def _look_again(self, kept: _Kept, identity: Identity) -> None:
        """Copies count again as soon as the second region answers."""
        cluster, slot, epoch = identity
        probe = StoreCopy(cluster=cluster, slot=slot, epoch=epoch, session_id=PROBE, generation=0, number=0, ended=True)
        try:
            reply = await self._ask(probe, sealing.NOTHING)
            if reply.stored or reply.reason == "stale":
                kept.calls.lease.let_count()
            else:
                complaints.warning(f"the second region takes no copies: {reply.message or reply.reason}")
        except (MalformedError, *BUS_ERRORS) as error:
            complaints.warning(f"the second region does not answer, calls have no copies: {error!r:.200}")
        finally:
            kept.looking = None

    async def take_back(self, identity: TransceiverIdentity) -> bool:
        """Another process of our cluster had this endpoint, and has died: its copies count no longer.

        To be called, and waited for, before one of its sessions goes on here. False: another cluster goes on with its
        copied calls, or the hub gives no answer; then they must not go on here.
        """
        try:
            async with asyncio.timeout(TAKE_BACK_SECONDS):
                for _ in range(TAKE_BACK_TRIES):
                    # There is none only if every register says so: our process does not know what it wrote.
                    found = await self._hub.read(identity, everywhere=True)
                    if found is not None and found[0].holder_cluster != identity.cluster:
                        return False
                    lease = self._new_lease(identity, found)
                    write = lease.due(clock())
                    assert write is not None
                    revision = await self._hub.swap(write.lease, write.revision)
                    if revision is not None:
                        lease.written(write, revision)
                        self._kept[identity] = _Kept(CopiedCalls(lease))
                        return True
        except BUS_ERRORS as error:
            log.error("the copies of slot %d.%d, epoch %d, can't be withdrawn: %r", *identity, error)
        return False

    # ---- copies -----------------------------------------------------------------------------------------

    def start_copy(self, session: Session, plain: bytes) -> asyncio.Task[bool] | None:
        """A checkpoint of the session was made: send it to the second region.

        The result says whether its counters may be used as far as the second region is concerned. None: they may.
        """
        session_id = session.state.session_id
        kept = self._of_endpoint(session) if session.state.copied else None
        if kept is None:
            return None
        numbered = kept.calls.next_copy(session_id, clock())
        if numbered is None:
            return None
        self._of[session_id] = kept
        identity = self._endpoints.of(session_id).identity
        return self._start(self._copy(session, kept, identity, numbered, plain))

    async def _copy(self, session: Session, kept: _Kept, identity: Identity, numbered: Numbered, plain: bytes) -> bool:
        cluster, slot, epoch = identity
        copy = StoreCopy(
            cluster=cluster,
            slot=slot,
            epoch=epoch,
            session_id=session.state.session_id,
            generation=numbered.generation,
            number=numbered.number,
        )
        lease = await self._agent_leases.read(session.state.agent, session.state.session_id)
        content = sealing.Content(plain, lease).to_bytes()
        if len(content) > MAX_BYTES:
            complaints.warning(f"session {session.state.session_id}: a state of {len(plain)} bytes has no copy")
            copy, content = copy.model_copy(update={"ended": True}), sealing.NOTHING
        try:
            reply = await self._ask(copy, content)
        except (MalformedError, *BUS_ERRORS) as error:
            log.debug("a copy of session %s is not confirmed: %r", session.state.session_id, error)
            self._not_confirmed += 1
            return not kept.calls.is_needed(numbered)
        if reply.stored:
            self._confirmed += 1
            kept.calls.answered()
            return True
        self._not_confirmed += 1
        complaints.warning(f"the second region stores no copy of {session.state.session_id}: {reply.message}")
        return not kept.calls.is_needed(numbered)

    async def _ask(self, copy: StoreCopy, content: bytes) -> CopyReply:
        data = messages.encode(sealing.sealed(self._crypto, copy, content))
        self._bytes_sent += len(data)
        answer = await self._client.request(self._subject, data, timeout=ANSWER_WITHIN)
        return messages.decode(answer.data, CopyReply)

    def session_removed(self, session_id: str) -> None:
        """The call has ended, or goes on in another process of our cluster, which has made its copy void."""
        kept = self._of.pop(session_id, None)
        if kept is None:
            return
        numbered = kept.calls.forget(session_id)
        if numbered is None:
            return
        identity = next((each for each, other in self._kept.items() if other is kept), None)
        if identity is not None:
            self._start(self._drop(identity, session_id, numbered))

    async def _drop(self, identity: Identity, session_id: str, numbered: Numbered) -> None:
        cluster, slot, epoch = identity
        generation, number = numbered
        gone = StoreCopy(
            cluster=cluster,
            slot=slot,
            epoch=epoch,
            session_id=session_id,
            generation=generation,
            number=number,
            ended=True,
        )
        try:
            await self._ask(gone, sealing.NOTHING)
        except (MalformedError, *BUS_ERRORS) as error:
            log.debug("the copy of session %s is not dropped, it expires: %r", session_id, error)

    # ---- its life ---------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return task

    async def close(self) -> None:
        """Finish dropping the copies of calls that have ended."""
        if self._at_work:
            await asyncio.wait(set(self._at_work), timeout=ANSWER_WITHIN / 4)
        await tasks.end(*self._at_work)
