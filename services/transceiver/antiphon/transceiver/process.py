"""The composition root of a transceiver process, and its life: start, poll, drain, stop.

`Transceiver.start` acquires what needs waiting (the slot, the sockets), then builds every object once, from leaf to
root, each with all that it needs: no attribute of an object is assigned from outside later.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import OncePerChange
from antiphon.runtime.cluster_networks import ClusterNetworks, parse_networks
from antiphon.runtime.metrics import MetricsService
from antiphon.runtime.metrics.health import DRAINING
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.nats import buckets, connection
from antiphon.runtime.nats.hub import HubConnection, connect_hub
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls import client_statistics
from antiphon.runtime.owned_calls.agent_claims import AgentClaims
from antiphon.runtime.owned_calls.agent_liveness import AgentLiveness
from antiphon.runtime.owned_calls.call_listing import CallListing
from antiphon.runtime.owned_calls.record_outbox import RecordOutbox
from antiphon.runtime.owned_calls.session_bus import SessionBus
from antiphon.runtime.owned_calls.transfers import Transfers
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.addresses import Address
from antiphon.transceiver.bus.announcer import Announcer, Liveness, Site
from antiphon.transceiver.bus.held_output import HeldTogether
from antiphon.transceiver.calls.call_records import CallRecords
from antiphon.transceiver.calls.call_status import CallStatusResponder
from antiphon.transceiver.calls.call_summary import CallSummaries
from antiphon.transceiver.calls.listeners import Listeners
from antiphon.transceiver.calls.new_sessions import NewSessions
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.calls.session_table import SessionListener, SessionTable
from antiphon.transceiver.calls.slot_service import Operation, SlotService
from antiphon.transceiver.copies.agent_leases import AgentLeases
from antiphon.transceiver.copies.copies import CopiesOfCalls, SecondRegion
from antiphon.transceiver.copies.copy_keys import ForeignCluster
from antiphon.transceiver.copies.copy_owner import CopyOwner
from antiphon.transceiver.copies.copy_service import CopyService
from antiphon.transceiver.copies.foreign_calls import ForeignCalls
from antiphon.transceiver.copies.lease_bucket import LeaseBucket
from antiphon.transceiver.copies.lease_watch import LeaseWatch
from antiphon.transceiver.copies.move_announcer import MoveAnnouncer
from antiphon.transceiver.copies.relay_directory import RelayDirectory
from antiphon.transceiver.copies.shelf_bucket import ShelfBucket
from antiphon.transceiver.failover.adoption import Adoption
from antiphon.transceiver.failover.checkpoint_bucket import CheckpointBucket
from antiphon.transceiver.failover.checkpoint_crypto import PROCESS_ID_CHARACTERS, CheckpointCrypto
from antiphon.transceiver.failover.checkpoint_writer import CheckpointWriter
from antiphon.transceiver.failover.failover import Failover
from antiphon.transceiver.failover.failure_detector import FailureDetector, liveness_address
from antiphon.transceiver.failover.forwarding import MovedRenewal, PacketForwarder
from antiphon.transceiver.failover.handover import Handover
from antiphon.transceiver.failover.peer_monitor import PeerMonitor
from antiphon.transceiver.failover.peers import Peers
from antiphon.transceiver.failover.slot_claim import claim_slot
from antiphon.transceiver.failover.slot_keeper import SlotKeeper
from antiphon.transceiver.failover.takeover import Takeover
from antiphon.transceiver.lanes.lanes import Lanes
from antiphon.transceiver.metrics import register_metrics, service_statistics
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity
from antiphon.transceiver.net.flow_directory import FlowDirectory
from antiphon.transceiver.net.held_datagrams import HeldDatagrams
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist
from antiphon.transceiver.net.relay_link import RelayLink
from antiphon.transceiver.net.relay_names import RelayNames
from antiphon.transceiver.net.tunnel_receiver import TunnelReceiver
from antiphon.transceiver.net.udp_socket import TunnelSocket
from antiphon.transceiver.prepared.bucket import PreparedBucket
from antiphon.transceiver.prepared.entry import PreparedCrypto
from antiphon.transceiver.prepared.first_checks import FirstChecks
from antiphon.transceiver.prepared.preparations import Preparations
from antiphon.transceiver.prepared.take_out import TakeOut
from antiphon.transceiver.prepared.waiting_calls import WaitingCalls
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler

log = logging.getLogger(__name__)
complaints: Final = OncePerChange(log)

POLL_INTERVAL: Final = 0.05
ENDING_TOGETHER: Final = 0.15
"""Seconds in which other processes that end at the same time announce so: sessions that they are handed are lost."""
HANDSHAKE_SECONDS: Final = 2.0
"""At most, for sessions in their handshake to become ones that can be handed over."""


@dataclass(frozen=True)
class _Acquired:
    """What had to be waited for, or may be refused, before anything is built."""

    process_id: str
    host: str
    """The address to bind."""
    advertised: str
    """The address by which relays and other processes reach us."""
    identity: TransceiverIdentity
    socket: TunnelSocket
    detector: FailureDetector | None
    """None: without failover (ANTIPHON_HAND_OVER=0)."""
    held: HeldDatagrams
    """What the sockets send together."""


@dataclass(frozen=True)
class _Parts:
    """What the process itself starts, polls and stops."""

    publisher: Publisher
    outbox: RecordOutbox
    scheduler: Scheduler
    demux: Demux
    lanes: Lanes
    endpoints: Endpoints
    relays: RelayLink
    bus: SessionBus
    liveness: AgentLiveness
    transfers: Transfers
    opener: SessionOpener
    take_out: TakeOut
    status: CallStatusResponder
    listing: CallListing[Session]
    announcer: Announcer
    service: SlotService
    slot_keeper: SlotKeeper
    failover: Failover | None
    copies: CopiesOfCalls | None


def _build(
    settings: Settings,
    client: Client,
    leases: LeaseBucket | None,
    acquired: _Acquired,
    shown: MetricsService,
    stop_process: Callable[[], None],
    is_busy: Callable[[], bool],
) -> _Parts:
    """All objects of the process, from leaf to root."""
    metrics = shown.metrics
    publisher = Publisher(client)
    output = HeldTogether(publisher, acquired.held)

    # Sockets: which datagram goes where.
    demux = Demux()
    endpoints = Endpoints(_endpoint(acquired, acquired.identity, acquired.socket))
    networks = (
        ClusterNetworks(parse_networks(settings.cluster_networks))
        if settings.cluster_networks
        else ClusterNetworks.default(acquired.advertised)
    )
    allowlist = RelayAllowlist(":" in acquired.host, networks, settings.cluster)
    peers = Peers(acquired.process_id, settings.cluster, networks, settings.node_name)
    waiting = WaitingCalls()
    first_checks = FirstChecks(waiting, settings.password_key_bytes())
    lanes = Lanes(demux, publisher, acquired.held)
    forwarder = PacketForwarder(endpoints, peers, allowlist, settings.password_key_bytes())
    receiver = TunnelReceiver(demux, allowlist, forwarder, first_checks, lanes.inbound)
    names = RelayNames()
    relays = RelayLink(client, demux, endpoints, allowlist, names)

    def open_endpoint(identity: TransceiverIdentity) -> Endpoint:
        endpoint = _endpoint(acquired, identity, TunnelSocket(acquired.host, 0, acquired.held))
        endpoint.start(receiver, output.hold, output.release)
        return endpoint

    endpoints.own.start(receiver, output.hold, output.release)

    # Calls of ours with a copy in a second region: they send while their lease is valid.
    owner = None
    if leases is not None and settings.copy_cluster is not None:
        password_key = settings.password_key_bytes()
        owner = CopyOwner(client, leases, settings.copy_cluster, password_key, acquired.process_id, demux, endpoints)
    scheduler = Scheduler(output, owner.check if owner is not None else None, is_busy)

    # Sessions, and what is kept for each of them.
    bus = SessionBus(client, demux, settings.cluster)
    liveness = AgentLiveness(client, demux, settings.agent_lost_seconds)
    listening = Listeners(demux, scheduler)
    listeners: list[SessionListener] = [lanes, bus, liveness, listening]
    bucket = writer = None
    if acquired.detector is not None:
        bucket = CheckpointBucket(client, settings.password_key_bytes(), acquired.process_id)
        writer = CheckpointWriter(bucket, owner)
        listeners.append(writer)
    if owner is not None:
        listeners.append(owner)
    others = settings.copies_of()

    def as_owner() -> messages.CallList:
        own = endpoints.own.identity
        return messages.CallList(owner=service.id, region=settings.region, cluster=own.cluster, slot=own.slot)

    def instance_of(session_id: str) -> str:
        return liveness.instance_of(session_id)

    summaries = CallSummaries(as_owner, names.of_path, instance_of, partial(scheduler.lateness, 0.99))
    outbox = RecordOutbox(client, publisher)
    records = CallRecords(outbox, demux, summaries, settings.timeline_words)
    sessions = SessionTable(
        settings,
        publisher,
        scheduler,
        demux,
        endpoints,
        listeners,
        owner,
        metrics,
        records,
        partial(client_statistics.count, metrics),
        allowlist.name_of,
        lanes,
    )

    # Calls, and what others know of this process.
    claims = AgentClaims(client, publisher.publish, bus.turn_away, metrics)

    async def store(session_id: str) -> None:
        """Without failover no process takes a session over."""
        session = demux.get(session_id)
        if writer is not None and session is not None:
            await writer.store_now(session)

    transfers = Transfers(bus, claims, liveness, publisher, store)
    new_sessions = NewSessions(settings, sessions, asyncio.get_running_loop().time())
    crypto = PreparedCrypto(settings.password_key_bytes())
    prepared = PreparedBucket(client, settings.cluster)
    preparations = Preparations(settings.cluster, crypto, prepared, waiting, new_sessions, demux, metrics)
    opener = SessionOpener(
        settings,
        sessions,
        bus,
        claims,
        liveness,
        transfers,
        publisher,
        scheduler,
        listening,
        new_sessions,
        preparations,
        metrics,
    )
    take_out = TakeOut(first_checks, waiting, crypto, prepared, new_sessions, opener, demux, publisher, metrics)
    metrics.gauge("antiphon_call_waiting", lambda: len(waiting))
    register_metrics(metrics, sessions, opener, scheduler, publisher, allowlist)
    address = liveness_address(acquired.advertised, acquired.detector.port) if acquired.detector is not None else None
    announcer = Announcer(
        client,
        endpoints,
        settings.capacity,
        opener,
        partial(scheduler.lateness, 0.99),
        Liveness(acquired.process_id, address),
        writer.write_all if writer is not None else lambda: None,
        Site(settings.region, settings.announced_place(), settings.node_name),
    )
    operations = [Operation("open", subjects.transceiver_open, opener.requested)]

    failover = copies = None
    if acquired.detector is not None and bucket is not None and writer is not None:
        adoption = Adoption(bucket, writer, sessions, bus, opener, relays, allowlist, publisher, metrics)
        takeover = Takeover(
            client,
            bucket,
            peers,
            endpoints,
            open_endpoint,
            adoption,
            publisher,
            announcer.changed,
            owner.take_back if owner is not None else None,
        )
        if leases is not None and (owner is not None or others):
            second = None
            if others:
                second = _second_region(
                    settings, client, leases, others, acquired.process_id, demux, endpoints, adoption, publisher
                )
            copies = CopiesOfCalls(client, settings.cluster, endpoints, open_endpoint, announcer.changed, owner, second)
        operations += [
            Operation("take_over", subjects.transceiver_take_over, takeover.requested),
            Operation("adopt", subjects.transceiver_adopt, adoption.requested),
        ]
        failover = Failover(
            demux,
            endpoints,
            acquired.detector,
            PeerMonitor(peers, takeover.died),
            writer,
            takeover,
            Handover(client, acquired.process_id, writer, peers, demux, endpoints),
            MovedRenewal(endpoints, bucket),
        )

    figures = partial(service_statistics, sessions, opener, claims, scheduler, publisher)

    def statistics() -> dict[str, Any]:
        return figures() | ({"copies": owner.statistics()} if owner is not None else {})

    registered = {"region": settings.region, "cluster": str(settings.cluster), **shown.metadata()}
    service = SlotService(client, operations, statistics, registered, stop_process)
    slot_keeper = SlotKeeper(
        client,
        acquired.process_id,
        settings.slot is not None,
        demux,
        endpoints,
        open_endpoint,
        opener,
        announcer,
        service,
        bucket,
    )
    return _Parts(
        publisher=publisher,
        outbox=outbox,
        scheduler=scheduler,
        demux=demux,
        lanes=lanes,
        endpoints=endpoints,
        relays=relays,
        bus=bus,
        liveness=liveness,
        transfers=transfers,
        opener=opener,
        take_out=take_out,
        status=CallStatusResponder(sessions, publisher),
        listing=CallListing(demux, publisher, as_owner, summaries.summary),
        announcer=announcer,
        service=service,
        slot_keeper=slot_keeper,
        failover=failover,
        copies=copies,
    )


def _second_region(
    settings: Settings,
    client: Client,
    leases: LeaseBucket,
    others: dict[int, ForeignCluster],
    process_id: str,
    demux: Demux,
    endpoints: Endpoints,
    adoption: Adoption,
    publisher: Publisher,
) -> SecondRegion:
    """For the clusters that this one keeps copies of."""
    shelf = ShelfBucket(client, process_id)
    crypto = {each.cluster: CheckpointCrypto(each.password_key, process_id) for each in others.values()}
    relays = RelayDirectory(settings.cluster)
    copied = settings.copy_cluster is not None
    moves = MoveAnnouncer(others, demux, endpoints, publisher)
    calls = ForeignCalls(others, shelf, crypto, relays, endpoints, adoption, AgentLeases(client), moves.changed, copied)

    def load() -> float:
        """Nothing is taken on while the process drains."""
        return adoption.load.sessions / adoption.load.capacity if adoption.load.capacity else 1.0

    watch = LeaseWatch(leases, process_id, settings.cluster, others, load, calls.adopt)
    service = CopyService(client, shelf, crypto, watch.is_taken)
    return SecondRegion(watch, service, moves, relays)


def _endpoint(acquired: _Acquired, identity: TransceiverIdentity, socket: TunnelSocket) -> Endpoint:
    return Endpoint(identity, str(Address(acquired.advertised, socket.port)), socket)


class Transceiver:
    """One process: one event loop, an endpoint of its own, many sessions.

    Owner: `__main__.serve`, which calls `start`, `drain` and `stop` in this order, each once, on the event loop.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        hubs: Sequence[HubConnection],
        leases: LeaseBucket | None,
        process_id: str,
        parts: _Parts,
        metrics: MetricsService,
    ) -> None:
        self._settings = settings
        self._client = client
        self._hubs = hubs
        self._leases = leases
        self._process_id = process_id
        self._parts = parts
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls,
        settings: Settings,
        client: Client,
        shown: MetricsSettings,
        stop_process: Callable[[], None] = lambda: None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> Transceiver:
        """Take a slot, build all parts, receive, announce. OSError or RuntimeError if the port or the slot is taken.

        `stop_process()` does what SIGTERM does: an operator may ask for it over NATS. `is_busy()`: of the loop."""
        host, _, port = settings.transceiver_bind.rpartition(":")
        host = host.strip("[]")
        process_id = secrets.token_hex(PROCESS_ID_CHARACTERS // 2)
        async with contextlib.AsyncExitStack() as on_failure:
            held = HeldDatagrams()
            socket = TunnelSocket(host, int(port), held)
            on_failure.callback(socket.close)
            identity = await claim_slot(client.jetstream(), settings.cluster, settings.slot)
            detector = None
            if settings.hand_over:
                detector = await FailureDetector.listen(process_id, host)
                on_failure.push_async_callback(detector.close)
            advertised = settings.transceiver_advertise or connection.local_host_towards(settings.nats_url)
            acquired = _Acquired(process_id, host, advertised, identity, socket, detector, held)
            hubs, leases = list[HubConnection](), None
            if (where := settings.hub()) is not None:
                others = where._replace(urls=(*where.urls[1:], where.urls[0]))
                # With copies two, with different servers: when one is gone or stands still, the other renews leases.
                for servers in (where, others) if settings.has_copies else (where,):
                    hubs.append(connect_hub(servers, "antiphon-transceiver"))
                    on_failure.push_async_callback(hubs[-1].close)
                leases = LeaseBucket(hubs, int(settings.hub_replicas), process_id)
                on_failure.push_async_callback(leases.close)
            metrics = MetricsService("transceiver", shown, region=settings.region)
            await metrics.start(lambda: client)
            on_failure.push_async_callback(metrics.close)
            parts = _build(settings, client, leases, acquired, metrics, stop_process, is_busy)
            transceiver = cls(settings, client, hubs, leases, process_id, parts, metrics)
            await transceiver.begin()
            on_failure.pop_all()  # from here on `stop` closes them
        metrics.started(transceiver.failing)
        log.info("slot %d of cluster %d, epoch %d, ready", identity.slot, identity.cluster, identity.epoch)
        return transceiver

    async def begin(self) -> None:
        """Receive, announce and poll from now on. `start` calls it."""
        parts, client = self._parts, self._client
        js = client.jetstream()
        await parts.relays.start(js)
        if parts.failover is not None:
            parts.failover.start()
        await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._announced)
        await client.subscribe(subjects.ANY_CALL_STATUS, cb=parts.status.requested)
        await client.subscribe(subjects.CALLS_LIST, cb=parts.listing.requested)
        elsewhere = subjects.cluster_calls(parts.endpoints.own.identity.cluster)
        await client.subscribe(elsewhere, cb=self._called_from_elsewhere)
        if parts.failover is not None:
            await self._read_announcements(js, parts.failover)
        await parts.service.start(parts.endpoints.own.identity)
        if parts.copies is not None:
            await parts.copies.start()
        await connection.require_allowed(client)
        running = [parts.announcer.run(), parts.take_out.run(), self._poll_forever()]
        if self._settings.agent_lost_seconds:
            running.append(parts.liveness.run())
        if self._settings.keep_flows:
            running.append(FlowDirectory(client, parts.relays.flows).run())
        self._tasks += [asyncio.create_task(each) for each in running]

    async def _called_from_elsewhere(self, message: Msg) -> None:
        if message.subject.endswith(".status"):
            await self._parts.status.requested(message)
        else:
            await self._parts.bus.called_from_elsewhere(message)

    async def _read_announcements(self, js: JetStreamContext, failover: Failover) -> None:
        """The processes that were there before us. One of them may just have died, with none but us to take it over."""
        for entry in await buckets.read_all(js, subjects.BUCKET_TRANSCEIVERS):
            with contextlib.suppress(MalformedError):
                failover.announced(messages.decode(entry.value, messages.TransceiverAnnouncement))

    async def _announced(self, message: Msg) -> None:
        """An announcement of a transceiver, ourselves included."""
        parts = self._parts
        try:
            announcement = messages.decode(message.data, messages.TransceiverAnnouncement)
        except MalformedError as error:
            complaints.say(str(error), message.subject)
            return
        if announcement.holder == self._process_id:
            parts.announcer.came_back()
            return
        await parts.slot_keeper.announced(announcement)
        if parts.failover is not None:
            parts.failover.announced(announcement)

    async def _poll_forever(self) -> None:
        parts, had_sessions = self._parts, False
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            if had_sessions and not len(parts.demux):
                gc.collect()  # of the cycles that sessions leave: the collector is set to run rarely (`__main__`)
            had_sessions = len(parts.demux) > 0
            now = self._loop.time()
            for session in parts.demux:
                session.poll(now)
            parts.lanes.poll()
            answers = parts.announcer.bus_answers(now)
            parts.relays.poll(now, answers)
            parts.announcer.poll()
            parts.take_out.poll()
            if parts.failover is not None and parts.failover.poll(now, answers):
                parts.announcer.changed()
            if parts.copies is not None:
                parts.copies.poll(now)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Take no more sessions. Hand the running ones over, or let them end: until the setting, or `hurry`."""
        parts, seconds = self._parts, self._settings.drain_seconds
        parts.opener.drain()
        parts.announcer.changed()
        deadline = self._loop.time() + seconds
        await self._wait_for_handshakes(min(deadline, self._loop.time() + HANDSHAKE_SECONDS), hurry)
        await self._hand_over()
        if not seconds or not len(parts.demux):
            return
        log.info("draining %d sessions for at most %g s", len(parts.demux), seconds)
        for session in parts.demux:
            session.announce_draining(seconds)
        while len(parts.demux) and self._loop.time() < deadline:
            if await self._hurried(hurry):
                return
            await self._hand_over()  # to a process that has started meanwhile

    async def _hand_over(self) -> None:
        """Give all sessions to another process, if there is one."""
        parts = self._parts
        if parts.failover is None or not len(parts.demux) or not parts.failover.can_hand_over:
            return
        await asyncio.sleep(ENDING_TOGETHER)
        gone = await parts.failover.hand_over_all()
        log.info("%d sessions handed over, %d are left", gone, len(parts.demux))
        for session in parts.demux:
            if parts.endpoints.of(session.state.session_id).withdrawn:
                session.end("draining", self._loop.time())  # in its handshake: relays take it elsewhere now

    async def _wait_for_handshakes(self, until: float, hurry: asyncio.Event) -> None:
        """A session in its handshake can't be handed over: most are through it within tenths of a second."""
        while self._loop.time() < until and not all(session.connected for session in self._parts.demux):
            if await self._hurried(hurry):
                return

    @staticmethod
    async def _hurried(hurry: asyncio.Event) -> bool:
        """After a short wait: the drain is to end now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL):
                await hurry.wait()
        return hurry.is_set()

    def failing(self) -> dict[str, str]:
        """Why no call would be taken now. Being full is not in it: a restart would not help."""
        if self._parts.opener.draining:
            return dict(DRAINING)
        return {} if self._parts.announcer.bus_answers(self._loop.time()) else {"nats": "delivers nothing"}

    async def stop(self) -> None:
        """End all sessions, announce it, release everything."""
        parts = self._parts
        parts.opener.drain()
        parts.opener.close()
        await parts.take_out.close()
        await parts.transfers.close()
        await parts.listing.close()
        for session in parts.demux:
            session.end("draining", self._loop.time())
        await parts.announcer.announce_last()
        parts.outbox.close()
        await parts.publisher.drain()
        if parts.failover is not None:
            await parts.failover.stop()
        await tasks.end(*self._tasks)
        if parts.copies is not None:
            await parts.copies.close()
        if self._leases is not None:
            await self._leases.close()
        for hub in self._hubs:
            await hub.close()
        await parts.slot_keeper.close()
        await parts.bus.close()
        await self._metrics.close()
        parts.scheduler.close()
        parts.endpoints.close()
        if parts.failover is not None:
            await parts.failover.close()
