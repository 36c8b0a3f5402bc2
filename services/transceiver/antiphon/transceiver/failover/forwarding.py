"""Packets of sessions that have moved to an endpoint of another process.

Their tokens name the old endpoint, so relays send their checks there. The process that has the old endpoint forwards
them, with the relay's address in front, and the process that has the session answers through that relay. Media finds
its session by the relays' flows, but for clients that entered by a relay of another place: the headers of these name
the old endpoint for the whole call, so all their packets are forwarded. Each is one more hop within the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Final

from antiphon.rtc import stun
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import tunnel
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.failover.checkpoint_bucket import CheckpointBucket
from antiphon.transceiver.failover.peers import Peers
from antiphon.transceiver.ice.seen_checks import SeenChecks
from antiphon.transceiver.net.demux import Unrouted
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, Moved
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist, announced_address
from antiphon.transceiver.net.tunnel_receiver import ingress_in

RENEW_EVERY: Final = 5.0
"""Seconds between renewals of `Moved` entries, whose TTL is that of checkpoints, 60 s."""
MISSED: Final = 5
"""Renewals in a row that did not find the session's checkpoint: NATS may have lost its store, and the process that has
the session writes it again within 15 s."""


class PacketForwarder:
    """Forwards packets, and knows from which sources forwarded ones may come. The `Forwarding` of `TunnelReceiver`.

    Owner: the process, for its whole life. Event loop only; nothing here waits.
    """

    def __init__(self, endpoints: Endpoints, peers: Peers, allowlist: RelayAllowlist, password_key: bytes) -> None:
        self._endpoints = endpoints
        self._peers = peers
        self._allowlist = allowlist
        self._password_key = password_key
        self._seen: dict[str, SeenChecks] = {}
        """By `Moved.key`: checks from which an address was learned, or could have been."""

    def forward(self, unrouted: Unrouted) -> bool:
        """Pass the packet on to the process that has its session; False if none is known."""
        header = unrouted.packet[: tunnel.header_length(unrouted.packet)]
        for endpoint in self._endpoints:
            moved = endpoint.moved_session(unrouted.ufrag) if unrouted.ufrag else endpoint.moved_client(header)
            address = self._peers.address_of(moved.to) if moved is not None else None
            if moved is not None and address is not None:
                if unrouted.ufrag and ingress_in(header):
                    self._learn(endpoint, moved, header, unrouted)
                packet = tunnel.pack_forwarded(announced_address(unrouted.relay), unrouted.packet)
                endpoint.socket.send(packet, self._allowlist.as_seen(*address))
                return True
        return False

    def _learn(self, endpoint: Endpoint, moved: Moved, header: bytes, unrouted: Unrouted) -> None:
        """The client's further packets come under this header as well, if the check is authentic and no replay."""
        datagram = unrouted.packet[len(header) :]
        request = stun.unpack_binding_request(datagram)
        if not stun.is_authentic(datagram, request, ice_password(self._password_key, unrouted.ufrag).encode()):
            return
        if moved.key not in self._seen:
            there = {each.key for each_endpoint in self._endpoints for each in each_endpoint.moved}
            self._seen = {key: seen for key, seen in self._seen.items() if key in there}
            self._seen[moved.key] = SeenChecks()
        if self._seen[moved.key].judge(request.transaction_id, header, asyncio.get_running_loop().time()) == "new":
            endpoint.learn_moved_client(header, moved)

    def is_transceiver(self, source: tuple[str, int]) -> bool:
        """Whether another process announces this address for one of its endpoints."""
        return self._peers.has_address(announced_address(source))


class MovedRenewal:
    """Keeps the `Moved` entries of our endpoints in the bucket for as long as their sessions run.

    Owner: the process, for its whole life; `run` is a task of its own.
    """

    def __init__(self, endpoints: Endpoints, bucket: CheckpointBucket) -> None:
        self._endpoints = endpoints
        self._bucket = bucket
        self._missed: Counter[str] = Counter()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY)
            for endpoint in self._endpoints:
                for moved in endpoint.moved:
                    with contextlib.suppress(*BUS_ERRORS):
                        await self._renew(moved, endpoint)

    async def _renew(self, moved: Moved, endpoint: Endpoint) -> None:
        is_there = await self._bucket.renew_moved(moved)
        self._missed[moved.key] = self._missed[moved.key] + 1 if is_there is None else 0
        if is_there is False or self._missed[moved.key] >= MISSED:
            del self._missed[moved.key]
            endpoint.forget_moved(moved)
            await self._bucket.delete(moved.key)
