"""One call of Chromium with `antiphon.js` to the cluster, and how long it hears nothing when its relay is lost."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from kubernetes.cluster import Failure
from playwright.async_api import Page, async_playwright
from support.browsers.chromium import CHROMIUM, QUIET
from support.models.voice import babble, write_microphone

TRIES: Final = 8
PLACE: Final = """async ([key, agent]) => {
  const { AntiphonCall } = await import("/static/antiphon.js");
  await window.call?.hangUp?.();
  const call = (window.call = new AntiphonCall({ key }));
  window.moves = [];
  call.addEventListener("moved", ({ detail }) => window.moves.push(detail));
  await call.connect({ stream: await navigator.mediaDevices.getUserMedia({ audio: true }), agent });
  window.heard = [0, 0, performance.now()];  // packets, longest gap in ms, when the last ones were seen
  clearInterval(window.counting);
  window.counting = setInterval(async () => {
    const audio = [...(await call.peer.getStats()).values()].find(({ type }) => type === "inbound-rtp");
    const [packets, gap, at] = window.heard;
    if (!((audio?.packetsReceived ?? 0) > packets)) return;
    const now = performance.now();
    window.heard = [audio.packetsReceived, packets ? Math.max(gap, now - at) : 0, now];
  }, 20);
}"""
RELAY: Final = """async () => {
  const all = await window.call.peer.getStats();
  const transport = [...all.values()].find(({ type }) => type === "transport");
  const pair = all.get(transport?.selectedCandidatePairId);
  return pair ? all.get(pair.remoteCandidateId).address : "";
}"""


def is_there() -> bool:
    """This machine has Chromium."""
    return Path(CHROMIUM).exists()


class BrowserCall:
    """One page and its call. Owner: `calling`, for the time of its block."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def place(self, key: str, agent: str, relay: str) -> None:
        """Call until the call goes by the relay at that address; `Failure` if none does."""
        found = set[str]()
        for _ in range(TRIES):
            await self._page.evaluate(PLACE, [key, agent])
            for _ in range(60):
                await asyncio.sleep(0.25)
                if (await self.heard())[0] > 50:
                    break
            found.add(str(await self._page.evaluate(RELAY)))
            if relay in found:
                await self._page.evaluate("() => { window.heard[1] = 0; }")
                return
        raise Failure(f"no call of the browser went by {relay}, but by {', '.join(sorted(found)) or 'none'}")

    async def heard(self) -> tuple[int, float]:
        """Packets of the agent, and the longest time without one in s, that which lasts included."""
        packets, gap, since = await self._page.evaluate(
            "() => [window.heard[0], window.heard[1], performance.now() - window.heard[2]]"
        )
        return int(packets), max(float(gap), float(since)) / 1000

    async def relay(self) -> str:
        """The address that it sends to."""
        return str(await self._page.evaluate(RELAY))

    async def moves(self) -> list[Any]:
        """What `antiphon.js` tells of its moves."""
        found: list[Any] = await self._page.evaluate("window.moves")
        return found


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[BrowserCall]:
    """A page of the server at `url`, whose microphone hears people talk."""
    with tempfile.TemporaryDirectory() as scratch:
        microphone = write_microphone(Path(scratch, "babble.wav"), babble(90))
        arguments = [
            *QUIET,
            f"--unsafely-treat-insecure-origin-as-secure={url}",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
            "--autoplay-policy=no-user-gesture-required",
        ]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
            try:
                page = await browser.new_page()
                await page.goto(f"{url}/")
                yield BrowserCall(page)
            finally:
                await browser.close()
