"""`antiphon init NAME`: writes an agent of your own into a new folder, with a test that passes, and a Dockerfile."""

from __future__ import annotations

import argparse
import importlib.resources
import re
from pathlib import Path
from typing import Final

from antiphon.cli.errors import UsageError

KINDS: Final = ("text", "audio", "file")
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MARK: Final = "AGENT_NAME"
"""What stands for the name in the templates."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="of the agent, and of the folder: small letters, digits, -")
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="text",
        help="text: your function gets what the caller says and yields what to say; audio: it gets and gives sound; "
        "file: no code, a TOML file (default: %(default)s)",
    )
    parser.add_argument("--into", type=Path, default=Path(), help="where the folder is made (default: here)")


def run(args: argparse.Namespace) -> int:
    """Write the files, and say what to do next."""
    if not NAME.fullmatch(args.name):
        raise UsageError(f"{args.name!r:.80} is no name of an agent: small letters, digits and -, such as front-desk")
    folder: Path = args.into / args.name
    if folder.exists():
        raise UsageError(f"{folder} is there already: choose another name, or remove it")
    files = files_of(args.kind, args.name)
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        print(folder / name)
    print(f"\nNext: {folder / 'README.md'}")
    return 0


def files_of(kind: str, name: str) -> dict[str, str]:
    """File name -> content, for an agent of this kind and name."""
    templates = importlib.resources.files("antiphon.cli.init_agent") / "templates" / kind
    written = {}
    for template in sorted(templates.iterdir(), key=lambda each: each.name):
        text = template.read_text().replace(_MARK, name)
        path = template.name.removesuffix(".template").replace(_MARK, name)
        written[path.replace("__", "/")] = text
    return written
