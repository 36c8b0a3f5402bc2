"""Carries packets between two TUN devices, each in a network namespace, with delay and loss; run by `python -m`.

    python -m antiphon.bench._lib.impaired_link NAMESPACE=ADDRESS NAMESPACE=ADDRESS

It reads commands as lines of JSON, `{"delay": 0.05, "loss": 0.15, "seed": 1}` (one way, both ways alike), and answers
each with a line; it ends with its input. TCP and UDP are the kernel's on both sides, so a lost SYN is repeated as it is
elsewhere. Each loss is independent of the others. A packet costs some 20 us of Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NEW_NETWORK: Final = 0x40000000
TUN: Final = 0x0001
NO_PACKET_INFORMATION: Final = 0x1000
SET_INTERFACE: Final = 0x400454CA
DEVICE: Final = "path0"
LARGEST_READ: Final = 2048
MOST_QUEUED: Final = 20_000
"""Packets under way in one direction; more are dropped, as a router with a full queue does."""

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread, and what it starts, is in that namespace for the length of the block."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(other)
        yield
    finally:
        _enter(own)
        os.close(other)
        os.close(own)


def _enter(file: int) -> None:
    if _libc.setns(file, NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Link:
    """Both directions. Made by `_serve`, which calls it from its loop."""

    def __init__(self, first: int, second: int) -> None:
        self._delay, self._loss, self._random = 0.0, 0.0, random.Random(0)
        self._loop = asyncio.get_running_loop()
        self._queued = {first: 0, second: 0}
        """By where packets go."""
        self._loop.add_reader(first, self._readable, first, second)
        self._loop.add_reader(second, self._readable, second, first)

    def set(self, delay: float, loss: float, seed: int) -> None:
        self._delay, self._loss, self._random = delay, loss, random.Random(seed)

    def _readable(self, device: int, other: int) -> None:
        while True:
            try:
                packet = os.read(device, LARGEST_READ)
            except BlockingIOError:
                return
            if self._queued[other] < MOST_QUEUED and self._random.random() >= self._loss:
                self._queued[other] += 1
                self._loop.call_later(self._delay, self._deliver, other, packet)

    def _deliver(self, device: int, packet: bytes) -> None:
        self._queued[device] -= 1
        with contextlib.suppress(BlockingIOError):
            os.write(device, packet)


def _open_device(namespace: str, address: str) -> int:
    """A TUN device in that namespace, by which everything goes that is not for loopback."""
    with inside(namespace):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, SET_INTERFACE, struct.pack("16sH22x", DEVICE.encode(), TUN | NO_PACKET_INFORMATION))
    for arguments in (
        ["link", "set", "lo", "up"],
        ["addr", "add", f"{address}/32", "dev", DEVICE],
        ["link", "set", DEVICE, "up"],
        ["route", "add", "default", "dev", DEVICE, "src", address],
    ):
        subprocess.run(["ip", "-n", namespace, *arguments], check=True)
    return device


async def _serve(ends: list[str]) -> None:
    first, second = (_open_device(*end.split("=", 1)) for end in ends)
    link = Link(first, second)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ready", flush=True)
    while line := await commands.readline():
        link.set(**json.loads(line))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
