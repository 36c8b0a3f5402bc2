"""The fast packet loop for IPv4: a batch per system call, and columns instead of packets in between.

What is ordinary, a packet of a confirmed flow, is never looked at one by one: keys are looked up by `map`,
headers are written by one strided copy. Rows that are out of the ordinary (no flow yet, a binding
request, odd length, a stranger) are asked about in the core one by one, and the batch is closed up around
those that go nowhere. docs/relay.md says how to measure it.
"""

from __future__ import annotations

import socket
from array import array
from collections.abc import Mapping
from itertools import repeat
from typing import Final, cast

from antiphon.relay.core import MAX_DATAGRAM, RelayCore
from antiphon.relay.flow_key import header_of
from antiphon.relay.mmsg import HEADROOM, SLOT, Batch
from antiphon.relay.portable import PortablePath
from antiphon.relay.stun import BINDING_REQUEST_FIRST_BYTE
from antiphon.schemas.tunnel import FAMILY_IPV4, IPV4_HEADER

BATCH: Final = 64
_STRIDE: Final = SLOT // 8
_HEAD: Final = HEADROOM // 8


class BatchedPath(PortablePath):
    """Moves IPv4 datagrams in batches and leaves clients on IPv6 to the portable loop."""

    name = "batched"

    def __init__(self, core: RelayCore, public: Mapping[socket.AddressFamily, socket.socket], tunnel: socket.socket):
        super().__init__(core, public, tunnel)
        self._batch = Batch(BATCH)
        self._confirmed_owner = core.flows.confirmed.get
        self._heard = core.flows.heard
        at = self._batch.slots_at + HEADROOM
        # Where a row's outgoing datagram begins: upwards the header stands in front, downwards it is skipped.
        self._upward = array("Q", [at + row * SLOT - IPV4_HEADER for row in range(BATCH)])
        self._downward = array("Q", [at + row * SLOT + IPV4_HEADER for row in range(BATCH)])
        self._tunnel_fd = tunnel.fileno()
        v4 = public.get(socket.AF_INET)
        self._public_fd = v4.fileno() if v4 is not None else -1

    def from_clients(self, family: socket.AddressFamily, now: float) -> bool:
        if family != socket.AF_INET:
            return super().from_clients(family, now)
        batch, counters = self._batch, self._core.counters
        n = batch.receive(self._public_fd)
        if n <= 0:
            counters.drops["socket_error"] += n < 0
            return n < 0
        clients = batch.sources[0 : 2 * n : 2]
        lengths: list[int] = batch.lengths[14 : 16 * n : 16].tolist()
        first_bytes = batch.octets[HEADROOM : n * SLOT : SLOT].tobytes()
        owners: list[int | None] = list(map(self._confirmed_owner, clients.tolist()))
        if (
            None in owners
            or BINDING_REQUEST_FIRST_BYTE in first_bytes
            or max(lengths) > MAX_DATAGRAM
            or min(lengths) == 0
        ):
            for row, (length, first_byte) in enumerate(zip(lengths, first_bytes, strict=True)):
                if owners[row] is None or first_byte == BINDING_REQUEST_FIRST_BYTE or not 0 < length <= MAX_DATAGRAM:
                    owners[row] = self._core.from_client(clients[row], self._datagram(row, length), now)
        batch.words[_HEAD - 1 : n * _STRIDE : _STRIDE] = clients  # the header in front of each datagram
        packets, octets = self._send_rows(self._tunnel_fd, owners, self._upward, lengths, IPV4_HEADER)
        counters.packets_to_transceivers += packets
        counters.bytes_to_transceivers += octets
        return n == BATCH

    def from_tunnel(self, now: float) -> bool:
        batch, counters = self._batch, self._core.counters
        n = batch.receive(self._tunnel_fd)
        if n <= 0:
            counters.drops["socket_error"] += n < 0
            return n < 0
        keys: list[int] = batch.words[_HEAD : n * _STRIDE : _STRIDE].tolist()
        sources: list[int] = batch.sources[0 : 2 * n : 2].tolist()
        lengths: list[int] = batch.lengths[14 : 16 * n : 16].tolist()
        clients: list[int | None]
        if (
            list(map(self._confirmed_owner, keys)) == sources
            and min(lengths) > IPV4_HEADER
            and max(lengths) <= MAX_DATAGRAM + IPV4_HEADER
        ):
            self._heard.update(zip(keys, repeat(now)))
            clients = list(keys)
        else:
            clients = [
                self._decide(source, self._datagram(row, length), now)
                for row, (source, length) in enumerate(zip(sources, lengths, strict=True))
            ]
        packets, octets = self._send_rows(self._public_fd, clients, self._downward, lengths, -IPV4_HEADER)
        counters.packets_to_clients += packets
        counters.bytes_to_clients += octets
        return n == BATCH

    def _datagram(self, row: int, length: int) -> memoryview:
        at = row * SLOT + HEADROOM
        return self._batch.octets[at : at + length]

    def _decide(self, source: int, packet: memoryview, now: float) -> int | None:
        """The client whom the batch shall send this tunnel packet's payload; IPv6 is sent here at once."""
        client = self._core.from_tunnel(source, packet, now)
        if client is None or (client & 0xFFFF == FAMILY_IPV4 and self._public_fd >= 0):
            return client
        self.send_to_client(client, packet[len(header_of(client)) :])
        return None

    def _send_rows(
        self, fd: int, targets: list[int | None], begins: array[int], lengths: list[int], header: int
    ) -> tuple[int, int]:
        """Send each row that has a target; returns datagrams and payload octets that went.

        `header`: octets that the outgoing datagram is longer than the one received.
        """
        batch = self._batch
        if None in targets:
            rows = [row for row, target in enumerate(targets) if target is not None]
            if not rows:
                return 0, 0
            targets = [targets[row] for row in rows]
            begins = array("Q", [begins[row] for row in rows])
            lengths = [lengths[row] for row in rows]
        count = len(targets)
        batch.destinations[0 : 2 * count : 2] = memoryview(array("Q", cast("list[int]", targets)))
        batch.pieces[0 : 2 * count : 2] = memoryview(begins)[:count]
        batch.pieces[1 : 2 * count : 2] = memoryview(array("Q", [length + header for length in lengths]))
        sent = batch.send(fd, count)
        octets = sum(lengths) + (count * header if header < 0 else 0)
        if sent < count:
            self._core.counters.drops["send_failed"] += count - sent
            octets = octets * sent // count  # which ones failed is not known: their mean length will do
        return sent, octets
