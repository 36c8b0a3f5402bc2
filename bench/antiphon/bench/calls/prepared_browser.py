"""Calls of a browser by antiphon.js for `antiphon bench prepared`, on its side of the path; run by `python -m`.

It serves the browser a page on loopback, with the stack's own antiphon.js; the page's calls go to the stack. A line of
JSON per call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import httpx

from antiphon.bench.calls.setup_browser import CALL_SECONDS, CHROMIUM, FIREFOX, FIREFOX_SETTINGS, end_program

PAGE: Final = Path(__file__).with_name("prepared_page.html")
_MODULE: Final = re.compile(r'from "\./(\w+\.js)"')
_MICROPHONE: Final = {"profile": {"default_content_setting_values": {"media_stream_mic": 1}}}
"""Of Chromium: pages have it without a question."""
_MICROPHONE_OF_FIREFOX: Final = """
user_pref("media.navigator.permission.disabled", true);
user_pref("media.navigator.streams.fake", true);
user_pref("permissions.default.microphone", 1);
"""


def modules(server: str) -> dict[str, str]:
    """antiphon.js and what it imports, as the stack serves it."""
    found: dict[str, str] = {}
    wanted = ["antiphon.js"]
    with httpx.Client(trust_env=False, timeout=10) as http:
        while wanted:
            name = wanted.pop()
            if name not in found:
                found[name] = http.get(f"{server}/static/{name}").raise_for_status().text
                wanted += _MODULE.findall(found[name])
    return found


class PageServer:
    """Serves the page and takes its results. Owned by `main`, on its loop."""

    def __init__(self, files: dict[str, str], calls: int) -> None:
        self._files, self._left = files, calls
        self.done = asyncio.Event()
        self.progress = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request per connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?im)^content-length: *(\d+)", head)
            body = (await reader.readexactly(int(length[1]) if length else 0)).decode()
            kind, content = self._answer(head.split()[1], body)
            header = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content.encode())}\r\n"
            writer.write((header + "Connection: close\r\n\r\n" + content).encode())
            await writer.drain()
        writer.close()

    def _answer(self, path: str, body: str) -> tuple[str, str]:
        if path == "/found":
            print(json.dumps(json.loads(body)), flush=True)
            self._left -= 1
            self.progress.set()
            if not self._left:
                self.done.set()
            return "text/plain", ""
        if path.startswith("/static/"):
            return "text/javascript", self._files.get(path.rpartition("/")[2], "")
        return "text/html; charset=utf-8", PAGE.read_text() if path.startswith("/page") else ""


async def main(server: str, key: str, calls: int, browser: str) -> None:
    """So many calls of each kind, in turn."""
    pages, quiet = PageServer(modules(server), 2 * calls), asyncio.subprocess.DEVNULL
    listening = await asyncio.start_server(pages.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        if browser == "chromium":
            (Path(profile) / "Default").mkdir()
            (Path(profile) / "Default" / "Preferences").write_text(json.dumps(_MICROPHONE))
            command = [*CHROMIUM, "--use-fake-device-for-media-stream", f"--user-data-dir={profile}"]
        else:
            (Path(profile) / "user.js").write_text(FIREFOX_SETTINGS + _MICROPHONE_OF_FIREFOX)
            command = [*FIREFOX, "--profile", profile]
        page = f"http://127.0.0.1:{port}/page?{urlencode({'server': server, 'key': key, 'calls': calls})}"
        program = await asyncio.create_subprocess_exec(*command, page, stdout=quiet, stderr=quiet)
        try:
            while not pages.done.is_set():
                pages.progress.clear()
                await asyncio.wait_for(pages.progress.wait(), CALL_SECONDS)
        except TimeoutError:
            print(f"{browser} made no call for {CALL_SECONDS:.0f} s", file=sys.stderr)
        finally:
            await end_program(program)
    listening.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("key")
    parser.add_argument("calls", type=int)
    parser.add_argument("browser", choices=("chromium", "firefox"))
    args = parser.parse_args()
    asyncio.run(main(args.server, args.key, args.calls, args.browser))
