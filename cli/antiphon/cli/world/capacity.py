"""How many processes, messages and bytes a number of calls needs in each region, and what is exhausted first. Pure.

A cluster is transceivers with a NATS cluster of their own. A region has as many clusters as asked for, and a relay that
faces callers (an ingress) in each site. Two kinds of resources: hosts and cores, of which one buys more, and limits of
one cluster or of the whole, which more hosts do not move. The second kind is what is exhausted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from antiphon.cli.world.unit_costs import UnitCosts

MOST_CLUSTERS: Final = 1 << 12
"""The route token has 12 bits for the cluster."""
MOST_SLOTS: Final = 1 << 16
"""... and 16 for the transceiver's slot."""


@dataclass(frozen=True)
class Site:
    """One region's part of the load: shares of all calls."""

    name: str
    callers: float
    """Of calls whose caller enters here."""
    calls: float
    """Of calls that a cluster here owns; 0 where there is none."""
    two_hops: float
    """Of calls that enter here and are owned elsewhere."""


def capacity(calls: int, sites: list[Site], clusters_per_region: int, costs: UnitCosts) -> dict[str, object]:
    """The report's section."""
    largest = max(site.calls for site in sites) / clusters_per_region
    owning = sum(site.calls > 0 for site in sites)
    limits = _limits(calls, largest, owning * clusters_per_region, costs)
    return {
        "calls": calls,
        "clusters_per_region": clusters_per_region,
        "regions": [_region(calls, site, clusters_per_region, costs) for site in sites],
        "limits": limits,
        "exhausted_first": limits[0]["resource"],
        "enough": limits[0]["exhausted_at_calls"] >= calls,  # type: ignore[operator]
        "clusters_needed_per_region": _clusters_needed(calls, max(site.calls for site in sites), costs),
    }


def _region(calls: int, site: Site, clusters: int, costs: UnitCosts) -> dict[str, object]:
    """One site: what runs there, and what its NATS carries."""
    owned, entering, away = calls * site.calls, calls * site.callers, calls * site.two_hops
    from_elsewhere = max(0.0, owned - (entering - away))
    # A datagram of a call over two hops costs each of the two relays more than one that is forwarded at once.
    relayed = (entering - away) + (away + from_elsewhere) / costs.two_hops_ratio
    transceivers = math.ceil(owned / costs.calls_per_transceiver_core / clusters) * clusters
    messages = owned * (costs.frames_per_call + costs.events_per_call + costs.checkpoints_per_call)
    announced = transceivers * (transceivers / clusters)
    octets = owned * _nats_bytes_per_call(costs) + announced * costs.announcement_bytes
    return {
        "site": site.name,
        "calls_entering": round(entering),
        "calls_owned": round(owned),
        "relay_cores": math.ceil(relayed * costs.packets_per_call / costs.relay_packets_per_core / costs.target_load),
        "public_gbit_per_s": _gbit(entering * costs.packets_per_call * costs.packet_bytes),
        "backbone_gbit_per_s": _gbit(
            (away + from_elsewhere) * costs.packets_per_call * (costs.packet_bytes + costs.backbone_header_bytes)
        ),
        "transceivers": transceivers,
        "nats_messages_per_s": round(messages),
        "nats_announcements_per_s": round(announced),
        "nats_gbit_per_s": _gbit(octets),
        "nats_cores": math.ceil(messages * costs.nats_us_per_frame / 1e6 / costs.target_load),
        "nats_servers": math.ceil(owned / _calls_per_nats_server(costs)) if owned else 0,
        "setups_per_s": round(owned * costs.setups_per_call_second),
    }


def _nats_bytes_per_call(costs: UnitCosts) -> float:
    """What leaves NATS in a second for subscribers and replicas. As much of the frames comes in."""
    frames = costs.frames_per_call * (costs.frame_bytes + costs.nats_envelope_bytes)
    events = costs.events_per_call * (costs.event_bytes + costs.nats_envelope_bytes)
    return frames + events + costs.checkpoints_per_call * costs.checkpoint_bytes * costs.checkpoint_replicas


def _calls_per_nats_server(costs: UnitCosts) -> float:
    """By its network or its cores, whatever is less. Between n servers a frame crosses a route n-1 times of n."""
    crossing = 2 - 1 / costs.nats_servers_per_cluster
    line = costs.network_gbit_per_host * 1e9 / 8 * costs.target_load
    by_line = line / (_nats_bytes_per_call(costs) * crossing)
    per_second = costs.nats_cores_per_server * costs.target_load * 1e6 / costs.nats_us_per_frame
    by_cores = per_second / (costs.frames_per_call + costs.events_per_call) / crossing
    return min(by_line, by_cores)


def _most_per_cluster(costs: UnitCosts) -> dict[str, tuple[float, str]]:
    """Resource -> calls of one cluster, and how that comes about."""
    per_core = costs.calls_per_transceiver_core
    readers = costs.announcements_share * 1e6 / costs.announcement_us
    server = costs.nats_servers_per_cluster * _calls_per_nats_server(costs)
    delivered = costs.nats_servers_per_cluster * costs.nats_cores_per_server * costs.announcements_share * 1e6
    return {
        "NATS servers of a cluster": (
            server,
            f"{costs.nats_servers_per_cluster:g} servers of {costs.network_gbit_per_host:g} Gbit/s and "
            f"{costs.nats_cores_per_server:g} cores: frames fill them",
        ),
        "announcements that each process of a cluster reads": (
            readers * per_core,
            f"{readers:.0f} transceivers announce each second; reading them costs each process "
            f"{costs.announcements_share:.0%} of a core",
        ),
        "announcements that a cluster's NATS delivers": (
            math.sqrt(delivered / costs.nats_us_per_frame) * per_core,
            "each transceiver's goes to each other one: the square of their number",
        ),
        "slots of a cluster": (MOST_SLOTS * per_core, "16 bits of the route token"),
    }


def _limits(calls: int, largest: float, clusters: int, costs: UnitCosts) -> list[dict[str, object]]:
    """What more hosts do not move, the scarcest first. `largest`: the share of the fullest cluster."""
    found: list[dict[str, object]] = []
    for resource, (most, why) in _most_per_cluster(costs).items():
        found.append(_limit(resource, most / largest, why, calls))
    everywhere = costs.announcements_share * 1e6 / costs.announcement_us * costs.calls_per_transceiver_core
    why = "an instance of signaling reads the announcements of all clusters that reach it"
    found.append(_limit("announcements that signaling reads", everywhere * 5, f"{why}; half of a core", calls))
    why = f"{clusters} clusters here, 12 bits of the route token for their number"
    most_each = min(most for most, _ in _most_per_cluster(costs).values())
    found.append(_limit("cluster numbers", MOST_CLUSTERS * most_each, why, calls))
    return sorted(found, key=lambda each: float(each["exhausted_at_calls"]))  # type: ignore[arg-type]


def _limit(resource: str, at: float, why: str, calls: int) -> dict[str, object]:
    return {"resource": resource, "exhausted_at_calls": int(at), "used": round(calls / at, 4), "why": why}


def _clusters_needed(calls: int, largest_region: float, costs: UnitCosts) -> int:
    """So many clusters in the fullest region keep each below all limits of a cluster."""
    return math.ceil(calls * largest_region / min(most for most, _ in _most_per_cluster(costs).values()))


def _gbit(octets_per_second: float) -> float:
    return round(octets_per_second * 8 / 1e9, 2)
