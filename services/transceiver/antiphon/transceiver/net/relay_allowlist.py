"""Which addresses tunnel packets may come from, those of announced relays, and how a socket spells an address."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from antiphon.runtime.cluster_networks import ClusterNetworks
from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement

log = logging.getLogger(__name__)

MAX_RELAYS: Final = 512
"""Names with their addresses: a relay that restarts has two for some seconds."""
MAX_ADDRESSES: Final = 2048
"""Of all relays together, one per worker process."""
REFUSAL_NAMED_EVERY: Final = 60.0
"""Seconds between two lines of the log."""
_MAPPED = "::ffff:"


def on_socket(host: str, ipv6: bool) -> str:
    """An IP literal as a UDP socket spells its peer's: IPv4 on an IPv6 socket is ::ffff:a.b.c.d (RFC 4291 2.5.5.2)."""
    bare = host.removeprefix(_MAPPED)
    if "." in bare:
        return f"{_MAPPED}{bare}" if ipv6 else bare
    return host


def announced_address(source: tuple[str, int]) -> Address:
    """The reverse of `on_socket`: a peer's address as it stands in announcements and tunnel headers."""
    return Address(source[0].removeprefix(_MAPPED), source[1])


class RelayAllowlist:
    """Announced tunnel addresses. While NATS is away nothing expires: the last known relays stay trusted.

    Owner: the process, for its whole life. `RelayLink` fills it, `TunnelReceiver` asks it. Event loop only. Pure.

    Policy when full: further relays are ignored until some have expired, so that false announcements displace no relay
    that is known.
    """

    def __init__(self, ipv6: bool = False, networks: ClusterNetworks | None = None, cluster: int | None = None) -> None:
        """`ipv6`: addresses are compared as a socket of that family spells them. `networks`: relays elsewhere are no
        relays of this cluster; None: everywhere. `cluster`: relays that serve another one are not trusted."""
        self._ipv6 = ipv6
        self._networks = networks
        self._cluster = cluster
        self._refused_at = float("-inf")
        # By name and addresses: while a new relay process takes over from an old one, both announce one name.
        self._relays: dict[tuple[str, frozenset[tuple[str, int]]], float] = {}
        self._trusted: frozenset[tuple[str, int]] = frozenset()

    def announce(self, relay: RelayAnnouncement, now: float) -> list[tuple[str, int]]:
        """Take an announcement; returns the addresses that are new."""
        if self._cluster is not None and relay.cluster not in (None, self._cluster):
            return []
        addresses = frozenset(
            self.as_seen(host, port)
            for host, port in map(parse_address, relay.tunnel_addresses)
            if self._networks is None or self._networks.admits(host, f"relay {relay.name}")
        )
        key = relay.name, addresses
        if key not in self._relays:
            if not addresses or self._is_full(addresses, now):
                return []
            new = sorted(addresses - self._trusted)
            self._relays[key] = now
            self._trusted |= addresses
            return new
        self._relays[key] = now
        return []

    def _is_full(self, addresses: frozenset[tuple[str, int]], now: float) -> bool:
        if len(self._relays) < MAX_RELAYS and len(self._trusted | addresses) <= MAX_ADDRESSES:
            return False
        if now - self._refused_at > REFUSAL_NAMED_EVERY:
            log.error("%d relays are announced: further ones are ignored until some are gone", len(self._relays))
            self._refused_at = now
        return True

    def as_seen(self, host: str, port: int) -> tuple[str, int]:
        """An announced address as our sockets spell it."""
        return on_socket(host, self._ipv6), port

    def expire(self, now: float) -> None:
        """Forget relays that have not announced themselves for a while."""
        gone = [relay for relay, seen in self._relays.items() if now - seen > ANNOUNCE_TTL]
        for relay in gone:
            del self._relays[relay]
        if gone:
            self._update_trusted()

    def renew(self, now: float) -> None:
        """Start every relay's time anew: without NATS no relay can announce itself, so none is late."""
        self._relays = dict.fromkeys(self._relays, now)

    def name_of(self, address: tuple[str, int]) -> str:
        """The name of the relay that announces this address, as our sockets spell it; empty: none does now."""
        return next((name for name, addresses in self._relays if address in addresses), "")

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._trusted)

    def __contains__(self, address: tuple[str, int]) -> bool:
        return address in self._trusted

    def _update_trusted(self) -> None:
        self._trusted = frozenset().union(*(addresses for _, addresses in self._relays))
