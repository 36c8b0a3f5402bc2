"""Pipecat's JavaScript client in Chromium holds a conversation with the whole stack.

`PYTHONPATH=tests python -m clients.pipecat_js.run` runs it. The client's packages come from npm into a temporary folder
and are bundled there; nothing of them is kept. It prints one line per promise and exits 1 at the first that is not
kept.
"""

from __future__ import annotations

import argparse
import atexit
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page
from support.browsers.chromium import chromium_page
from support.conditions import wait_until
from support.models.bookings import BOOKING
from support.models.voice import say, silence, write_microphone
from support.processes.stack import ECHO_AGENT, running_stack

from clients.bundled_page import bundle, served

HERE: Final = Path(__file__).parent


def kept(promise: str, page: Page, expression: str, seconds: float = 120) -> None:
    """Wait for it and print it, or exit."""
    try:
        wait_until(lambda: page.evaluate(expression), seconds)
    except TimeoutError:
        print(f"FAILED: {promise}\n{json.dumps(page.evaluate('seen'), indent=1)}")
        sys.exit(1)
    print(f"ok: {promise}", flush=True)


def conversation(page: Page, url: str, spoken: bool) -> dict[str, Any]:
    """All that is promised; returns what the page has seen. `spoken`: also what waits for speech recognition."""
    kept("the client is loaded", page, "Boolean(window.begin)")
    page.evaluate(f"begin({json.dumps(url)}, 'concierge', false).catch(e => seen.problems.push(String(e)))")
    kept("bot-ready comes", page, "seen.told.some(told => told.startsWith('bot-ready'))")
    kept("the agent's speech is shown as it is spoken", page, "seen.tts.length > 10")
    kept("the agent is told to speak", page, "seen.told.includes('bot-started')")
    if spoken:
        _spoken(page)
    page.evaluate("seen.before = seen.bot.length; client.sendText('What time is it?')")
    kept("text is answered by voice", page, "seen.bot.length > seen.before")
    page.evaluate("client.sendClientRequest('no.such.event', {}).catch(e => seen.refused = e.data.error)")
    kept("a request that the agent does not know is refused", page, "Boolean(seen.refused)")
    page.evaluate("client.disconnectBot()")
    kept("the agent leaves when it is asked to", page, "seen.told.some(told => told.startsWith('bot-disconnected'))")
    kept("the client disconnects then", page, "seen.state === 'disconnected'")
    page.evaluate(f"begin({json.dumps(url)}, 'echo', true).catch(e => seen.problems.push(String(e)))")
    ready = "seen.told.filter(told => told.startsWith('bot-ready')).length === 2"
    kept("it connects again by POST /start, to an agent that knows nothing of RTVI", page, ready)
    page.evaluate("client.disconnect()")
    kept("the client hangs up", page, "seen.state === 'disconnected'")
    seen: dict[str, Any] = page.evaluate("seen")
    return seen


def _spoken(page: Page) -> None:
    said = "seen.user.some(item => item.final && item.text.includes('appointment'))"
    kept("the caller's transcript comes", page, said)
    kept(
        "the caller is told to speak", page, "seen.told.includes('user-started') && seen.told.includes('user-stopped')"
    )
    kept("the agent's transcript comes", page, "seen.bot.some(text => text.includes('10:30'))")


def main() -> int:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the bundle here for the next run (default: nowhere)")
    parser.add_argument("--show", action="store_true", help="print what the page has seen")
    parser.add_argument("--log", action="store_true", help="print the log of the stack")
    parser.add_argument("--quick", action="store_true", help="leave out what waits for speech recognition")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        if not (folder / "out.js").exists():
            bundle(HERE, folder)
        microphone = write_microphone(
            folder / "question.wav", silence(10), *([] if options.quick else [say(BOOKING)]), silence(120)
        )
        with (
            running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as stack,
            served(folder) as origin,
            chromium_page(microphone) as page,
        ):
            page.on("console", lambda line: print(f"  {line.text[:300]}") if line.type == "error" else None)
            page.goto(origin)
            if options.log:
                atexit.register(lambda: print(*stack.lines, sep="\n"))
            seen = conversation(page, stack.url.rstrip("/"), not options.quick)
    print(json.dumps(seen, indent=1) if options.show else f"refused as they should be: {len(seen['problems'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
