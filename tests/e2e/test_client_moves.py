"""Chromium by `antiphon.js` in a call whose network changes under it: the call restarts ICE and goes on.

The stack runs in one namespace, the browser in another one with two interfaces. `tests/e2e/test_udp_blocked.py` has the
test of a call whose UDP dies that stands for these in `make test`.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from support.browsers.chromium import chromium_page, wait_for
from support.models.voice import babble, write_microphone
from support.net.namespace import ADDRESS, laptop_namespace
from support.net.roaming import Roaming, roaming_client
from support.processes.stack import ECHO_AGENT, Stack, running_stack

pytestmark = [pytest.mark.realtime, pytest.mark.models, pytest.mark.nightly]

API_KEY = "sk-0123456789abcdef0123456789abcdef"
LONGEST_GAP = 2500
"""ms. Measured 600 to 800 (docs/antiphon-js.md); the rest is for machines that do more at once."""
LONGEST_GAP_WITH_A_NEW_ADDRESS = 8000
"""ms. Chromium on Linux tells its own ICE of a new address 2 s after it has settled; measured 1600 to 3500."""

PLACE_CALL = """async ([key, seconds]) => {
  const { AntiphonCall } = await import("/static/antiphon.js");
  const secret = await fetch("/v1/realtime/client_secrets", {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify({ expires_after: { seconds } }),
  }).then((response) => response.json());
  const call = (window.call = new AntiphonCall({ key: secret.value }));
  window.placed = performance.now();
  window.told = [];
  window.arrivals = [];
  for (const type of ["path", "moved", "restart", "quiet", "back", "state", "ended"]) {
    call.addEventListener(type, ({ detail }) => told.push([performance.now() - placed, type, detail]));
  }
  await call.connect({ stream: await navigator.mediaDevices.getUserMedia({ audio: true }), agent: "echo" });
  setInterval(async () => {
    const audio = [...(await call.peer.getStats()).values()].find(({ type }) => type === "inbound-rtp");
    if (audio?.packetsReceived > (arrivals.at(-1)?.[1] ?? 0)) arrivals.push([performance.now(), audio.packetsReceived]);
  }, 20);
}"""
USED = """async () => {
  const all = await call.peer.getStats();
  const transport = [...all.values()].find(({ type }) => type === "transport");
  const pair = all.get(transport.selectedCandidatePairId);
  const [local, remote] = [all.get(pair.localCandidateId), all.get(pair.remoteCandidateId)];
  return { from: local.address, protocol: remote.protocol };
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[list[str]]:
    with laptop_namespace() as inside:
        yield inside


@pytest.fixture(scope="module")
def stack(server: list[str]) -> Iterator[Stack]:
    options = ("--http", f"{ADDRESS}:0", "--public", ADDRESS, "--plugin", str(ECHO_AGENT))
    with running_stack(*options, within=server, environment={"ANTIPHON_API_KEYS": API_KEY}) as running:
        yield running


@pytest.fixture
def client(server: list[str]) -> Iterator[Roaming]:
    with roaming_client(server, ADDRESS) as client:
        yield client


@pytest.fixture
def page(stack: Stack, client: Roaming, tmp_path: Path) -> Iterator[Page]:
    """In a call with the echo agent, with audio flowing both ways."""
    microphone = write_microphone(tmp_path / "babble.wav", babble(90))
    with chromium_page(microphone, within=client.within, trusted=stack.url.rstrip("/")) as page:
        page.goto(stack.url)
        page.evaluate(PLACE_CALL, [API_KEY, 10])
        wait_for(page, "arrivals.length > 40", 20)
        yield page


def gap_after(page: Page, since: float) -> float:
    """Wait until audio flows again; the longest time without a packet since then, in ms."""
    wait_for(page, f"arrivals.some(([at], n) => at > {since} + 300 && n + 20 < arrivals.length)", 20)
    arrivals: list[list[float]] = page.evaluate("arrivals")
    times = [since] + [at for at, _ in arrivals if at > since]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def now(page: Page) -> float:
    return float(page.evaluate("performance.now()"))


def told(page: Page) -> list[list[Any]]:
    events: list[list[Any]] = page.evaluate("JSON.parse(JSON.stringify(told))")
    return events


def test_a_call_goes_on_when_the_network_gives_another_address(client: Roaming, page: Page) -> None:
    assert page.evaluate(USED) == {"from": "10.78.1.2", "protocol": "udp"}
    since = now(page)
    client.change_address("wifi0", 77)
    gap = gap_after(page, since)
    print(f"another address: {gap:.0f} ms without a packet; {told(page)}")
    assert page.evaluate(USED)["from"] == "10.78.1.77"
    assert gap < LONGEST_GAP_WITH_A_NEW_ADDRESS


def test_a_call_goes_on_when_wifi_is_left_for_the_mobile_network(client: Roaming, page: Page) -> None:
    client.join("mobile0")
    joined = now(page)
    wait_for(page, f"performance.now() > {joined} + 5000")  # until the browser knows of it, which it tells nobody
    since = now(page)
    client.leave("wifi0")
    client.use("mobile0")
    gap = gap_after(page, since)
    print(f"Wi-Fi to mobile: {gap:.0f} ms without a packet; {told(page)}")
    assert page.evaluate(USED)["from"] == "10.78.2.2"
    assert gap < LONGEST_GAP


def test_a_call_whose_udp_dies_goes_on_over_tcp(client: Roaming, page: Page) -> None:
    since = now(page)
    for direction in ("OUTPUT", "INPUT"):
        client.iptables("-A", direction, "-p", "udp", "-j", "DROP")
    gap = gap_after(page, since)
    print(f"UDP dies: {gap:.0f} ms without a packet; {told(page)}")
    assert page.evaluate(USED)["protocol"] == "tcp"
    assert gap < LONGEST_GAP


def test_a_call_whose_packets_arrive_no_more_goes_on_over_tcp_though_the_servers_still_come(
    client: Roaming, page: Page
) -> None:
    since = now(page)
    client.iptables("-A", "OUTPUT", "-p", "udp", "-j", "DROP")
    wait_for(page, "told.some(([, type, detail]) => type === 'moved' && detail.why === 'one_way')", 10)
    took = now(page) - since
    wait_for(page, "told.some(([, type, detail]) => type === 'restart' && detail.state === 'done')", 5)
    wait_for(page, f"(async () => (await ({USED})()).protocol === 'tcp')()", 5)
    print(f"outgoing UDP dies: noticed after {took:.0f} ms; {told(page)}")
    assert page.evaluate("told.some(([, type, detail]) => type === 'state' && detail === 'disconnected')") is False


def test_after_a_time_without_any_network_the_call_goes_on_by_a_secret_that_has_expired(
    client: Roaming, page: Page
) -> None:
    client.leave("wifi0")
    wait_for(page, "performance.now() > placed + 12000", 20)
    assert page.evaluate("told.some(([, type, detail]) => type === 'restart' && detail.state === 'failed')")
    since = now(page)
    client.join("wifi0", 5)
    client.use("wifi0")
    gap = gap_after(page, since)
    print(f"network back: {gap:.0f} ms; {told(page)}")
    assert gap < LONGEST_GAP


def test_a_laptop_that_wakes_up_in_another_network_goes_on(client: Roaming, page: Page) -> None:
    pids = subprocess.run(
        ["ip", "netns", "pids", client.name], capture_output=True, text=True, check=True
    ).stdout.split()
    for pid in pids:
        os.kill(int(pid), signal.SIGSTOP)
    time.sleep(6)  # how long it sleeps
    client.leave("wifi0")
    client.join("mobile0")
    client.use("mobile0")
    for pid in pids:
        os.kill(int(pid), signal.SIGCONT)
    since = now(page)
    gap = gap_after(page, since)
    print(f"woken in another network: {gap:.0f} ms; {told(page)}")
    assert page.evaluate(USED)["from"] == "10.78.2.2"
    assert gap < LONGEST_GAP_WITH_A_NEW_ADDRESS


def test_a_call_that_the_server_has_ended_meanwhile_is_over(stack: Stack, client: Roaming, page: Page) -> None:
    client.leave("wifi0")
    subprocess.run(
        [
            *["ip", "netns", "exec", stack.within[-1], "curl", "-sf", "-X", "DELETE"],
            *[
                "-H",
                f"Authorization: Bearer {API_KEY}",
                f"{stack.url.rstrip('/')}/v1/realtime/calls/{page.evaluate('call.id')}",
            ],
        ],
        check=True,
    )
    client.join("wifi0", 5)
    client.use("wifi0")
    wait_for(page, "told.some(([, type]) => type === 'ended')", 10)
    (ended,) = [detail for _, type, detail in told(page) if type == "ended"]
    assert ended["status"] == "ended"
    assert ended["cause"] == "client"
