"""What arrives at the sockets: whom a datagram comes from decides what becomes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final, Protocol

from antiphon.rtc.token_bucket import TokenBucket
from antiphon.schemas import MalformedError, tunnel
from antiphon.transceiver.net.demux import Demux, Unrouted
from antiphon.transceiver.net.endpoint import Endpoint
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist

HELLO_EVERY: Final = 0.1
"""Seconds between two answers to one relay; relays repeat a hello after 0.3 s at the earliest."""
HELLOS: Final = (128, 512)
"""Answers to all relays together, per second and at once: a relay has one hello per worker and endpoint."""
MAX_HELLOS: Final = 2048
"""Relays' addresses that have asked lately. Above that no hello is answered; a relay repeats it."""


class Forwarding(Protocol):
    """Checks of sessions that have moved between transceivers."""

    def forward(self, unrouted: Unrouted) -> bool:
        """Pass the check on to the transceiver that has its session; False if none is known."""

    def is_transceiver(self, source: tuple[str, int]) -> bool:
        """Whether another transceiver announces this address: it forwards checks for sessions that are here."""


class TunnelReceiver:
    """Packets of announced relays go to the demultiplexer, and so do those that another transceiver forwards.

    Owner: the process, for its whole life. Called by each endpoint's socket, on the event loop; nothing here waits.
    """

    def __init__(self, demux: Demux, relays: RelayAllowlist, forwarding: Forwarding) -> None:
        self._demux = demux
        self._relays = relays
        self._forwarding = forwarding
        self._answers = TokenBucket(*HELLOS)
        self._hellos: dict[tuple[str, tuple[str, int]], float] = {}
        self._loop = asyncio.get_running_loop()

    def received(self, endpoint: Endpoint, packet: bytes, source: tuple[str, int]) -> None:
        """One datagram of an endpoint's socket."""
        if source not in self._relays:
            if packet[:2] != tunnel.FORWARDED or not self._unwrap(packet, source):
                self._demux.counters.untrusted += 1
        elif packet == tunnel.HELLO:
            self._answer_hello(endpoint, source)
        else:
            self._deliver(packet, source)

    def _answer_hello(self, endpoint: Endpoint, source: tuple[str, int]) -> None:
        """An answer is as many packets as there are clients: a relay that asks all the time gets few of them."""
        now = self._loop.time()
        asked = self._hellos.get((endpoint.address, source), float("-inf"))
        if now - asked < HELLO_EVERY:
            return
        if len(self._hellos) >= MAX_HELLOS:
            self._hellos = {each: at for each, at in self._hellos.items() if now - at < HELLO_EVERY}
        if len(self._hellos) < MAX_HELLOS and self._answers.take(1, now):
            self._hellos[endpoint.address, source] = now
            send_clients(self._demux, endpoint, [source])

    def _unwrap(self, packet: bytes, source: tuple[str, int]) -> bool:
        """A relay's packet that another transceiver forwards; False if it does not come from one."""
        try:
            relay, inner = tunnel.unpack_forwarded(packet)
        except MalformedError:
            return False
        seen = self._relays.as_seen(relay.host, relay.port)
        if seen not in self._relays or not self._forwarding.is_transceiver(source):
            return False
        self._deliver(inner, seen)
        return True

    def _deliver(self, packet: bytes, relay: tuple[str, int]) -> None:
        unrouted = self._demux.receive(packet, relay, self._loop.time(), time.time_ns())
        if unrouted is not None and not self._forwarding.forward(unrouted):
            self._demux.counters.refused_checks += 1


def client_headers(demux: Demux, endpoint: Endpoint) -> list[bytes]:
    """The tunnel headers of the clients whose sessions are at this endpoint."""
    return [
        header
        for session_id in endpoint.sessions
        if (session := demux.get(session_id)) is not None
        for header in session.ice.headers
    ]


def send_clients(demux: Demux, endpoint: Endpoint, relays: Iterable[tuple[str, int]]) -> None:
    """Bare headers of an endpoint's clients: the relays learn their flows from them."""
    headers = client_headers(demux, endpoint)
    for relay in relays:
        for header in headers:
            endpoint.socket.send(header, relay)
