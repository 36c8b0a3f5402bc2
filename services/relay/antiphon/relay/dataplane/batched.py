"""The fast packet loop: a batch per system call, and columns instead of packets in between.

What is ordinary, a packet of a confirmed flow, is never looked at one by one: keys are looked up by `map`,
headers are written by strided copies. Rows that are out of the ordinary (no flow yet, a binding
request, odd length, a stranger) are asked about in the core one by one, and the batch is closed up around
those that go nowhere. docs/relay.md says how to measure it.

Clients on IPv4 and on IPv6 have a batch each; the tunnel is IPv4 here.
"""

from __future__ import annotations

import socket
from array import array
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Final, cast

from antiphon.relay.core.core import MAX_DATAGRAM, RelayCore
from antiphon.relay.core.flow_key import header_of, sockaddr_in6_of
from antiphon.relay.core.stun import BINDING_REQUEST_FIRST_BYTE
from antiphon.relay.dataplane.mmsg import HEADROOM, SLOT, SOCKADDR_IN6, SOCKADDR_IN6_STRIDE, Batch
from antiphon.relay.dataplane.portable import PortablePath
from antiphon.relay.dataplane.segmentation import MAX_SEGMENT, OutgoingMessage, grouped, uniform
from antiphon.relay.dataplane.token_prefilter import USERNAME_FIRST, TokenPrefilter
from antiphon.schemas.tunnel import FAMILY_IPV4, FAMILY_IPV6, IPV4_HEADER, IPV6_HEADER

BATCH: Final = 128
SIEVE_FROM: Final = 6
"""Rows without a flow from which the sieve is cheaper than looking at each."""
SEGMENT_FROM: Final = 16
"""Rows from which putting them in order costs less than the system calls it saves."""
WALKS: Final = 16
"""Requests without a flow that are parsed in a full batch. More of them means a flood that the sieve can't read:
what is dropped then is repeated by whoever means it."""
_STRIDE: Final = SLOT // 8
_HALF_STRIDE: Final = SLOT // 4
_HEAD: Final = HEADROOM // 8
_IPV6_HEAD: Final = (HEADROOM - IPV6_HEADER) // 4
_FAMILY_AND_PORT: Final = 0xFFFFFFFF

_LANES: Final = [sum(1 << 64 * lane for lane in range(n)) for n in range(BATCH + 1)]
_MOST: Final = MAX_DATAGRAM + IPV4_HEADER
_NONE: Final = frozenset[int]()
_ALL: Final = [frozenset(range(n)) for n in range(BATCH + 1)]


class BatchedPath(PortablePath):
    """Moves datagrams in batches."""

    name = "batched"

    def __init__(self, core: RelayCore, public: Mapping[socket.AddressFamily, socket.socket], tunnel: socket.socket):
        super().__init__(core, public, tunnel)
        self._batch = Batch(BATCH)
        self._sieve = TokenPrefilter(self._batch)
        self._from_ipv6 = Batch(BATCH, from_ipv6=True)
        self._sieve_ipv6 = TokenPrefilter(self._from_ipv6)
        self._to_ipv6 = Batch(BATCH, to_ipv6=True)
        self._owner_of = core.flows.owners.get
        self._heard = core.flows.heard
        # Where a row's outgoing datagram begins: upwards the header stands in front, downwards it is skipped.
        self._upward = _begins(self._batch, -IPV4_HEADER)
        self._upward_ipv6 = _begins(self._from_ipv6, -IPV6_HEADER)
        self._downward = _begins(self._batch, IPV4_HEADER)
        self._tunnel_fd = tunnel.fileno()
        self._down_batches = 0

    def from_clients(self, family: socket.AddressFamily, now: float) -> bool:
        return self._from_ipv4_clients(now) if family == socket.AF_INET else self._from_ipv6_clients(now)

    def _from_ipv4_clients(self, now: float) -> bool:
        batch, counters = self._batch, self._core.counters
        n = batch.receive(self._public[socket.AF_INET].fileno())
        if n <= 0:
            counters.drops["socket_error"] += n < 0
            return n < 0
        counters.batches[n] += 1
        clients = batch.sources[0 : 2 * n : 2]
        keys: list[int] = clients.tolist()
        lengths: list[int] = batch.lengths[14 : 16 * n : 16].tolist()
        batch.words[_HEAD - 1 : n * _STRIDE : _STRIDE] = clients  # the header in front of each datagram
        first_bytes = batch.octets[HEADROOM : n * SLOT : SLOT].tobytes()
        longest, shortest = max(lengths), min(lengths)
        if BINDING_REQUEST_FIRST_BYTE not in first_bytes and longest <= MAX_DATAGRAM and shortest > 0:
            try:
                owners = b"".join(map(self._owner_of, keys))  # type: ignore[arg-type]  # None is looked for
            except TypeError:
                pass  # one of the clients has no flow
            else:
                self._send_all_up(owners, keys, lengths, longest == shortest)
                return n == BATCH
        targets = self._targets(batch, self._sieve, keys, lengths, now)
        self._send_up(batch, targets, self._upward, lengths, IPV4_HEADER)
        return n == BATCH

    def _from_ipv6_clients(self, now: float) -> bool:
        batch, counters = self._from_ipv6, self._core.counters
        n = batch.receive(self._public[socket.AF_INET6].fileno())
        if n <= 0:
            counters.drops["socket_error"] += n < 0
            return n < 0
        counters.batches[n] += 1
        columns = (batch.sources[word : 4 * n : 4].tolist() for word in range(3))
        keys = [head & _FAMILY_AND_PORT | low << 32 | high << 96 for head, low, high in zip(*columns, strict=True)]
        lengths: list[int] = batch.lengths[14 : 16 * n : 16].tolist()
        targets = self._targets(batch, self._sieve_ipv6, keys, lengths, now)
        # Family and port, then the four halfwords of the address: those of the socket address, without flow info.
        for place, half in enumerate((0, 2, 3, 4, 5)):
            batch.halfwords[_IPV6_HEAD + place : n * _HALF_STRIDE : _HALF_STRIDE] = batch.source_halfwords[
                half : 8 * n : 8
            ]
        self._send_up(batch, targets, self._upward_ipv6, lengths, IPV6_HEADER)
        return n == BATCH

    def _targets(
        self,
        batch: Batch,
        sieve: TokenPrefilter,
        keys: list[int],
        lengths: list[int],
        now: float,
    ) -> list[bytes | None]:
        """Who gets each row; None for nobody."""
        n = len(keys)
        first_bytes = batch.octets[HEADROOM : n * SLOT : SLOT].tobytes()
        targets: list[bytes | None] = list(map(self._owner_of, keys))
        unknown = targets.count(None)
        if (
            not unknown
            and BINDING_REQUEST_FIRST_BYTE not in first_bytes
            and max(lengths) <= MAX_DATAGRAM
            and min(lengths) > 0
        ):
            return targets
        forged = self._forged(sieve, targets, unknown, first_bytes) if unknown >= SIEVE_FROM else _NONE
        if forged:
            self._core.counters.drops["forged_token"] += len(forged)
            if len(forged) == unknown == first_bytes.count(BINDING_REQUEST_FIRST_BYTE) and max(lengths) <= MAX_DATAGRAM:
                return targets  # a flood, and calls between it
        self._ask(batch, targets, forged, keys, lengths, first_bytes, now)
        return targets

    def _ask(
        self,
        batch: Batch,
        targets: list[bytes | None],
        forged: frozenset[int],
        keys: list[int],
        lengths: list[int],
        first_bytes: bytes,
        now: float,
    ) -> None:
        """Let the core decide what is out of the ordinary; writes into `targets`."""
        walks = WALKS if len(keys) == BATCH else BATCH
        for row, (length, first_byte) in enumerate(zip(lengths, first_bytes, strict=True)):
            if targets[row] is None:
                if row in forged:
                    continue
                if first_byte == BINDING_REQUEST_FIRST_BYTE:
                    if not walks:
                        self._core.counters.drops["overload"] += 1
                        continue
                    walks -= 1
            elif first_byte != BINDING_REQUEST_FIRST_BYTE and 0 < length <= MAX_DATAGRAM:
                continue
            at = row * SLOT + HEADROOM
            owner = self._core.from_client(keys[row], batch.octets[at : at + length], now)
            targets[row] = None if owner is None else header_of(owner)

    def _forged(
        self, sieve: TokenPrefilter, targets: list[bytes | None], unknown: int, first_bytes: bytes
    ) -> frozenset[int]:
        """Rows of clients without a flow whose token, where it usually stands, opens with no live key."""
        n = len(targets)
        may_open = sieve.may_open(self._core.keyring, n)
        if not may_open and unknown == n == first_bytes.count(0) and sieve.only_usernames(n):
            return _ALL[n]
        return frozenset(
            row
            for row, (target, first_byte, attribute) in enumerate(
                zip(targets, first_bytes, sieve.first_attributes(n), strict=True)
            )
            if target is None and not first_byte and attribute == USERNAME_FIRST and row not in may_open
        )

    def from_tunnel(self, now: float) -> bool:
        batch, counters = self._batch, self._core.counters
        n = batch.receive(self._tunnel_fd)
        if n <= 0:
            counters.drops["socket_error"] += n < 0
            return n < 0
        counters.batches[n] += 1
        clients = batch.words[_HEAD : n * _STRIDE : _STRIDE]
        keys: list[int] = clients.tolist()
        lengths: list[int] = batch.lengths[14 : 16 * n : 16].tolist()
        sources = batch.sources[0 : 2 * n : 2]
        v4 = self._public.get(socket.AF_INET)
        if v4 is not None and min(lengths) > IPV4_HEADER and max(lengths) <= _MOST:
            try:
                owners = b"".join(map(self._owner_of, keys))  # type: ignore[arg-type]  # None is looked for
            except TypeError:
                owners = b""  # one of the clients has no flow
            if owners == sources.tobytes():
                # Under load one batch in eight is enough: a live flow is in hundreds of them.
                if self._core.flows.noting(now) and (n < BATCH or not self._down_batches % 8):
                    self._heard.update(zip(keys, repeat(now)))
                self._down_batches += 1
                batch.destinations[0 : 2 * n : 2] = clients
                self._send_all(v4.fileno(), self._downward, lengths, -IPV4_HEADER)
                return n == BATCH
        targets = self._clients(keys, sources.tolist(), lengths, now)
        if v4 is not None:
            packets, payload = self._send_rows(batch, v4.fileno(), targets, self._downward, lengths, -IPV4_HEADER)
            counters.packets_to_clients += packets
            counters.bytes_to_clients += payload
        else:
            counters.drops["no_socket_of_family"] += n - targets.count(None)
        return n == BATCH

    def _clients(self, keys: list[int], sources: list[int], lengths: list[int], now: float) -> list[bytes | None]:
        """The IPv4 client of each row, None for nobody; rows for IPv6 clients are sent here."""
        clients: list[bytes | None] = []
        on_ipv6: list[tuple[int, int, int]] = []
        for row, (key, source, length) in enumerate(zip(keys, sources, lengths, strict=True)):
            at = row * SLOT + HEADROOM
            if IPV4_HEADER < length <= _MOST and self._owner_of(key) == header_of(source):
                self._heard[key] = now
                clients.append(bytes(self._batch.octets[at : at + IPV4_HEADER]))
                continue
            client = self._core.from_tunnel(source, self._batch.octets[at : at + length], now)
            if client is not None and client & 0xFFFF != FAMILY_IPV4:
                if client & 0xFFFF == FAMILY_IPV6 and socket.AF_INET6 in self._public:
                    on_ipv6.append((client, self._batch.slots_at + at + IPV6_HEADER, length - IPV6_HEADER))
                else:
                    self.send_to_client(client, self._batch.octets[at + len(header_of(client)) : at + length])
                client = None
            clients.append(None if client is None else header_of(client))
        if on_ipv6:
            self._send_to_ipv6(on_ipv6)
        return clients

    def _send_to_ipv6(self, rows: list[tuple[int, int, int]]) -> None:
        """Send (client, address in memory, length) each."""
        batch, counters = self._to_ipv6, self._core.counters
        for row, (client, _, _) in enumerate(rows):
            at = row * SOCKADDR_IN6_STRIDE
            batch.addresses[at : at + SOCKADDR_IN6] = sockaddr_in6_of(client)
        count = len(rows)
        batch.pieces[0 : 2 * count] = memoryview(array("Q", [word for row in rows for word in row[1:]]))
        sent = batch.send(self._public[socket.AF_INET6].fileno(), count)
        counters.packets_to_clients += sent
        counters.bytes_to_clients += sum(length for _, _, length in rows) * sent // count
        if sent < count:
            counters.drops["send_failed"] += count - sent

    def _send_up(
        self, batch: Batch, targets: list[bytes | None], begins: array[int], lengths: list[int], header: int
    ) -> None:
        packets, octets = self._send_rows(batch, self._tunnel_fd, targets, begins, lengths, header)
        self._core.counters.packets_to_transceivers += packets
        self._core.counters.bytes_to_transceivers += octets

    def _send_all_up(self, owners: bytes, keys: list[int], lengths: list[int], uniformly: bool) -> None:
        """Send every row of the IPv4 batch to its owner. `uniformly`: all are equally long."""
        batch, count = self._batch, len(lengths)
        batch.destinations[0 : 2 * count : 2] = memoryview(owners).cast("Q")
        if count < SEGMENT_FROM or not batch.segments or max(lengths) > MAX_SEGMENT:
            self._send_all(self._tunnel_fd, self._upward, lengths, IPV4_HEADER)
            return
        one_owner = owners == owners[:IPV4_HEADER] * count
        if one_owner and uniformly:
            messages = uniform(count, lengths[0] + IPV4_HEADER)
            self._send_all(self._tunnel_fd, self._upward, lengths, IPV4_HEADER, messages)
        elif len(set(keys)) < count:  # packets of one client would overtake each other
            self._send_all(self._tunnel_fd, self._upward, lengths, IPV4_HEADER)
        else:
            to = None if one_owner else memoryview(owners).cast("Q").tolist()
            order, messages = grouped(to, [length + IPV4_HEADER for length in lengths])
            if to is not None:
                batch.destinations[0 : 2 * count : 2] = memoryview(array("Q", map(to.__getitem__, order)))
            begins = array("Q", map(self._upward.__getitem__, order))
            self._send_all(self._tunnel_fd, begins, list(map(lengths.__getitem__, order)), IPV4_HEADER, messages)

    def _send_all(
        self, fd: int, begins: array[int], lengths: list[int], header: int, messages: Sequence[OutgoingMessage] = ()
    ) -> None:
        """Send every row of the IPv4 batch, whose destinations are filled in, and count what went."""
        batch, counters, count = self._batch, self._core.counters, len(lengths)
        batch.pieces[0 : 2 * count : 2] = memoryview(begins)[:count]
        # All lengths are changed by one addition of long integers, in which each has a lane of 64 bits.
        lanes = int.from_bytes(array("Q", lengths).tobytes(), "little") + header * _LANES[count]
        batch.pieces[1 : 2 * count : 2] = memoryview(lanes.to_bytes(8 * count, "little")).cast("Q")
        sent = batch.segment(fd, messages) if messages else 0
        if sent < count:
            sent += batch.send(fd, count, sent)
        octets = sum(lengths) + (count * header if header < 0 else 0)
        if sent < count:
            counters.drops["send_failed"] += count - sent
            octets = octets * sent // count  # which ones failed is not known: their mean length will do
        if header > 0:
            counters.packets_to_transceivers += sent
            counters.bytes_to_transceivers += octets
        else:
            counters.packets_to_clients += sent
            counters.bytes_to_clients += octets

    def _send_rows(
        self, batch: Batch, fd: int, targets: list[bytes | None], begins: array[int], lengths: list[int], header: int
    ) -> tuple[int, int]:
        """Send each row that has a target; returns datagrams and payload octets that went.

        `header`: octets that the outgoing datagram is longer than the one received.
        """
        if None in targets:
            rows = [row for row, target in enumerate(targets) if target is not None]
            if not rows:
                return 0, 0
            targets = [targets[row] for row in rows]
            begins = array("Q", [begins[row] for row in rows])
            lengths = [lengths[row] for row in rows]
        count = len(targets)
        batch.destinations[0 : 2 * count : 2] = memoryview(b"".join(cast("list[bytes]", targets))).cast("Q")
        batch.pieces[0 : 2 * count : 2] = memoryview(begins)[:count]
        batch.pieces[1 : 2 * count : 2] = memoryview(array("Q", [length + header for length in lengths]))
        sent = batch.send(fd, count)
        octets = sum(lengths) + (count * header if header < 0 else 0)
        if sent < count:
            self._core.counters.drops["send_failed"] += count - sent
            octets = octets * sent // count  # which ones failed is not known: their mean length will do
        return sent, octets


def _begins(batch: Batch, shift: int) -> array[int]:
    """The memory address of each row's datagram, shifted."""
    return array("Q", [batch.slots_at + HEADROOM + row * SLOT + shift for row in range(batch.size)])
