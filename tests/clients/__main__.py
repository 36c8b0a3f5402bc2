"""`PYTHONPATH=tests python -m clients [NAMES]`, which `make clients` runs: clients of others call the whole stack.

Each row installs its client by pip, npm or Go into a folder for scratch, starts a stack, and calls it. A row prints the
client's version and ends with `ok` or with what failed; the status is the number of rows that failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Final

from support.models.voice import say
from support.processes.stack import running_stack

HERE: Final = Path(__file__).parent
PYTHON_PACKAGES: Final = {"openai": "openai[realtime]==3.54.0", "openai-agents": "openai-agents[voice]==0.24.0"}
AGENTS_JS: Final = "@openai/agents@0.20"
QUESTION: Final = "Help! What can you do?"
"""Its answer is long enough to be interrupted."""
ROW_SECONDS: Final = 600


def over_websocket(scratch: Path, command: Callable[[Path], list[str]]) -> int:
    """Ask the agent of a stack of its own by a script that takes the stack's address and a file of speech."""
    speech = scratch / "question.pcm"
    speech.write_bytes(say(QUESTION).astype("<i2").tobytes())
    with running_stack("--loopback-only") as stack:
        done = subprocess.run(
            [*command(scratch), stack.url.rstrip("/"), str(speech)], cwd=scratch, check=False, timeout=ROW_SECONDS
        )
    return done.returncode


def python_client(name: str, script: str) -> Callable[[Path], int]:
    def prepare(scratch: Path) -> list[str]:
        venv.create(scratch / name, with_pip=True)
        python = str(scratch / name / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", PYTHON_PACKAGES[name]], check=True)
        return [python, str(HERE / script)]

    return lambda scratch: over_websocket(scratch, prepare)


def agents_js(scratch: Path) -> int:
    def prepare(folder: Path) -> list[str]:
        npm = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", AGENTS_JS]
        subprocess.run(npm, check=True)
        shutil.copy(HERE / "websocket_agents.mjs", folder)
        return ["node", str(folder / "websocket_agents.mjs")]

    return over_websocket(scratch, prepare)


def gstreamer(_: Path) -> int:
    """By the system's Python, which has its bindings; nothing is installed here."""
    with running_stack("--loopback-only") as stack:
        command = ["/usr/bin/python3", str(HERE / "gstreamer_webrtcbin.py"), stack.url.rstrip("/"), "concierge"]
        return subprocess.run(command, check=False, timeout=ROW_SECONDS).returncode


def module(*arguments: str) -> Callable[[Path], int]:
    """A program of this folder that does all by itself."""
    return lambda _: (
        subprocess.run(
            [sys.executable, "-m", *arguments], env={**os.environ, "PYTHONPATH": str(HERE.parent)}, check=False
        ).returncode
    )


ROWS: Final[dict[str, Callable[[Path], int]]] = {
    "antiphon-js": module("clients.antiphon_js"),
    "openai": python_client("openai", "websocket_openai.py"),
    "openai-agents": python_client("openai-agents", "websocket_openai_agents.py"),
    "agents-js": agents_js,
    "agents-js-webrtc": module("clients.agents_webrtc.run"),
    "pipecat-js": module("clients.pipecat_js.run"),
    "libdatachannel": module("clients.sctp_peers", "libdatachannel"),
    "pion": module("clients.sctp_peers", "pion"),
    "werift": module("clients.sctp_peers", "werift"),
    "gstreamer": gstreamer,
}


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in ROWS]:
        print(f"clients: there is no row {', '.join(unknown)}: the rows are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    results: dict[str, str] = {}
    for name in names or ROWS:
        print(f"{name}:", flush=True)
        with tempfile.TemporaryDirectory(prefix="antiphon-clients-") as scratch:
            try:
                status = ROWS[name](Path(scratch))
                results[name] = "ok" if status == 0 else f"failed: status {status}"
            except (subprocess.SubprocessError, OSError) as error:  # its packages can't be had, or it never ended
                results[name] = f"failed: {error}"
        print(f"{name}: {results[name]}", flush=True)
    print(*(f"{name:16}{result}" for name, result in results.items()), sep="\n")
    return sum(result != "ok" for result in results.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
