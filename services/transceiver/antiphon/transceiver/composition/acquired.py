"""What has to be waited for, or may be refused, before anything is built: slot, sockets, connections to the hub."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass

from nats.aio.client import Client

from antiphon.runtime.nats import connection
from antiphon.runtime.nats.hub import HubConnection, connect_hub
from antiphon.schemas.addresses import Address
from antiphon.transceiver.copies.copy_keys import ForeignCluster
from antiphon.transceiver.copies.lease_bucket import LeaseBucket
from antiphon.transceiver.failover.checkpoint_crypto import PROCESS_ID_CHARACTERS
from antiphon.transceiver.failover.failure_detector import FailureDetector
from antiphon.transceiver.failover.slot_claim import claim_slot
from antiphon.transceiver.net.endpoint import Endpoint, TransceiverIdentity
from antiphon.transceiver.net.held_datagrams import HeldDatagrams
from antiphon.transceiver.net.udp_socket import TunnelSocket
from antiphon.transceiver.settings import Settings


@dataclass(frozen=True)
class Acquired:
    """Owner: the process, which closes what is in it when it stops."""

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
    hubs: tuple[HubConnection, ...]
    leases: LeaseBucket | None
    """None: without a hub."""
    foreign: dict[int, ForeignCluster]
    """The clusters that this one keeps copies of."""

    def endpoint(self, identity: TransceiverIdentity, socket: TunnelSocket) -> Endpoint:
        """One of this process, under the address that it advertises."""
        return Endpoint(identity, str(Address(self.advertised, socket.port)), socket)


async def acquire(settings: Settings, client: Client, on_failure: contextlib.AsyncExitStack) -> Acquired:
    """Take all of it, `on_failure` gives it back. OSError or RuntimeError if the port or the slot is taken."""
    host, _, port = settings.transceiver_bind.rpartition(":")
    host = host.strip("[]")
    process_id = secrets.token_hex(PROCESS_ID_CHARACTERS // 2)
    held = HeldDatagrams()
    socket = TunnelSocket(host, int(port), held)
    on_failure.callback(socket.close)
    identity = await claim_slot(client.jetstream(), settings.cluster, settings.slot)
    detector = None
    if settings.hand_over:
        detector = await FailureDetector.listen(process_id, host)
        on_failure.push_async_callback(detector.close)
    advertised = settings.transceiver_advertise or connection.local_host_towards(settings.nats_url)
    hubs, leases = list[HubConnection](), None
    if (where := settings.hub()) is not None:
        others = where._replace(urls=(*where.urls[1:], where.urls[0]))
        # With copies two, with different servers: when one is gone or stands still, the other renews leases.
        for servers in (where, others) if settings.has_copies else (where,):
            hubs.append(connect_hub(servers, "antiphon-transceiver"))
            on_failure.push_async_callback(hubs[-1].close)
        leases = LeaseBucket(hubs, int(settings.hub_replicas), process_id)
        on_failure.push_async_callback(leases.close)
    return Acquired(
        process_id, host, advertised, identity, socket, detector, held, tuple(hubs), leases, settings.copies_of()
    )
