"""The network between the places: a TUN device in each namespace, and one process that carries packets between them.

    python -m world.links NAMESPACE=ADDRESS ...

It reads commands as lines of JSON: `{"from": "a", "to": "b", "delay": 0.045, "loss": 0.0, "cut": false}` sets one
direction of one link, `{"record": "file"}` keeps what is sent, `{"record": ""}` ends that; each is answered by a
line. Packets between places without such a link are dropped. It ends with its input. A packet costs some 20 us of
Python: enough for tens of calls on two cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Final

from world.keystream import RECORD, UDP
from world.namespaces import enter

TUN: Final = 0x0001
NO_PACKET_INFORMATION: Final = 0x1000
SET_INTERFACE: Final = 0x400454CA
DEVICE: Final = "path0"
MTU: Final = 1400
LARGEST_READ: Final = 2048
MOST_QUEUED: Final = 20_000
"""Packets under way in one direction; more are dropped, as a router with a full queue does."""
SEED: Final = 7


@dataclass
class Direction:
    """One direction of one link. Owned by `Links`."""

    delay: float = 0.0
    loss: float = 0.0
    cut: bool = True
    queued: int = 0


class Links:
    """All of them. Made by `main`, which calls it from its loop."""

    def __init__(self, places: dict[str, str]) -> None:
        self._device = {place: _open_device(place) for place in places}
        self._place_of = {socket.inet_aton(address): place for place, address in places.items()}
        self._directions = {(a, b): Direction() for a in places for b in places if a != b}
        self._recording: int | None = None
        self._random = random.Random(SEED)
        self._loop = asyncio.get_running_loop()
        for place, device in self._device.items():
            self._loop.add_reader(device, self._readable, place)

    def set(self, command: dict[str, Any]) -> None:
        """Carry one command out."""
        if "record" in command:
            self._record(command["record"])
            return
        direction = self._directions[command["from"], command["to"]]
        direction.delay = float(command.get("delay", direction.delay))
        direction.loss = float(command.get("loss", direction.loss))
        direction.cut = bool(command.get("cut", direction.cut))

    def _record(self, file: str) -> None:
        """All UDP packets into this file from now on, also those that a cut then stops; empty: no more."""
        if self._recording is not None:
            os.close(self._recording)
        self._recording = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) if file else None

    def _readable(self, place: str) -> None:
        while True:
            try:
                packet = os.read(self._device[place], LARGEST_READ)
            except BlockingIOError:
                return
            if self._recording is not None and packet[9] == UDP:
                os.write(self._recording, RECORD.pack(len(packet)) + packet)
            to = self._place_of.get(packet[16:20]) if packet[0] >> 4 == 4 else None
            direction = self._directions.get((place, to or ""))
            if to is None or direction is None or direction.cut or direction.queued >= MOST_QUEUED:
                continue
            if direction.loss and self._random.random() < direction.loss:
                continue
            direction.queued += 1
            self._loop.call_later(direction.delay, self._deliver, direction, to, packet)

    def _deliver(self, direction: Direction, to: str, packet: bytes) -> None:
        direction.queued -= 1
        if not direction.cut:
            with contextlib.suppress(BlockingIOError):
                os.write(self._device[to], packet)


def _open_device(place: str) -> int:
    """A TUN device in that namespace; its file can be read from any."""
    with enter(place):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, SET_INTERFACE, struct.pack("16sH22x", DEVICE.encode(), TUN | NO_PACKET_INFORMATION))
    return device


def _configure(namespace: str, address: str) -> None:
    for arguments in (
        ["link", "set", "lo", "up"],
        ["addr", "add", f"{address}/32", "dev", DEVICE],
        ["link", "set", DEVICE, "mtu", str(MTU), "up"],
        ["route", "add", "default", "dev", DEVICE, "src", address],
    ):
        subprocess.run(["ip", "-n", namespace, *arguments], check=True)


async def _serve(places: dict[str, str]) -> None:
    links = Links(places)
    for namespace, address in places.items():
        _configure(namespace, address)
    print("ready", flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        links.set(json.loads(line))
        print("done", flush=True)


def main() -> None:
    """See the head of this file."""
    places = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(places))


if __name__ == "__main__":
    main()
