"""Which connections are kept: the bounds of their number, and which one goes when there is no room. Pure.

A connection is silent while no whole request of it is being answered: in its TLS handshake, between two requests, or
with a request that has not arrived completely. Only what the server itself works on is safe from newcomers, because a
client that may choose how long it is silent may otherwise choose how long others are kept out. WebSockets are spared
while they carry traffic.

When no room is left the oldest silent connection is closed, not the newest refused: an attacker that fills the table
then only pushes out its own connections, and a client that was there first has had its time.
"""

from __future__ import annotations

import enum
import ipaddress
from collections import OrderedDict
from typing import Final

MAX_CONNECTIONS: Final = 4096
PER_ADDRESS: Final = 64
"""Connections of one IPv4 address, or of one /64 of IPv6, which is what a subscriber gets (RFC 6177)."""
MAX_HANDSHAKES: Final = 256
"""TLS handshakes at once: each may cost a millisecond of CPU."""
RESERVE: Final = 16
"""Connections above the bound, taken when all others are busy. They are answered for `/healthz` alone."""
HEAD_SECONDS: Final = 10.0
"""For the TLS handshake and the head of the first request together, and for each later head from its first octet on."""
IDLE_SECONDS: Final = 16.0
"""Between two requests. uvicorn ends the connection in order after 15 s (`timeout_keep_alive`)."""
BODY_SECONDS: Final = 13.0
"""For a body. `request_body` answers after 10 s; this ends what no handler reads."""
ANSWER_SECONDS: Final = 60.0
"""From the whole request to the last octet of the answer: a client that does not read it has no claim on the memory."""
WEBSOCKET_SILENCE: Final = 30.0
"""After that many seconds without an octet of the client a WebSocket may be closed for a newcomer. Clients answer pings
each 20 s."""


def address_key(host: str) -> str:
    """What counts as one client: the IPv4 address, also where it is mapped into IPv6, or the /64."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


class Phase(enum.Enum):
    """What a connection does."""

    HANDSHAKE = enum.auto()
    """Its TLS handshake."""
    RECEIVING = enum.auto()
    """It has brought no whole request; the others of its requests are answered."""
    ANSWERING = enum.auto()
    WEBSOCKET = enum.auto()


class Held:
    """One connection in the table. Made by `ConnectionTable.admit`, which alone changes it."""

    __slots__ = ("deadline", "head_began", "key", "phase", "reserve")

    def __init__(self, key: str, phase: Phase, deadline: float, reserve: bool) -> None:
        self.key = key
        """The address for which it counts; empty where only the bound of all counts."""
        self.phase = phase
        self.deadline = deadline
        """When it is closed if it goes on as it is."""
        self.reserve = reserve
        """It was taken above the bound: `/healthz` is all that it may ask for."""
        self.head_began = True
        """Octets of the next head have arrived."""


class ConnectionTable:
    """The connections of one listener, and their deadlines.

    Owned by the `Acceptor`, for the life of the process; protocols report to it, all on the event loop. Each call takes
    constant time, but for `overdue`.
    """

    def __init__(self, limit: int = MAX_CONNECTIONS, per_address: int = PER_ADDRESS) -> None:
        self._limit, self._per_address = limit, per_address
        self._all: dict[Held, None] = {}
        self._silent: OrderedDict[Held, None] = OrderedDict()  # the longest silent first
        self._silent_of: dict[str, OrderedDict[Held, None]] = {}
        self._handshakes: OrderedDict[Held, None] = OrderedDict()
        self._websockets: OrderedDict[Held, float] = OrderedDict()  # by the time of their last octets
        self._count_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, held: Held) -> bool:
        return held in self._all

    def admit(self, key: str, now: float, *, tls: bool = False) -> tuple[Held | None, list[Held]]:
        """Take a newcomer, or None if all are busy; and the connections to close for it, which are out already.

        `key` is what `address_key` returns, or empty for an address that no bound of its own applies to.
        """
        closed: list[Held] = []
        if key and self._count_of.get(key, 0) >= self._per_address:
            victim = next(iter(self._silent_of.get(key, ())), None)
            if victim is None:
                return None, closed
            closed.append(self._drop(victim))
        if tls and len(self._handshakes) >= MAX_HANDSHAKES:
            closed.append(self._drop(next(iter(self._handshakes))))
        reserve = False
        if len(self._all) >= self._limit:
            victim = self._oldest(now)
            if victim is not None:
                closed.append(self._drop(victim))
            elif len(self._all) < self._limit + RESERVE:
                reserve = True
            else:
                return None, closed
        phase = Phase.HANDSHAKE if tls else Phase.RECEIVING
        held = Held(key, phase, now + HEAD_SECONDS, reserve)
        self._all[held] = None
        if key:
            self._count_of[key] = self._count_of.get(key, 0) + 1
        self._add_silent(held)
        if tls:
            self._handshakes[held] = None
        return held, closed

    def make_room(self, now: float) -> Held | None:
        """Take out the connection that goes first, where the system has no descriptor left; None if all are busy."""
        victim = self._oldest(now)
        return None if victim is None else self._drop(victim)

    def secured(self, held: Held) -> None:
        """Its TLS handshake is done."""
        if held in self._all and held.phase is Phase.HANDSHAKE:
            held.phase = Phase.RECEIVING
            self._handshakes.pop(held, None)

    def head_begins(self, held: Held, now: float) -> None:
        """Octets arrived while it waits for a head. Only the first ones count: a trickle gains no time."""
        if held.phase is Phase.RECEIVING and not held.head_began:
            held.head_began = True
            held.deadline = now + HEAD_SECONDS

    def body_begins(self, held: Held, now: float) -> None:
        """A whole head arrived, and its body has not."""
        held.deadline = now + BODY_SECONDS

    def answers(self, held: Held, now: float) -> None:
        """A whole request arrived."""
        if held in self._all and held.phase is Phase.RECEIVING:
            held.phase = Phase.ANSWERING
            held.deadline = now + ANSWER_SECONDS
            self._remove_silent(held)

    def answered(self, held: Held, now: float) -> None:
        """The answer is written; the next head may come."""
        if held in self._all and held.phase in (Phase.ANSWERING, Phase.RECEIVING):
            held.phase = Phase.RECEIVING
            held.head_began = False
            held.deadline = now + IDLE_SECONDS
            self._remove_silent(held)
            self._add_silent(held)

    def upgraded(self, held: Held, now: float) -> None:
        """It is a WebSocket from now on."""
        if held in self._all:
            self._remove_silent(held)
            held.phase, held.deadline = Phase.WEBSOCKET, float("inf")
            self._websockets[held] = now

    def traffic(self, held: Held, now: float) -> None:
        """The WebSocket's client sent something."""
        if held in self._websockets:
            self._websockets[held] = now
            self._websockets.move_to_end(held)

    def ending(self, held: Held, now: float) -> None:
        """Our side is closed, and the client has not taken all that was written: 10 s for that."""
        held.deadline = min(held.deadline, now + HEAD_SECONDS)

    def released(self, held: Held) -> None:
        """The connection is gone."""
        if held in self._all:
            self._drop(held)

    def overdue(self, now: float) -> list[Held]:
        """Take out those whose time is over."""
        return [self._drop(held) for held in [each for each in self._all if each.deadline <= now]]

    def _oldest(self, now: float) -> Held | None:
        if self._silent:
            return next(iter(self._silent))
        for held, last in self._websockets.items():
            return held if now - last >= WEBSOCKET_SILENCE else None
        return None

    def _add_silent(self, held: Held) -> None:
        self._silent[held] = None
        if held.key:
            self._silent_of.setdefault(held.key, OrderedDict())[held] = None

    def _remove_silent(self, held: Held) -> None:
        self._silent.pop(held, None)
        of_key = self._silent_of.get(held.key)
        if of_key is not None:
            of_key.pop(held, None)
            if not of_key:
                del self._silent_of[held.key]

    def _drop(self, held: Held) -> Held:
        del self._all[held]
        self._remove_silent(held)
        self._handshakes.pop(held, None)
        self._websockets.pop(held, None)
        if held.key:
            self._count_of[held.key] -= 1
            if not self._count_of[held.key]:
                del self._count_of[held.key]
        return held
