"""The announcements of transceivers and relays: which ones live, and in which order signaling asks them.

Sans-IO: it is given announcements and `now`, and asked for transceivers and relay addresses. What is near, `ranking`
decides; which regions there are, `region_map`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.placement.ranking import (
    ClientPlace,
    Ingress,
    SecondHops,
    Site,
    by_nearness,
    cluster_costs,
    elsewhere,
    in_steps,
    second_hops,
)
from antiphon.signaling.placement.region_map import KnownRegions, RegionMap

MAX_ENTRIES: Final = 4096
"""Authors of each kind. When full, a new one is ignored until another one's announcement has expired."""
STORED_TTL: Final = 2.0
"""Seconds for which an announcement read from a bucket counts. A living author repeats it each second; a dead one may
have died up to `ANNOUNCE_TTL` ago."""
RELAYS_OFFERED: Final = 2
"""Relays in one answer: the one to use and the one to move to."""
MAX_ADDRESSES: Final = 2
"""Addresses of one relay and one transport in an answer. A client checks each of them at the start of its call."""

WAYS_SECONDS: Final = 0.25
"""For which the ways to the clusters are taken to be the same while announcements repeat: measured round trips change a
little with each, and an announcement that has expired counts for so much longer."""

K = TypeVar("K", bound=Hashable)
A = TypeVar("A", TransceiverAnnouncement, RelayAnnouncement)


class RelayOffer(NamedTuple):
    """How clients reach one relay."""

    udp: tuple[Address, ...]
    tcp: tuple[Address, ...] = ()
    """ICE-TCP (RFC 6544, passive)."""
    site: Site = Site()
    """Where it stands."""


class RegionRow(NamedTuple):
    """One region of a `RegionReport`. A value."""

    site: Site
    clusters: list[tuple[int, bool]]
    """Each with whether it takes calls: it has room, and a relay reaches it."""
    ingress: bool
    """A relay of it takes calls."""


class RegionReport(NamedTuple):
    """The regions as a caller may know them. A value."""

    rows: list[RegionRow]
    region: str | None
    """Where a call would be placed now; None: nowhere."""
    ingress: str | None
    """The region of the relay by which it would enter."""


def race(client: ClientPlace, offers: list[RelayOffer], asked: bool) -> bool:
    """Whether the relays of an answer have equal priority, so that the client's checks decide between them.

    Where the client's place is unknown and they stand in different places, no order of ours would be better.
    """
    apart = len(offers) > 1 and elsewhere(offers[0].site, offers[1].site)
    return len(offers) > 1 and (asked or (client.source == "unknown" and apart))


class Announcements(Generic[K, A]):
    """The newest announcement of each author, until it expires. Owned by a `Directory`, as long as that one."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[A, float]] = {}

    def learn(self, key: K, announcement: A, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take it for `ttl` seconds; a shorter time to live does not shorten that of an earlier one."""
        if key not in self._entries and len(self._entries) >= MAX_ENTRIES:
            self._entries = {k: entry for k, entry in self._entries.items() if entry[1] > now}
            if len(self._entries) >= MAX_ENTRIES:
                return
        until = self._entries[key][1] if key in self._entries else 0.0
        self._entries[key] = (announcement, max(until, now + ttl))

    def get(self, key: K, now: float) -> A | None:
        """The author's announcement; None when it has expired."""
        announcement, until = self._entries.get(key, (None, 0.0))
        return announcement if until > now else None

    def replace(self, key: K, announcement: A) -> None:
        """Another content, the same time to live."""
        if key in self._entries:
            self._entries[key] = (announcement, self._entries[key][1])

    def forget(self, key: K) -> None:
        """Drop the author's announcement, if there is one."""
        self._entries.pop(key, None)

    def live(self, now: float) -> list[A]:
        """All announcements that have not expired."""
        return [announcement for announcement, until in self._entries.values() if until > now]


class _Ways(NamedTuple):
    """The ways that there are, at one moment. A value."""

    regions: RegionMap
    ingresses: list[Ingress]
    """Of relays that are not draining."""
    hops: SecondHops
    until: float


class Directory:
    """All that signaling knows about the media plane. Owned by `Backend`, for the process's lifetime; no I/O."""

    def __init__(self, cluster: int, region: str = "") -> None:
        """`region`: where this signaling serves; empty: it serves the region of its cluster."""
        self._cluster = cluster
        self._region = region
        self._transceivers: Announcements[tuple[int, int], TransceiverAnnouncement] = Announcements()
        self._relays: Announcements[str, RelayAnnouncement] = Announcements()
        self._known = KnownRegions()
        self._ways: _Ways | None = None
        """None: something has moved since."""
        self._turn = 0

    def learn_transceiver(self, announcement: TransceiverAnnouncement, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take an announcement; one of an earlier process on the same slot is ignored."""
        known = self._transceivers.get((announcement.cluster, announcement.slot), now)
        # Epochs count up and wrap at 16 bits: the one less than half the circle ahead is the newer.
        if known is None or (announcement.epoch - known.epoch) % (1 << 16) < 1 << 15:
            if known is None or _stands(known) != _stands(announcement):
                self._ways = None
            self._transceivers.learn((announcement.cluster, announcement.slot), announcement, now, ttl)

    def learn_relay(self, announcement: RelayAnnouncement, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take an announcement; the last one of a name counts."""
        known = self._relays.get(announcement.name, now)
        if known is None or _offers(known) != _offers(announcement):
            self._ways = None
        self._relays.learn(announcement.name, announcement, now, ttl)

    def forget(self, transceiver: TransceiverAnnouncement) -> None:
        """Leave out a transceiver that did not answer, until its next announcement."""
        self._transceivers.forget((transceiver.cluster, transceiver.slot))

    def took_a_call(self, transceiver: TransceiverAnnouncement, now: float) -> None:
        """Count a call before its next announcement does, so that a burst does not all go to one transceiver."""
        key = (transceiver.cluster, transceiver.slot)
        known = self._transceivers.get(key, now)
        if known is not None:
            self._transceivers.replace(key, known.model_copy(update={"sessions": known.sessions + 1}))

    def region_map(self, now: float) -> RegionMap:
        """The regions as they are announced, and those that were a while ago."""
        return self._ways_at(now).regions

    def clusters_elsewhere(self, now: float) -> list[int]:
        """Those that announce another region than ours, or a region where ours is not known."""
        regions = self.region_map(now)
        own = self._region or regions.cluster_site(self._cluster).region
        return [cluster for cluster in regions.clusters_outside(own) if cluster != self._cluster or self._region]

    def unknown_place(self, regions: RegionMap) -> ClientPlace:
        """A client of whom nothing is known is taken to be where this signaling serves: it was sent here."""
        site = regions.cluster_site(self._cluster)
        return ClientPlace("unknown", regions.site(self._region) if self._region else site)

    def transceivers(self, now: float, client: ClientPlace | None = None) -> list[TransceiverAnnouncement]:
        """Transceivers with room, in the order in which to ask them for this client; None: its place is not known.

        Those of near clusters come first, among equally near ones those of the own cluster, then by load, then by
        lateness. Equal ones take turns. Left out are clusters that no relay reaches.
        """
        ways = self._ways_at(now)
        client = client or self.unknown_place(ways.regions)
        ready = [t for t in self._transceivers.live(now) if t.state == "ready" and t.sessions < t.capacity]
        if ready:
            self._turn += 1
            start = self._turn % len(ready)
            ready = ready[start:] + ready[:start]
        if not ways.ingresses:  # whether there is a relay is another question
            near = dict.fromkeys((t.cluster for t in ready), 0.0)
        else:
            costs = cluster_costs(client, ways.hops)
            near = in_steps({cluster: costs[cluster] for cluster in {t.cluster for t in ready} if cluster in costs})
        return sorted(
            (t for t in ready if t.cluster in near),
            key=lambda t: (near[t.cluster], t.cluster != self._cluster, t.sessions / t.capacity, t.lateness_ms),
        )

    def relays(self, now: float) -> list[RelayAnnouncement]:
        """Relays that are announced and not draining."""
        return [relay for relay in self._relays.live(now) if relay.state == "ready"]

    def relay_offers(
        self, session_id: str, now: float, client: ClientPlace | None = None, cluster: int | None = None
    ) -> list[RelayOffer]:
        """The relays of a session's answer, best first, at most `RELAYS_OFFERED` and none twice.

        All of them reach `cluster` (None: it is not known, and every relay may). The nearest one to the client comes
        first, then the nearest one in another place, which a fault of the first one's region does not reach. Among
        equal ones the session decides (rendezvous hashing): calls spread over all relays, every replica gives the same
        order, and a relay that comes or goes changes its own calls only.
        """
        regions, ingresses, _, _ = self._ways_at(now)
        client = client or self.unknown_place(regions)

        def spread(name: str) -> bytes:
            return hashlib.blake2b(f"{session_id} {name}".encode(), digest_size=8).digest()

        target = None if cluster is None else (cluster, regions.cluster_site(cluster))
        left = by_nearness(client, ingresses, target, spread)
        offers: list[RelayOffer] = []
        taken: set[str] = set()
        while left and len(offers) < RELAYS_OFFERED:
            first = offers[0].site if offers else None
            # Two relays with the same address (behind a load balancer) are one way in, not two.
            left = [each for each in left if not taken.issuperset(each.relay.public_addresses)]
            others = (each for each in left if first is not None and elsewhere(first, each.site))
            chosen = next(others, None) or next(iter(left), None)
            if chosen is None:
                break
            left.remove(chosen)
            udp = [text for text in dict.fromkeys(chosen.relay.public_addresses) if text not in taken][:MAX_ADDRESSES]
            tcp = list(dict.fromkeys(chosen.relay.tcp_addresses))[:MAX_ADDRESSES]
            taken.update(chosen.relay.public_addresses)
            offers.append(RelayOffer(tuple(map(parse_address, udp)), tuple(map(parse_address, tcp)), chosen.site))
        return offers

    def region_report(self, now: float, client: ClientPlace) -> RegionReport:
        """All regions, and those that a call of this client would get."""
        regions = self.region_map(now)
        live = {t.cluster for t in self._transceivers.live(now) if t.capacity > 0}
        asked = self.transceivers(now, client)
        room = {t.cluster for t in asked}
        entered = {relay.region for relay in self.relays(now)}
        names = {*regions.names, *(regions.cluster_site(cluster).region for cluster in live)}
        rows = [
            RegionRow(
                regions.site(name),
                [(c, c in room) for c in sorted(live) if regions.cluster_site(c).region == name],
                name in entered,
            )
            for name in sorted(names)
        ]
        offers = self.relay_offers("", now, client, asked[0].cluster) if asked else []
        if not offers:
            return RegionReport(rows, None, None)
        return RegionReport(rows, regions.cluster_site(asked[0].cluster).region, offers[0].site.region)

    def _ways_at(self, now: float) -> _Ways:
        """Made anew when something has moved, and after `WAYS_SECONDS`: a call asks for them four times."""
        if self._ways is None or now >= self._ways.until:
            transceivers = self._transceivers.live(now)
            regions = self._known.seen(transceivers, self._relays.live(now), now)
            ingresses = [Ingress(relay, regions.relay_site(relay)) for relay in self.relays(now)]
            clusters = {cluster: regions.cluster_site(cluster) for cluster in {t.cluster for t in transceivers}}
            self._ways = _Ways(regions, ingresses, second_hops(ingresses, clusters), now + WAYS_SECONDS)
        return self._ways


def _stands(announcement: TransceiverAnnouncement) -> tuple[object, ...]:
    """What of a transceiver the ways depend on."""
    return announcement.region, announcement.place, announcement.capacity > 0


def _offers(announcement: RelayAnnouncement) -> tuple[object, ...]:
    """What of a relay the ways depend on, but for the exact round trips."""
    where = announcement.region, announcement.place, announcement.cluster
    addresses = announcement.public_addresses, announcement.tcp_addresses
    return *where, *addresses, announcement.state, announcement.ingress > 0, announcement.round_trips.keys()
