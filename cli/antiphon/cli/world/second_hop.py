"""What the way over an ingress adds to the direct path to a cluster. Pure.

A caller enters at the site nearest to it. If that has a cluster there is one hop. Else there are two: to the ingress,
and from there to the cluster. The direct path would lead over the open Internet to the cluster's own relay.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from antiphon.cli.world.earth import Floats
from antiphon.cli.world.latency import INFLATION, RELAY_MS, LatencyModel
from antiphon.cli.world.shares import percentile


def second_hop(
    to_sites: Floats, between_sites: Floats, weight: Floats, clusters: list[int], model: LatencyModel
) -> dict[str, object]:
    """The report's section.

    `to_sites`: round trips in ms, cities x sites; `between_sites`: km, sites x sites; `clusters`: its columns.
    """
    ingress = to_sites.argmin(axis=1)
    nearest = np.array(clusters)[to_sites[:, clusters].argmin(axis=1)]
    rows = np.arange(len(to_sites))
    second = model.between(between_sites)[ingress, nearest] + RELAY_MS
    two = to_sites[rows, ingress] + np.where(ingress == nearest, 0.0, second)
    direct = to_sites[rows, nearest]
    hops = ~np.isin(ingress, clusters)
    return {
        "clusters": len(clusters),
        "share_of_two_hops": round(float(weight[hops].sum()), 4),
        "first_hop_p50_ms": _percentile(to_sites[rows, ingress], weight, hops, 0.5),
        "direct_p50_ms": _percentile(direct, weight, hops, 0.5),
        "direct_p95_ms": _percentile(direct, weight, hops, 0.95),
        "two_hops_p50_ms": _percentile(two, weight, hops, 0.5),
        "two_hops_p95_ms": _percentile(two, weight, hops, 0.95),
        "added_p50_ms": _percentile(two - direct, weight, hops, 0.5),
        "added_p95_ms": _percentile(two - direct, weight, hops, 0.95),
        "with_a_straighter_backbone": _straighter(to_sites, between_sites, weight, clusters),
        "any_cluster_added_p50_ms": _any_cluster(to_sites, between_sites, weight, clusters, model, 0.5),
        "any_cluster_added_p95_ms": _any_cluster(to_sites, between_sites, weight, clusters, model, 0.95),
    }


def _percentile(milliseconds: Floats, weight: Floats, rows: npt.NDArray[np.bool_], rank: float) -> float | None:
    return round(percentile(milliseconds[rows], weight[rows], rank), 1) if rows.any() else None


def _any_cluster(
    to_sites: Floats, between_sites: Floats, weight: Floats, clusters: list[int], model: LatencyModel, rank: float
) -> float | None:
    """Of all callers with each cluster, near or far: for calls that have to go to a certain one."""
    ingress = to_sites.argmin(axis=1)
    rows = np.arange(len(to_sites))
    added, weights = [], []
    for cluster in clusters:
        far = ingress != cluster
        two = to_sites[rows, ingress] + model.between(between_sites)[ingress, cluster] + RELAY_MS
        added.append((two - to_sites[:, cluster])[far])
        weights.append(weight[far])
    every, weigh = np.concatenate(added), np.concatenate(weights)
    return round(percentile(every, weigh, rank), 1) if len(every) else None


def _straighter(
    to_sites: Floats, between_sites: Floats, weight: Floats, clusters: list[int]
) -> dict[str, float | None]:
    """The same with a second hop over paths as straight as the best tenth of the measured ones."""
    backbone = LatencyModel(inflation=INFLATION[0])
    added = [_any_cluster(to_sites, between_sites, weight, clusters, backbone, rank) for rank in (0.5, 0.95)]
    return {"inflation": INFLATION[0], "any_cluster_added_p50_ms": added[0], "any_cluster_added_p95_ms": added[1]}
