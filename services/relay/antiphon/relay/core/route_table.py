"""Which transceivers are announced: from their announcements on NATS to the table that the workers route by.

An announcement counts for 5 s after it was received. While NATS is away no announcement can be renewed, so none
expires: the last known routes stay in use, and the 5 s count anew from its return.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from antiphon.relay.core.core import TransceiverIdentity
from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import TransceiverAnnouncement

log = logging.getLogger(__name__)

MAX_ROUTES: Final = 4096


@dataclass(slots=True)
class _Route:
    address: Address
    renewed: float


class RouteTable:
    """Announced transceivers by identity, at most `MAX_ROUTES`; an address belongs to one of them.

    Belongs to the control process's `RelayNatsClient`, which alone calls it, on its event loop. When full, further
    transceivers are left out.

    `ipv6` is the family of the relay's tunnel socket: a transceiver of the other family can't be reached; it is left
    out and named in the log once.
    """

    def __init__(self, ipv6: bool = False) -> None:
        self._ipv6 = ipv6
        self._routes: dict[TransceiverIdentity, _Route] = {}
        self._bus_away_until = float("-inf")
        self._warned: set[str] = set()

    def update(self, announcement: TransceiverAnnouncement, now: float) -> bool:
        """Take in an announcement; True if it changes the routing."""
        identity = (announcement.cluster, announcement.slot, announcement.epoch)
        address = parse_address(announcement.tunnel_address)
        known = self._routes.get(identity)
        if known is not None and known.address == address:
            known.renewed = now
            return False
        if (":" in address.host) != self._ipv6:
            family = "IPv6" if self._ipv6 else "IPv4"
            self._warn_once(
                f"transceiver {identity[0]}.{identity[1]} announces {address}, but this relay's tunnel is {family}: "
                "set ANTIPHON_RELAY_TUNNEL_BIND or ANTIPHON_TRANSCEIVER_BIND so that both are of one family"
            )
            return False
        if known is None and len(self._routes) >= MAX_ROUTES:
            self._warn_once(f"more than {MAX_ROUTES} transceivers are announced: the others get no calls from here")
            return False
        # A transceiver that restarted on its port: its former incarnation's flows must not reach the new one.
        for other in [i for i, route in self._routes.items() if route.address == address]:
            del self._routes[other]
        self._routes[identity] = _Route(address, now)
        return True

    def restore(self, table: Iterable[tuple[int, int, int, str]], now: float) -> None:
        """Begin with what was announced when this relay last ran; it expires like everything else."""
        for cluster, slot, epoch, address in table:
            self._routes[cluster, slot, epoch] = _Route(parse_address(address), now)

    def expire(self, now: float, bus_alive: bool) -> bool:
        """Drop what was not renewed; True if this changes the routing."""
        if not bus_alive:
            self._bus_away_until = now
            return False
        deadline = now - ANNOUNCE_TTL
        if self._bus_away_until > deadline:
            return False
        expired = [identity for identity, route in self._routes.items() if route.renewed <= deadline]
        for identity in expired:
            del self._routes[identity]
        return bool(expired)

    def table(self) -> list[tuple[TransceiverIdentity, Address]]:
        """What the workers route by."""
        return [(identity, route.address) for identity, route in self._routes.items()]

    def _warn_once(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < 100:
            self._warned.add(text)
            log.warning("%s", text)
