"""Writes tests/relay/packets/*.json: what real clients send, for tests that cut and bend it.

Run as `PYTHONPATH=tests python -m support.capture_packets`, when a client's packets have become others. Each file holds
the first packets of one call of one client through a real stack, with the route keys that open their tokens (made
for this one call, and good for nothing else).
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

from playwright.sync_api import Route
from support.browsers.chromium import CHROMIUM, chromium_page, wait_for
from support.conditions import wait_until
from support.models.voice import babble, write_microphone
from support.net.middlebox import middlebox, with_relay
from support.peers.aiortc_client import aiortc_call
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.schemas.addresses import Address

DIRECTORY = Path(__file__).parents[1] / "relay" / "packets"
EACH = 3
"""Packets kept of each kind."""
KINDS = ("binding_request", "dtls_handshake", "dtls_data", "rtp", "rtcp")


def kind_of(packet: bytes) -> str:
    """RFC 7983, and RFC 5761 for what is RTCP."""
    first = packet[0]
    if packet[:2] == b"\0\1":
        return "binding_request"
    if 19 < first < 64:
        return "dtls_data" if first == 23 else "dtls_handshake"
    if 127 < first < 192:
        return "rtcp" if 64 <= packet[1] & 0x7F < 96 else "rtp"
    return "other"


def write(name: str, client: str, keys: str, passed: list[bytes]) -> None:
    kept = {kind: [each.hex() for each in passed if kind_of(each) == kind][:EACH] for kind in KINDS}
    assert all(kept.values()), f"{client} sent nothing of {[kind for kind in KINDS if not kept[kind]]}"
    said = {"client": client, "route_keys": keys, "packets": kept}
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")


def complete(passed: list[bytes]) -> bool:
    kinds = {kind_of(each) for each in passed}
    return kinds >= set(KINDS)


def capture_chromium(stack: Stack, relay: Address, keys: str, scratch: Path) -> None:
    with middlebox(relay) as box, chromium_page(write_microphone(scratch / "babble.wav", babble(20))) as page:
        box.passed = []

        def through(route: Route) -> None:
            reply = route.fetch()
            route.fulfill(response=reply, body=with_relay(reply.text(), box.address))

        page.route("**/v1/realtime/calls?*", through)
        page.goto(f"{stack.url}?agent=echo")
        wait_for(page, "document.querySelector('#agent').value === 'echo'")
        page.get_by_role("button", name="Start call").click()
        wait_until(
            lambda: page.evaluate("1") == 1 and complete(box.passed or [])
        )  # asking keeps the page's routes going
        client = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=True).stdout
        write("chromium", " ".join(client.split()[:2]), keys, box.passed)


async def capture_aiortc(stack: Stack, relay: Address, keys: str) -> None:
    with middlebox(relay) as box:
        box.passed = []
        async with aiortc_call(stack.url, "echo", box.address) as client:
            while not complete(box.passed):
                client.channel.send("a" * 100)
                await asyncio.sleep(0.05)
        write("aiortc", f"aiortc {version('aiortc')}", keys, box.passed)


def main() -> None:
    with (
        running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as stack,
        tempfile.TemporaryDirectory() as scratch,
    ):
        its = Path(f"/proc/{stack.pid_of('relay')}/environ").read_text()
        keys = re.findall(r"ANTIPHON_ROUTE_KEYS=([^\0]*)", its)[0]
        relay = stack.relay()
        capture_chromium(stack, relay, keys, Path(scratch))
        asyncio.run(capture_aiortc(stack, relay, keys))


if __name__ == "__main__":
    main()
