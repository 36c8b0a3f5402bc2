"""Which relays there are, in all regions: for the first packets of a call that came from another cluster. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas import MalformedError, backbone, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.backbone import Route
from antiphon.schemas.messages import RelayAnnouncement
from antiphon.transceiver.net.endpoint import TransceiverIdentity

KNOWN_SECONDS: Final = 60.0
"""After its last announcement: the relays of a lost region are still asked for."""
MAX_RELAYS: Final = 1024
"""Names; a further one is ignored until some expire."""
MAX_WORKERS: Final = 4
"""Of an ingress whose worker is not known, by whose places a client's packets may come."""


class Way(NamedTuple):
    """Where an adopted call's client is."""

    header: bytes
    """In front of what is sent to it."""
    relay: Address | None
    """Of our own cluster; None: none is announced."""
    also: list[bytes]
    """Other headers that its packets may come with."""


class _Known(NamedTuple):
    relay: RelayAnnouncement
    at: float


class RelayDirectory:
    """Owner: the process, for its whole life. Event loop only. Bounded by `MAX_RELAYS`."""

    def __init__(self, cluster: int) -> None:
        """`cluster`: our own."""
        self._cluster = cluster
        self._known: dict[str, _Known] = {}

    def announced(self, relay: RelayAnnouncement, now: float) -> None:
        """A relay of any region is there."""
        if relay.name not in self._known and len(self._known) >= MAX_RELAYS:
            self._known = {name: each for name, each in self._known.items() if now - each.at < KNOWN_SECONDS}
            if len(self._known) >= MAX_RELAYS:
                return
        self._known[relay.name] = _Known(relay, now)

    def way(self, header: bytes, relay: Address | None, to: TransceiverIdentity, now: float) -> Way:
        """`header`, `relay`: by which the lost cluster reached the client. `to`: where the call goes on."""
        address_bytes = len(header) - (tunnel.ROUTE_BYTES if header[1] & 0x40 else 0)
        plain = header[:1] + bytes((header[1] & 0xBF,)) + header[2:address_bytes]
        if header[1] & 0x40:
            try:
                route = backbone.route_of(header)
            except MalformedError:
                return Way(plain, self._own_relay(plain, False, now), [])
            ours = backbone.with_route(plain, route._replace(slot=to.slot, epoch=to.epoch))
            return Way(ours, self._own_relay(plain, True, now), [plain])
        ingress = self._announced_at(relay)
        if ingress is None or not ingress.ingress or ingress.cluster == self._cluster:
            return Way(plain, self._own_relay(plain, False, now), [])
        workers = range(max(1, min(len(ingress.backbone_addresses), MAX_WORKERS)))
        first, *others = (
            backbone.with_route(plain, Route(ingress.ingress, to.slot, to.epoch, worker)) for worker in workers
        )
        return Way(first, self._own_relay(plain, True, now), [plain, *others])

    def _announced_at(self, address: Address | None) -> RelayAnnouncement | None:
        """The relay that sends its tunnel packets from there."""
        text = str(address)
        return next((each.relay for each in self._known.values() if text in each.relay.tunnel_addresses), None)

    def _own_relay(self, client: bytes, by_backbone: bool, now: float) -> Address | None:
        """A relay of our cluster, the same one for a client; one with a backbone where the way needs it."""
        found: list[tuple[bool, str]] = []
        for each in self._known.values():
            if each.relay.cluster in (None, self._cluster) and now - each.at < ANNOUNCE_TTL:
                fits = bool(each.relay.backbone_addresses) or not by_backbone
                found += [(not fits, address) for address in each.relay.tunnel_addresses]
        if not found:
            return None
        best = sorted(address for misfit, address in found if misfit == min(found)[0])
        return parse_address(best[sum(client) % len(best)])
