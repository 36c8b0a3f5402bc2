"""An agent process among others of its name: beats, keeps its sessions, takes those of the dead.

The shell of `lease_table`.

NATS or JetStream may be away at any time: no call is refused or ended for that. A lease that could not be written is
written when the bucket is back. `bucket` says how.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import leases, session_bus
from antiphon.runtime.agent_sessions.bucket import LeaseBucket
from antiphon.runtime.agent_sessions.lease_crypto import LeaseCrypto
from antiphon.runtime.agent_sessions.lease_table import RESCAN_SECONDS, HeldLease, LeaseTable
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import AgentBeat, Lease

log = logging.getLogger(__name__)

_HOLD_SECONDS: Final = 0.25
"""What the lease may cost a claim, which has 0.5 s; if it takes longer it is written later."""
_CLOSE_SECONDS: Final = 0.5
"""For the writes under way when we leave; then they are cancelled."""
_TAKE_SECONDS: Final = 5.0
_REFUSAL_SECONDS: Final = 0.5
"""Until we look whether our beats are not allowed."""


def new_instance() -> str:
    """A name for this process that no other has: host, process id, and chance for containers that share both."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class LeaseKeeper:
    """Keeps the leases of this process on NATS.

    Owner: the agent (SDK) or the bridge, for the life of the process. Called from the event loop.

    `take(lease)` continues a session whose holder is gone. The lease is ours already: it subscribes, fences
    (`takeover`) and returns whether the session still exists. `lost(session_id)`: another instance holds the session
    now, so drop it without a message to the caller. `room()`: how many more sessions would be accepted; one that `take`
    was called for counts from its first step.
    """

    def __init__(
        self,
        client: Client,
        agent: str,
        take: Callable[[Lease], Awaitable[bool]],
        lost: Callable[[str], None],
        room: Callable[[], int],
        instance: str = "",
        crypto: LeaseCrypto | None = None,
        announced_room: Callable[[], int] | None = None,
        others: Callable[[], int] | None = None,
    ) -> None:
        """`crypto`: with it leases are sealed (`lease_crypto.from_environment`).

        `announced_room`: what beats say, where that is less than `room`: a call whose holder is gone is rather taken
        late than lost. `others`: of a bridge, how many calls its process has for other agents, in the same places.
        """
        self.instance = instance or new_instance()
        self.agent = agent
        self.table = LeaseTable(self.instance)
        """What we hold; for reading."""
        self._client, self._take, self._lost, self._room = client, take, lost, room
        self._announced_room, self._others = announced_room or room, others
        self._bucket = LeaseBucket(client, agent, self.instance, self._on_lost, crypto)
        self._own_beat_came = asyncio.Event()
        self._work = asyncio.Event()
        self._closing = False
        self._subscription: Subscription | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._takes: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Beat until our own beat comes back: no other instance takes us for dead then. Call before the first claim.

        `RefusedError` if the server does not allow us to beat, or a subscription.
        """
        self._subscription = await self._client.subscribe(subjects.agent_beat(self.agent), cb=self._on_beat)
        self._tasks = [asyncio.create_task(self._beat_forever()), asyncio.create_task(self._keep_forever())]
        came = asyncio.create_task(self._own_beat_came.wait())
        try:
            while not (await asyncio.wait({came}, timeout=_REFUSAL_SECONDS))[0]:
                if (refused := connection.refusal(self._client, subjects.agent_beat(self.agent))) is not None:
                    raise refused
        finally:
            came.cancel()

    # ---- our own sessions

    async def hold(self, lease: Lease) -> None:
        """Take the lease of a session that we are about to accept; within 0.25 s, written or not.

        Afterwards `holds` says whether another instance was faster.
        """
        held = HeldLease(lease)
        self.table.add(held)
        with contextlib.suppress(TimeoutError, nats.errors.Error):
            async with asyncio.timeout(_HOLD_SECONDS):
                await self._bucket.write(held)
        if held.dirty and self.holds(lease.session_id):
            log.warning("%s: its lease is not written yet; if we die now, no instance takes over", lease.session_id)
            self._work.set()

    def holds(self, session_id: str) -> bool:
        """The session is ours, as far as we know."""
        return session_id in self.table

    def save(self, session_id: str, state: dict[str, Any]) -> None:
        """Keep this for the next holder; written at once, but at most four times a second, the newest only.

        `MalformedError` if it is not JSON or above `leases.MAX_STATE_BYTES`. After the session is over: nothing.
        """
        if self.table.save(session_id, state, time.monotonic()):
            self._work.set()

    def verify(self, session_id: str) -> None:
        """Another instance seems to act for this session: see whether it is still ours."""
        if self.table.verify(session_id):
            self._work.set()

    async def release(self, session_id: str) -> None:
        """The session is over."""
        if held := self.table.remove(session_id):
            await self._bucket.delete(held)

    async def close(self) -> None:
        """Leave in order: what we still hold is free at once.

        We beat until it is: a write under way may lose its cancellation and go on for a second (`tasks.end`), in which
        others would take us for dead, and count that against each call.
        """
        self._closing = True
        self._work.set()
        beating, keeping = self._tasks[:1], self._tasks[1:]
        if keeping:
            await asyncio.wait(keeping, timeout=_CLOSE_SECONDS)
        await tasks.end(*keeping, *self._takes)
        free = self.table.remove_all()
        await asyncio.gather(*(self._bucket.attempt(self._bucket.write(each), each.lease.session_id) for each in free))
        await tasks.end(*beating)
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._beat(leaving=True)
                await self._subscription.unsubscribe()

    # ---- beats

    async def _beat(self, leaving: bool = False) -> None:
        others, is_bridge = self._others() if self._others else 0, self._others is not None
        beat = self.table.beat(self._announced_room(), leaving, others, is_bridge)
        await self._client.publish(subjects.agent_beat(self.agent), messages.encode(beat))

    async def _beat_forever(self) -> None:
        while True:
            with contextlib.suppress(nats.errors.Error):  # NATS is away: no beat reaches us either
                await self._beat()
            await asyncio.sleep(leases.BEAT_SECONDS)

    async def _on_beat(self, message: Msg) -> None:
        try:
            beat = messages.decode(message.data, AgentBeat)
        except MalformedError as error:
            log.debug("agent %s: %s", self.agent, error)
            return
        if beat.instance == self.instance:
            self._own_beat_came.set()
        if gone := self.table.received(beat, time.monotonic()):
            log.warning("agent %s: instance %s is gone, looking for its sessions", self.agent, ", ".join(gone))
        self._work.set()  # each beat: what is to be written is written now

    # ---- what is to be written and looked for

    async def _keep_forever(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            if self._closing:
                return
            try:
                await self._keep(time.monotonic())
            except Exception:
                log.exception("agent %s: a round of keeping leases has failed", self.agent)
                await asyncio.sleep(RESCAN_SECONDS)

    async def _keep(self, now: float) -> None:
        for held in self.table.due(now):
            await self._bucket.attempt(self._bucket.check_and_write(held), held.lease.session_id)
        if self.table.scan_is_due(now) and not self._closing:
            await self._scan()

    def _on_lost(self, lease: Lease, holder: str) -> None:
        if self.table.remove(lease.session_id):
            log.warning("%s: instance %s holds it now, dropped here", lease.session_id, holder or "(none)")
            self._lost(lease.session_id)

    # ---- sessions of the dead

    async def _scan(self) -> None:
        """Take the sessions of the dead while there is room; what is left is looked at again in a second."""
        found: list[tuple[Lease, int]] = []

        async def look() -> None:
            found.extend(await self._bucket.free_leases(self.table.instances.is_dead))

        if not await self._bucket.attempt(look(), f"agent {self.agent}"):
            self.table.scan_again(time.monotonic())
        for lease, revision in found:
            has_room = self._room() > 0 or leases.is_hopeless(lease)
            if not (has_room and await self._bucket.attempt(self._take_over(lease, revision), lease.session_id)):
                self.table.scan_again(time.monotonic())

    async def _take_over(self, lease: Lease, revision: int) -> None:
        """Make the lease ours, unless another instance is faster; the session itself is then taken by a task."""
        if lease.session_id in self.table:
            return
        held = await self._bucket.take(lease, revision)
        if held is None:
            return
        work = self._give_up(held) if leases.is_hopeless(lease) else self._take_session(held)
        task = asyncio.create_task(work)
        self._takes.add(task)
        task.add_done_callback(self._takes.discard)

    async def _give_up(self, held: HeldLease) -> None:
        log.error("%s: has lost %d agents and is ended", held.lease.session_id, held.lease.deaths)
        if not held.lease.shadow_of:  # a listener's end is no reason to end the call
            lease, hang_up = held.lease, messages.HangUp(reason="agent_lost")
            await session_bus.control(self._client, lease.agent, lease.session_id, hang_up)
        await self._bucket.delete(held)

    async def _take_session(self, held: HeldLease) -> None:
        session_id, began = held.lease.session_id, time.monotonic()
        self.table.add(held)
        try:
            async with asyncio.timeout(_TAKE_SECONDS):
                there = await self._take(held.lease)
        except Exception:
            log.exception("%s: could not be taken over, another instance may try", session_id)
            self.table.remove(session_id)
            held.lease = held.lease.model_copy(update={"instance": "", "deaths": held.lease.deaths + 1})
            await self._bucket.attempt(self._bucket.write(held), session_id)
            self.table.scan_again(time.monotonic())
            return
        if there:
            log.info("%s: taken over in %.0f ms", session_id, (time.monotonic() - began) * 1000)
        else:
            await self._bucket.delete(held)
            self.table.remove(session_id)
