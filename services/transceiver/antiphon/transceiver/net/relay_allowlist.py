"""Which addresses tunnel packets may come from: those of announced relays."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas.addresses import parse_address
from antiphon.schemas.messages import RelayAnnouncement


def on_socket(host: str, ipv6: bool) -> str:
    """An IP literal as a UDP socket names its peer: IPv4 on an IPv6 socket is ::ffff:a.b.c.d (RFC 4291 2.5.5.2)."""
    bare = host.removeprefix("::ffff:")
    if "." in bare:
        return f"::ffff:{bare}" if ipv6 else bare
    return host


class RelayAllowlist:
    """Announced tunnel addresses. While NATS is away nothing expires: the last known relays stay trusted."""

    def __init__(self, ipv6: bool = False) -> None:
        """`ipv6`: addresses are compared as a socket of that family names them."""
        self._ipv6 = ipv6
        # By name and addresses: while a new relay process takes over from an old one, both speak under one name.
        self._relays: dict[tuple[str, frozenset[tuple[str, int]]], float] = {}
        self._trusted: frozenset[tuple[str, int]] = frozenset()

    def announce(self, relay: RelayAnnouncement, now: float) -> list[tuple[str, int]]:
        """Take an announcement; returns the addresses that are new."""
        addresses = frozenset(
            (on_socket(host, self._ipv6), port) for host, port in map(parse_address, relay.tunnel_addresses)
        )
        new = sorted(addresses - self._trusted)
        self._relays[relay.name, addresses] = now
        self._sum_up()
        return new

    def expire(self, now: float) -> None:
        """Forget relays that have not announced themselves for a while."""
        gone = [relay for relay, seen in self._relays.items() if now - seen > ANNOUNCE_TTL]
        for relay in gone:
            del self._relays[relay]
        if gone:
            self._sum_up()

    def renew(self, now: float) -> None:
        """Start every relay's time anew: while nobody can announce anything, nobody is late."""
        self._relays = dict.fromkeys(self._relays, now)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._trusted)

    def __contains__(self, address: tuple[str, int]) -> bool:
        return address in self._trusted

    def _sum_up(self) -> None:
        self._trusted = frozenset().union(*(addresses for _, addresses in self._relays))
