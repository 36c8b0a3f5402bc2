"""How calls begin, with an agent, and what others know of this process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from nats.aio.client import Client

from antiphon.runtime.metrics import Metrics
from antiphon.runtime.owned_calls.agent_claims import AgentClaims
from antiphon.runtime.owned_calls.transfers import Transfers
from antiphon.transceiver.bus.announcer import Announcer, Liveness, Site
from antiphon.transceiver.calls.new_sessions import NewSessions
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.composition.acquired import Acquired
from antiphon.transceiver.composition.network_parts import NetworkParts
from antiphon.transceiver.composition.session_parts import SessionParts
from antiphon.transceiver.failover.failure_detector import liveness_address
from antiphon.transceiver.failover.slot_claim import keep_claim
from antiphon.transceiver.net.endpoint import TransceiverIdentity
from antiphon.transceiver.prepared.bucket import PreparedBucket
from antiphon.transceiver.prepared.entry import PreparedCrypto
from antiphon.transceiver.prepared.preparations import Preparations
from antiphon.transceiver.prepared.take_out import TakeOut
from antiphon.transceiver.settings import Settings


@dataclass(frozen=True)
class CallParts:
    """Owner: `Parts`."""

    claims: AgentClaims
    transfers: Transfers
    opener: SessionOpener
    take_out: TakeOut
    announcer: Announcer


def build_calls(
    settings: Settings,
    client: Client,
    acquired: Acquired,
    network: NetworkParts,
    inner: SessionParts,
    metrics: Metrics,
) -> CallParts:
    publisher, sessions, bus, checkpoints = network.publisher, inner.sessions, inner.bus, inner.checkpoints
    claims = AgentClaims(client, publisher.publish, bus.turn_away, metrics)

    async def store(session_id: str) -> None:
        """Without failover no process takes a session over."""
        session = network.demux.get(session_id)
        if checkpoints is not None and session is not None:
            await checkpoints.writer.store_now(session)

    transfers = Transfers(bus, claims, inner.liveness, publisher, store)
    new_sessions = NewSessions(settings, sessions, asyncio.get_running_loop().time())
    crypto = PreparedCrypto(settings.password_key_bytes())
    prepared = PreparedBucket(client, settings.cluster)
    preparations = Preparations(
        settings.cluster, crypto, prepared, network.waiting, new_sessions, network.demux, metrics
    )
    opener = SessionOpener(
        settings,
        sessions,
        bus,
        claims,
        inner.liveness,
        transfers,
        publisher,
        inner.scheduler,
        inner.listening,
        new_sessions,
        preparations,
        metrics,
    )
    take_out = TakeOut(
        network.first_checks,
        network.waiting,
        crypto,
        prepared,
        new_sessions,
        opener,
        network.demux,
        publisher,
        metrics,
    )
    detector = acquired.detector
    address = liveness_address(acquired.advertised, detector.port) if detector is not None else None

    async def store_lost(own: TransceiverIdentity) -> None:
        if checkpoints is not None:
            checkpoints.writer.write_all()
        await keep_claim(client.jetstream(), own)

    announcer = Announcer(
        client,
        network.endpoints,
        settings.capacity,
        opener,
        partial(inner.scheduler.lateness, 0.99),
        Liveness(acquired.process_id, address),
        store_lost,
        Site(settings.region, settings.announced_place(), settings.node_name),
    )
    return CallParts(claims=claims, transfers=transfers, opener=opener, take_out=take_out, announcer=announcer)
