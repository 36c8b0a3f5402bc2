"""A network namespace of a test's own, with loopback and one more interface, as a laptop on a network has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = "10.77.0.1"


@contextmanager
def laptop_namespace() -> Iterator[list[str]]:
    """Yields the command prefix that runs a program inside. Needs root, as the tests in CI have it."""
    name = f"antiphon-{os.getpid()}"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
        ip("-n", name, "addr", "add", f"{ADDRESS}/24", "dev", "lan0")
        ip("-n", name, "link", "set", "lan0", "up")
        ip("-n", name, "link", "set", "lan1", "up")
        # The address that a laptop is known by is the one its default route leaves from.
        ip("-n", name, "route", "add", "default", "dev", "lan0")
        yield ["ip", "netns", "exec", name]
    finally:
        ip("netns", "del", name)
