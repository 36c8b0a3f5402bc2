"""Calls of a browser for `antiphon bench setup`, on the client's side of the path; run by `python -m`.

It serves the browser a page on loopback, and places the page's calls for it with our client's HTTP. It prints a line
of JSON per call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

from antiphon.cli.call.call_client import place
from antiphon.cli.call.http_transport import Transport
from antiphon.cli.errors import CallError

PAGE: Final = Path(__file__).with_name("setup_page.html")
CHROMIUM: Final = (
    "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
FIREFOX: Final = ("firefox", "--headless", "--no-remote", "--new-instance")
FIREFOX_SETTINGS: Final = """
user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
"""
CALL_SECONDS: Final = 40.0
"""For one call of the page, its HTTP included."""


class Collector:
    """Serves the page, places its calls and takes its results. Owned by `main`, on its loop."""

    def __init__(self, url: str, calls: int) -> None:
        self._url, self._left = url, calls
        self.done = asyncio.Event()
        self.progress = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request per connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")),
                0,
            )
            status, body = await self._answer(head.split()[1], (await reader.readexactly(length)).decode())
            kind = "text/html; charset=utf-8" if body.startswith("<!") else "text/plain"
            header = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body.encode())}\r\n"
            writer.write((header + "Connection: close\r\n\r\n" + body).encode())
            await writer.drain()
        writer.close()

    async def _answer(self, path: str, body: str) -> tuple[str, str]:
        if path == "/offer":
            async with httpx.AsyncClient(transport=Transport(), trust_env=False, timeout=10) as http:
                try:
                    return "200 OK", (await place(http, self._url, body, None)).sdp
                except CallError as error:
                    return "502 Bad Gateway", str(error)
        if path == "/found":
            print(json.dumps(json.loads(body)), flush=True)
            self._left -= 1
            self.progress.set()
            if not self._left:
                self.done.set()
        return "200 OK", PAGE.read_text() if path.startswith("/page") else ""


async def end_program(program: asyncio.subprocess.Process) -> None:
    """Ask it to end, then end it."""
    program.terminate()
    try:
        await asyncio.wait_for(program.wait(), 5)
    except TimeoutError:
        program.kill()
        await program.wait()


async def main(url: str, calls: int, browser: str) -> None:
    """So many calls of the browser, one after the other."""
    collector, quiet = Collector(url, calls), asyncio.subprocess.DEVNULL
    server = await asyncio.start_server(collector.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        if browser == "chromium":
            command = [*CHROMIUM, f"--user-data-dir={profile}"]
        else:
            (Path(profile) / "user.js").write_text(FIREFOX_SETTINGS)
            command = [*FIREFOX, "--profile", profile]
        page = f"http://127.0.0.1:{port}/page?calls={calls}"
        program = await asyncio.create_subprocess_exec(*command, page, stdout=quiet, stderr=quiet)
        try:
            while not collector.done.is_set():
                collector.progress.clear()
                await asyncio.wait_for(collector.progress.wait(), CALL_SECONDS)
        except TimeoutError:
            print(f"{browser} made no call for {CALL_SECONDS:.0f} s", file=sys.stderr)
        finally:
            await end_program(program)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("calls", type=int)
    parser.add_argument("browser", choices=("chromium", "firefox"))
    args = parser.parse_args()
    asyncio.run(main(args.url, args.calls, args.browser))
