"""Where the faults happen: a network namespace and a mount namespace of this program's own.

`enter` runs the program again inside. There, `small_disk` and `shifted_clock` change what only this program and the
processes that it starts can see.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.net.namespace import laptop_namespace

INSIDE: Final = "ANTIPHON_CHAOS_INSIDE"
PRELOAD: Final = "ld.so.preload"
SOURCE: Final = Path(__file__).with_name("wall_clock.c")


def enter(module: str, arguments: Sequence[str]) -> int | None:
    """Run `python -m module` inside and return its exit status; None: this process is inside already."""
    if os.environ.get(INSIDE):
        return None
    with laptop_namespace() as within:  # `ip netns exec` makes a mount namespace as well
        command = [*within, sys.executable, "-m", module, *arguments]
        return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


@contextmanager
def small_disk(directory: Path, megabytes: int = 256) -> Iterator[Path]:
    """A disk of this size at `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", directory)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=False)


class WallClock:
    """By how much the wall clock of the programs that were started inside `shifted_clock` is wrong."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.shift(0.0)

    def shift(self, seconds: float) -> None:
        """Takes effect at once in all of them."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))


@contextmanager
def shifted_clock(scratch: Path) -> Iterator[WallClock]:
    """Programs that are started inside this block read a wall clock that can be shifted; statically linked ones do not.

    The loader's list of libraries to load is in /etc, so this mount namespace gets a copy of /etc.
    """
    clock = WallClock(scratch / "wall_clock")
    library, etc = scratch / "wall_clock.so", scratch / "etc"
    where = f'-DWALL_CLOCK_FILE="{scratch / "wall_clock"}"'
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", where, "-o", str(library), str(SOURCE)], check=True)
    subprocess.run(["cp", "-a", "/etc", str(etc)], check=True)
    (etc / PRELOAD).write_text(f"{library}\n")
    _mount("--bind", etc, "/etc")
    try:
        yield clock
    finally:
        subprocess.run(["umount", "-l", "/etc"], check=False)
