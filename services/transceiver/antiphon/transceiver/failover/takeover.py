"""Sessions of other processes: taken over when those are killed, or when they ask because they are to end.

One process takes the whole seat of another: the tokens of its clients name that seat, and relays route them to
whoever announces it last. Who that is a compare-and-swap decides; each session is fenced by another one. What is
too much for it goes on in third processes, on seats of theirs (`spreading`): media finds them by their flows,
and checks, which name the old seat, are passed on to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from opentelemetry import trace

from antiphon.schemas import MalformedError, messages, subjects, tunnel
from antiphon.schemas.addresses import Address
from antiphon.transceiver.bus.publisher import Publisher
from antiphon.transceiver.calls.control_rpc import Refusal, answer
from antiphon.transceiver.calls.session_bus import SessionBus
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.failover.checkpoint_store import CheckpointStore, Found
from antiphon.transceiver.failover.distribution import Load, shares
from antiphon.transceiver.failover.failure_detector import Peers
from antiphon.transceiver.failover.slot_claim import Slot
from antiphon.transceiver.net.endpoint import Endpoint, Identity
from antiphon.transceiver.net.relay_link import RelayLink

log = logging.getLogger(__name__)
tracer = trace.get_tracer("antiphon.transceiver")

ORPHANS_AFTER: Final = 5.5
"""Seconds from the start after which whoever has checkpoints and announced nothing is dead."""
PASSES: Final = 3
"""Readings of a seat's checkpoints: a process that was taken for dead may write until it hears of us."""
HANDING_OVER: Final = 5.0
"""Seconds for another process to take over what we hand it."""
RENEW_EVERY: Final = 5.0
"""Seconds: word of where sessions went lives as long as a checkpoint, a minute, and is left by ourselves."""
MISSED: Final = 5
"""Looks in which a session that has moved was not there: NATS may have lost its store, and gets it back in 15 s."""


class Takeover:
    """Makes the sessions of other processes ours, and ours theirs."""

    def __init__(
        self,
        client: Client,
        holder: str,
        sessions: SessionTable,
        listening: SessionBus,
        store: CheckpointStore,
        relays: RelayLink,
        publisher: Publisher,
        open_seat: Callable[[int, Slot], Endpoint],
        announce: Callable[[], None],
        load: Callable[[], Load],
    ) -> None:
        """`open_seat` makes a seat with a socket, `announce` says what has changed, `load` is ours."""
        self.neighbours: Peers
        self._client = client
        self._holder = holder
        self._sessions = sessions
        self._subjects = listening
        self._store = store
        self._relays = relays
        self._publisher = publisher
        self._open_seat = open_seat
        self._announce = announce
        self._load = load
        self._loop = asyncio.get_running_loop()
        sessions.registry.elsewhere = self._pass_on
        relays.is_transceiver = self._announces

    def _room(self) -> int:
        load = self._load()
        return load.capacity - load.sessions

    async def died(self, identity: Identity, dead: str | None) -> None:
        """A process is gone: go on with its sessions on this seat, if nobody else does."""
        began = self._loop.time()
        load = self._load()
        rooms = [said.capacity - said.sessions for said in self.neighbours.others()]
        if not load.capacity or max(self._room(), *rooms, 0) <= 0:
            return  # we are to end, or nobody has room
        try:
            taken = await self._take(identity, dead)
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            log.warning("the sessions of slot %d.%d, epoch %d, can't be taken over: %r", *identity, error)
            return
        if dead is not None:
            await self._look_for_seats_of(dead)
        if taken:
            spent = (self._loop.time() - began) * 1000
            log.warning("slot %d.%d, epoch %d, is dead: %d sessions taken over in %.0f ms", *identity, taken, spent)

    async def _look_for_seats_of(self, dead: str) -> None:
        """Seats that the dead process had taken over itself, and of which we have not heard yet."""
        with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
            for identity in await self._store.seats_of(dead):
                await self._take(identity, dead)

    async def is_ours(self, seat: Endpoint) -> bool:
        """Somebody else announces this seat: whether it is ours all the same. Without an answer it is."""
        try:
            holder = await self._store.holder_of(subjects.seat_key(*seat.identity))
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
            return True
        return holder in (None, self._holder)

    async def requested(self, request: Any) -> None:
        """Handler of the `take_over` subject."""
        await answer(request, self._take_as_asked)

    async def _take_as_asked(self, data: bytes) -> str:
        asked = messages.decode(data, messages.TakeOver)
        if self._room() <= 0:
            raise Refusal("no room: all sessions are taken, or this transceiver ends as well")
        return f"{await self._take((asked.cluster, asked.slot, asked.epoch), asked.holder)} sessions"

    async def find_orphans(self) -> None:
        """Once, some time after our start: sessions of processes that died before anybody watched them."""
        await asyncio.sleep(ORPHANS_AFTER)
        known = {seat.identity for seat in self._sessions.seats} | self.neighbours.identities()
        try:
            orphans = await self._store.seats() - known
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
            return
        for identity in orphans:
            await self.died(identity, None)

    async def hand_over_all(self) -> int:
        """Ask another process to go on with all our connected sessions; returns how many of them are gone."""
        gone = 0
        for seat in self._sessions.seats:
            others = self.neighbours.others()
            if not (seat.sessions or seat.moved) or not others:
                continue
            gone += await self._hand_over(seat, others)
        return gone

    async def _hand_over(self, seat: Endpoint, others: list[messages.TransceiverAnnouncement]) -> int:
        cluster, slot, epoch = seat.identity
        sessions = [self._sessions.registry.get(session_id) for session_id in tuple(seat.sessions)]

        async def write_down(session: Any) -> bool:
            if session is None or not await self._store.hand_over(session):
                return False
            self._sessions.forget(session)
            return True

        gone = sum(await asyncio.gather(*map(write_down, sessions)))
        if gone or seat.moved:
            seat.given_up = True  # from here on only who has the sessions may say where it is
            asked = messages.encode(messages.TakeOver(cluster=cluster, slot=slot, epoch=epoch, holder=self._holder))
            for other in others:
                try:
                    subject = subjects.transceiver_take_over(other.cluster, other.slot)
                    answer = await self._client.request(subject, asked, timeout=HANDING_OVER)
                    reply = messages.decode(answer.data, messages.ControlReply)
                    if reply.ok:
                        break
                    log.warning("slot %d.%d takes nothing over: %s", other.cluster, other.slot, reply.message)
                except (nats.errors.Error, MalformedError) as error:
                    log.warning("slot %d.%d takes nothing over: %r", other.cluster, other.slot, error)
        return gone

    async def _take(self, identity: Identity, dead: str | None) -> int:
        prefix = subjects.seat_prefix(*identity)
        found, moved = await self._store.read(prefix)
        lives, key = self.neighbours.lives, subjects.seat_key(*identity)
        if not (found or moved) or not await self._store.claim_seat(key, dead, lives):
            return 0
        cluster, slot, epoch = identity
        seat = self._sessions.seats.kept[identity] = self._open_seat(cluster, Slot(slot, epoch))
        seat.filling = True
        try:
            self._announce()  # relays route the dead one's clients to us before the first session is made
            for turn in range(PASSES):
                seat.moved = {ufrag: each for each in moved for ufrag in each.ufrags}
                # What nobody else has taken, or has failed to take, is ours in the end.
                await self._spread(found, seat, self.neighbours.others() if turn < PASSES - 1 else [])
                found, moved = await self._store.read(prefix)
                found = [each for each in found if each.state.session_id not in seat.sessions]
                if not found:
                    break
            seat.moved = {ufrag: each for each in moved for ufrag in each.ufrags}
        finally:
            seat.filling = False
        if found:
            log.error("%d sessions of slot %d.%d could not be taken over and end", len(found), cluster, slot)
        for each in found:
            ended = messages.encode(messages.Ended(reason="internal"))
            self._publisher.publish(subjects.session_event(each.state.session_id), ended)
            await self._store.delete(each.key)
        return len(seat.sessions) + len({each.key for each in seat.moved.values()})

    async def _spread(self, found: list[Found], seat: Endpoint, others: list[messages.TransceiverAnnouncement]) -> None:
        """Go on with our share of these sessions, those that were written last first, and ask others for the rest."""
        waiting = sorted(found, key=lambda each: each.state.written_at, reverse=True)
        takes = shares(len(waiting), self._load(), [Load(said.sessions, said.capacity) for said in others])
        ours, waiting = waiting[: takes[0]], waiting[takes[0] :]
        asking = []
        for said, count in zip(others, takes[1:], strict=True):
            theirs, waiting = waiting[:count], waiting[count:]
            if theirs:
                asking.append(self._ask_to_adopt(said, seat, [each.state.session_id for each in theirs]))
        await asyncio.gather(self._adopt_all(ours, seat), *asking)

    async def _adopt_all(self, found: list[Found], seat: Endpoint) -> None:
        for each in found:
            await self._adopt(each, seat)

    async def _ask_to_adopt(self, said: messages.TransceiverAnnouncement, seat: Endpoint, sessions: list[str]) -> None:
        cluster, slot, epoch = seat.identity
        asked = messages.Adopt(cluster=cluster, slot=slot, epoch=epoch, sessions=sessions)
        try:
            subject = subjects.transceiver_adopt(said.cluster, said.slot)
            answer = await self._client.request(subject, messages.encode(asked), timeout=HANDING_OVER)
            reply = messages.decode(answer.data, messages.ControlReply)
            log.info(
                "slot %d.%d was asked to adopt %d sessions: %s", said.cluster, said.slot, len(sessions), reply.message
            )
        except (nats.errors.Error, MalformedError) as error:
            log.warning("slot %d.%d adopts nothing: %r", said.cluster, said.slot, error)

    async def adopt_requested(self, request: Any) -> None:
        """Handler of the `adopt` subject."""
        await answer(request, self._adopt_as_asked)

    async def _adopt_as_asked(self, data: bytes) -> str:
        asked = messages.decode(data, messages.Adopt)
        adopted = 0
        for session_id in asked.sessions:
            found = await self._store.find(subjects.checkpoint_key(asked.cluster, asked.slot, asked.epoch, session_id))
            if found is not None:
                adopted += await self._adopt(found, self._sessions.seats.own)
        return f"{adopted} adopted"

    # ---- sessions that have moved on ------------------------------------------------------------------

    async def look_after_moved(self) -> None:
        """Keep word of where sessions of our seats went, for as long as they are there; runs until cancelled."""
        missed: Counter[str] = Counter()
        while True:
            await asyncio.sleep(RENEW_EVERY)
            for seat in self._sessions.seats:
                for moved in set(seat.moved.values()):
                    with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
                        there = await self._store.renew(moved)
                        missed[moved.key] = missed[moved.key] + 1 if there is None else 0
                        if there is False or missed[moved.key] >= MISSED:
                            del missed[moved.key]
                            seat.moved = {ufrag: each for ufrag, each in seat.moved.items() if each != moved}
                            await self._store.delete(moved.key)

    def _pass_on(self, ufrag: str, packet: bytes, relay: tuple[str, int]) -> bool:
        """A check for a session that has moved: whoever has it answers through the same relay."""
        for seat in self._sessions.seats:
            moved = seat.moved.get(ufrag)
            address = self.neighbours.address_of(moved.to) if moved is not None else None
            if address is not None:
                passed_on = tunnel.pack_forwarded(Address(relay[0].removeprefix("::ffff:"), relay[1]), packet)
                seat.port.send(passed_on, self._relays.as_seen(address.host, address.port))
                return True
        return False

    def _announces(self, source: tuple[str, int]) -> bool:
        return self.neighbours.announces(Address(source[0].removeprefix("::ffff:"), source[1]))

    async def _adopt(self, found: Found, seat: Endpoint) -> bool:
        state = found.state
        session_id = state.session_id
        if state.dtls is None or self._sessions.registry.get(session_id) is not None or self._room() <= 0:
            return False
        age, handed_over = time.time() - state.written_at, state.handed_over
        if state.path_relay is not None:
            state.path_relay = self._relays.as_seen(*state.path_relay)
        with tracer.start_as_current_span("take over") as span:
            span.set_attribute("antiphon.session", session_id)
            await self._subjects.listen(session_id)
            session = self._sessions.make(state, None, state.dtls.client, seat)
            try:
                session.restore(self._loop.time())
                stored = await self._store.take(session, found, subjects.checkpoint_key(*seat.identity, session_id))
            except ValueError as error:
                log.error("session %s can't be taken over: %s", session_id, error)
                stored = False
            if not stored:
                session.detach()
                self._sessions.forget(session)
                return False
            session.resume(self._loop.time())
            self._sessions.registry.adopt(session)
            self._relays.tell_of(session, seat)
            self._subjects.born(session)
        event = messages.TakenOver(handed_over=handed_over, checkpoint_age_ms=round(max(0.0, age) * 1000, 1))
        self._publisher.publish(subjects.session_event(session_id), messages.encode(event))
        return True
