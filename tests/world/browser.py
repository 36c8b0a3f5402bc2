"""The page's call by Chromium at the callers' place, over two hops, while its ingress is killed.

Blocking: a scenario calls it in a thread, which is where the callers are.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from playwright.sync_api import Page
from support.browsers.chromium import chromium_page, wait_for
from support.conditions import wait_until

from antiphon.cli.call.wav import write_wav
from antiphon.schemas.addresses import Address, parse_address
from world.geography import FAR, NEAREST
from world.region import RELAY_PORT, Region

PLACE_CALL: Final = """async (region) => {
  const { AntiphonCall } = await import("/static/antiphon.js");
  const call = (window.call = new AntiphonCall());
  window.told = [];
  window.arrivals = [];
  for (const type of ["path", "moved", "quiet", "ended"]) {
    call.addEventListener(type, ({ detail }) => told.push({ type, at: performance.now(), ...detail }));
  }
  await call.connect({ stream: await navigator.mediaDevices.getUserMedia({ audio: true }), agent: "echo", region });
  window.served = call.region;
  setInterval(async () => {
    const audio = [...(await call.peer.getStats()).values()].find(({ type }) => type === "inbound-rtp");
    if (audio?.packetsReceived > (arrivals.at(-1)?.[1] ?? 0)) arrivals.push([performance.now(), audio.packetsReceived]);
  }, 25);
}"""
SPEECH: Final = 60
"""Seconds."""
RATE: Final = 48_000


@dataclass(frozen=True)
class Moved:
    """What the page noticed. A value."""

    served: str
    """The region of the call."""
    first: Address
    """The ingress that was killed."""
    then: Address
    gap: float
    """Between two moments at which the page had received more, s."""
    noticed: float
    """Of the gap: until the page began to move, s."""


def move_of_a_killed_ingress(scratch: Path, near: Region) -> Moved:
    """Call the far region by the near ingress, kill that, and wait until the page has moved and receives again."""
    seconds = np.arange(SPEECH * RATE) / RATE
    pitch = 180 + 60 * np.sin(2 * np.pi * 1.3 * seconds)
    speech = (8000 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)).astype(np.int16)
    write_wav(scratch / "microphone.wav", speech, RATE)
    with chromium_page(scratch / "microphone.wav", trusted=near.url) as page:
        page.goto(near.url)
        page.evaluate(PLACE_CALL, NEAREST)
        wait_for(page, "arrivals.length > 40 && told.some(({ state }) => state === 'used')")
        first = _used(page)
        if first.host != near.host:
            raise AssertionError(f"the page entered at {first}")
        near.kill("relay" if first.port == RELAY_PORT else "relay-2")
        wait_until(lambda: _used(page) != first, 20)
        before = page.evaluate("arrivals.length")
        wait_for(page, f"arrivals.length > {before} + 40")
        times = [at for at, _ in _arrivals(page)]
        began, ended = max(itertools.pairwise(times), key=lambda pair: pair[1] - pair[0])
        noticed = next(told["at"] for told in page.evaluate("told") if told["type"] == "moved") - began
        moved = Moved(page.evaluate("served"), first, _used(page), (ended - began) / 1000, noticed / 1000)
        page.evaluate("call.hangUp()")
    if moved.served != FAR:
        raise AssertionError(f"the call was served by {moved.served}")
    return moved


def _used(page: Page) -> Address:
    told: list[dict[str, Any]] = page.evaluate("told")
    return parse_address([each["relay"] for each in told if each.get("state") == "used"][-1])


def _arrivals(page: Page) -> list[list[float]]:
    found: list[list[float]] = page.evaluate("arrivals")
    return found
