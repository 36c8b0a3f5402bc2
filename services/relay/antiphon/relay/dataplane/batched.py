"""The fast packet loop: a batch per system call, and columns instead of packets in between.

An ordinary packet, one of a confirmed flow, is never looked at alone: `map` looks keys up, strided copies write
headers. The core decides about other rows one by one (no flow yet, a binding request, odd length, unknown sender), and
rows that are dropped are left out of what is sent. docs/relay.md says how to measure it.

Clients on IPv4 and on IPv6 have a batch each; the tunnel is IPv4 here. `batched_two_hops` has the backbone's part.
"""

from __future__ import annotations

import enum
import socket
from array import array
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Final, cast

from antiphon.relay.core.core import OVER_BUDGET_REASON, RelayCore
from antiphon.relay.core.flow_key import header_of, key_of_header, sockaddr_in6_of
from antiphon.relay.core.outgoing import MAX_DATAGRAM
from antiphon.relay.core.packet_budget import OVER_BUDGET
from antiphon.relay.core.remote_owner import MARK
from antiphon.relay.core.stun import BINDING_REQUEST_FIRST_BYTE
from antiphon.relay.dataplane.batched_two_hops import BatchedTwoHops, count_elsewhere
from antiphon.relay.dataplane.mmsg import Batch
from antiphon.relay.dataplane.portable import BACKBONE_FLAG, PortablePath
from antiphon.relay.dataplane.segmentation import MAX_SEGMENT, SEGMENT_FROM, OutgoingMessage, grouped, uniform
from antiphon.relay.dataplane.token_prefilter import USERNAME_FIRST, TokenPrefilter
from antiphon.schemas.tunnel import FAMILY_IPV4, FAMILY_IPV6, IPV4_HEADER, IPV6_HEADER

BATCH: Final = 128
PREFILTER_FROM: Final = 6
"""From this many rows without a flow on, the prefilter costs less than to parse each."""
MAX_PARSED: Final = 16
"""Requests without a flow that are parsed in a full batch. More of them mean a flood that the prefilter can't read;
the rest is dropped. A legitimate client retransmits its binding request."""
_HEADERS: Final = [sum(IPV4_HEADER << 64 * lane for lane in range(n)) for n in range(BATCH + 1)]
"""By number of rows: the length of a tunnel header in each lane of 64 bits."""
_MAX_PACKET: Final = MAX_DATAGRAM + IPV4_HEADER
_NO_FLOW: Final = repeat(None)
"""In the place of a budget, for a client without a confirmed flow."""
MANY_FLOWS: Final = 16384
"""From this many flows on, their budgets no longer fit into the processor's cache: see `_charge`."""
CHARGED_OF_DISTINCT: Final = 16
_NONE: Final = frozenset[int]()
_ALL: Final = [frozenset(range(n)) for n in range(BATCH + 1)]


class Direction(enum.Enum):
    """Which way datagrams go, and what becomes of the tunnel header on the way."""

    TO_TRANSCEIVERS = "put in front"
    TO_CLIENTS = "cut off"


_UP: Final = Direction.TO_TRANSCEIVERS
_DOWN: Final = Direction.TO_CLIENTS


class Batches:
    """The memory of one `BatchedPath`. It takes 30 ms to make: a worker does so before it has to begin."""

    def __init__(self) -> None:
        self.batch = Batch(BATCH)
        self.prefilter = TokenPrefilter(self.batch)
        self.from_ipv6 = Batch(BATCH, from_ipv6=True)
        self.prefilter_ipv6 = TokenPrefilter(self.from_ipv6)
        self.to_ipv6 = Batch(BATCH, to_ipv6=True)


class BatchedPath(PortablePath):
    """Moves datagrams in batches; belongs to its `Worker`, which alone calls it, and lives as long."""

    name = "batched"

    def __init__(
        self,
        core: RelayCore,
        public: Mapping[socket.AddressFamily, socket.socket],
        tunnel: socket.socket,
        batches: Batches | None = None,
        backbone: socket.socket | None = None,
    ):
        super().__init__(core, public, tunnel, backbone)
        batches = batches or Batches()
        self._two_hops: BatchedTwoHops | None = None
        """None: there is no backbone, or it is on IPv6, and then its packets go one by one."""
        if backbone is not None and backbone.family == socket.AF_INET and core.two_hops is not None:
            sockets = public, tunnel, backbone
            self._two_hops = BatchedTwoHops(core, core.two_hops, batches.batch, sockets, self._deliver)
        self._batch, self._prefilter = batches.batch, batches.prefilter
        self._from_ipv6, self._prefilter_ipv6 = batches.from_ipv6, batches.prefilter_ipv6
        self._to_ipv6 = batches.to_ipv6
        self._owner_of = core.flows.owners.get
        self._charged = core.flows.charged
        self._budget_of = core.flows.charged.get
        self._up_batches = 0
        self._last_noted = core.flows.last_noted
        # Where a row's outgoing datagram begins: upwards the header is in front of it, downwards it is skipped.
        self._upward = self._batch.memory_addresses(-IPV4_HEADER)
        self._upward_ipv6 = self._from_ipv6.memory_addresses(-IPV6_HEADER)
        self._downward = self._batch.memory_addresses(IPV4_HEADER)
        self._downward_ipv6 = self._batch.memory_addresses(IPV6_HEADER)
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
        clients = batch.sources_of(n)
        keys: list[int] = clients.tolist()
        lengths = batch.lengths_of(n)
        batch.set_headers(n, clients)
        first_bytes = batch.first_bytes_of(n)
        longest, shortest = max(lengths), min(lengths)
        targets = self._charge(keys, now)
        if BINDING_REQUEST_FIRST_BYTE not in first_bytes and longest <= MAX_DATAGRAM and shortest > 0:
            try:
                owners = b"".join(targets)  # type: ignore[arg-type]  # None is looked for
            except TypeError:
                owners = b""  # one of the clients has no flow
            if len(owners) == IPV4_HEADER * n:  # and none has sent too much
                remote = count_elsewhere(owners) if self.backbone is not None else 0
                if not remote:
                    self._send_all_up(owners, keys, lengths, longest == shortest)
                    return n == BATCH
                if remote == n and self._two_hops is not None:
                    self._two_hops.up(range(n), keys, lengths)
                    return n == BATCH
        self._decide_all(batch, self._prefilter, targets, keys, lengths, now)
        elsewhere = self._take_elsewhere(targets) if self.backbone is not None else {}
        self._send_rows(batch, _UP, self._tunnel_fd, targets, self._upward, lengths, IPV4_HEADER)
        if elsewhere:
            self._send_elsewhere(batch, elsewhere, keys, lengths)
        return n == BATCH

    def _from_ipv6_clients(self, now: float) -> bool:
        batch, counters = self._from_ipv6, self._core.counters
        n = batch.receive(self._public[socket.AF_INET6].fileno())
        if n <= 0:
            counters.drops["socket_error"] += n < 0
            return n < 0
        counters.batches[n] += 1
        keys, lengths = batch.ipv6_sources_of(n), batch.lengths_of(n)
        targets = self._charge(keys, now)
        self._decide_all(batch, self._prefilter_ipv6, targets, keys, lengths, now)
        batch.set_ipv6_headers(n)
        elsewhere = self._take_elsewhere(targets) if self.backbone is not None else {}
        self._send_rows(batch, _UP, self._tunnel_fd, targets, self._upward_ipv6, lengths, IPV6_HEADER)
        if elsewhere:
            self._send_elsewhere(batch, elsewhere, keys, lengths)
        return n == BATCH

    def from_backbone(self, now: float) -> bool:
        return self._two_hops.from_backbone(now) if self._two_hops is not None else super().from_backbone(now)

    @staticmethod
    def _take_elsewhere(targets: list[bytes | None]) -> dict[int, bytes]:
        """The rows whose owner is in another cluster; they are no targets any more."""
        taken = {row: target for row, target in enumerate(targets) if target and target[:2] == MARK}
        for row in taken:
            targets[row] = None
        return taken

    def _send_elsewhere(self, batch: Batch, rows: dict[int, bytes], keys: list[int], lengths: list[int]) -> None:
        """Send these rows to other clusters' relays. Last: in the IPv4 batch it overwrites headers of other rows."""
        together: list[int] = []
        for row, owner in rows.items():
            if self._two_hops is not None and batch is self._batch and self._owner_of(keys[row]) == owner:
                together.append(row)
            else:
                self._deliver_sealed(keys[row], key_of_header(owner), batch.datagram(row, lengths[row]))
        if together and self._two_hops is not None:
            self._two_hops.up(together, keys, lengths)

    def _charge(self, keys: list[int], now: float) -> list[bytes | None]:
        """Charge each row to its caller: the confirmed owner, `OVER_BUDGET`, or None for a client without one.

        Where flows are so many that their budgets are not in the cache (1 us for each packet then), one in 16 of the
        full batches in which no client appears twice is charged. A worker with full batches is at the limit of its
        core, 250,000 packets/s and more: a caller that sends 2,000/s is charged by its repetitions.
        """
        if len(self._charged) > MANY_FLOWS and len(keys) == BATCH:
            self._up_batches += 1
            if self._up_batches % CHARGED_OF_DISTINCT and len(set(keys)) == BATCH:
                return list(map(self._owner_of, keys))
        self._core.flows.budgets.begin(now)
        return list(map(next, map(self._budget_of, keys, repeat(_NO_FLOW))))

    def _decide_all(
        self,
        batch: Batch,
        prefilter: TokenPrefilter,
        targets: list[bytes | None],
        keys: list[int],
        lengths: list[int],
        now: float,
    ) -> None:
        """Let the core decide about the rows that are out of the ordinary; writes into `targets`."""
        n = len(keys)
        over = targets.count(OVER_BUDGET)
        if over:
            self._core.counters.drops[OVER_BUDGET_REASON] += over
        first_bytes = batch.first_bytes_of(n)
        unknown = targets.count(None)
        if (
            not unknown
            and BINDING_REQUEST_FIRST_BYTE not in first_bytes
            and max(lengths) <= MAX_DATAGRAM
            and min(lengths) > 0
        ):
            return
        forged = self._forged(prefilter, targets, unknown, first_bytes) if unknown >= PREFILTER_FROM else _NONE
        if forged:
            self._core.counters.drops["forged_token"] += len(forged)
            if len(forged) == unknown == first_bytes.count(BINDING_REQUEST_FIRST_BYTE) and max(lengths) <= MAX_DATAGRAM:
                return  # a flood, and calls between it
        self._decide(batch, targets, forged, keys, lengths, first_bytes, now)

    def _decide(
        self,
        batch: Batch,
        targets: list[bytes | None],
        forged: frozenset[int],
        keys: list[int],
        lengths: list[int],
        first_bytes: bytes,
        now: float,
    ) -> None:
        """Let the core decide about each row that is not a confirmed flow's media; writes into `targets`."""
        left_to_parse = MAX_PARSED if len(keys) == BATCH else BATCH
        for row, (length, first_byte) in enumerate(zip(lengths, first_bytes, strict=True)):
            target = targets[row]
            if target == OVER_BUDGET:
                continue
            if target is None:
                if row in forged:
                    continue
                if first_byte == BINDING_REQUEST_FIRST_BYTE:
                    if not left_to_parse:
                        self._core.counters.drops["overload"] += 1
                        continue
                    left_to_parse -= 1
            elif first_byte != BINDING_REQUEST_FIRST_BYTE and 0 < length <= MAX_DATAGRAM:
                continue
            owner = self._core.decide(keys[row], batch.datagram(row, length), now)
            targets[row] = None if owner is None else header_of(owner)

    def _forged(
        self, prefilter: TokenPrefilter, targets: list[bytes | None], unknown: int, first_bytes: bytes
    ) -> frozenset[int]:
        """Rows of clients without a flow whose token, at its usual place, opens with no live key."""
        n = len(targets)
        may_open = prefilter.may_open(self._core.keyring, n)
        if not may_open and unknown == n == first_bytes.count(0) and prefilter.only_usernames(n):
            return _ALL[n]
        return frozenset(
            row
            for row, (target, first_byte, attribute) in enumerate(
                zip(targets, first_bytes, prefilter.first_attributes(n), strict=True)
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
        clients = batch.headers_of(n)
        keys: list[int] = clients.tolist()
        lengths = batch.lengths_of(n)
        sources = batch.sources_of(n)
        if self.backbone is not None:
            if self._two_hops is None:
                with_route: Sequence[int] = [
                    row
                    for row, length in enumerate(lengths)
                    if length > 1 and batch.datagram(row, 2)[1] & BACKBONE_FLAG
                ]
            else:
                with_route = self._two_hops.rows_with_route(n, lengths)
            if with_route:
                self._answers_of_both(n, with_route, keys, sources.tolist(), lengths, now)
                return n == BATCH
        v4 = self._public.get(socket.AF_INET)
        if v4 is not None and min(lengths) > IPV4_HEADER and max(lengths) <= _MAX_PACKET:
            try:
                owners = b"".join(map(self._owner_of, keys))  # type: ignore[arg-type]  # None is looked for
            except TypeError:
                owners = b""  # one of the clients has no flow
            if owners == sources.tobytes():
                # Under load one batch in eight is enough: a live flow is in hundreds of them.
                if self._core.flows.noting(now) and (n < BATCH or not self._down_batches % 8):
                    self._last_noted.update(zip(keys, repeat(now)))
                self._down_batches += 1
                batch.set_destinations(n, clients)
                self._send_all(_DOWN, v4.fileno(), self._downward, lengths)
                return n == BATCH
        targets = self._clients(keys, sources.tolist(), lengths, now)
        if v4 is not None:
            self._send_rows(batch, _DOWN, v4.fileno(), targets, self._downward, lengths, IPV4_HEADER)
        else:
            counters.drops["no_socket_of_family"] += n - targets.count(None)
        return n == BATCH

    def _answers_of_both(
        self,
        n: int,
        with_route: Sequence[int],
        keys: list[int],
        sources: list[int],
        lengths: list[int],
        now: float,
    ) -> None:
        """Send the rows for own clients to these, then those with a route to their ingress relays."""
        if len(with_route) < n:
            without = frozenset(with_route)
            targets = self._clients(keys, sources, lengths, now, without)
            v4 = self._public.get(socket.AF_INET)
            if v4 is not None:
                self._send_rows(self._batch, _DOWN, v4.fileno(), targets, self._downward, lengths, IPV4_HEADER)
            else:
                self._core.counters.drops["no_socket_of_family"] += n - targets.count(None)
        if self._two_hops is not None:
            self._two_hops.to_ingresses(n, with_route, sources, lengths, now)
            return
        for row in with_route:
            self._deliver_all(
                self._core.backbone.to_ingress(sources[row], self._batch.datagram(row, lengths[row]), now)
            )

    def _clients(
        self,
        keys: list[int],
        sources: list[int],
        lengths: list[int],
        now: float,
        without: frozenset[int] = _NONE,
    ) -> list[bytes | None]:
        """The IPv4 client of each row, None for a row that is dropped; rows for IPv6 clients are sent here.

        `without`: rows that are no matter of this.
        """
        datagram = self._batch.datagram
        clients: list[bytes | None] = []
        on_ipv6: list[tuple[int, int, int]] = []
        for row, (key, source, length) in enumerate(zip(keys, sources, lengths, strict=True)):
            if row in without:
                clients.append(None)
                continue
            if IPV4_HEADER < length <= _MAX_PACKET and self._owner_of(key) == header_of(source):
                self._last_noted[key] = now
                clients.append(bytes(datagram(row, IPV4_HEADER)))
                continue
            packet = datagram(row, length)
            client = self._core.from_tunnel(source, packet, now)
            if client is not None and client & 0xFFFF != FAMILY_IPV4:
                if client & 0xFFFF == FAMILY_IPV6 and socket.AF_INET6 in self._public:
                    on_ipv6.append((client, self._downward_ipv6[row], length - IPV6_HEADER))
                else:
                    self.send_to_client(client, packet[len(header_of(client)) :])
                client = None
            clients.append(None if client is None else header_of(client))
        if on_ipv6:
            self._send_to_ipv6(on_ipv6)
        return clients

    def _send_to_ipv6(self, rows: list[tuple[int, int, int]]) -> None:
        """Send (client, address in memory, length) each."""
        batch, counters = self._to_ipv6, self._core.counters
        for row, (client, _, _) in enumerate(rows):
            batch.set_ipv6_destination(row, sockaddr_in6_of(client))
        count = len(rows)
        addresses, lengths = (array("Q", [row[field] for row in rows]) for field in (1, 2))
        batch.set_pieces(count, addresses, memoryview(lengths))
        sent = batch.send(self._public[socket.AF_INET6].fileno(), count)
        counters.packets_to_clients += sent
        counters.bytes_to_clients += sum(length for _, _, length in rows) * sent // count
        if sent < count:
            counters.drops["send_failed"] += count - sent

    def _send_all_up(self, owners: bytes, keys: list[int], lengths: list[int], uniformly: bool) -> None:
        """Send every row of the IPv4 batch to its owner. `uniformly`: all are equally long."""
        batch, count = self._batch, len(lengths)
        batch.set_destinations(count, memoryview(owners).cast("Q"))
        if count < SEGMENT_FROM or not batch.segments or max(lengths) > MAX_SEGMENT:
            self._send_all(_UP, self._tunnel_fd, self._upward, lengths)
            return
        one_owner = owners == owners[:IPV4_HEADER] * count
        if one_owner and uniformly:
            messages = uniform(count, lengths[0] + IPV4_HEADER)
            self._send_all(_UP, self._tunnel_fd, self._upward, lengths, messages)
        elif len(set(keys)) < count:  # packets of one client would overtake each other
            self._send_all(_UP, self._tunnel_fd, self._upward, lengths)
        else:
            to = None if one_owner else memoryview(owners).cast("Q").tolist()
            order, messages = grouped(to, [length + IPV4_HEADER for length in lengths])
            if to is not None:
                batch.set_destinations(count, memoryview(array("Q", map(to.__getitem__, order))))
            addresses = array("Q", map(self._upward.__getitem__, order))
            self._send_all(_UP, self._tunnel_fd, addresses, list(map(lengths.__getitem__, order)), messages)

    def _send_all(
        self,
        direction: Direction,
        fd: int,
        addresses: array[int],
        lengths: list[int],
        messages: Sequence[OutgoingMessage] = (),
    ) -> None:
        """Send every row of the IPv4 batch, whose destinations are set, and count what the kernel took.

        `addresses`: where each outgoing datagram begins in memory; `lengths`: of the datagrams received.
        """
        batch, count = self._batch, len(lengths)
        # All lengths change by one addition of long integers, in which each has a lane of 64 bits.
        lanes = int.from_bytes(array("Q", lengths).tobytes(), "little")
        lanes = lanes + _HEADERS[count] if direction is _UP else lanes - _HEADERS[count]
        batch.set_pieces(count, addresses, memoryview(lanes.to_bytes(8 * count, "little")).cast("Q"))
        sent = batch.segment(fd, messages) if messages else 0
        if sent < count:
            sent += batch.send(fd, count, sent)
        self._count(direction, sent, lengths, IPV4_HEADER)

    def _send_rows(
        self,
        batch: Batch,
        direction: Direction,
        fd: int,
        targets: list[bytes | None],
        addresses: array[int],
        lengths: list[int],
        header: int,
    ) -> None:
        """Send each row that has a target, and count what the kernel took.

        Rows without one were dropped and counted. `header`: octets of a tunnel header.
        """
        if not all(targets):
            rows = [row for row, target in enumerate(targets) if target]
            if not rows:
                return
            targets = [targets[row] for row in rows]
            addresses = array("Q", [addresses[row] for row in rows])
            lengths = [lengths[row] for row in rows]
        count = len(targets)
        batch.set_destinations(count, memoryview(b"".join(cast("list[bytes]", targets))).cast("Q"))
        change = header if direction is _UP else -header
        batch.set_pieces(count, addresses, memoryview(array("Q", [length + change for length in lengths])))
        self._count(direction, batch.send(fd, count), lengths, header)

    def _count(self, direction: Direction, sent: int, lengths: list[int], header: int) -> None:
        """Count datagrams of these received lengths, of which `sent` went out; octets count without headers."""
        counters, count = self._core.counters, len(lengths)
        octets = sum(lengths)
        if direction is _DOWN:
            octets -= count * header
        if sent < count:
            counters.drops["send_failed"] += count - sent
            octets = octets * sent // count  # which ones failed is not known: their mean length will do
        if direction is _UP:
            counters.packets_to_transceivers += sent
            counters.bytes_to_transceivers += octets
        else:
            counters.packets_to_clients += sent
            counters.bytes_to_clients += octets
