"""The report as tables for a terminal. Takes what `--json` prints, and computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def lines(found: dict[str, Any]) -> Iterator[str]:
    """All of it, in the order in which one reads it."""
    yield from _first_hop(found)
    yield from _steering(found["steering"])
    yield from _second_hop(found["second_hop"])
    yield from _lost(found["lost_site"])
    if "capacity" in found:
        yield from _capacity(found["capacity"])
    model = found["model"]
    yield (
        f"\nModel: {model['people'] / 1e9:.2f} billion people in {model['cities']:,} cities; round trip = "
        f"{model['round_trip']}; inflation {model['inflation']:g}, last mile {model['last_mile_ms']:g} ms (assumed)"
    )
    yield from (f"Data: {source}" for source in found["sources"])


def _percent(share: float) -> str:
    return f"{share:6.1%}"


def _first_hop(found: dict[str, Any]) -> Iterator[str]:
    first = found["first_hop"]
    yield f"{found['sites']} sites. Round trip to the first hop:"
    for name, value in first.items():
        if name.startswith("within_"):
            yield f"  {_percent(value)} of people within {name.split('_')[1]} ms"
    yield f"  p50 {first['p50_ms']} ms, p95 {first['p95_ms']} ms\n"
    yield f"{'site':<20} {'people':>7}  {'cluster':<8} regions"
    for site in found["chosen"]:
        own = "cluster" if site["cluster"] else ""
        yield (
            f"{site['place'] + ', ' + site['country']:<20} {_percent(site['share_of_people']):>7}  {own:<8} "
            f"{', '.join(site['regions'])}"
        )


def _steering(found: dict[str, Any]) -> Iterator[str]:
    yield f"\nSteering picks a site within {found['as_good_ms']:g} ms of the best; one offered, two raced:"
    texts = found["place_known_as"] | {
        "table": "a table: " + ", ".join(f"{part:.0%} {name}" for name, part in found["mix_of_table"].items())
    }
    uneven = found["with_uneven_paths"]
    for name, text in texts.items():
        yield (
            f"  {_percent(found['share_as_good'][name])} {_percent(found['share_as_good_of_two_raced'][name])}"
            f"   with uneven paths {_percent(uneven['share_as_good'][name])} "
            f"{_percent(uneven['share_as_good_of_two_raced'][name])}   {text}"
        )
    yield f"  uneven paths: {uneven['text']}"


def _second_hop(found: dict[str, Any]) -> Iterator[str]:
    yield f"\nSecond hop, {found['clusters']} of the sites with a cluster:"
    yield f"  {_percent(found['share_of_two_hops'])} of calls take two hops"
    if found["added_p50_ms"] is not None:
        yield (
            f"  direct to the nearest cluster p50 {found['direct_p50_ms']} ms, p95 {found['direct_p95_ms']} ms; "
            f"over the ingress p50 {found['two_hops_p50_ms']} ms, p95 {found['two_hops_p95_ms']} ms"
        )
        yield f"  added to the direct path: p50 {found['added_p50_ms']} ms, p95 {found['added_p95_ms']} ms"
    if found["any_cluster_added_p50_ms"] is not None:
        straight = found["with_a_straighter_backbone"]
        yield (
            f"  to any of the clusters: p50 {found['any_cluster_added_p50_ms']} ms, p95 "
            f"{found['any_cluster_added_p95_ms']} ms; over a backbone with inflation {straight['inflation']:g}: p50 "
            f"{straight['any_cluster_added_p50_ms']} ms, p95 {straight['any_cluster_added_p95_ms']} ms"
        )


def _lost(found: list[dict[str, Any]]) -> Iterator[str]:
    if len(found) == 1:
        yield "\nOne site: without it nobody is served."
        return
    yield "\nOne site lost       its people   p50 before   p50 now   p95 now   of all people within 50 ms   80 ms"
    for each in found:
        numbers = [each.get(name, "-") for name in ("moved_p50_before_ms", "moved_p50_ms", "moved_p95_ms")]
        yield (
            f"  {each['site']:<18} {_percent(each['share_of_people']):>9}   {numbers[0]:>10} {numbers[1]:>9} "
            f"{numbers[2]:>9}   {_percent(each['all']['within_50_ms']):>26} {_percent(each['all']['within_80_ms']):>7}"
        )


def _capacity(found: dict[str, Any]) -> Iterator[str]:
    yield f"\n{found['calls']:,} calls at once, {found['clusters_per_region']} clusters in each region that has some:"
    yield (
        f"{'site':<20} {'entering':>10} {'owned':>10} {'relay':>7} {'trans-':>8} {'NATS':>6} {'NATS':>6} "
        f"{'NATS':>12} {'announced':>11} {'NATS':>8} {'public':>8} {'backbone':>8}"
    )
    yield (
        f"{'':<20} {'calls':>10} {'calls':>10} {'cores':>7} {'ceivers':>8} {'cores':>6} {'hosts':>6} "
        f"{'messages/s':>12} {'reads/s':>11} {'Gbit/s':>8} {'Gbit/s':>8} {'Gbit/s':>8}"
    )
    for each in found["regions"]:
        yield (
            f"{each['site']:<20} {each['calls_entering']:>10,} {each['calls_owned']:>10,} {each['relay_cores']:>7,} "
            f"{each['transceivers']:>8,} {each['nats_cores']:>6,} {each['nats_servers']:>6,} "
            f"{each['nats_messages_per_s']:>12,} {each['nats_announcements_per_s']:>11,} "
            f"{each['nats_gbit_per_s']:>8,.0f} {each['public_gbit_per_s']:>8,.0f} {each['backbone_gbit_per_s']:>8,.0f}"
        )
    yield "\nWhat more hosts do not move, the scarcest first:"
    for limit in found["limits"]:
        mark = "EXHAUSTED" if limit["used"] > 1 else f"{limit['used']:.1%}"
        yield f"  {limit['exhausted_at_calls']:>14,} calls  {mark:>9}  {limit['resource']}: {limit['why']}"
    if not found["enough"]:
        yield (
            f"  Exhausted first: {found['exhausted_first']}. {found['clusters_needed_per_region']} clusters in the "
            "fullest region keep each one below its own limits (--clusters-per-region)."
        )
    yield "\nInputs (--from FILE.json replaces them):"
    for name, each in found["inputs"].items():
        yield f"  {name:<30} {each['value']:>12,.6g}  {each['source']}"
