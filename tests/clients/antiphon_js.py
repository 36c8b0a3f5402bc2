"""The npm package of `clients/js` as a stranger uses it: packed, installed, checked by tsc, bundled with React.

`PYTHONPATH=tests python -m clients.antiphon_js` fetches TypeScript, esbuild and React by npm into a directory of its
own, starts a stack, and holds one call in Chromium by the React example. It prints what it used; 1 is a failure.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from playwright.sync_api import expect
from support.browsers.chromium import chromium_page
from support.models.voice import silence, write_microphone
from support.processes.stack import running_stack

HERE: Final = Path(__file__).parent
PACKAGE: Final = HERE.parents[1] / "clients" / "js"
TOOLS: Final = ("typescript@5", "esbuild@0.25", "react@19", "react-dom@19")
TSC: Final = ("--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom")


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a directory and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        install(directory)
        check_types(directory)
        bundle(directory)
        said = call(directory)
    print(f"antiphon.js with React in Chromium: the agent said {said!r}")
    return 0


def run(directory: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def install(directory: Path) -> None:
    """The package as a file, and the tools beside it."""
    packed = json.loads(run(directory, "npm", "pack", "--json", "--silent", str(PACKAGE)))[0]["filename"]
    (directory / "package.json").write_text('{"private": true, "type": "module"}')
    run(directory, "npm", "install", "--no-audit", "--no-fund", "--silent", f"./{packed}", *TOOLS)
    for name in ("antiphon.js", "typescript", "esbuild", "react"):
        version = json.loads((directory / "node_modules" / name / "package.json").read_text())["version"]
        print(f"{name} {version}")


def check_types(directory: Path) -> None:
    shutil.copy(HERE / "types" / "use.ts", directory / "use.ts")
    run(directory, "node_modules/.bin/tsc", *TSC, "use.ts")


def bundle(directory: Path) -> None:
    shutil.copy(PACKAGE / "examples" / "react" / "Voice.jsx", directory)
    shutil.copytree(HERE / "react", directory, dirs_exist_ok=True)
    options = ("--bundle", "--format=esm", "--jsx=automatic", "--outfile=served/bundle.js")
    run(directory, "node_modules/.bin/esbuild", "main.jsx", *options)
    shutil.copy(directory / "index.html", directory / "served")


def call(directory: Path) -> str:
    """What the built-in agent says first in a call by the component, from another origin than the server's."""
    microphone = write_microphone(directory / "silence.wav", silence(60))
    with (
        running_stack("--loopback-only") as stack,
        served(directory / "served") as origin,
        chromium_page(microphone) as page,
    ):
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{origin}?{urlencode({'url': stack.url.rstrip('/'), 'agent': 'concierge'})}")
        page.get_by_role("button", name="Call").click()
        expect(page.get_by_role("status")).to_have_text("connected", timeout=20_000)
        first = page.locator("li.assistant").first
        expect(first).to_have_text(re.compile(r"\w+ \w+"), timeout=30_000)
        said = first.inner_text()
        page.get_by_role("button", name="End call").click()
        expect(page.get_by_role("button", name="Call", exact=True)).to_be_visible()
    if errors:
        raise SystemExit("\n".join(errors))
    return said


@contextmanager
def served(directory: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join(5)
    server.server_close()


if __name__ == "__main__":
    sys.exit(main())
