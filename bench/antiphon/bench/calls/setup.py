"""How long a call takes to be set up over a path with delay and loss: HTTP, ICE, DTLS, data channel.

A stack of its own runs in one network namespace and its callers in another. Between them are a TUN device on each side
and a process that delays and loses packets, so TCP's own repetitions are real. Each call is a cold one: it begins with
a TCP connect. Needs root. docs/transceiver.setup.md has the numbers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from antiphon.bench._lib.impaired_path import SERVER, ImpairedPath, impaired_path
from antiphon.bench._lib.processes import clean_environment
from antiphon.bench._lib.statistics import percentiles
from antiphon.bench.calls.own_stack import OwnStack, own_stack

LOSSES: Final = (0.0, 5.0, 15.0, 40.0)
PERCENTS: Final = (50, 95, 100)
OURS: Final = ("http", "ice", "dtls", "setup", "channel", "channel_after_answer", "audio")
"""Of our client, in ms: offer sent to answer; answer to the first answered check; that to its keys; offer sent to its
keys; keys to the open data channel; answer to the open data channel; answer to the first audible frame."""
BROWSERS: Final = ("dtls_after_check", "channel_after_answer", "audio")
"""Of a browser: its first check to its keys; answer to the open data channel; answer to the first packet of audio."""
ANSWER_LIMIT_MS: Final = 7000.0
CHANNEL_LIMIT_MS: Final = 10000.0
SEED: Final = 7
WARM_UP: Final = 6
"""Calls before the first row, without delay."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, default=100, help="of our client per row (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=2, help="of them at a time (default: %(default)s)")
    parser.add_argument("--loss", type=float, nargs="+", default=LOSSES, help="rows, in percent (default: 0 5 15 40)")
    parser.add_argument("--round-trip", type=float, default=100.0, help="ms (default: %(default)s)")
    parser.add_argument("--chromium", type=int, default=0, metavar="CALLS", help="and so many of Chromium per row")
    parser.add_argument("--firefox", type=int, default=0, metavar="CALLS", help="and so many of Firefox per row")
    parser.add_argument("--seed", type=int, default=SEED, help="of the losses (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    rows = []
    with (
        impaired_path() as path,
        tempfile.TemporaryDirectory() as directory,
        own_stack(Path(directory), SERVER) as stack,
    ):
        for start in (stack.relay, stack.transceiver, stack.signaling, stack.agent):
            start()
        stack.until_healthy()
        _calls(path, "setup_client", stack.url, str(WARM_UP), "2")
        for number, loss in enumerate(args.loss):
            path.set(args.round_trip / 2000, loss / 100, args.seed + number)
            rows.append(_row(args, path, stack, loss))
            if not args.json:
                _print(rows[-1])
    if args.json:
        print(json.dumps({"setup": {"round_trip_ms": args.round_trip, "rows": rows}}))
    return 0


def _row(args: argparse.Namespace, path: ImpairedPath, stack: OwnStack, loss: float) -> dict[str, Any]:
    row: dict[str, Any] = {"loss_percent": loss}
    if args.calls:
        found = _calls(path, "setup_client", stack.url, str(args.calls), str(args.at_once))
        row["ours"] = {**_summary(found, OURS), **_channels(found), "calls": args.calls}
    for browser in ("chromium", "firefox"):
        calls = vars(args)[browser]
        if calls:
            found = _calls(path, "setup_browser", stack.url, str(calls), browser)
            row[browser] = {**_summary(found, BROWSERS), "calls": calls}
    return row


def _calls(path: ImpairedPath, module: str, *arguments: str) -> list[dict[str, Any]]:
    command = [*path.within_client, sys.executable, "-m", f"antiphon.bench.calls.{module}", *arguments]
    ran = subprocess.run(command, env=clean_environment(), stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def _summary(found: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    steps = {name: percentiles([each[name] for each in found if name in each], PERCENTS, 0) for name in names}
    errors: dict[str, int] = {}
    for each in found:
        if "error" in each:
            errors[each["error"]] = errors.get(each["error"], 0) + 1
    return {"steps_ms": steps, "ended_well": sum("error" not in each for each in found), "errors": errors}


def _channels(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the calls whose answer came in time: in how many the data channel was open in time."""
    answered = [each for each in found if each.get("http", float("inf")) <= ANSWER_LIMIT_MS]
    opened = [each for each in answered if each.get("channel_after_answer", float("inf")) <= CHANNEL_LIMIT_MS]
    return {"answered_in_7_s": len(answered), "channel_open_in_10_s": len(opened)}


def _print(row: dict[str, Any]) -> None:
    print(f"{row['loss_percent']:.0f} % loss, p50/p95/max ms")
    for name in ("ours", "chromium", "firefox"):
        if name not in row:
            continue
        found = row[name]
        print(f"  {name}: {found['ended_well']} of {found['calls']} calls connected", end="")
        if "answered_in_7_s" in found:
            print(f"; channel open in 10 s: {found['channel_open_in_10_s']} of {found['answered_in_7_s']}", end="")
        print()
        for step, values in found["steps_ms"].items():
            text = "/".join("-" if value is None else f"{value:.0f}" for value in values.values())
            print(f"    {step:>21}: {text}")
        for error, times in found["errors"].items():
            print(f"    {times} x {error}")
