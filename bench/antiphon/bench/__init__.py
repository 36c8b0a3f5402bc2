"""`antiphon bench NAME`: measurements, one module each.

Every module that `BENCHES` names is a bench: its docstring's first line says what it measures, and
`add_arguments(parser)` and `run(args) -> int` do it. A bench may import every other package; none imports a bench.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

from antiphon.cli.errors import UsageError, installing

BENCHES: Final = {
    "admission": "calls.admission",
    "bridge": "calls.bridge",
    "call": "calls.call",
    "conversation": "calls.conversation",
    "hostile-events": "calls.hostile_events",
    "echo": "calls.echo",
    "end-of-turn": "models.end_of_turn",
    "independent-driver": "media.independent_driver",
    "media-delay": "media.media_delay",
    "nats-frames": "media.nats_frames",
    "offers": "calls.offers",
    "opus": "media.opus",
    "placement": "calls.placement",
    "prepared": "calls.prepared",
    "recovery": "calls.recovery",
    "relay": "relay.relay",
    "relay-delay": "relay.relay_delay",
    "scenario": "turns.scenario",
    "setup": "calls.setup",
    "resampling": "models.resampling",
    "text-agent": "calls.text_agent",
    "transceiver": "media.transceiver",
    "transceiver-processes": "media.transceiver_processes",
    "tracing-cost": "calls.tracing_cost",
    "tracing-load": "calls.tracing_load",
    "turn-parts": "calls.turn_parts",
    "turns": "turns.turns",
    "transcription": "models.transcription",
    "voices": "models.voices",
    "whole-turns": "models.whole_turns",
}
"""By name: the module inside this package."""


def names() -> list[str]:
    """The benches there are."""
    return sorted(BENCHES)


def _summary(name: str) -> str:
    """The first line of the bench's docstring, read without importing what it measures."""
    spec = find_spec(_module(name))
    if spec is None or spec.origin is None:
        return ""
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text())) or ""
    return docstring.partition("\n")[0]


def _module(name: str) -> str:
    return f"{__name__}.{BENCHES[name]}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(dest="bench", metavar="NAME", required=True)
    for name in names():
        subparser = subparsers.add_parser(name, help=_summary(name), description=_summary(name))
        if name in sys.argv:
            bench = _load(name)
            bench.add_arguments(subparser)
            subparser.set_defaults(bench_run=bench.run)


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(_module(name))
    except ModuleNotFoundError as error:
        raise UsageError(f"`antiphon bench {name}` needs {error.name}: {installing('bench')}") from None


def run(args: argparse.Namespace) -> int:
    status: int = args.bench_run(args)
    return status
