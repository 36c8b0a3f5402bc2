"""All objects of a process, and those of them that the process itself starts, polls and stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nats.aio.client import Client

from antiphon.runtime.metrics import Metrics
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls.agent_liveness import AgentLiveness
from antiphon.runtime.owned_calls.call_listing import CallListing
from antiphon.runtime.owned_calls.record_outbox import RecordOutbox
from antiphon.runtime.owned_calls.session_bus import SessionBus
from antiphon.runtime.owned_calls.transfers import Transfers
from antiphon.schemas import messages, subjects
from antiphon.transceiver.bus.announcer import Announcer
from antiphon.transceiver.calls.call_status import CallStatusResponder
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.calls.slot_service import Operation, SlotService
from antiphon.transceiver.composition.acquired import Acquired
from antiphon.transceiver.composition.call_parts import build_calls
from antiphon.transceiver.composition.failover_parts import build_failover
from antiphon.transceiver.composition.network_parts import build_network
from antiphon.transceiver.composition.session_parts import build_sessions
from antiphon.transceiver.copies.copies import CopiesOfCalls
from antiphon.transceiver.failover.failover import Failover
from antiphon.transceiver.failover.slot_keeper import SlotKeeper
from antiphon.transceiver.lanes.lanes import Lanes
from antiphon.transceiver.metrics import register_metrics, service_statistics
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoints
from antiphon.transceiver.net.relay_link import RelayLink
from antiphon.transceiver.prepared.take_out import TakeOut
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler


@dataclass(frozen=True)
class Parts:
    """Owner: the process, for its whole life. Event loop only."""

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


def build(
    settings: Settings,
    client: Client,
    acquired: Acquired,
    metrics: Metrics,
    registered: dict[str, str],
    stop_process: Callable[[], None],
    is_busy: Callable[[], bool],
) -> Parts:
    """All objects, from leaf to root. `registered`: more of what the register of services shows of the process."""

    def as_owner() -> messages.CallList:
        """Asked when there are calls: the process is in the register by then."""
        own = network.endpoints.own.identity
        return messages.CallList(owner=service.id, region=settings.region, cluster=own.cluster, slot=own.slot)

    network = build_network(settings, client, acquired)
    inner = build_sessions(settings, client, acquired, network, as_owner, is_busy, metrics)
    calls = build_calls(settings, client, acquired, network, inner, metrics)
    failing_over = build_failover(settings, client, acquired, network, inner, calls, metrics)

    metrics.gauge("antiphon_call_waiting", lambda: len(network.waiting))
    register_metrics(metrics, inner.sessions, calls.opener, inner.scheduler, network.publisher, network.allowlist)
    figures = partial(
        service_statistics, inner.sessions, calls.opener, calls.claims, inner.scheduler, network.publisher
    )

    def statistics() -> dict[str, Any]:
        return figures() | ({"copies": inner.copy_owner.statistics()} if inner.copy_owner is not None else {})

    operations = [Operation("open", subjects.transceiver_open, calls.opener.requested)]
    if failing_over is not None:
        operations += failing_over.operations
    metadata = {"region": settings.region, "cluster": str(settings.cluster), **registered}
    service = SlotService(client, operations, statistics, metadata, stop_process)
    slot_keeper = SlotKeeper(
        client,
        acquired.process_id,
        settings.slot is not None,
        network.demux,
        network.endpoints,
        network.open_endpoint,
        calls.opener,
        calls.announcer,
        service,
        inner.checkpoints.bucket if inner.checkpoints is not None else None,
    )
    return Parts(
        publisher=network.publisher,
        outbox=inner.outbox,
        scheduler=inner.scheduler,
        demux=network.demux,
        lanes=network.lanes,
        endpoints=network.endpoints,
        relays=network.relays,
        bus=inner.bus,
        liveness=inner.liveness,
        transfers=calls.transfers,
        opener=calls.opener,
        take_out=calls.take_out,
        status=CallStatusResponder(inner.sessions, network.publisher),
        listing=CallListing(network.demux, network.publisher, as_owner, inner.summaries.summary),
        announcer=calls.announcer,
        service=service,
        slot_keeper=slot_keeper,
        failover=failing_over.failover if failing_over is not None else None,
        copies=failing_over.copies if failing_over is not None else None,
    )
