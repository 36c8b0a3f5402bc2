"""The dispatcher of the `antiphon` command.

Each subcommand is a module with `add_arguments(parser)` and `run(args) -> int`. Only the module of the given command is
imported: `antiphon keys` must not wait for the imports of `antiphon call`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import Final

from antiphon.cli.errors import CallError, UsageError, installing

COMMANDS: Final = {
    "up": ("antiphon.cli.up.command", "run the whole stack on this machine"),
    "call": ("antiphon.cli.call.command", "hold a spoken conversation without a browser"),
    "top": ("antiphon.cli.top.command", "show the calls that run, end them, drain processes"),
    "doctor": ("antiphon.cli.doctor.command", "check a running stack and name what to fix"),
    "schema": ("antiphon.cli.schema", "write the JSON Schema of every message"),
    "credentials": ("antiphon.cli.credentials", "write NATS credentials, one for each role, and the server's users"),
    "agents": ("antiphon.cli.agents.command", "show present agents, check agents' files, make credentials of plug-ins"),
    "init": ("antiphon.cli.init_agent.command", "begin an agent of your own, with a test and a Dockerfile"),
    "test": ("antiphon.cli.scenarios.command", "run scenarios against an agent, in virtual time or through a stack"),
    "keys": ("antiphon.cli.keys", "write fresh keys, or rotate them"),
    "api-keys": ("antiphon.cli.api_keys", "make, list or revoke the API keys of clients"),
    "setup": ("antiphon.cli.up.setup", "make the buckets and streams on NATS, and keep them there"),
    "record": ("antiphon.cli.recordings.record", "write calls to files: both voices and a timeline of events"),
    "replay": ("antiphon.cli.recordings.replay", "play a recorded call's input into an agent again"),
    "world": ("antiphon.cli.world.command", "plan sites: delays of people, and what a number of calls needs"),
    "bench": ("antiphon.bench", "measure the stack"),
}
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""


def parser_for(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the subcommand that `argv` names has its arguments (and its imports)."""
    parser = argparse.ArgumentParser(prog="antiphon", description="Antiphon, a self-hosted real-time voice stack.")
    parser.add_argument("--version", action="version", version=f"antiphon {importlib.metadata.version('antiphon')}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = next((argument for argument in argv if not argument.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == wanted:
            command = _load(name, module)
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    return parser


def _load(name: str, module: str):  # type: ignore[no-untyped-def]  # a module; its functions are checked where they stand
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or "a module"
        way_out = "is not part of this install" if missing == module else f"needs {missing}: {installing('cli')}"
        raise UsageError(f"`antiphon {name}` {way_out}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = parser_for(argv).parse_args(argv)
        status: int = args.run(args)
        sys.stdout.flush()
    except UsageError as error:
        print(f"antiphon: {error}", file=sys.stderr)
        return 2
    except CallError as error:
        print(f"antiphon: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has ended (`antiphon ... | head`): no further output, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
