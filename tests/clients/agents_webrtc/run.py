"""@openai/agents in Chromium holds a conversation with the whole stack over WebRTC.

`PYTHONPATH=tests python -m clients.agents_webrtc.run` runs it. It prints one line per promise and exits 1 at the first
that is not kept.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

import httpx
from playwright.sync_api import Page
from support.browsers.chromium import chromium_page
from support.conditions import wait_until
from support.models.bookings import BOOKING
from support.models.voice import say, silence, write_microphone
from support.processes.stack import running_stack

from clients.bundled_page import bundle, served

HERE: Final = Path(__file__).parent


def kept(promise: str, page: Page, expression: str, seconds: float = 90) -> None:
    """Wait for it and print it, or exit."""
    try:
        wait_until(lambda: page.evaluate(expression), seconds)
    except TimeoutError:
        print(f"FAILED: {promise}\n{json.dumps(page.evaluate('seen'), indent=1)}")
        sys.exit(1)
    print(f"ok: {promise}", flush=True)


def secret_of(url: str) -> str:
    """A client secret, as an application's server asks for one."""
    made = httpx.post(f"{url}/v1/realtime/client_secrets", json={"session": {"type": "realtime"}}, timeout=10)
    made.raise_for_status()
    return str(made.json()["value"])


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle(HERE, folder)
        question = write_microphone(folder / "question.wav", silence(10), say(BOOKING), silence(120))
        with (
            running_stack("--loopback-only") as stack,
            served(folder) as origin,
            chromium_page(question) as page,
        ):
            url = stack.url.rstrip("/")
            page.goto(origin)
            kept("the package is loaded", page, "Boolean(window.begin)")
            arguments = f"{json.dumps(url)}, {json.dumps(secret_of(url))}"
            page.evaluate(f"begin({arguments}).catch(error => seen.problems.push(String(error)))")
            kept("it connects", page, "seen.state === 'connected'")
            kept("the greeting is transcribed", page, "words('assistant').length > 10")
            kept("the caller's words are transcribed", page, "words('user').includes('appointment')")
            kept("they are answered", page, "words('assistant').includes('10:30')")
            page.evaluate("session.sendMessage('What time is it?')")
            kept("typed words are answered", page, "/o'clock|\\d/.test(words('assistant').split('10:30').pop())")
            page.evaluate("session.interrupt()")
            page.evaluate("session.close()")
            kept("it hangs up", page, "seen.state === 'disconnected'")
            print("events:", " ".join(page.evaluate("seen.events")))
            print("problems:", page.evaluate("seen.problems"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
