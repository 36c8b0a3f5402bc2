"""What arrives at the sockets: whom a datagram comes from decides what becomes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import MalformedError, tunnel
from antiphon.transceiver.net.datagram_batch import ReceiveBatch
from antiphon.transceiver.net.demux import Demux, Unrouted
from antiphon.transceiver.net.endpoint import Endpoint
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist

log = logging.getLogger(__name__)

HELLO_EVERY: Final = 0.1
"""Seconds between two answers to one relay; relays repeat a hello after 0.3 s at the earliest."""
HELLOS: Final = (128, 512)
"""Answers to all relays together, per second and at once: a relay has one hello per worker and endpoint. As many again
go to ingresses of other places."""
MAX_HELLOS: Final = 2048
"""Relays' addresses that have asked lately. Above that no hello is answered; a relay repeats it."""


class Forwarding(Protocol):
    """Packets of sessions that have moved between transceivers."""

    def forward(self, unrouted: Unrouted) -> bool:
        """Pass the packet on to the transceiver that has its session; False if none is known."""

    def is_transceiver(self, source: tuple[str, int]) -> bool:
        """Whether another transceiver announces this address: it forwards packets for sessions that are here."""


class FirstChecks(Protocol):
    """Checks of clients whose calls are prepared."""

    def take(self, unrouted: Unrouted, now: float) -> bool:
        """Whether it is one: then its session is made, and answers it."""


class Lanes(Protocol):
    """The lanes of a process: `lanes.lane_table`."""

    @property
    def short(self) -> Mapping[int, Lane]:
        """By a tunnel header of 8 octets: a number in the byte order of this machine."""

    def long_at(self, octets: memoryview, at: int) -> Lane | None:
        """Of a tunnel packet whose header is longer."""


class Lane(Protocol):
    """The short way for media of one client that comes as expected: `lanes.inbound_lane`."""

    def receive(
        self, octets: memoryview, at: int, pointer: Any, size: int, relay: tuple[str, int], now: float, unix_ns: int
    ) -> bool:
        """Take the packet at `octets[at:at + size]`, which is `pointer` for C; False: nothing was changed."""


class TunnelReceiver:
    """Packets of announced relays go to the demultiplexer, and so do those that another transceiver forwards.

    Owner: the process, for its whole life. Called by each endpoint's socket, on the event loop; nothing here waits.
    """

    def __init__(
        self,
        demux: Demux,
        relays: RelayAllowlist,
        forwarding: Forwarding,
        first_checks: FirstChecks | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        """`first_checks` None: no call is prepared here. `lanes` None: no call has one."""
        self._lanes = lanes
        self._demux = demux
        self._first_checks = first_checks
        self._relays = relays
        self._forwarding = forwarding
        self._answers, self._answers_for = TokenBucket(*HELLOS), TokenBucket(*HELLOS)
        self._hellos: dict[tuple[str, tuple[str, int], int | None], float] = {}
        self._loop = asyncio.get_running_loop()

    def received(self, endpoint: Endpoint, packet: bytes, source: tuple[str, int]) -> None:
        """One datagram of an endpoint's socket."""
        if source not in self._relays:
            if packet[:2] != tunnel.FORWARDED or not self._unwrap(packet, source):
                self._demux.counters.untrusted += 1
        elif len(packet) == len(tunnel.HELLO) and self._answer_hello(endpoint, packet, source):
            pass
        else:
            self._deliver(packet, source)

    def received_batch(self, endpoint: Endpoint, batch: ReceiveBatch, count: int) -> None:
        """The first rows of a batch: media that comes as expected by its lane, all else by `received`."""
        lanes, words, octets = self._lanes, batch.first_words, batch.octets
        short: Mapping[int, Lane] = lanes.short if lanes is not None else {}
        starts, pointers, lengths = batch.starts, batch.pointers, batch.lengths(count)
        now, unix_ns = self._loop.time(), time.time_ns()
        last, source, trusted = b"", ("", 0), False
        for row in range(count):
            name = batch.name(row)
            if name != last:  # most relays have one address, and many packets in a batch
                last, source = name, batch.source(name)
                trusted = source in self._relays
            lane = short.get(words[row]) if trusted else None
            if lane is None and trusted and lanes is not None:
                lane = lanes.long_at(octets, starts[row])
            if lane is None or not lane.receive(octets, starts[row], pointers[row], lengths[row], source, now, unix_ns):
                try:
                    self.received(endpoint, batch.datagram(row, lengths[row]), source)
                except Exception:  # a packet that fails must not cost the others of its batch
                    log.exception("a packet of %s:%d could not be handled", *source)

    def _answer_hello(self, endpoint: Endpoint, packet: bytes, source: tuple[str, int]) -> bool:
        """False if it is none. An answer is as many packets as there are clients: a relay that asks all the time gets
        few of them."""
        ingress = tunnel.ingress_of_hello(packet)
        if ingress is None and packet != tunnel.HELLO:
            return False
        now = self._loop.time()
        asked = self._hellos.get((endpoint.address, source, ingress), float("-inf"))
        if now - asked < HELLO_EVERY:
            return True
        if len(self._hellos) >= MAX_HELLOS:
            self._hellos = {each: at for each, at in self._hellos.items() if now - at < HELLO_EVERY}
        answers = self._answers if ingress is None else self._answers_for
        if len(self._hellos) < MAX_HELLOS and answers.take(1, now):
            self._hellos[endpoint.address, source, ingress] = now
            send_clients(self._demux, endpoint, [source], ingress)
        return True

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
        now = self._loop.time()
        unrouted = self._demux.receive(packet, relay, now, time.time_ns())
        if unrouted is None or (self._first_checks is not None and self._first_checks.take(unrouted, now)):
            return
        if not self._forwarding.forward(unrouted):
            self._demux.count_lost(unrouted)


def client_headers(demux: Demux, endpoint: Endpoint, ingress: int | None = None) -> list[bytes]:
    """The tunnel headers of the clients whose sessions are at this endpoint and which entered by this ingress.

    None: by a relay of this place. The other relays of the place need to know no others: a header of two hops names
    its way itself.
    """
    way = b"" if ingress is None else ingress.to_bytes(2, "big")
    return [
        header
        for session_id in endpoint.sessions
        if (session := demux.get(session_id)) is not None
        for header in session.ice.headers
        if way == ingress_in(header)
    ]


def ingress_in(header: bytes) -> bytes:
    """The two bytes of a header that name its ingress; empty for one hop, and for the empty header of no client."""
    return header[-tunnel.ROUTE_BYTES :][:2] if header and header[1] & tunnel.BACKBONE_BIT >> 8 else b""


def send_clients(
    demux: Demux, endpoint: Endpoint, relays: Iterable[tuple[str, int]], ingress: int | None = None
) -> None:
    """Bare headers of an endpoint's clients: the relays, or this ingress behind them, learn their flows from them."""
    headers = client_headers(demux, endpoint, ingress)
    for relay in relays:
        for header in headers:
            endpoint.socket.send(header, relay)
