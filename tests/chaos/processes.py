"""The processes of each part of a running stack, and what they hold: descriptors, threads, memory.

`antiphon up` starts each part as a process group of its own; a part's helpers (workers, watchers) are in its group.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from support.processes.nats import server_binary
from support.processes.stack import ECHO_AGENT, Stack

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
SPARE_THREADS: Final = 8
"""Pools start a thread when one is needed first: asyncio's executor has 6 on two cores, Go's runtime some more."""


class Held(NamedTuple):
    """What the processes of one part hold together."""

    leader: int
    """The process id of the first one; a restart changes it."""
    processes: int
    descriptors: Counter[str]
    """How many of each: the path of a file, "socket", "pipe"."""
    threads: int
    memory: int
    """Resident bytes that are no file's."""


def leader(stack: Stack, part: str) -> int:
    """The process that `antiphon up` has started for this part; LookupError while there is none."""
    if part == "nats":
        return stack.pid_of_script(server_binary())
    if part == "echo":
        return stack.pid_of_script(ECHO_AGENT)
    return stack.pid_of(part.replace("-", "_"))


def group(pid: int) -> list[int]:
    """All processes of the group that `pid` leads."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == pid and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


def held(stack: Stack, part: str) -> Held:
    """Of all processes of a part, at this moment."""
    first = leader(stack, part)
    pids = group(first)
    descriptors: Counter[str] = Counter()
    threads = memory = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # one that ends meanwhile
            descriptors += _descriptors(pid)
            threads += len(os.listdir(f"/proc/{pid}/task"))
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
            )
            memory += int(status.get("RssAnon", "0 kB").split()[0]) << 10
    return Held(first, len(pids), descriptors, threads, memory)


def _descriptors(pid: int) -> Counter[str]:
    """See `Held.descriptors`; one that is closed meanwhile is left out."""
    found: Counter[str] = Counter()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[re.sub(r":\[\d+\]$", "", os.readlink(f"/proc/{pid}/fd/{entry}"))] += 1
    return found


def address_space(pid: int) -> int:
    """Bytes of a process' address space."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * PAGE


def differences(before: Mapping[str, Held], now: Mapping[str, Held]) -> list[str]:
    """What is not as before: descriptors, processes, threads beyond a pool's, memory by more than 10 % and 8 MiB.

    A process that was started meanwhile is compared too: it does the same work.
    """
    found = []
    for part, old in before.items():
        new = now.get(part)
        if new is None:
            found.append(f"{part} does not run")
            continue
        if new.descriptors.total() > old.descriptors.total():
            more = ", ".join(sorted((new.descriptors - old.descriptors).elements()))
            found.append(f"{part}: {new.descriptors.total()} descriptors, {old.descriptors.total()} before ({more})")
        found += [
            f"{part}: {getattr(new, name)} {name}, {getattr(old, name)} before"
            for name in ("processes", "threads")
            if getattr(new, name) > getattr(old, name) + (SPARE_THREADS if name == "threads" else 0)
        ]
        if new.memory > old.memory * 1.1 + (8 << 20):
            found.append(f"{part}: {new.memory >> 20} MiB, {old.memory >> 20} before")
    return found
