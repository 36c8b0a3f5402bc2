"""A page with a client from npm in it: bundled into a folder for scratch, and served from an origin of its own."""

from __future__ import annotations

import functools
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

PAGE: Final = "<!doctype html><meta charset=utf-8><script type=module src=/out.js></script>"


def bundle(source: Path, folder: Path) -> None:
    """Make the page of `source` (`package.json`, which has esbuild, and `page.js`) in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "page.js"):
        shutil.copy(source / name, folder / name)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    command = ["npx", "esbuild", "page.js", "--bundle", "--format=esm", "--outfile=out.js", "--log-level=error"]
    subprocess.run(command, cwd=folder, check=True)
    (folder / "index.html").write_text(PAGE)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The page from an origin of its own, as that of an application's developer."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
