"""`antiphon top`: a live screen of the calls that run, or one table of them with `--once`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from antiphon.cli.bus_client import on_the_bus
from antiphon.cli.call.http_transport import Transport
from antiphon.cli.errors import CallError, UsageError, installing
from antiphon.cli.top import model
from antiphon.cli.top.http_source import HttpSource
from antiphon.cli.top.nats_source import NatsSource
from antiphon.cli.top.source import Source, SourceError
from antiphon.runtime.nats import connection

HTTP_TIMEOUT: Final = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon top`."""
    parser.add_argument("--once", action="store_true", help="write one table and end")
    parser.add_argument("--json", action="store_true", help="with --once: JSON, with the processes as well")
    parser.add_argument("--processes", action="store_true", help="begin with the processes in place of the calls")
    parser.add_argument("--sort", choices=model.SORTS, default=model.SORTS[0], help="order of the calls (default: age)")
    parser.add_argument("--filter", default="", metavar="WORDS", help="only calls that have each of these words")
    parser.add_argument(
        "--nats", default=os.environ.get("ANTIPHON_NATS_URL") or connection.DEFAULT_NATS_URL, help="the bus"
    )
    parser.add_argument("--url", help="ask signaling at this address in place of NATS")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("ANTIPHON_API_KEY"),
        help="with --url: a key with the scope operator (or ANTIPHON_API_KEY, which `ps` does not show)",
    )


def run(args: argparse.Namespace) -> int:
    """Show what runs; returns the exit status: 1 where the answer of `--once` is incomplete."""
    if args.json and not args.once:
        raise UsageError("--json writes one answer: add --once")
    if args.url is not None and args.api_key and not (args.api_key.isascii() and args.api_key.isprintable()):
        raise UsageError("--api-key has characters that no API key has")
    if not args.once:
        require_screen()
    try:
        return asyncio.run(_run(args))
    except SourceError as error:
        raise CallError(str(error)) from None


def require_screen() -> None:
    """`UsageError` where no screen can be opened."""
    import importlib.util

    if importlib.util.find_spec("textual") is None:
        raise UsageError(f"the screen of `antiphon top` needs textual: {installing('operator')}, or use --once")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the screen of `antiphon top` needs a terminal: use --once")


@asynccontextmanager
async def source_of(args: argparse.Namespace) -> AsyncIterator[Source]:
    """The way to the stack that the options name."""
    if args.url is not None:
        headers = {"Authorization": f"Bearer {args.api_key}"} if args.api_key else {}
        async with httpx.AsyncClient(transport=Transport(), headers=headers, timeout=HTTP_TIMEOUT) as http:
            yield HttpSource(http, args.url)
        return
    async with on_the_bus(args.nats, "antiphon-top", "operator") as client:
        source = NatsSource(client, args.nats)
        await source.start()
        yield source


async def _run(args: argparse.Namespace) -> int:
    async with source_of(args) as source:
        if args.once:
            return await once(source, args)
        first = await source.snapshot()  # an error before the screen opens is one line
        from antiphon.cli.top.screen import TopScreen

        await TopScreen(source, first, args.sort, args.filter, processes=args.processes).run_async()
    return 0


async def once(source: Source, args: argparse.Namespace) -> int:
    """One table to stdout, with what is missing of it on stderr."""
    found = await source.snapshot()
    calls = model.ordered(model.filtered(found.calls, args.filter), args.sort)
    if args.json:
        shown = model.Snapshot(calls, found.processes, found.total, found.incomplete, found.at)
        print(json.dumps(model.as_json(shown), indent=2))
    elif args.processes:
        print(model.table(model.PROCESS_COLUMNS, map(model.process_cells, found.processes)))
    else:
        print(model.table(model.COLUMNS, (model.row_of(call, found.at) for call in calls)))
    if found.incomplete or found.total > len(found.calls):
        print(f"antiphon top: {model.note(found)}", file=sys.stderr)
    return 1 if found.incomplete else 0
