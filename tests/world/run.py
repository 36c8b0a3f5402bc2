"""Three regions on one machine, with delays between them; what callers from a fourth place notice of faults. A table.

    python -m world.run [--only NAME ...]        (with tests/ on the path; `make world` does it)

Each region has its own NATS server, a server of the hub, two relays, a transceiver, signaling and a light agent, in a
network namespace. Exit status 1 when a scenario is not as promised. Needs root for the namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from world.geography import CALLERS, ROUND_TRIP_MS
from world.scenarios import SCENARIOS, Row, Scenario
from world.stack import World, running_world

WIDTHS: Final = "{:<44} {:>5} {:>5} {:>7} {:>8} {:>6} {:>5} {:>8} "


@contextmanager
def _scratch(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def _print(row: Row) -> None:
    gap = "" if row.gap is None else f"{row.gap:.2f} s"
    counters, twice, lost = ("" if each is None else str(each) for each in (row.counters, row.twice, row.missing))
    new = "" if row.new_call is None else f"{row.new_call:.2f} s"
    cells = WIDTHS.format(row.what, row.calls, row.survived, gap, new, twice, lost, counters)
    print(cells, "; ".join(row.problems), flush=True)


async def _run(world: World, scenarios: list[Scenario], quiet: bool) -> list[Row]:
    rows = []
    for scenario in scenarios:
        try:
            async for row in scenario.run(world):
                rows.append(row)
                if not quiet:
                    _print(row)
        except Exception as error:
            row = Row(scenario.text, "", problems=[f"{type(error).__name__}: {error}"])
            rows.append(row)
            if not quiet:
                _print(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m world.run", description=__doc__.splitlines()[0])
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--short", action="store_true", help="two regions with one relay each, and one call")
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON object instead of a table")
    parser.add_argument("--logs", type=Path, metavar="DIRECTORY", help="keep what the processes write there")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="do all of it N times, one after the other")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that processes and namespaces go with this program
    scenarios = [scenario for scenario in SCENARIOS if given.only is None or scenario.name in given.only]
    scenarios *= max(given.times, 1)
    began = time.monotonic()
    with _scratch(given.logs) as scratch, running_world(scratch, given.short) as world:
        started = time.monotonic() - began
        if not given.json:
            print(f"{len(world.regions)} regions run, after {started:.0f} s. Round trips, ms:")
            for pair, milliseconds in ROUND_TRIP_MS.items():
                print(f"  {' - '.join(sorted(pair, key=lambda each: (each == CALLERS, each))):<24} {milliseconds:4.0f}")
            print(WIDTHS.format("", "calls", "alive", "gap", "new call", "twice", "lost", "counters"), flush=True)
        rows = asyncio.run(_run(world, scenarios, given.json))
    if given.json:
        print(json.dumps({"started_s": round(started, 1), "rows": [asdict(row) for row in rows]}))
    return 1 if any(row.problems for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
