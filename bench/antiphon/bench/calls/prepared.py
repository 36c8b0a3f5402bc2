"""How long after the click a caller's microphone is at the server, prepared and not, and what unused preparations cost.

A stack of its own runs in one network namespace and its callers in another, as in `antiphon bench setup`; ordinary and
prepared calls take turns. The time ends when the transceiver publishes the event of the caller's first audio packet.
For the memory 10,000 offers of Chromium are prepared and never used. Needs root. docs/prepared-calls.md has numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.bench._lib.impaired_path import SERVER, ImpairedPath, impaired_path
from antiphon.bench._lib.proc import children, resident_mb
from antiphon.bench._lib.processes import clean_environment
from antiphon.bench._lib.statistics import percentiles
from antiphon.bench.calls.echo_agent import ECHO
from antiphon.bench.calls.own_stack import OwnStack, own_stack
from antiphon.cli.errors import UsageError
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects

KEY: Final = "sk-bench-0123456789abcdefghijklmnopqrstuvwxyz"
OFFER: Final = Path(__file__).with_name("prepared_offer.sdp")
"""Of Chromium 156, by antiphon.js: audio and a data channel."""
AT_ONCE: Final = 16
CALLERS: Final = 50
SETTLE: Final = 1.0
"""Seconds before memory is read."""
PERCENTS: Final = (50, 95, 100)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, default=20, help="of our client, of each kind (default: %(default)s)")
    parser.add_argument(
        "--chromium", type=int, default=0, metavar="CALLS", help="and so many of Chromium, of each kind"
    )
    parser.add_argument("--firefox", type=int, default=0, metavar="CALLS", help="and so many of Firefox, of each kind")
    parser.add_argument("--round-trip", type=float, default=100.0, help="ms (default: %(default)s)")
    parser.add_argument("--unused", type=int, default=10_000, help="prepared and never used (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    with (
        impaired_path() as path,
        tempfile.TemporaryDirectory() as directory,
        own_stack(Path(directory), SERVER, {"ANTIPHON_API_KEYS": KEY}) as stack,
    ):
        stack.relay()
        transceiver = stack.transceiver()
        stack.signaling(ECHO)
        stack.echo()
        stack.until_healthy()
        path.set(args.round_trip / 2000, 0.0, 1)
        report = asyncio.run(_measure(args, path, stack, transceiver))
    if args.json:
        print(json.dumps({"prepared": report}))
    else:
        _print(report)
    return 0


async def _measure(args: argparse.Namespace, path: ImpairedPath, stack: OwnStack, transceiver: int) -> dict[str, Any]:
    client = await connection.connect_once(stack.nats_url, "bench")
    report: dict[str, Any] = {"round_trip_ms": args.round_trip}
    try:
        heard = await _microphones(client)
        for who, calls in (("ours", args.calls), ("chromium", args.chromium), ("firefox", args.firefox)):
            if calls:
                report[who] = _summary(await _calls(path, stack, who, calls), heard)
        if args.unused:
            report["unused"] = await _unused(client, args.unused, transceiver)
    finally:
        await client.close()
    return report


class Heard(NamedTuple):
    """The first audio of a caller."""

    at: float
    """Unix time in ms."""
    setup_ms: float
    """Since the session was made: an ordinary call's by its offer, a prepared one's by the first check."""


async def _microphones(client: Client) -> dict[str, Heard]:
    """Of each call; filled while it runs."""
    heard: dict[str, Heard] = {}

    async def told(message: Msg) -> None:
        event = messages.decode_any(message.data, messages.SESSION_EVENT, "event")
        if isinstance(event, messages.MediaStarted):
            session_id = subjects.parse_session_subject(message.subject).session_id
            heard[session_id] = Heard(time.time() * 1000, event.setup_ms)

    await client.subscribe("antiphon.v1.session.*.*.event", cb=told)
    await connection.flush(client)
    return heard


async def _calls(path: ImpairedPath, stack: OwnStack, who: str, calls: int) -> list[dict[str, Any]]:
    ours = who == "ours"
    module = "prepared_client" if ours else "prepared_browser"
    command = [*path.within_client, sys.executable, "-m", f"antiphon.bench.calls.{module}", stack.url, KEY, str(calls)]
    program = await asyncio.create_subprocess_exec(
        *command, *(() if ours else (who,)), env=clean_environment(), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await program.communicate()
    return [json.loads(line) for line in out.decode().splitlines()]


def _summary(found: list[dict[str, Any]], heard: dict[str, Heard]) -> dict[str, Any]:
    report: dict[str, Any] = {"errors": [each["error"] for each in found if "error" in each]}
    for kind, prepared in (("ordinary", False), ("prepared", True)):
        calls = [each for each in found if each.get("prepared") is prepared]
        pairs = [(each["clicked"], heard[each["id"]]) for each in calls if each["id"] in heard]
        times = [first.at - clicked for clicked, first in pairs]
        made = [first.at - clicked - first.setup_ms for clicked, first in pairs]
        steps = {"session_ms": percentiles(made, PERCENTS, 0), "microphone_ms": percentiles(times, PERCENTS, 0)}
        report[kind] = {"calls": len(calls), **steps}
    report["prepared"]["used"] = sum(each.get("used", False) for each in found)
    return report


async def _unused(client: Client, count: int, transceiver: int) -> dict[str, Any]:
    """Prepare so many with the transceiver, as signaling asks it, and see what that costs."""
    announced = await _announcement(client)
    subject, offer = subjects.transceiver_open(announced.cluster, announced.slot), OFFER.read_text()
    left = iter(range(count))
    refused: list[str] = []

    async def prepare(number: int) -> None:
        request = messages.OpenRequest(offer=offer, agent=ECHO, prepare="", caller=f"a-{number % CALLERS}")
        reply = await client.request(subject, messages.encode(request), timeout=10)
        opened = messages.decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")
        if isinstance(opened, messages.Refused):
            refused.append(opened.message)

    async def work() -> None:
        for number in left:
            await prepare(number)

    for number in range(200):  # what the processes need once is not counted
        await prepare(number)
    watched = {"nats": _nats_server(), "transceiver": transceiver}
    await asyncio.sleep(SETTLE)
    before = {name: resident_mb(pid) for name, pid in watched.items()}
    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    took = time.monotonic() - began
    await asyncio.sleep(SETTLE)
    grown = {name: round(resident_mb(pid) - before[name], 1) for name, pid in watched.items()}
    state = (await client.jetstream().stream_info(f"KV_{subjects.BUCKET_PREPARED}")).state
    if refused:
        raise UsageError(f"{len(refused)} of {count} offers were refused: {refused[0]}")
    return {
        "prepared": count,
        "sessions": (await _announcement(client)).sessions,
        "grown_mb": grown,
        "together_mb": round(sum(grown.values()), 1),
        "in_bucket": state.messages,
        "bucket_mb": round((state.bytes or 0) / 1e6, 1),
        "a_second": round(count / took),
    }


async def _announcement(client: Client) -> messages.TransceiverAnnouncement:
    """The next one of the transceiver."""
    listening = await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE)
    message = await listening.next_msg(timeout=5)
    await listening.unsubscribe()
    return messages.decode(message.data, messages.TransceiverAnnouncement)


def _nats_server() -> int:
    """The process that this one has started."""
    return next(pid for pid in children(os.getpid()) if b"nats-server" in Path(f"/proc/{pid}/cmdline").read_bytes())


def _print(report: dict[str, Any]) -> None:
    for who in ("ours", "chromium", "firefox"):
        if who not in report:
            continue
        for kind in ("ordinary", "prepared"):
            row = report[who][kind]
            used = f", {row['used']} used" if "used" in row else ""
            print(f"{who}, {kind}: {row['calls']} calls{used}; p50/p95/max in ms from the click")
            for name, what in (("session_ms", "session made"), ("microphone_ms", "microphone at the server")):
                values = "/".join("-" if value is None else f"{value:.0f}" for value in row[name].values())
                print(f"  {what:25} {values}")
        for error in report[who]["errors"]:
            print(f"{who:9} {error}")
    if "unused" in report:
        print("unused    " + ", ".join(f"{name} {value}" for name, value in report["unused"].items()))
