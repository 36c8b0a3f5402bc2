"""`antiphon doctor`: checks a running stack from where the caller is, and names what to fix.

Each check is one function that yields findings; none of them raises. The order is from the ground up, so the first
failure is usually the cause of the later ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

from antiphon.cli.call.call_client import require_url
from antiphon.cli.doctor.finding import Finding
from antiphon.cli.doctor.machine import check_models, check_python
from antiphon.cli.doctor.media_path import check_udp
from antiphon.cli.doctor.speech import check_speech
from antiphon.cli.doctor.stack import check_health, check_nats, check_page
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL

DEFAULT_URL: Final = "http://127.0.0.1:8080"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon doctor`."""
    parser.add_argument("--url", default=DEFAULT_URL, help="the stack's address (default: %(default)s)")
    parser.add_argument(
        "--nats",
        default=os.environ.get("ANTIPHON_NATS_URL", DEFAULT_NATS_URL),
        metavar="URL",
        help="the NATS server, or `none` when it cannot be reached from here (default: %(default)s)",
    )
    parser.add_argument(
        "--agent", metavar="NAME", help="the agent for the test call (default: the stack's default agent)"
    )
    parser.add_argument(
        "--key",
        default=os.environ.get("ANTIPHON_API_KEY", ""),
        help="API key of the stack, when it asks for one (default: the variable ANTIPHON_API_KEY)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Run all checks and print their findings; returns 1 if one of them failed."""
    require_url(args.url)
    findings: list[Finding] = []
    for check in checks(args):
        for finding in check():
            findings.append(finding)
            if not args.json:
                _show(finding)
    ok = all(finding.state != "fail" for finding in findings)
    if args.json:
        print(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print("All is well." if ok else "Something is wrong: see the lines marked FAIL, the first one first.")
    return 0 if ok else 1


def checks(args: argparse.Namespace) -> list[Callable[[], Iterator[Finding]]]:
    """The checks, from the ground up."""
    return [
        check_python,
        check_models,
        check_speech,
        lambda: check_nats(args.nats),
        lambda: check_health(args.url),
        lambda: check_page(args.url),
        lambda: check_udp(args.url, args.agent, args.key),
    ]


def _show(finding: Finding) -> None:
    mark = {"ok": " ok ", "fail": "FAIL", "note": "note"}[finding.state]
    if sys.stdout.isatty():
        mark = f"\x1b[{ {'ok': 32, 'fail': 31, 'note': 33}[finding.state] }m{mark}\x1b[0m"
    print(f"{mark}  {finding.check}: {finding.message}", flush=True)
    if finding.fix:
        print(f"      {finding.fix}", flush=True)
