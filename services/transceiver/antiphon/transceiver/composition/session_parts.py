"""The table of sessions, and the components that keep something for each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nats.aio.client import Client

from antiphon.runtime.metrics import Metrics
from antiphon.runtime.owned_calls import client_statistics
from antiphon.runtime.owned_calls.agent_liveness import AgentLiveness
from antiphon.runtime.owned_calls.record_outbox import RecordOutbox
from antiphon.runtime.owned_calls.session_bus import SessionBus
from antiphon.schemas import messages
from antiphon.transceiver.calls.call_records import CallRecords
from antiphon.transceiver.calls.call_summary import CallSummaries
from antiphon.transceiver.calls.listeners import Listeners
from antiphon.transceiver.calls.session_table import SessionListener, SessionTable
from antiphon.transceiver.composition.acquired import Acquired
from antiphon.transceiver.composition.network_parts import NetworkParts
from antiphon.transceiver.copies.copy_owner import CopyOwner
from antiphon.transceiver.failover.checkpoint_bucket import CheckpointBucket
from antiphon.transceiver.failover.checkpoint_writer import CheckpointWriter
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler


@dataclass(frozen=True)
class Checkpoints:
    """With failover: what writes sessions down. Owner: `SessionParts`."""

    bucket: CheckpointBucket
    writer: CheckpointWriter


@dataclass(frozen=True)
class SessionParts:
    """Owner: `Parts`."""

    scheduler: Scheduler
    copy_owner: CopyOwner | None
    """Of calls of ours with a copy in a second region: they send while their lease is valid."""
    checkpoints: Checkpoints | None
    bus: SessionBus
    liveness: AgentLiveness
    listening: Listeners
    summaries: CallSummaries
    outbox: RecordOutbox
    sessions: SessionTable


def build_sessions(
    settings: Settings,
    client: Client,
    acquired: Acquired,
    network: NetworkParts,
    as_owner: Callable[[], messages.CallList],
    is_busy: Callable[[], bool],
    metrics: Metrics,
) -> SessionParts:
    """`as_owner()`: whose the calls of this process are. `is_busy()`: of the loop."""
    demux, endpoints = network.demux, network.endpoints
    owner = None
    if acquired.leases is not None and settings.copy_cluster is not None:
        key, process_id = settings.password_key_bytes(), acquired.process_id
        owner = CopyOwner(client, acquired.leases, settings.copy_cluster, key, process_id, demux, endpoints)
    scheduler = Scheduler(network.output, owner.check if owner is not None else None, is_busy)
    bus = SessionBus(client, demux, settings.cluster)
    liveness = AgentLiveness(client, demux, settings.agent_lost_seconds)
    listening = Listeners(demux, scheduler)
    listeners: list[SessionListener] = [network.lanes, bus, liveness, listening]
    checkpoints = None
    if acquired.detector is not None:
        bucket = CheckpointBucket(client, settings.password_key_bytes(), acquired.process_id)
        checkpoints = Checkpoints(bucket, CheckpointWriter(bucket, owner))
        listeners.append(checkpoints.writer)
    if owner is not None:
        listeners.append(owner)
    lateness = partial(scheduler.lateness, 0.99)
    summaries = CallSummaries(as_owner, network.names.of_path, liveness.instance_of, lateness)
    outbox = RecordOutbox(client, network.publisher)
    sessions = SessionTable(
        settings,
        network.publisher,
        scheduler,
        demux,
        endpoints,
        listeners,
        owner,
        metrics,
        CallRecords(outbox, demux, summaries, settings.timeline_words),
        partial(client_statistics.count, metrics),
        network.allowlist.name_of,
        network.lanes,
    )
    return SessionParts(
        scheduler=scheduler,
        copy_owner=owner,
        checkpoints=checkpoints,
        bus=bus,
        liveness=liveness,
        listening=listening,
        summaries=summaries,
        outbox=outbox,
        sessions=sessions,
    )
