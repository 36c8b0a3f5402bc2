"""What lets calls outlive their process, and their region: failover, and copies of calls."""

from __future__ import annotations

from dataclasses import dataclass

from nats.aio.client import Client

from antiphon.runtime.metrics import Metrics
from antiphon.schemas import subjects
from antiphon.transceiver.calls.slot_service import Operation
from antiphon.transceiver.composition.acquired import Acquired
from antiphon.transceiver.composition.call_parts import CallParts
from antiphon.transceiver.composition.network_parts import NetworkParts
from antiphon.transceiver.composition.session_parts import SessionParts
from antiphon.transceiver.copies.agent_leases import AgentLeases
from antiphon.transceiver.copies.copies import CopiesOfCalls, SecondRegion
from antiphon.transceiver.copies.copy_keys import ForeignCluster
from antiphon.transceiver.copies.copy_service import CopyService
from antiphon.transceiver.copies.foreign_calls import ForeignCalls
from antiphon.transceiver.copies.lease_bucket import LeaseBucket
from antiphon.transceiver.copies.lease_watch import LeaseWatch
from antiphon.transceiver.copies.move_announcer import MoveAnnouncer
from antiphon.transceiver.copies.relay_directory import RelayDirectory
from antiphon.transceiver.copies.shelf_bucket import ShelfBucket
from antiphon.transceiver.failover.adoption import Adoption
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto
from antiphon.transceiver.failover.failover import Failover
from antiphon.transceiver.failover.forwarding import MovedRenewal
from antiphon.transceiver.failover.handover import Handover
from antiphon.transceiver.failover.peer_monitor import PeerMonitor
from antiphon.transceiver.failover.takeover import Takeover
from antiphon.transceiver.settings import Settings


@dataclass(frozen=True)
class FailoverParts:
    """Owner: `Parts`."""

    failover: Failover
    copies: CopiesOfCalls | None
    """None: this process has a copy of no call, and no call of it has one."""
    operations: tuple[Operation, ...]
    """What other processes may ask for."""


def build_failover(
    settings: Settings,
    client: Client,
    acquired: Acquired,
    network: NetworkParts,
    inner: SessionParts,
    calls: CallParts,
    metrics: Metrics,
) -> FailoverParts | None:
    """None: without failover (ANTIPHON_HAND_OVER=0)."""
    detector, checkpoints, owner = acquired.detector, inner.checkpoints, inner.copy_owner
    if detector is None or checkpoints is None:
        return None
    bucket, writer = checkpoints.bucket, checkpoints.writer
    demux, endpoints, peers = network.demux, network.endpoints, network.peers
    adoption = Adoption(
        bucket,
        writer,
        inner.sessions,
        inner.bus,
        calls.opener,
        network.relays,
        network.allowlist,
        network.publisher,
        metrics,
    )
    takeover = Takeover(
        client,
        bucket,
        peers,
        endpoints,
        network.open_endpoint,
        adoption,
        network.publisher,
        calls.announcer.changed,
        owner.take_back if owner is not None else None,
    )
    copies = None
    others = acquired.foreign
    if acquired.leases is not None and (owner is not None or others):
        second = None
        if others:
            second = _second_region(settings, client, acquired.leases, others, acquired.process_id, network, adoption)
        copies = CopiesOfCalls(
            client, settings.cluster, endpoints, network.open_endpoint, calls.announcer.changed, owner, second
        )
    failover = Failover(
        demux,
        endpoints,
        detector,
        PeerMonitor(peers, takeover.died),
        writer,
        takeover,
        Handover(client, acquired.process_id, writer, peers, demux, endpoints),
        MovedRenewal(endpoints, bucket),
    )
    operations = (
        Operation("take_over", subjects.transceiver_take_over, takeover.requested),
        Operation("adopt", subjects.transceiver_adopt, adoption.requested),
    )
    return FailoverParts(failover, copies, operations)


def _second_region(
    settings: Settings,
    client: Client,
    leases: LeaseBucket,
    others: dict[int, ForeignCluster],
    process_id: str,
    network: NetworkParts,
    adoption: Adoption,
) -> SecondRegion:
    """For the clusters that this one keeps copies of."""
    endpoints = network.endpoints
    shelf = ShelfBucket(client, process_id)
    crypto = {each.cluster: CheckpointCrypto(each.password_key, process_id) for each in others.values()}
    relays = RelayDirectory(settings.cluster)
    copied = settings.copy_cluster is not None
    moves = MoveAnnouncer(others, network.demux, endpoints, network.publisher)
    calls = ForeignCalls(others, shelf, crypto, relays, endpoints, adoption, AgentLeases(client), moves.changed, copied)

    def load() -> float:
        """Nothing is taken on while the process drains."""
        return adoption.load.sessions / adoption.load.capacity if adoption.load.capacity else 1.0

    watch = LeaseWatch(leases, process_id, settings.cluster, others, load, calls.adopt)
    service = CopyService(client, shelf, crypto, watch.is_taken)
    return SecondRegion(watch, service, moves, relays)
