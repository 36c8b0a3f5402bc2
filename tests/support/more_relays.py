"""Another relay beside that of `antiphon up`, with its keys: one that a test may end for good."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import nats.errors
from support.stack import START_WITHIN, Stack

from antiphon.schemas import subjects
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, RelayStatistics, decode

PREFERRED_REGION = "preferred"
"""A stack started with `ANTIPHON_REGION` set to this offers relays of that region first."""


@dataclass
class AnotherRelay:
    """`python -m antiphon.relay`; nobody starts it again."""

    process: subprocess.Popen[bytes]
    udp: Address
    tcp: Address | None

    def kill(self) -> None:
        """Control process and workers at once, as a power cut would."""
        for pid in [self.process.pid, *_children(self.process.pid)]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(5)

    def drain(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.terminate()
        return self.process.wait(30)


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@contextmanager
def another_relay(stack: Stack, name: str, region: str = "local", **settings: str) -> Iterator[AnotherRelay]:
    """A relay on free ports of loopback, announced and forwarding; `settings` are more variables."""
    its = Path(f"/proc/{stack.pid_of('relay')}/environ").read_bytes().decode().split("\0")
    known = dict(variable.split("=", 1) for variable in its if "=" in variable)
    keys = {name: value for name, value in known.items() if name in ("ANTIPHON_ROUTE_KEYS", "ANTIPHON_NATS_URL")}
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "OTEL_"))}
    environment = {
        **own,
        **keys,
        "ANTIPHON_RELAY_NAME": name,
        "ANTIPHON_RELAY_REGION": region,
        "ANTIPHON_RELAY_BIND": "127.0.0.1:0",
        "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
        "ANTIPHON_RELAY_TUNNEL_ADVERTISE": "127.0.0.1",
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "antiphon.relay"], env=environment)
    try:
        said = asyncio.run(_announced(keys["ANTIPHON_NATS_URL"], name))
        tcp = parse_address(said.tcp_addresses[0]) if said.tcp_addresses else None
        yield AnotherRelay(process, parse_address(said.public_addresses[0]), tcp)
    finally:
        process.terminate()
        process.wait(30)


async def _announced(nats_url: str, name: str) -> RelayAnnouncement:
    """What it announces once it knows a transceiver."""
    client = await nats.connect(nats_url)
    try:
        announcements = await client.subscribe(subjects.relay_announce(name))
        deadline = time.monotonic() + START_WITHIN
        said = decode((await announcements.next_msg(START_WITHIN)).data, RelayAnnouncement)
        while time.monotonic() < deadline:
            try:
                reply = await client.request(subjects.relay_stats(name), b"", timeout=1)
            except nats.errors.Error:
                await asyncio.sleep(0.05)
                continue
            if decode(reply.data, RelayStatistics).routes:
                return said
            await asyncio.sleep(0.05)
        raise TimeoutError(f"relay {name} knows no transceiver after {START_WITHIN} s")
    finally:
        await client.close()
