"""The announcements of transceivers and relays: which ones live, and in which order signaling asks them.

Sans-IO: it is given announcements and `now`, and asked for transceivers and relay addresses. What is near, `ranking`
decides; which regions there are, `region_map`.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.placement.announcements import Announcements
from antiphon.signaling.placement.ranking import (
    ClientPlace,
    Ingress,
    SecondHops,
    Site,
    by_nearness,
    cluster_costs,
    elsewhere,
    second_hops,
    step_above,
)
from antiphon.signaling.placement.region_map import KnownRegions, RegionMap

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

MAX_ASKED: Final = 64
"""Transceivers in the order of one call: a request has seconds, and each try takes a round trip. Of a cluster that has
more, so many with the least load are chosen anew each `WAYS_SECONDS`."""
MIN_OF_A_CLUSTER: Final = 8
"""Of those at least, if it has as many: the best of a cluster. So a call may get to eight clusters and more."""
CROWDED_MS: Final = 1500.0
"""For which one more client would wait for its connection: above, the other transceivers are asked first."""
MAX_PLACED: Final = 4096
"""Calls whose transceivers are remembered, to count their places as free when they are hung up."""
_parsed: Final = lru_cache(maxsize=4096)(parse_address)


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


class _Ways(NamedTuple):
    """The ways that there are, at one moment. A value."""

    regions: RegionMap
    ingresses: list[Ingress]
    """Of relays that are not draining."""
    hops: SecondHops
    members: Mapping[int, list[tuple[int, int]]]
    """Cluster -> its transceivers, as keys of their announcements."""
    candidates: dict[int, list[tuple[int, int]]]
    """Likewise, of the clusters that were asked for: those that `Directory._candidates` chose."""
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
        self._placed: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Calls that were placed here, with the keys of their transceivers; the latest behind."""

    def learn_transceiver(self, announcement: TransceiverAnnouncement, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take an announcement; one of an earlier process on the same slot is ignored."""
        known = self._transceivers.get((announcement.cluster, announcement.slot), now)
        # Epochs count up and wrap at 16 bits: the one less than half the circle ahead is the newer.
        if known is None or (announcement.epoch - known.epoch) % (1 << 16) < 1 << 15:
            own = self._is_own(announcement.cluster, announcement.region)
            key = announcement.cluster, announcement.slot
            learned = self._transceivers.learn(key, announcement, own, now, ttl)
            if learned and (known is None or _stands(known) != _stands(announcement)):
                self._ways = None

    def learn_relay(self, announcement: RelayAnnouncement, now: float, ttl: float = ANNOUNCE_TTL) -> None:
        """Take an announcement; the last one of a name counts."""
        known = self._relays.get(announcement.name, now)
        own = self._is_own(announcement.cluster, announcement.region)
        learned = self._relays.learn(announcement.name, announcement, own, now, ttl)
        if learned and (known is None or _offers(known) != _offers(announcement)):
            self._ways = None

    def _is_own(self, cluster: int | None, region: str) -> bool:
        """It is of our cluster or region; while ours has no name, of one without a name."""
        return cluster == self._cluster or region == self._region

    def forget(self, transceiver: TransceiverAnnouncement) -> None:
        """Leave out a transceiver that did not answer, until its next announcement; its successor on the slot stays."""
        key = transceiver.cluster, transceiver.slot
        known = self._transceivers.get(key, -math.inf)
        if known is not None and (known.epoch, known.holder) == (transceiver.epoch, transceiver.holder):
            self._transceivers.forget(key)

    def took_a_call(self, transceiver: TransceiverAnnouncement, now: float, session_id: str = "") -> None:
        """Count a call before its next announcement does, so that a burst does not all go to one transceiver."""
        key = (transceiver.cluster, transceiver.slot)
        self._count(key, 1, now)
        if session_id:
            self._placed[session_id] = key
            if len(self._placed) > MAX_PLACED:
                self._placed.popitem(last=False)

    def call_ended(self, session_id: str, now: float) -> None:
        """Count the place of a call that was hung up here as free, before the next announcement does."""
        key = self._placed.pop(session_id, None)
        if key is not None:
            self._count(key, -1, now)

    def _count(self, key: tuple[int, int], by: int, now: float) -> None:
        known = self._transceivers.get(key, now)
        if known is not None:
            self._transceivers.replace(key, known.model_copy(update={"sessions": max(0, known.sessions + by)}))

    def region_map(self, now: float) -> RegionMap:
        """The regions as they are announced, and those that were a while ago."""
        return self._ways_at(now).regions

    def clusters_elsewhere(self, now: float) -> list[int]:
        """Those that announce another region than ours, or a region where ours is not known."""
        regions = self.region_map(now)
        own = self._region or regions.cluster_site(self._cluster).region
        return [cluster for cluster in regions.clusters_outside(own) if cluster != self._cluster or self._region]

    def owners_here(self, now: float) -> list[TransceiverAnnouncement]:
        """The transceivers of our region that are announced, whatever their state."""
        elsewhere = set(self.clusters_elsewhere(now))
        return [each for each in self._transceivers.live(now) if each.cluster not in elsewhere]

    def unknown_place(self, regions: RegionMap) -> ClientPlace:
        """A client of whom nothing is known is taken to be where this signaling serves: it was sent here."""
        site = regions.cluster_site(self._cluster)
        return ClientPlace("unknown", regions.site(self._region) if self._region else site)

    def transceivers(self, now: float, client: ClientPlace | None = None) -> list[TransceiverAnnouncement]:
        """Transceivers with room, in the order in which to ask them for this client; None: its place is not known.

        Those of near clusters come first, among equally near ones those of the own cluster, then those where a client
        connects soon, then by load, then by lateness. Equal ones take turns. Left out are clusters that no relay
        reaches, and what is beyond `MAX_ASKED`.
        """
        ways = self._ways_at(now)
        if not ways.ingresses:  # whether there is a relay is another question
            costs = dict.fromkeys(ways.members, 0.0)
        elif len(ways.members) == 1:  # as near as can be
            costs = {cluster: 0.0 for cluster in ways.members if cluster in ways.hops}
        else:
            costs = cluster_costs(client or self.unknown_place(ways.regions), ways.hops)
        self._turn += 1
        most = max(MIN_OF_A_CLUSTER, MAX_ASKED // max(1, len(costs)))
        found: list[tuple[float, bool, bool, float, float, int, int, int, TransceiverAnnouncement]] = []
        best = last = -1.0
        for cluster in sorted(costs, key=costs.__getitem__) if len(costs) > 1 else costs:
            ready = self._with_room(self._candidates(ways, cluster, now), now)
            if not ready:
                continue
            best = costs[cluster] if best < 0 else best
            step = step_above(costs[cluster], best)
            if step > last and len(found) >= MAX_ASKED:
                break
            last = step
            other, count, turn = cluster != self._cluster, len(ready), self._turn
            ranked = [(step, other, *_load(t), (n + turn) % count, cluster, n, t) for n, t in enumerate(ready)]
            found += heapq.nsmallest(most, ranked) if count > most else ranked
        found.sort()  # never by the last one: cluster and number differ
        return [each[-1] for each in found[:MAX_ASKED]]

    def _candidates(self, ways: _Ways, cluster: int, now: float) -> list[tuple[int, int]]:
        """The transceivers of a cluster that calls may go to while these ways count: all, or the best of many."""
        if (found := ways.candidates.get(cluster)) is None:
            found = ways.members.get(cluster, [])
            if len(found) > MAX_ASKED:
                ready = self._with_room(found, now)
                best = heapq.nsmallest(MAX_ASKED, ready, key=_load)
                found = [(t.cluster, t.slot) for t in best]
            ways.candidates[cluster] = found
        return found

    def _with_room(self, keys: Iterable[tuple[int, int]], now: float) -> list[TransceiverAnnouncement]:
        living = self._transceivers.live_of(keys, now)
        return [t for t in living if t.state == "ready" and t.sessions < t.capacity]

    def transceiver_states(self, now: float) -> Counter[str]:
        """How many transceivers are announced as `ready`, `draining`, and `full`."""
        live = self._transceivers.live(now)
        return Counter(
            "draining" if each.state != "ready" else "full" if each.sessions >= each.capacity else "ready"
            for each in live
        )

    def relays(self, now: float) -> list[RelayAnnouncement]:
        """Relays that are announced and not draining."""
        return [relay for relay in self._relays.live(now) if relay.state == "ready"]

    def announced_relays(self, now: float) -> list[RelayAnnouncement]:
        """Relays that are announced, whatever their state and region."""
        return self._relays.live(now)

    def relay_offers(
        self, session_id: str, now: float, client: ClientPlace | None = None, cluster: int | None = None
    ) -> list[RelayOffer]:
        """The relays of a session's answer, best first, at most `RELAYS_OFFERED` and none twice.

        All of them reach `cluster` (None: it is not known, and every relay may). The nearest one to the client comes
        first, then the nearest one in another place, which a fault of the first one's region does not reach. Among
        equal ones the session decides (rendezvous hashing): calls spread over all relays, every replica gives the same
        order, and a relay that comes or goes changes its own calls only.
        """
        ways = self._ways_at(now)
        regions, ingresses = ways.regions, ways.ingresses
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
            offers.append(RelayOffer(tuple(map(_parsed, udp)), tuple(map(_parsed, tcp)), chosen.site))
        return offers

    def region_report(self, now: float, client: ClientPlace) -> RegionReport:
        """All regions, and those that a call of this client would get."""
        regions = self.region_map(now)
        live = {t.cluster for t in self._transceivers.live(now) if t.capacity > 0}
        asked = self.transceivers(now, client)
        ways = self._ways_at(now)
        reached = ways.hops if ways.ingresses else ways.members
        room = {cluster for cluster, keys in ways.members.items() if cluster in reached and self._with_room(keys, now)}
        entered = {relay.region for relay in self.relays(now)}
        # Clusters that do not say where they stand are in the region that the relays name, if that is one.
        home = regions.names[0] if len(regions.names) == 1 else ""
        stands = {cluster: regions.cluster_site(cluster).region or home for cluster in live}
        names = {*regions.names, *stands.values()}
        rows = [
            RegionRow(
                regions.site(name),
                [(c, c in room) for c in sorted(live) if stands[c] == name],
                name in entered,
            )
            for name in sorted(names)
        ]
        offers = self.relay_offers("", now, client, asked[0].cluster) if asked else []
        if not offers:
            return RegionReport(rows, None, None)
        return RegionReport(rows, stands[asked[0].cluster], offers[0].site.region)

    def _ways_at(self, now: float) -> _Ways:
        """Made anew when something has moved, and after `WAYS_SECONDS`: a call asks for them four times."""
        if self._ways is None or now >= self._ways.until:
            transceivers = self._transceivers.live(now)
            regions = self._known.seen(transceivers, self._relays.live(now), now)
            ingresses = [Ingress(relay, regions.relay_site(relay)) for relay in self.relays(now)]
            members: dict[int, list[tuple[int, int]]] = {}
            for each in transceivers:
                members.setdefault(each.cluster, []).append((each.cluster, each.slot))
            hops = second_hops(ingresses, {cluster: regions.cluster_site(cluster) for cluster in members})
            self._ways = _Ways(regions, ingresses, hops, members, {}, now + WAYS_SECONDS)
        return self._ways


def _load(transceiver: TransceiverAnnouncement) -> tuple[bool, float, float]:
    """Less is better: one with a crowd at its door is asked last, and may refuse by then."""
    t = transceiver
    return t.connect_ms >= CROWDED_MS, t.sessions / t.capacity, t.lateness_ms


def _stands(announcement: TransceiverAnnouncement) -> tuple[object, ...]:
    """What of a transceiver the ways depend on."""
    return announcement.region, announcement.place, announcement.capacity > 0


def _offers(announcement: RelayAnnouncement) -> tuple[object, ...]:
    """What of a relay the ways depend on, but for the exact round trips."""
    where = announcement.region, announcement.place, announcement.cluster
    addresses = announcement.public_addresses, announcement.tcp_addresses
    return *where, *addresses, announcement.state, announcement.ingress > 0, announcement.round_trips.keys()
