"""What stands between a client and its relays in some networks: a NAT that forgets, a load balancer that re-hashes.

Clients send to `Middlebox.address`; each gets a port of its own towards the relay, and relays know it by that port.
Runs in a thread, so that tests with and without a loop can use it. Real sockets of loopback.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from antiphon.schemas.addresses import Address

LOOPBACK = "127.0.0.1"


def _bound(host: str = LOOPBACK) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.setblocking(False)
    return made


class Middlebox:
    """One public address in front of one relay at a time."""

    def __init__(self, relay: Address, host: str = LOOPBACK) -> None:
        self._host = host
        self.relay = relay
        """Where packets of clients go from now on; packets of any relay still reach their client."""
        self.last_request = b""
        """The newest STUN binding request that passed: what somebody on the way could send again."""
        self.passed: list[bytes] | None = None
        """A list given here takes what clients send."""
        self._inside = _bound()
        self._outside: dict[Address, socket.socket] = {}
        self._client_of: dict[int, Address] = {}
        self._forgotten: list[socket.socket] = []
        self._changing = threading.Lock()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        """What clients take for their relay."""
        return Address(*self._inside.getsockname())

    def ports(self) -> set[int]:
        """Of its clients, as relays see them now."""
        with self._changing:
            return {each.getsockname()[1] for each in self._outside.values()}

    def rebind(self) -> None:
        """Give every client another port, without a word: the old ones swallow what comes, as a NAT does (no ICMP)."""
        with self._changing:
            self._forgotten += self._outside.values()
            self._outside.clear()
            self._client_of.clear()

    def close(self) -> None:
        self._wake.close()
        self._thread.join(5)
        for each in (self._inside, self._woken, *self._outside.values(), *self._forgotten):
            each.close()

    def _run(self) -> None:
        while True:
            with self._changing:
                outside = {each.fileno(): each for each in self._outside.values()}
            watched: list[socket.socket | int] = [self._woken, self._inside, *outside]
            ready, _, _ = select.select(watched, [], [], 0.05)
            if self._woken in ready:
                return
            with self._changing:
                for each in ready:
                    if each is self._inside:
                        self._outwards()
                    elif isinstance(each, int) and each in self._client_of:
                        self._inwards(outside[each], self._client_of[each])

    def _outwards(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                data, source = self._inside.recvfrom(4096)
                client = Address(*source)
                if data[:2] == b"\0\1":
                    self.last_request = data
                if self.passed is not None:
                    self.passed.append(data)
                if client not in self._outside:
                    self._outside[client] = made = _bound(self._host)
                    self._client_of[made.fileno()] = client
                self._outside[client].sendto(data, tuple(self.relay))

    def _inwards(self, outside: socket.socket, client: Address) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                self._inside.sendto(outside.recv(4096), tuple(client))


def with_relay(answer: str, relay: Address) -> str:
    """The SDP answer with `relay` for the first UDP relay that it offers, and no other one."""
    lines = answer.split("\r\n")
    first = next(line for line in lines if line.startswith("a=candidate:"))
    mine = re.sub(r"\S+ \d+ typ", f"{relay.host} {relay.port} typ", first)
    return "\r\n".join(mine if line is first else line for line in lines if line is first or "a=candidate:" not in line)


@contextmanager
def middlebox(relay: Address, host: str = LOOPBACK) -> Iterator[Middlebox]:
    """A running one, in front of this relay; `host` is the address that relays see of its clients."""
    box = Middlebox(relay, host)
    try:
        yield box
    finally:
        box.close()
