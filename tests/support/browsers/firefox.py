"""Firefox, driven by its own Marionette protocol: no driver binary is packaged for Debian.

A message is its length in bytes, a colon and JSON: `[0, id, command, parameters]` there, `[1, id, error,
result]` back (firefox-source-docs, testing/marionette).

`python -m support.browsers.firefox URL [--until-moved]` makes one call on the page and prints what came of it, so that
a test can run it inside a network namespace.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIREFOX = "/usr/bin/firefox-esr"
PREFERENCES = {
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.autoplay.default": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


class Firefox:
    """One window."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._next = 0
        self._read()  # the server says hello
        self.command("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {}}})

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """Run one command; AssertionError if Firefox reports an error."""
        self._next += 1
        message = json.dumps([0, self._next, name, parameters]).encode()
        self._connection.sendall(b"%d:%s" % (len(message), message))
        _, number, error, result = self._read()
        assert number == self._next
        assert error is None, f"{name}: {error}"
        return result

    def open(self, url: str) -> None:
        self.command("WebDriver:Navigate", {"url": url})

    def run(self, script: str) -> Any:
        """The value that `script` returns in the page."""
        parameters: dict[str, Any] = {"script": script, "args": [], "sandbox": None}
        return self.command("WebDriver:ExecuteScript", parameters)["value"]

    def click(self, selector: str) -> None:
        found = self.command("WebDriver:FindElement", {"using": "css selector", "value": selector})["value"]
        self.command("WebDriver:ElementClick", {"id": next(iter(found.values()))})

    def wait(self, condition: str, seconds: float = 30) -> Any:
        """Until the JavaScript expression is true; returns it."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(f"return {condition};")):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {condition}"
            time.sleep(0.05)
        return value

    def _read(self) -> Any:
        digits = b""
        while (byte := self._connection.recv(1)) != b":":
            assert byte, "Firefox closed the connection"
            digits += byte
        data = b""
        while len(data) < int(digits):
            data += self._connection.recv(int(digits) - len(data))
        return json.loads(data)


@contextmanager
def firefox(profile: Path) -> Iterator[Firefox]:
    """A headless Firefox with a fake microphone and a profile of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lines = [f'user_pref("{name}", {json.dumps(value)});' for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join([*lines, f'user_pref("marionette.port", {port});']))
    process = subprocess.Popen(
        [FIREFOX, "--headless", "--marionette", "--no-remote", "--profile", str(profile)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, f"Firefox exited with {process.returncode}"
            assert time.monotonic() < deadline, "Firefox opened no Marionette port within 60 s"
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=60)
                break
            except OSError:
                time.sleep(0.1)
        with connection:
            yield Firefox(connection)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def call(url: str, until_moved: bool = False) -> dict[str, Any]:
    """Call the echo agent with the fake microphone (a tone) until the tone is back; the page's numbers and moves.

    `until_moved`: then say `connected`, and go on until the call is at home on another relay.
    """
    with tempfile.TemporaryDirectory() as profile, firefox(Path(profile)) as browser:
        browser.open(url)
        browser.wait("document.querySelector('#agent').options.length > 0")
        browser.run("document.querySelector('#agent').value = 'echo'")
        browser.click("#call")
        browser.wait("['listening', 'speaking', 'ended'].includes(window.antiphon.state)")
        problem = browser.run("return window.antiphon.problem")
        if problem is None:
            browser.wait("window.antiphon.numbers.packets_received > 50")
        if until_moved:
            print("connected", flush=True)
            browser.wait("window.antiphon.moves.at(-1)?.gap_ms > 0")
            before = browser.run("return window.antiphon.numbers.packets_received")
            browser.wait(f"window.antiphon.numbers.packets_received > {before} + 50")
        told = browser.run("return JSON.stringify({...window.antiphon.numbers, moves: window.antiphon.moves})")
        browser.click("#call")
        return {"problem": problem, **json.loads(told)}


if __name__ == "__main__":
    print(json.dumps(call(sys.argv[1], until_moved="--until-moved" in sys.argv)))
