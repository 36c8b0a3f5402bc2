"""`antiphon bench NAME`: measurements, one module each.

Every module here is a bench: its docstring's first line says what it measures, `add_arguments(parser)` and
`run(args) -> int` do it. Adding the file is all it takes to add the bench.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import pkgutil
import sys
from importlib.util import find_spec
from pathlib import Path


def names() -> list[str]:
    """The benches there are: `frame_path` is called `frame-path`."""
    return sorted(
        module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )


def _summary(name: str) -> str:
    """The first line of the bench's docstring, read without importing what it measures."""
    spec = find_spec(_module(name))
    if spec is None or spec.origin is None:
        return ""
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text())) or ""
    return docstring.partition("\n")[0]


def _module(name: str) -> str:
    return f"{__name__}.{name.replace('-', '_')}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(dest="bench", metavar="NAME", required=True)
    for name in names():
        subparser = subparsers.add_parser(name, help=_summary(name), description=_summary(name))
        if name in sys.argv:
            bench = importlib.import_module(_module(name))
            bench.add_arguments(subparser)
            subparser.set_defaults(bench_run=bench.run)


def run(args: argparse.Namespace) -> int:
    status: int = args.bench_run(args)
    return status
