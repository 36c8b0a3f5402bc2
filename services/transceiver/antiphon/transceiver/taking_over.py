"""Sessions of other processes: taken over when those are killed, or when they ask because they are to end.

One process takes the whole seat of another: the tokens of its clients name that seat, and relays route them to
whoever announces it last. Who that is a compare-and-swap decides; each session is fenced by another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from opentelemetry import trace

from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.checkpoint_store import CheckpointStore, Found
from antiphon.transceiver.lifeline import Neighbours
from antiphon.transceiver.outlet import Publisher
from antiphon.transceiver.relay_side import RelaySide
from antiphon.transceiver.seat import Identity, Seat
from antiphon.transceiver.session_subjects import SessionSubjects
from antiphon.transceiver.sessions import Sessions
from antiphon.transceiver.slots import Slot

log = logging.getLogger(__name__)
tracer = trace.get_tracer("antiphon.transceiver")

ORPHANS_AFTER: Final = 5.5
"""Seconds from the start after which whoever has checkpoints and announced nothing is dead."""
PASSES: Final = 3
"""Readings of a seat's checkpoints: a process that was taken for dead may write until it hears of us."""
HANDING_OVER: Final = 5.0
"""Seconds for another process to take over what we hand it."""


class TakingOver:
    """Makes the sessions of other processes ours, and ours theirs."""

    def __init__(
        self,
        client: Client,
        holder: str,
        sessions: Sessions,
        listening: SessionSubjects,
        store: CheckpointStore,
        relays: RelaySide,
        publisher: Publisher,
        open_seat: Callable[[int, Slot], Seat],
        announce: Callable[[], None],
        room: Callable[[], int],
    ) -> None:
        """`open_seat` makes a seat with a socket, `announce` says what has changed, `room` is the free slots."""
        self.neighbours: Neighbours
        self._client = client
        self._holder = holder
        self._sessions = sessions
        self._subjects = listening
        self._store = store
        self._relays = relays
        self._publisher = publisher
        self._open_seat = open_seat
        self._announce = announce
        self._room = room
        self._loop = asyncio.get_running_loop()

    async def died(self, identity: Identity, dead: str | None) -> None:
        """A process is gone: go on with its sessions on this seat, if nobody else does."""
        began = self._loop.time()
        if self._room() <= 0:
            return  # somebody else may have room
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

    async def is_ours(self, seat: Seat) -> bool:
        """Somebody else announces this seat: whether it is ours all the same. Without an answer it is."""
        try:
            holder = await self._store.holder_of(subjects.seat_key(*seat.identity))
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
            return True
        return holder in (None, self._holder)

    async def requested(self, request: Any) -> None:
        """Handler of the `take_over` subject."""
        try:
            asked = messages.decode(request.data, messages.TakeOver)
            if self._room() <= 0:
                raise MalformedError("no room: all sessions are taken, or this transceiver ends as well")
            taken = await self._take((asked.cluster, asked.slot, asked.epoch), asked.holder)
            reply = messages.ControlReply(ok=True, message=f"{taken} sessions")
        except MalformedError as error:
            reply = messages.ControlReply(ok=False, message=str(error))
        except Exception as error:
            log.exception("sessions of another process were not taken over")
            reply = messages.ControlReply(ok=False, message=repr(error))
        await request.respond(messages.encode(reply))

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
            if not seat.sessions or not others:
                continue
            gone += await self._hand_over(seat, others)
        return gone

    async def _hand_over(self, seat: Seat, others: list[messages.TransceiverAnnouncement]) -> int:
        cluster, slot, epoch = seat.identity
        sessions = [self._sessions.registry.get(session_id) for session_id in tuple(seat.sessions)]

        async def write_down(session: Any) -> bool:
            if session is None or not await self._store.hand_over(session):
                return False
            self._sessions.forget(session)
            return True

        gone = sum(await asyncio.gather(*map(write_down, sessions)))
        if gone:
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
        found = await self._store.read(subjects.seat_prefix(*identity))
        if not found or not await self._store.claim_seat(subjects.seat_key(*identity), dead):
            return 0
        cluster, slot, epoch = identity
        seat = self._sessions.seats.kept[identity] = self._open_seat(cluster, Slot(slot, epoch))
        seat.filling = True
        try:
            self._announce()  # relays route the dead one's clients to us before the first session is made
            for _ in range(PASSES):
                for each in sorted(found, key=lambda each: each.state.written_at, reverse=True):
                    await self._adopt(each, seat)
                found = [
                    each
                    for each in await self._store.read(subjects.seat_prefix(*identity))
                    if each.state.session_id not in seat.sessions
                ]
                if not found:
                    break
        finally:
            seat.filling = False
        if found:
            log.error("%d sessions of slot %d.%d could not be taken over and end", len(found), cluster, slot)
        for each in found:
            ended = messages.encode(messages.Ended(reason="internal"))
            self._publisher.publish(subjects.session_event(each.state.session_id), ended)
            await self._store.delete(each.key)
        return len(seat.sessions)

    async def _adopt(self, found: Found, seat: Seat) -> bool:
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
                stored = await self._store.take(session, found)
            except ValueError as error:
                log.error("session %s can't be taken over: %s", session_id, error)
                stored = False
            if not stored:
                session.vanish()
                self._sessions.forget(session)
                return False
            session.resume(self._loop.time())
            self._sessions.registry.adopt(session)
            self._relays.tell_all(seat)
            self._subjects.born(session)
        event = messages.TakenOver(handed_over=handed_over, checkpoint_age_ms=round(max(0.0, age) * 1000, 1))
        self._publisher.publish(subjects.session_event(session_id), messages.encode(event))
        return True
