"""Network namespaces of this program's own, and the links between them as its owner sees them. Needs root."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from world.geography import CALLERS, PLACES, REGIONS, address, one_way

NEW_NETWORK: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _set_namespace(file: int) -> None:
    if _libc.setns(file, NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def enter(name: str) -> Iterator[None]:
    """This thread is in that namespace for the length of the block: sockets made in it stay there."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        _set_namespace(other)
        yield
    finally:
        _set_namespace(own)
        os.close(other)
        os.close(own)


class Network:
    """The places and the links between them. Owned by `network`, used by the scenarios from one task."""

    def __init__(self, prefix: str, process: subprocess.Popen[str]) -> None:
        self._prefix, self._process = prefix, process

    def namespace(self, place: str) -> str:
        return f"{self._prefix}{place}"

    def within(self, place: str) -> list[str]:
        """The command prefix that runs a program in that place."""
        return ["ip", "netns", "exec", self.namespace(place)]

    def set(self, first: str, second: str, **values: float | bool) -> None:
        """One direction of one link: delay (s), loss (0 to 1), cut. Returns when it holds."""
        self._tell({"from": self.namespace(first), "to": self.namespace(second), **values})

    @contextmanager
    def recording(self, file: Path) -> Iterator[None]:
        """What is sent meanwhile between places, cut or not: UDP packets, as `world.keystream` reads them."""
        self._tell({"record": str(file)})
        try:
            yield
        finally:
            self._tell({"record": ""})

    def _tell(self, command: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        self._answered("done")

    def set_both(self, first: str, second: str, **values: float | bool) -> None:
        self.set(first, second, **values)
        self.set(second, first, **values)

    def cut_off(self, region: str, ways: str = "both") -> None:
        """From the other regions; callers still reach it. `ways`: "both", "out" or "in"."""
        for other in REGIONS:
            if other != region:
                self.set(region, other, cut=ways in ("both", "out"))
                self.set(other, region, cut=ways in ("both", "in"))

    def join_again(self, region: str) -> None:
        for other in REGIONS:
            if other != region:
                self.set_both(region, other, cut=False)

    def _answered(self, word: str) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != word:
            raise RuntimeError(f"the process of the links says {line!r} (ended: {self._process.poll()})")

    def join(self) -> None:
        """All links, with the delays of the geography."""
        self._answered("ready")
        for number, first in enumerate(PLACES):
            for second in PLACES[number + 1 :]:
                self.set_both(first, second, delay=one_way(first, second), cut=False)


@contextmanager
def network() -> Iterator[Network]:
    """Make namespaces and links; this thread is where the callers are for the length of the block."""
    prefix = f"world{os.getpid()}-"
    with ExitStack() as stack:
        for place in PLACES:
            subprocess.run(["ip", "netns", "add", prefix + place], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", prefix + place], check=False)
        command = [sys.executable, "-m", "world.links", *(f"{prefix}{place}={address(place)}" for place in PLACES)]
        tests = str(Path(__file__).parents[1])
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": tests}
        )
        stack.callback(_end, process)
        made = Network(prefix, process)
        made.join()
        stack.enter_context(enter(made.namespace(CALLERS)))
        yield made


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
