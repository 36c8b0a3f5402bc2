"""The transceiver's life: it takes a slot, announces itself, drains and stops.

What offers become is decided in `placing`, what a call does in `session`, who goes on with whose in `takeover`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import secrets
from functools import partial
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext
from nats.js.errors import Error as JetStreamError
from nats.js.errors import KeyNotFoundError
from nats.micro.service import Service

from antiphon.runtime import tasks
from antiphon.runtime.nats import buckets, connection, service_discovery
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.addresses import Address
from antiphon.transceiver.bus.announcer import Announcer
from antiphon.transceiver.bus.publisher import Publisher
from antiphon.transceiver.calls.agent_liveness import AgentLiveness
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.calls.session_bus import SessionBus
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.failover.checkpoint_crypto import HOLDER_BYTES
from antiphon.transceiver.failover.checkpoint_store import CheckpointStore
from antiphon.transceiver.failover.distribution import Load
from antiphon.transceiver.failover.failure_detector import FailureDetector, Peers, lifeline_address
from antiphon.transceiver.failover.slot_claim import Slot, claim_slot
from antiphon.transceiver.failover.takeover import Takeover
from antiphon.transceiver.metrics import figures
from antiphon.transceiver.net.endpoint import Endpoint
from antiphon.transceiver.net.flow_directory import FlowDirectory
from antiphon.transceiver.net.relay_link import RelayLink
from antiphon.transceiver.net.udp_socket import TunnelSocket
from antiphon.transceiver.session.endings import status
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler

log = logging.getLogger(__name__)

POLL_INTERVAL: Final = 0.05
NOTICE_SECONDS: Final = 0.25
"""For a last message to reach the client before its channel is closed."""
ENDING_TOGETHER: Final = 0.15
"""Seconds in which others that were told to end at the same time say so: what they are handed is lost."""


class Transceiver:
    """One process: one clock, a seat of its own, many sessions."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._publisher = Publisher(client)
        self._clock = Scheduler(self._publisher)
        self._sessions = SessionTable(settings, self._publisher, self._clock)
        host, _, port = settings.transceiver_bind.rpartition(":")
        self._bind = host.strip("[]")
        self._relays = RelayLink(self._sessions, client, ":" in self._bind)
        self._subjects = SessionBus(client, self._sessions, self._publisher)
        self._placing = SessionOpener(settings, client, self._sessions, self._subjects, self._publisher, self._clock)
        self._subjects.offered = self._placing.requested
        self._sessions.forgetting.append(self._subjects.stop_listening)
        self._watch = AgentLiveness(client, self._sessions, settings.agent_lost_seconds, self._agent_lost)
        self._placing.served = self._watch.served
        self._sessions.forgetting.append(self._watch.forget)
        self._announcing = Announcer(settings, client, self._clock, self._placing, self._sessions.seats)
        self._advertised = settings.transceiver_advertise or connection.local_host_towards(settings.nats_url)
        self._sessions.seats.own = self._open_seat(settings.cluster, Slot(0, 0), int(port))
        self._holder = secrets.token_hex(HOLDER_BYTES // 2)
        self._service: Service
        self._store: CheckpointStore | None = None
        self._lifeline: FailureDetector | None = None
        self._taking: Takeover | None = None
        self._reseating: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take a slot, listen, announce."""
        settings, client = self._settings, self._client
        js = client.jetstream()
        own = self._sessions.seats.own
        own.slot = await claim_slot(js, settings.cluster, settings.slot)
        await self._relays.start(js)
        self._announcing.holder = self._holder
        if settings.hand_over:
            await self._start_taking_over()
        await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._heard)
        await client.subscribe(subjects.ANY_CALL_STATUS, cb=self._status_asked)
        await self._read_announcements(js)
        await self._serve_slot()
        self._tasks += [asyncio.create_task(self._announcing.run()), asyncio.create_task(self._poll_forever())]
        if settings.agent_lost_seconds:
            self._tasks.append(asyncio.create_task(self._watch.run()))
        if settings.keep_flows:
            self._tasks.append(asyncio.create_task(FlowDirectory(client, self._relays.flows).run()))
        log.info("slot %d of cluster %d, epoch %d, ready", own.slot.number, settings.cluster, own.slot.epoch)

    def _agent_lost(self, session: Session) -> None:
        """Nobody speaks or listens on behalf of the session any more: its client is told, as far as it can be."""
        notice = {
            "type": "error",
            "event_id": f"event_{secrets.token_hex(8)}",
            "error": {
                "type": "server_error",
                "code": "agent_lost",
                "message": f"the agent {session.state.agent} of this call is gone: call again",
                "param": None,
            },
        }
        session.send_message(messages.EVENTS_CHANNEL, json.dumps(notice))
        self._loop.call_later(NOTICE_SECONDS, self._end_without_agent, session)

    def _end_without_agent(self, session: Session) -> None:
        if session.ended is None:
            session.end("agent_lost", self._loop.time())
            self._sessions.forget(session)

    async def _status_asked(self, message: Msg) -> None:
        """What became of a call; silence if it is none of ours: another transceiver knows, or nobody."""
        try:
            session_id = subjects.parse_call_status(message.subject)
        except MalformedError:
            return
        session = self._sessions.registry.get(session_id)
        found = status(session) if session else self._sessions.endings.get(session_id, self._loop.time())
        if found is not None and message.reply:
            self._publisher.publish(message.reply, messages.encode(found))

    async def drain(self, hurry: asyncio.Event) -> None:
        """Take no more sessions. Hand the running ones over, or let them end: until the setting, or `hurry`."""
        seconds = self._settings.drain_seconds
        registry = self._sessions.registry
        self._placing.draining = True
        self._announcing.changed()
        if self._taking is not None and len(registry) and self._taking.neighbours.others():
            await asyncio.sleep(ENDING_TOGETHER)
            gone = await self._taking.hand_over_all()
            log.info("%d sessions handed over, %d are left", gone, len(registry))
            for session in registry:
                if self._sessions.seats.of(session.state.session_id).given_up:
                    session.end("draining", self._loop.time())  # in its handshake: relays take it elsewhere now
                    self._sessions.forget(session)
        if not seconds or not len(registry):
            return
        log.info("draining %d sessions for at most %g s", len(registry), seconds)
        for session in registry:
            session.announce_draining(seconds)
        deadline = self._loop.time() + seconds
        while len(registry) and self._loop.time() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL):
                    await hurry.wait()
                return

    async def stop(self) -> None:
        """End all sessions, say so, let go of everything."""
        self._placing.draining = True
        now = self._loop.time()
        self._placing.close()
        for session in self._sessions.registry:
            session.end("draining", now)
            self._sessions.forget(session)
        await self._announcing.say_last()
        await self._publisher.drain()
        if self._store is not None:
            await self._store.close()
        if self._taking is not None:
            await self._taking.neighbours.close()
        await tasks.end(*self._tasks, *([self._reseating] if self._reseating else []))
        await self._subjects.close()
        self._clock.close()
        self._sessions.seats.close()
        if self._lifeline is not None:
            await self._lifeline.close()

    # ---- taking over -----------------------------------------------------------------------------------

    async def _start_taking_over(self) -> None:
        self._store = CheckpointStore(
            self._client, self._settings.password_key_bytes(), self._holder, self._lost_to_another
        )
        self._store.start()
        self._sessions.forgetting.append(self._store.forget)
        self._lifeline = FailureDetector(self._holder)
        await self._lifeline.start(self._bind)
        self._announcing.lifeline = lifeline_address(self._advertised, self._lifeline.port)
        self._taking = Takeover(
            self._client,
            self._holder,
            self._sessions,
            self._subjects,
            self._store,
            self._relays,
            self._publisher,
            self._open_seat,
            self._announcing.changed,
            lambda: Load(self._placing.taken, 0 if self._placing.draining else self._settings.capacity),
        )
        self._taking.neighbours = Peers(self._holder, self._settings.cluster, self._taking.died)
        self._tasks += [
            asyncio.create_task(self._taking.find_orphans()),
            asyncio.create_task(self._taking.look_after_moved()),
        ]

    def _lost_to_another(self, session: Session) -> None:
        session.detach()
        self._sessions.forget(session)

    async def _read_announcements(self, js: JetStreamContext) -> None:
        """Who was there before us; among them may be one that has just died and has nobody else to go on with it."""
        known = await buckets.bucket(js, subjects.BUCKET_TRANSCEIVERS, ttl=buckets.ANNOUNCE_TTL)
        for key in await buckets.keys(js, subjects.BUCKET_TRANSCEIVERS):
            with contextlib.suppress(KeyNotFoundError, MalformedError):
                said = messages.decode((await known.get(key)).value or b"", messages.TransceiverAnnouncement)
                if self._taking is not None:
                    self._taking.neighbours.heard(said)

    async def _heard(self, message: Msg) -> None:
        """What transceivers announce, ourselves included."""
        try:
            said = messages.decode(message.data, messages.TransceiverAnnouncement)
        except MalformedError as error:
            log.warning("%s", error)
            return
        if said.holder == self._holder:
            self._announcing.heard()
            return
        for seat in self._sessions.seats:
            cluster, slot, epoch = seat.identity
            if (said.cluster, said.slot) == (cluster, slot):
                newer = 0 < (said.epoch - epoch) % (1 << 16) < 1 << 15
                if said.epoch == epoch and said.holder and self._taking is not None:
                    await self._settle(seat, self._taking)
                elif newer and seat is self._sessions.seats.own:
                    self._reseat("another process has taken it")
        if self._taking is not None:
            self._taking.neighbours.heard(said)

    async def _settle(self, seat: Endpoint, taking: Takeover) -> None:
        """Another process announces our very seat: one of us was taken for dead. Its sessions are the claimant's."""
        if self._placing.draining:
            return
        if await taking.is_ours(seat):
            self._announcing.changed()
            return
        seat.moved.clear()
        for session_id in tuple(seat.sessions):
            session = self._sessions.registry.get(session_id)
            if session is not None:
                self._lost_to_another(session)
        if seat is self._sessions.seats.own:
            seat.given_up = True
            self._reseat("its sessions were taken over by another process")

    def _reseat(self, why: str) -> None:
        """Take another slot for new sessions; what sits on the lost one runs on there."""
        if self._reseating is None or self._reseating.done():
            self._reseating = asyncio.create_task(self._change_seat(why))

    async def _change_seat(self, why: str) -> None:
        own = self._sessions.seats.own
        fixed = self._settings.slot is not None
        log.error("slot %d, epoch %d, is lost: %s%s", own.slot.number, own.slot.epoch, why, _FIXED if fixed else "")
        if fixed:
            self._placing.draining = True
            self._announcing.changed()
            return
        try:
            await self._service.stop()
            slot = await claim_slot(self._client.jetstream(), self._settings.cluster, None)
            self._sessions.seats.replace_own(self._open_seat(self._settings.cluster, slot))
            await self._serve_slot()
        except (OSError, RuntimeError, TimeoutError, NatsError, JetStreamError) as error:
            log.error("no other slot could be taken: %r", error)  # the next announcement brings us here again
            return
        self._announcing.changed()
        log.info("slot %d of cluster %d, epoch %d, ready", slot.number, self._settings.cluster, slot.epoch)

    # ---- a slot ----------------------------------------------------------------------------------------

    def _open_seat(self, cluster: int, slot: Slot, port: int = 0) -> Endpoint:
        opened: list[Endpoint] = []
        socket = TunnelSocket(
            self._bind,
            port,
            partial(self._relays.received, lambda: opened[0]),
            self._publisher.hold,
            self._publisher.release,
        )
        opened.append(Endpoint(cluster, slot, str(Address(self._advertised, socket.port)), socket))
        return opened[0]

    async def _serve_slot(self) -> None:
        cluster, slot, _ = self._sessions.seats.own.identity
        tell = partial(figures, self._sessions, self._placing, self._clock, self._publisher)
        self._service = await service_discovery.register(
            self._client, "antiphon-transceiver", {"slot": str(slot)}, tell
        )
        await self._service.add_endpoint(
            name="open", subject=subjects.transceiver_open(cluster, slot), handler=self._placing.requested
        )
        if self._taking is not None:
            await self._service.add_endpoint(
                name="take_over",
                subject=subjects.transceiver_take_over(cluster, slot),
                handler=self._taking.requested,
            )
            await self._service.add_endpoint(
                name="adopt", subject=subjects.transceiver_adopt(cluster, slot), handler=self._taking.adopt_requested
            )

    async def _poll_forever(self) -> None:
        store, had_sessions = self._store, False
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            if had_sessions and not len(self._sessions.registry):
                gc.collect()  # of the cycles that sessions leave: the collector is told to come rarely (`__main__`)
            had_sessions = len(self._sessions.registry) > 0
            now = self._loop.time()
            for session in self._sessions.registry:
                session.poll(now)
                if session.ended is not None:
                    self._sessions.forget(session)
                elif store is not None and session.connected and not store.keeps(session):
                    self._keep(store, session)
            answers = self._announcing.bus_answers(now)
            self._relays.poll(now, answers)
            self._announcing.look()
            if store is not None:
                store.poll(now)
            if self._taking is not None:
                self._taking.neighbours.poll(now, answers)
                if self._sessions.seats.let_go():
                    self._announcing.changed()

    def _keep(self, store: CheckpointStore, session: Session) -> None:
        session_id = session.state.session_id
        store.keep(session, subjects.checkpoint_key(*self._sessions.seats.of(session_id).identity, session_id))


_FIXED: Final = "; ANTIPHON_SLOT is fixed, so no new calls are taken: give each process a slot of its own"
