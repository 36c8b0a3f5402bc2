"""A client's network of a test's own, with two ways to the server's namespace: Wi-Fi, and a mobile network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

WAYS = {"wifi0": "10.78.1", "mobile0": "10.78.2"}
"""The client's interfaces, and the first three numbers of their networks. The server's end is .1."""


@dataclass(frozen=True)
class Roaming:
    """The client's namespace, and what happens to it. Owner: the test."""

    name: str
    server: str
    """An address of the server, which both ways lead to."""

    @property
    def within(self) -> list[str]:
        """The command prefix that runs a program at the client."""
        return ["ip", "netns", "exec", self.name]

    def ip(self, *arguments: str) -> None:
        _run("ip", "-n", self.name, *arguments)

    def iptables(self, *arguments: str) -> None:
        _run(*self.within, "iptables", *arguments)

    def use(self, way: str) -> None:
        """Packets to the server go this way."""
        self.ip("route", "replace", "default", "via", f"{WAYS[way]}.1", "dev", way)

    def leave(self, way: str) -> None:
        """Out of its reach: the interface and its address are gone."""
        self.ip("addr", "flush", "dev", way)
        self.ip("link", "set", way, "down")

    def join(self, way: str, host: int = 2) -> None:
        self.ip("link", "set", way, "up")
        self.ip("addr", "add", f"{WAYS[way]}.{host}/24", "dev", way)

    def change_address(self, way: str, host: int) -> None:
        """As a network does that gives its client another lease."""
        self.ip("addr", "flush", "dev", way)
        self.ip("addr", "add", f"{WAYS[way]}.{host}/24", "dev", way)
        self.use(way)


@contextmanager
def roaming_client(server: Sequence[str], address: str) -> Iterator[Roaming]:
    """At first it is in the Wi-Fi alone.

    `server`: the command prefix of a namespace (`ip netns exec NAME`), which has `address`. Needs root.
    """
    name = f"antiphon-client-{os.getpid()}"
    namespace = server[-1]
    with ExitStack() as stack:
        _run("ip", "netns", "add", name)
        stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        client = Roaming(name, address)
        client.ip("link", "set", "lo", "up")
        for way, network in WAYS.items():
            far = f"to-{way}"
            _run("ip", "-n", namespace, "link", "add", far, "type", "veth", "peer", "name", way, "netns", name)
            stack.callback(subprocess.run, ["ip", "-n", namespace, "link", "del", far], check=False)
            _run("ip", "-n", namespace, "addr", "add", f"{network}.1/24", "dev", far)
            _run("ip", "-n", namespace, "link", "set", far, "up")
            # The relay's socket has no address of its own: what it answers has to come from the one that clients know.
            _run("ip", "-n", namespace, "route", "replace", f"{network}.0/24", "dev", far, "src", address)
        client.join("wifi0")
        client.use("wifi0")
        yield client


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
