"""`antiphon agents check DIR`: every mistake in a folder of agents' files, with its line, before a bridge reads it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from antiphon.cli.errors import UsageError, installing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon agents check`."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="the folder with a file NAME.toml for each agent")
    parser.add_argument(
        "--without-keys",
        action="store_true",
        help="do not look whether the variables and files that hold keys are there: they may be on another machine",
    )


def run(args: argparse.Namespace) -> int:
    """Write all mistakes to stdout; 1 if there are any."""
    try:
        from antiphon.inference_bridge.file_agents.files import AgentFiles
        from antiphon.inference_bridge.file_agents.reader import Surroundings
        from antiphon.inference_bridge.file_agents.tool_support import definitions
    except ModuleNotFoundError as error:
        needs = f"`antiphon agents check` needs {error.name}"
        raise UsageError(f"{needs}: {installing('inference-bridge')}") from None
    directory: Path = args.directory
    if not directory.is_dir():
        what = "is a file: name the folder it is in" if directory.exists() else "is not there"
        raise UsageError(f"{directory} {what}")
    environment, tools = dict(os.environ), definitions()
    has_chat_server = bool(environment.get("ANTIPHON_LLM_URL")) or environment.get("ANTIPHON_LLM") == "remote"
    around = Surroundings(environment, None, has_chat_server, tools.http_tool, tools.mcp_server)
    found = AgentFiles(directory, around, look_for_keys=not args.without_keys).read(time.monotonic())
    for mistakes in found.wrong.values():
        for mistake in mistakes:
            print(mistake)
    if found.trouble:
        print(found.trouble)
    total = len(found.read) + len(found.wrong)
    if found.wrong or found.trouble:
        print(f"antiphon agents check: {len(found.wrong)} of {total} agents can't be used", file=sys.stderr)
        return 1
    if not total:
        print(f"antiphon agents check: no agent in {directory}: one is a file such as desk.toml", file=sys.stderr)
        return 1
    print(f"{', '.join(sorted(found.read))}: no mistakes")
    return 0
