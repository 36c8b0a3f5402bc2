"""Carries out one fault on a running stack. The stack and its namespace are as before when `inject` returns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from support.processes.stack import Stack

from chaos.faults import PARTS, Fault
from chaos.namespace import WallClock
from chaos.processes import address_space, group, leader

SPARE_MEMORY: Final = 4 << 20
"""Bytes that a process may still map while memory is short."""
STUTTER: Final = 0.0125


class Injector:
    """Owned by a run of faults. `directory`: the small disk on which the stack keeps its state."""

    def __init__(self, stack: Stack, directory: Path, clock: WallClock) -> None:
        self._stack, self._directory, self._clock = stack, directory, clock
        self._do: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill": self._kill,
            "terminate": self._terminate,
            "stop": self._stop,
            "stutter": self._stutter,
            "cut": self._cut,
            "restart-without-store": self._restart_without_store,
            "disk-full": self._disk_full,
            "no-descriptors": self._no_descriptors,
            "no-memory": self._no_memory,
            "clock": self._shift_clock,
        }

    async def inject(self, fault: Fault) -> None:
        """Returns when the fault is over: from then on the stack has to be well again in seconds."""
        await self._do[fault.kind](fault)

    # ---- processes

    def _leaders(self, part: str) -> list[int]:
        names = PARTS if part == "everything" else (part,)
        return [leader(self._stack, name) for name in names]

    async def _kill(self, fault: Fault) -> None:
        os.kill(leader(self._stack, fault.part), signal.SIGKILL)

    async def _terminate(self, fault: Fault) -> None:
        pid = leader(self._stack, fault.part)
        os.kill(pid, signal.SIGTERM)
        async with asyncio.timeout(20):
            while _runs(pid):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def _stop(self, fault: Fault) -> None:
        with _stopped(self._leaders(fault.part)):
            await asyncio.sleep(fault.seconds)

    async def _stutter(self, fault: Fault) -> None:
        loop, leaders = asyncio.get_running_loop(), self._leaders(fault.part)
        end = loop.time() + fault.seconds
        while loop.time() < end:
            with _stopped(leaders):
                await asyncio.sleep(STUTTER)
            await asyncio.sleep(STUTTER)

    # ---- the ways between them

    async def _cut(self, fault: Fault) -> None:
        rules: list[list[str]]
        if fault.part == "nats":
            port = str(urlsplit(self._stack.nats_url).port)
            rules = [["-p", "tcp", "--dport", port], ["-p", "tcp", "--sport", port]]
        elif fault.part == "client":
            port = str(self._stack.relay().port)
            rules = [["-p", "udp", "--dport", port], ["-p", "udp", "--sport", port]]
        else:
            public = self._stack.relay().port
            rules = [
                rule
                for port in _udp_ports(group(leader(self._stack, "transceiver")))
                if port != public
                for rule in (["-p", "udp", "--dport", str(port)], ["-p", "udp", "--sport", str(port)])
            ]
        with _dropped(rules):
            await asyncio.sleep(fault.seconds)

    # ---- what the machine gives them

    async def _restart_without_store(self, fault: Fault) -> None:
        pid = leader(self._stack, "nats")
        os.kill(pid, signal.SIGKILL)
        for store in self._directory.glob("antiphon-up-*/jetstream"):
            shutil.rmtree(store, ignore_errors=True)

    async def _disk_full(self, fault: Fault) -> None:
        filler = self._directory / "filler"
        try:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
            await asyncio.sleep(fault.seconds)
        finally:
            filler.unlink(missing_ok=True)

    async def _no_descriptors(self, fault: Fault) -> None:
        def used(pid: int) -> int:
            return max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1

        await self._limited(fault, resource.RLIMIT_NOFILE, used)

    async def _no_memory(self, fault: Fault) -> None:
        await self._limited(fault, resource.RLIMIT_AS, lambda pid: address_space(pid) + SPARE_MEMORY)

    async def _limited(self, fault: Fault, limit: int, value: Callable[[int], int]) -> None:
        """The soft limit of all processes of the part for the time of the fault. Restarted ones have their own."""
        before: dict[int, tuple[int, int]] = {}
        try:
            for pid in group(leader(self._stack, fault.part)):
                with contextlib.suppress(OSError):
                    before[pid] = resource.prlimit(pid, limit)
                    resource.prlimit(pid, limit, (value(pid), before[pid][1]))
            await asyncio.sleep(fault.seconds)
        finally:
            for pid, limits in before.items():
                with contextlib.suppress(OSError):
                    resource.prlimit(pid, limit, limits)

    async def _shift_clock(self, fault: Fault) -> None:
        """Of all services at once, and back."""
        self._clock.shift(fault.amount)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            self._clock.shift(0.0)


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@contextlib.contextmanager
def _stopped(leaders: list[int]) -> Iterator[None]:
    pids = [pid for first in leaders for pid in group(first)]
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def _dropped(rules: list[list[str]]) -> Iterator[None]:
    """Packets that match are dropped in this network namespace for the length of the block."""
    try:
        for rule in rules:
            subprocess.run(["iptables", "-I", "INPUT", *rule, "-j", "DROP"], check=True)
        yield
    finally:
        for rule in rules:
            subprocess.run(["iptables", "-D", "INPUT", *rule, "-j", "DROP"], check=False)


def _udp_ports(pids: list[int]) -> set[int]:
    """The local ports of UDP sockets that these processes hold."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    inodes.add(os.readlink(f"/proc/{pid}/fd/{name}").removeprefix("socket:[").removesuffix("]"))
    ports = set()
    for table in ("udp", "udp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pids[0]}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in inodes:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
