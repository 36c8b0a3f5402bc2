"""What the rounds of `antiphon bench transceiver` amount to: medians with their spread, as JSON and as tables. Pure."""

from __future__ import annotations

import statistics
from typing import Any, Final

from antiphon.bench._lib.statistics import spread
from antiphon.bench.media.steady_load import capacity

RANKS: Final = ("p50", "p99", "p99.9", "max")
NUMBERS: Final = (
    "us_per_pair",
    "cpu_percent_per_session",
    "core_percent",
    "late_percent",
    "missing",
    "missing_frames",
    "concealed_frames",
    "waited_percent",
    "stolen_percent",
    "chain_us",
    "nats_us",
    "discarded",
)
DELAYS: Final = ("late_ms", "packet_to_transceiver_ms", "packet_to_agent_ms", "reply_to_wire_ms", "driver_late_ms")


def summary(
    rounds: list[dict[str, Any]], sessions: int, scheduling: str, measured_core: int, other_core: int
) -> dict[str, Any]:
    """Statistics of all rounds; those of `sessions` are at the top level as well."""
    counts = sorted({one["sessions"] for found in rounds for one in found["levels"]})
    levels = [
        _level([one for found in rounds for one in found["levels"] if one["sessions"] == count]) for count in counts
    ]
    here = next((level for level in levels if level["sessions"] == sessions), {})
    transceiver = spread([capacity(found["levels"]) for found in rounds], 1)
    aiortc = spread([capacity(found["stock"]) for found in rounds if "stock" in found], 1)
    aiortc_cpu = [one["cpu_percent_per_session"] for found in rounds for one in found.get("stock", [])]
    unloaded = levels[0] if levels else {}
    return {
        "sessions_per_core": transceiver["median"],
        "stock_sessions_per_core": aiortc["median"],
        "ratio_to_stock": _ratio(transceiver["median"], aiortc["median"]),
        "cpu_percent_per_session": here.get("cpu_percent_per_session"),
        "ratio_to_floor": here.get("ratio_to_floor"),
        "late_ms": here.get("late_ms"),
        "packet_to_transceiver_ms": here.get("packet_to_transceiver_ms"),
        "packet_to_agent_ms": here.get("packet_to_agent_ms"),
        "packet_to_agent_unloaded_ms": unloaded.get("packet_to_agent_ms"),
        "reply_to_wire_ms": here.get("reply_to_wire_ms"),
        "mb_per_session": spread([found["mb"] for found in rounds if "mb" in found], 3)["median"],
        "setup_cpu_ms": spread([found["setup_cpu_ms"] for found in rounds if "setup_cpu_ms" in found])["median"],
        "stock_cpu_percent_per_session": spread(aiortc_cpu)["median"],
        "levels": levels,
        "capacities": {"ours": transceiver, "stock": aiortc},
        "limited_by_driver": sum(bool(found["levels"]) and found["levels"][-1]["driver_was_late"] for found in rounds),
        "sessions_measured": sessions,
        "rounds": len(rounds),
        "scheduling": scheduling,
        "cores": {"measured": measured_core, "nats_and_driver": other_core},
    }


def _ratio(value: float | None, baseline: float | None) -> float | None:
    return round(value / baseline, 1) if value and baseline else None


def _level(found: list[dict[str, Any]]) -> dict[str, Any]:
    """One number of sessions, over the rounds that got so far."""
    level: dict[str, Any] = {
        "sessions": found[0]["sessions"],
        "rounds": len(found),
        "in_time": sum(one["in_time"] and not one["driver_was_late"] for one in found),
        "driver_was_late": sum(one["driver_was_late"] for one in found),
    }
    for name in NUMBERS:
        values = [one[name] for one in found if one.get(name) is not None]
        if values:
            level[name] = round(statistics.median(values), 3)
            level[f"{name}_spread"] = spread(values, 3)
    for name in DELAYS:
        values = [one[name] for one in found if name in one]
        if values:
            level[name] = {rank: round(statistics.median(value[rank] for value in values), 3) for rank in RANKS}
            level[f"{name}_p99_spread"] = spread([value["p99"] for value in values], 3)
    ratios = [
        one["us_per_pair"] / (one["chain_us"] + one["nats_us"])
        for one in found
        if one.get("chain_us") and one.get("nats_us")
    ]
    if ratios:
        level["ratio_to_floor"] = round(statistics.median(ratios), 2)
        level["ratio_to_floor_spread"] = spread(ratios)
    return level


def markdown(found: dict[str, Any]) -> str:
    """The tables of docs/transceiver.md."""
    transceiver, aiortc = found["capacities"]["ours"], found["capacities"]["stock"]
    lines = [
        "| | median | least and most |",
        "|---|---|---|",
        f"| sessions per core | {_median_and_range(transceiver)} |",
        f"| stock aiortc in the same run | {_median_and_range(aiortc)} |",
        f"| memory per session | {found['mb_per_session']} MB | |",
        f"| setup, CPU per session | {found['setup_cpu_ms']} ms | |",
        "",
        "| sessions | in time | lateness p50 / p99 / p99.9 / max, ms "
        "| packet to transceiver p50 / p99 | to agent p50 / p99 | reply to wire p50 / p99 | us per pair "
        "| C chain + nats-py echo, us | ratio | of a core | driver late p99 "
        "| stolen |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found["levels"]:
        us, baseline = one["us_per_pair_spread"], "-"
        if "chain_us" in one and "nats_us" in one:
            baseline = f"{one['chain_us']:.0f} + {one['nats_us']:.0f}"
        lines.append(
            f"| {one['sessions']} | {one['in_time']} of {one['rounds']} | {_ranks(one, 'late_ms', *RANKS)} "
            f"| {_ranks(one, 'packet_to_transceiver_ms', 'p50', 'p99')} "
            f"| {_ranks(one, 'packet_to_agent_ms', 'p50', 'p99')} "
            f"| {_ranks(one, 'reply_to_wire_ms', 'p50', 'p99')} "
            f"| {us['median']:.0f} ({us['min']:.0f} - {us['max']:.0f}) | {baseline} | {one.get('ratio_to_floor', '-')} "
            f"| {one['core_percent']:.0f} % | {one['driver_late_ms']['p99']:.1f} ms | {one['stolen_percent']:.1f} % |"
        )
    if found["limited_by_driver"]:
        lines += ["", f"In {found['limited_by_driver']} rounds the load generator was late before the transceiver was."]
    return "\n".join(lines)


def _ranks(level: dict[str, Any], name: str, *ranks: str) -> str:
    return " / ".join(f"{level[name][rank]:.1f}" for rank in ranks) if name in level else "-"


def _median_and_range(found: dict[str, float | None]) -> str:
    return f"{_number(found['median'])} | {_number(found['min'])} - {_number(found['max'])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
