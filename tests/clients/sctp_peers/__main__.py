"""`PYTHONPATH=tests python -m clients.sctp_peers [libdatachannel] [pion] [werift]`: data channels of other stacks.

It installs what it needs (npm, Go) into a folder for scratch, starts a whole stack of ours and calls it. usrsctp comes
with libdatachannel; Chromium's dcSCTP and Firefox's are tried in `tests/e2e`. Not a part of `make test`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from support.processes.stack import running_stack

HERE: Final = Path(__file__).parent
NODE_DATACHANNEL: Final = "node-datachannel@0.33.4"
WERIFT: Final = "werift@0.25.2"
PION: Final = "github.com/pion/webrtc/v4@v4.2.26"
AGENT: Final = "data-echo"


def node(package: str, script: str) -> Callable[[Path, str], int]:
    """A script beside this one, with the package from npm."""

    def run(scratch: Path, url: str) -> int:
        install = ["npm", "install", "--prefix", str(scratch), "--no-audit", "--no-fund", "--silent", package]
        subprocess.run(install, check=True)
        environment = {**os.environ, "NODE_MODULES_AT": str(scratch)}
        command = ["node", str(HERE / script), url, AGENT]
        return subprocess.run(command, env=environment, check=False, timeout=120).returncode

    return run


def pion(scratch: Path, url: str) -> int:
    """Over UDP, and over TCP alone."""
    folder = scratch / "pion"
    shutil.copytree(HERE / "pion", folder)
    for command in (["get", PION], ["mod", "tidy"], ["build", "-o", "pion", "."]):
        subprocess.run(["go", *command], cwd=folder, check=True)
    program = str(folder / "pion")
    return sum(
        subprocess.run([program, url, AGENT, protocol], check=False, timeout=120).returncode != 0
        for protocol in ("udp", "tcp")
    )


PEERS: Final[dict[str, Callable[[Path, str], int]]] = {
    "libdatachannel": node(NODE_DATACHANNEL, "libdatachannel.mjs"),
    "pion": pion,
    "werift": node(WERIFT, "werift.mjs"),
}


def main(names: list[str]) -> int:
    failed = 0
    agent = HERE / "data_echo_agent.py"
    with (
        tempfile.TemporaryDirectory(prefix="antiphon-peers-") as scratch,
        running_stack("--loopback-only", "--plugin", str(agent)) as stack,
    ):
        for name in names or PEERS:
            print(f"{name}:", flush=True)
            status = PEERS[name](Path(scratch), stack.url.rstrip("/"))
            print(f"{name}: exit status {status}", flush=True)
            failed += status != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
