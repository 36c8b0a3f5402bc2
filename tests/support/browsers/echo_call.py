"""A call of Chromium's page with the echo agent, and when the page received packets of it."""

from __future__ import annotations

import itertools
from typing import Any

from playwright.sync_api import Page
from support.browsers.chromium import wait_for

COUNT_PACKETS = """() => {
  window.arrivals = [];  // [Unix seconds, packets, packets lost], whenever there were more
  setInterval(async () => {
    const audio = (await antiphon.stats()).find(entry => entry.type === "inbound-rtp");
    const packets = audio?.packetsReceived ?? 0;
    const now = (performance.timeOrigin + performance.now()) / 1000;
    if (packets > (arrivals.at(-1)?.[1] ?? 0)) arrivals.push([now, packets, audio.packetsLost]);
  }, 25);
}"""


def start_call(page: Page, url: str, agent: str, region: str = "") -> None:
    """Open the page of the stack at `url` and press the button. `region`: the relay of this one is used first."""
    page.goto(f"{url}?agent={agent}" + (f"&region={region}" if region else ""))
    wait_for(page, f"document.querySelector('#agent').value === '{agent}'")
    page.get_by_role("button", name="Start call").click()


def start_echo_call(page: Page, url: str, region: str = "") -> None:
    """A call to the echo agent, with audio flowing both ways; from then on the page counts packets."""
    start_call(page, url, "echo", region)
    wait_for(page, "['listening', 'speaking'].includes(window.antiphon.state)", seconds=20)
    page.evaluate(COUNT_PACKETS)
    wait_for(page, "arrivals.length > 20")


def arrival_times(page: Page) -> list[float]:
    """Unix seconds at which the page saw that more packets had arrived."""
    return [at for at, *_ in _arrivals(page)]


def longest_gap(page: Page) -> float:
    """Seconds between two of these times, at most."""
    return max(later - earlier for earlier, later in itertools.pairwise(arrival_times(page)))


def packets_received(page: Page) -> int:
    return int(_arrivals(page)[-1][1])


def packets_lost(page: Page) -> int:
    return int(_arrivals(page)[-1][2])


def _arrivals(page: Page) -> list[list[float]]:
    entries: list[list[Any]] = page.evaluate("arrivals")
    return entries
