"""Which cluster is near a client, and through which relay it enters. Pure: announcements and places in, an order out.

What a way costs is the round trip from the client to the ingress relay, modelled by distance, plus the one from there
to the cluster, as that relay has measured it by hellos. What is unknown comes after all that is known. Ways whose costs
differ by less than a step count as equally near: then load decides, and for relays the session's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from antiphon.schemas.messages import RelayAnnouncement
from antiphon.signaling.placement.geography import Coordinates, distance_km, modelled_round_trip_ms

STEP_MS: Final = 5.0
"""Less than this is no reason to prefer a cluster that has more load."""
FIRST_HOP_WEIGHT: Final = 2.0
"""By which the way to an ingress counts, where the way from there to the cluster counts once. It is the Internet's half
of the way, which loses more packets. So the nearest relay is first, unless the rest of its way is that much longer."""
ELSEWHERE_KM: Final = 100.0
"""Relays that stand further apart fail apart, whatever their regions are called."""

Source = Literal["hint", "header", "table", "unknown"]
"""By what a client's place is known: its own word, a trusted proxy's, an address table, nothing."""


class Site(NamedTuple):
    """Where something stands. A value."""

    region: str = ""
    """Empty: it has no name."""
    coordinates: Coordinates | None = None


class ClientPlace(NamedTuple):
    """Where a client is taken to be. A value, made for one request."""

    source: Source
    site: Site = Site()
    """Where `source` is `unknown`: where this signaling serves."""


class Ingress(NamedTuple):
    """A relay that may be offered, and where it stands. A value."""

    relay: RelayAnnouncement
    site: Site


def elsewhere(one: Site, other: Site) -> bool:
    """They stand in different places."""
    if one.region != other.region:
        return True
    if one.coordinates is None or other.coordinates is None:
        return False
    return distance_km(one.coordinates, other.coordinates) > ELSEWHERE_KM


def apart_ms(one: Site, other: Site) -> float:
    """The modelled round trip; 0 within a named region, infinite where one of the places is unknown."""
    if one.region and one.region == other.region:
        return 0.0
    if one.coordinates is None or other.coordinates is None:
        return math.inf
    return modelled_round_trip_ms(one.coordinates, other.coordinates)


def second_hop_ms(ingress: Ingress, cluster: int, site: Site) -> float | None:
    """From the relay to the cluster at `site`; None: the relay does not reach it.

    A relay that names no cluster reaches each one that is announced to it: there is one region only. Where it announces
    places all the same, the model tells them apart.
    """
    relay = ingress.relay
    if relay.cluster == cluster:
        return 0.0
    if relay.cluster is None:
        modelled = apart_ms(ingress.site, site)
        return modelled if math.isfinite(modelled) else 0.0
    measured = relay.round_trips.get(str(cluster)) if relay.ingress > 0 else None
    if measured is None or not 0 <= measured < math.inf:  # NaN is not within
        return None
    return measured


SecondHops = Mapping[int, Mapping[Site, float]]
"""Cluster -> place of an ingress -> the shortest way from there, ms."""


def second_hops(ingresses: Iterable[Ingress], clusters: Mapping[int, Site]) -> SecondHops:
    """From each place that has a relay to each of the clusters that one of its relays reaches."""
    hops: dict[int, dict[Site, float]] = {}
    for ingress in ingresses:
        relay = ingress.relay
        reached = clusters if relay.cluster is None else {relay.cluster, *map(_number, relay.round_trips)}
        for cluster in reached:
            if (site := clusters.get(cluster)) is None:
                continue
            second = second_hop_ms(ingress, cluster, site)
            if second is not None:
                of_cluster = hops.setdefault(cluster, {})
                of_cluster[ingress.site] = min(second, of_cluster.get(ingress.site, math.inf))
    return hops


def cluster_costs(client: ClientPlace, hops: SecondHops) -> dict[int, float]:
    """Milliseconds by the best way to each cluster that a relay reaches; infinite: not known."""
    first = {site: apart_ms(client.site, site) for site in {site for sites in hops.values() for site in sites}}
    return {cluster: min(first[site] + second for site, second in sites.items()) for cluster, sites in hops.items()}


def by_nearness(
    client: ClientPlace,
    ingresses: Iterable[Ingress],
    target: tuple[int, Site] | None,
    spread: Callable[[str], bytes],
) -> list[Ingress]:
    """The relays that reach the target, nearest to the client first; `spread` of the name orders equals.

    `target`: a cluster and where it is; None: all of them may reach it, and the way from there counts nothing.
    """
    ways: list[tuple[Ingress, float]] = []
    first: dict[Site, float] = {}
    for ingress in ingresses:
        second = second_hop_ms(ingress, *target) if target is not None else 0.0
        if second is not None:
            if ingress.site not in first:  # many relays stand in one place
                first[ingress.site] = apart_ms(client.site, ingress.site)
            ways.append((ingress, FIRST_HOP_WEIGHT * first[ingress.site] + second))
    best = min((cost for _, cost in ways), default=math.inf)
    ways.sort(key=lambda way: (step_above(way[1], best), spread(way[0].relay.name)))
    return [ingress for ingress, _ in ways]


def step_above(ms: float, best: float) -> float:
    """By how many steps a cost is above the least one: those with the same number are equally near."""
    if ms == best:
        return 0
    return math.floor((ms - best) / STEP_MS) if math.isfinite(ms) else math.inf


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 5 else -1
