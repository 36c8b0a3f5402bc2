"""The backbone's part of the fast packet loop: columns instead of packets, for IPv4 clients over an IPv4 backbone.

In the memory of a batch a backbone header is two 64-bit words in front of the datagram (the client's key with bit 14,
the route), and with a tag three. Whole batches get their words by strided copies. The tag alone is made and checked
packet by packet, over header and datagram, which lie one behind the other while that is done; then the header moves by
8 octets and the tag takes the place between.

What does not fit here goes to the core, one by one: hellos, bare headers, clients on IPv6 or ICE-TCP, any packet that
is not as expected. So each reason for a drop is defined once.
"""

from __future__ import annotations

import hmac
import socket
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, repeat
from operator import eq
from typing import Final

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.outgoing import MAX_DATAGRAM, Outgoing
from antiphon.relay.core.remote_owner import MARK
from antiphon.relay.core.two_hops import TwoHops, swapped
from antiphon.relay.dataplane.mmsg import Batch
from antiphon.relay.dataplane.segmentation import MAX_BACKBONE_SEGMENT, SEGMENT_FROM, OutgoingMessage, grouped, uniform
from antiphon.schemas.backbone import TAG_BYTES, TAG_FLAG, VERSION
from antiphon.schemas.tunnel import BACKBONE_BIT, IPV4_HEADER, ROUTE_BYTES

_HEADER: Final = IPV4_HEADER + ROUTE_BYTES
_FAMILY: Final = (2 | BACKBONE_BIT).to_bytes(2, "little")
"""An IPv4 client over UDP, and a route."""
_SLOT_AND_EPOCH: Final = 0xFFFFFFFF << 16
"""In a route, read as a little-endian number; at the same place in an owner elsewhere (`remote_owner`)."""
_FLAGS_AT: Final = 15
_TAG_IN_ROUTE: Final = TAG_FLAG << 56
_NO_HOP: Final = bytes(_HEADER)


def count_elsewhere(owners: bytes) -> int:
    """How many of these owners, 8 octets each, are in other clusters."""
    return memoryview(owners).cast("H")[::4].tobytes().count(MARK)


def _lanes(bit: int, size: int) -> list[int]:
    """By number of rows: this bit in each lane of 64 bits."""
    return list(accumulate((bit << 64 * lane for lane in range(size)), initial=0))


class BatchedTwoHops:
    """Moves the rows of the IPv4 batch to and from the backbone. Belongs to a `BatchedPath`, which alone calls it."""

    def __init__(
        self,
        core: RelayCore,
        two_hops: TwoHops,
        batch: Batch,
        sockets: tuple[Mapping[socket.AddressFamily, socket.socket], socket.socket, socket.socket],
        deliver: Callable[[Outgoing], None],
    ) -> None:
        """`sockets`: public ones, tunnel, backbone (on IPv4); `deliver` sends what the core decided one by one."""
        self._core, self._two_hops, self._batch, self._deliver = core, two_hops, batch, deliver
        self._public, tunnel, backbone = sockets
        self._tunnel_fd, self._backbone_fd = tunnel.fileno(), backbone.fileno()
        self._tagged = two_hops.keys.tagged
        self._overhead = two_hops.keys.overhead
        self._opening_key = 0
        self._owner_of = core.flows.owners.get
        self._last_noted = core.flows.last_noted
        self._words = {at: batch.columns("Q", at) for at in (-24, -16, -8, 0, 8, 16)}
        self._families = batch.columns("H", 0)
        self._flags = batch.columns("B", _FLAGS_AT)
        self._ingresses = {at: batch.columns("H", 8 + at) for at in {0, self._overhead}}
        self._rows = [range(n) for n in range(batch.size + 1)]
        self._bits = _lanes(BACKBONE_BIT, batch.size)
        self._without_tag = [(1 << 64 * n) - 1 - tags for n, tags in enumerate(_lanes(_TAG_IN_ROUTE, batch.size))]
        self._addresses = {at: batch.memory_addresses(at) for at in (-24, -16, -8, 0, 8, 16, 24)}
        self._expected_flags = VERSION << 4 | (TAG_FLAG if self._tagged else 0)
        self._noted_batches = 0

    # ---- from clients ----

    def up(self, rows: Sequence[int], keys: list[int], lengths: list[int]) -> None:
        """Send these rows of the batch, of confirmed flows to other clusters. `keys`, `lengths`: of the whole batch."""
        batch, n = self._batch, len(keys)
        next_hops = self._two_hops.next_hops
        if len(rows) == n:
            hops = list(map(next_hops.__getitem__, keys))
        else:
            hops = [_NO_HOP] * n
            for row in rows:
                hops[row] = next_hops[keys[row]]
        if b"" in hops:
            rows = self._one_by_one(rows, hops, keys, lengths)
            hops = [hop or _NO_HOP for hop in hops]
            if not rows:
                return
        ways = memoryview(b"".join(hops)).cast("Q")
        relays, routes = ways[::2], ways[1::2]
        sources = int.from_bytes(batch.sources_of(n).tobytes(), "little") | self._bits[n]
        clients = memoryview(sources.to_bytes(IPV4_HEADER * n, "little")).cast("Q")
        self._words[-16][n][:] = clients
        self._words[-8][n][:] = routes
        begin = -_HEADER
        if self._tagged:
            tags = self._tags(rows, -_HEADER, [lengths[row] + _HEADER for row in rows])
            begin -= TAG_BYTES
            self._words[-24][n][:] = clients
            self._words[-16][n][:] = routes
            self._set_tags(-8, n, rows, tags)
        to = relays.tobytes()
        if len(rows) < n:
            to = array("Q", [relays[row] for row in rows]).tobytes()
            lengths = [lengths[row] for row in rows]
        sent = self._send(self._backbone_fd, n, rows, to, begin, [length - begin for length in lengths])
        self._count_to_relays(sent, lengths)

    def _one_by_one(self, rows: Sequence[int], hops: list[bytes], keys: list[int], lengths: list[int]) -> Sequence[int]:
        """Rows without a relay on IPv4: the core knows why, or the relay's address. Returns the others."""
        for row in rows:
            owner = self._core.flows.confirmed_owner(keys[row])
            if not hops[row] and owner is not None:
                sealed = self._core.backbone.sealed(keys[row], owner, self._batch.datagram(row, lengths[row]))
                if sealed is not None:
                    self._deliver(sealed)
        return [row for row in rows if hops[row]]

    # ---- from transceivers ----

    def rows_with_route(self, n: int, lengths: list[int]) -> Sequence[int]:
        """Of n tunnel packets, the rows that go back to another ingress."""
        families = self._families[n].tobytes()
        if families == _FAMILY * n:
            return self._rows[n]
        bits = families[1::2]
        if not any(each & BACKBONE_BIT >> 8 for each in set(bits)):
            return ()
        return [row for row in self._rows[n] if bits[row] & BACKBONE_BIT >> 8 and lengths[row] > 1]

    def to_ingresses(self, n: int, rows: Sequence[int], sources: list[int], lengths: list[int], now: float) -> None:
        """Send these of the n rows, which have a route, back to their ingress relays.

        To be called last: the memory of the other rows is overwritten.
        """
        routes = self._words[8][n].tolist()
        rows = self._ordinary_answers(n, rows, sources, lengths, now)
        workers = self._two_hops.worker_of_route
        found = list(map(workers.__getitem__, routes if len(rows) == n else [routes[row] for row in rows]))
        if any(len(each) != IPV4_HEADER for each in set(found)):
            odd = [row for row, each in zip(rows, found, strict=True) if len(each) != IPV4_HEADER]
            rows = self._decided(rows, odd, sources, lengths, now)
            found = [each for each in found if len(each) == IPV4_HEADER]
        if not rows:
            return
        begin = 0
        if self._tagged:
            self._words[8][n][:] = memoryview(array("Q", [route | _TAG_IN_ROUTE for route in routes]))
            tags = self._tags(rows, 0, [lengths[row] for row in rows])
            begin = -TAG_BYTES
            self._words[-8][n][:] = self._words[0][n]
            self._words[0][n][:] = self._words[8][n]
            self._set_tags(8, n, rows, tags)
        outgoing = [lengths[row] - begin for row in rows]
        sent = self._send(self._backbone_fd, n, rows, b"".join(found), begin, outgoing)
        self._count_to_relays(sent, [lengths[row] - _HEADER for row in rows])

    def _ordinary_answers(
        self, n: int, rows: Sequence[int], sources: list[int], lengths: list[int], now: float
    ) -> Sequence[int]:
        """Those of the rows that are datagrams of announced transceivers; the core decides about the others here."""
        flags, plain, announced = self._flags[n].tobytes(), VERSION << 4, self._core.announced
        families = self._families[n].tobytes()
        if (
            len(rows) == n
            and families == _FAMILY * n
            and flags == bytes((plain,)) * n
            and announced.issuperset(sources)
            and min(lengths) > _HEADER
            and max(lengths) <= MAX_DATAGRAM + _HEADER
        ):
            return rows
        odd = [
            row
            for row in rows
            if families[2 * row : 2 * row + 2] != _FAMILY
            or not _HEADER < lengths[row] <= MAX_DATAGRAM + _HEADER
            or flags[row] != plain
            or sources[row] not in announced
        ]
        return self._decided(rows, odd, sources, lengths, now)

    def _decided(
        self, rows: Sequence[int], odd: list[int], sources: list[int], lengths: list[int], now: float
    ) -> Sequence[int]:
        """Let the core decide about the odd rows of transceivers; returns the others."""
        for row in odd:
            for each in self._core.backbone.to_ingress(sources[row], self._batch.datagram(row, lengths[row]), now):
                self._deliver(each)
        without = set(odd)
        return [row for row in rows if row not in without] if odd else rows

    # ---- from other relays ----

    def from_backbone(self, now: float) -> bool:
        """Forward a batch of what other relays sent; True if more may be waiting."""
        batch, core = self._batch, self._core
        n = batch.receive(self._backbone_fd)
        if n <= 0:
            return n < 0
        core.counters.batches[n] += 1
        sources, lengths = batch.sources_of(n).tolist(), batch.lengths_of(n)
        rows = self._ordinary(n, sources, lengths, now)
        if rows and self._tagged:
            rows = self._with_good_tags(n, rows, lengths)
        if not rows:
            return n == batch.size
        begin = self._overhead
        routes: list[int] = self._words[8 + begin][n].tolist()
        own = swapped(self._two_hops.ingress) if self._two_hops.ingress else -1
        ingresses: list[int] = self._ingresses[begin][n].tolist()
        if own not in ingresses:
            self._up_to_transceivers(n, rows, sources, lengths, routes, ingresses, now)
        elif ingresses.count(own) == n:
            self._down_to_clients(n, rows, sources, lengths, routes, now)
        else:
            here = [row for row in rows if ingresses[row] == own]
            away = [row for row in rows if ingresses[row] != own]
            if here:
                self._down_to_clients(n, here, sources, lengths, routes, now)
            if away:
                self._up_to_transceivers(n, away, sources, lengths, routes, ingresses, now)
        return n == batch.size

    def _ordinary(self, n: int, sources: list[int], lengths: list[int], now: float) -> Sequence[int]:
        """The rows of announced relays with a datagram of an IPv4 client; the core decides about the others here."""
        families, flags = self._families[n].tobytes(), self._flags[n].tobytes()
        shortest, longest = _HEADER + self._overhead, MAX_DATAGRAM + _HEADER + self._overhead
        announced = self._two_hops.table.relay_at
        if (
            families == _FAMILY * n
            and flags == bytes((self._expected_flags,)) * n
            and min(lengths) > shortest
            and max(lengths) <= longest
            and announced.keys() >= set(sources)
        ):
            return self._rows[n]
        rows = []
        for row in self._rows[n]:
            if (
                shortest < lengths[row] <= longest
                and families[2 * row : 2 * row + 2] == _FAMILY
                and flags[row] == self._expected_flags
                and sources[row] in announced
            ):
                rows.append(row)
            else:
                for each in self._core.backbone.received(sources[row], self._batch.datagram(row, lengths[row]), now):
                    self._deliver(each)
        return rows

    def _with_good_tags(self, n: int, rows: Sequence[int], lengths: list[int]) -> Sequence[int]:
        """The rows whose tag is that of a live key. Their headers stand 8 octets further back then."""
        found = self._words[16][n].tolist()
        self._words[16][n][:] = self._words[8][n]
        self._words[8][n][:] = self._words[0][n]
        parts = self._batch.parts(rows, TAG_BYTES, [lengths[row] - TAG_BYTES for row in rows])
        keys = self._two_hops.keys
        tags = array("Q", [found[row] for row in rows]).tobytes()
        self._opening_key = min(self._opening_key, keys.live - 1)  # there were two
        made = keys.tags(parts, self._opening_key)
        if not hmac.compare_digest(b"".join(made), tags):
            rows = self._opened_by_any(rows, parts, tags, made)
        flags = int.from_bytes(self._words[16][n].tobytes(), "little")
        clear = (flags & self._without_tag[n]).to_bytes(8 * n, "little")
        self._words[16][n][:] = memoryview(clear).cast("Q")
        return rows

    def _opened_by_any(
        self, rows: Sequence[int], parts: list[memoryview], tags: bytes, made: list[bytes]
    ) -> Sequence[int]:
        """Not all tags are of the key that was tried: try the other one, if there is one, and drop what no key made."""
        keys = self._two_hops.keys
        expected = [tags[at : at + TAG_BYTES] for at in range(0, len(tags), TAG_BYTES)]
        good = [hmac.compare_digest(each, tag) for each, tag in zip(made, expected, strict=True)]
        for key in range(keys.live):
            if key == self._opening_key or all(good):
                continue
            rest = [number for number, fine in enumerate(good) if not fine]
            other = keys.tags([parts[number] for number in rest], key)
            opened = [
                number for number, tag in zip(rest, other, strict=True) if hmac.compare_digest(tag, expected[number])
            ]
            for number in opened:
                good[number] = True
            if len(opened) > len(rows) // 2:
                self._opening_key = key  # the relays seal with this one by now
        self._core.counters.drops["bad_backbone_packet"] += good.count(False)
        return [row for row, fine in zip(rows, good, strict=True) if fine]

    def _up_to_transceivers(
        self,
        n: int,
        rows: Sequence[int],
        sources: list[int],
        lengths: list[int],
        routes: list[int],
        ingresses: list[int],
        now: float,
    ) -> None:
        ingress_of = self._two_hops.ingress_of_source.get
        find = self._two_hops.transceiver_of_route
        if len(rows) == n:
            found = list(map(find.__getitem__, routes))
            fits = list(map(eq, map(ingress_of, sources), ingresses))
        else:
            found = [find[routes[row]] for row in rows]
            fits = [ingress_of(sources[row]) == ingresses[row] for row in rows]
        if False in fits or any(len(each) != IPV4_HEADER for each in set(found)):
            good = [fit and len(each) == IPV4_HEADER for fit, each in zip(fits, found, strict=True)]
            odd = [row for row, fine in zip(rows, good, strict=True) if not fine]
            found = [each for each, fine in zip(found, good, strict=True) if fine]
            rows = self._opened_one_by_one(rows, odd, sources, lengths, now)
            if not rows:
                return
        begin = self._overhead
        outgoing = [lengths[row] - begin for row in rows]
        sent = self._send(self._tunnel_fd, n, rows, b"".join(found), begin, outgoing)
        counters = self._core.counters
        octets = sum(outgoing) - _HEADER * len(rows)
        if sent < len(rows):
            counters.drops["send_failed"] += len(rows) - sent
            octets = octets * sent // len(rows)
        counters.packets_to_transceivers += sent
        counters.bytes_to_transceivers += octets

    def _down_to_clients(
        self, n: int, rows: Sequence[int], sources: list[int], lengths: list[int], routes: list[int], now: float
    ) -> None:
        begin = self._overhead
        lane_of = self._two_hops.lane_of_source.get
        words = self._words[begin][n].tolist()
        keys = [words[row] ^ BACKBONE_BIT for row in rows]
        expected = [lane_of(sources[row], 0) | routes[row] & _SLOT_AND_EPOCH for row in rows]
        owners = list(map(self._owner_of, keys))
        public = self._public.get(socket.AF_INET)
        try:
            found = memoryview(b"".join(owners)).cast("Q").tolist()  # type: ignore[arg-type]  # None is looked for
        except TypeError:
            found = []
        if found != expected or public is None:
            odd: list[int] = []
            fine: list[int] = []
            for row, owner, lane in zip(rows, owners, expected, strict=True):
                known = owner is not None and int.from_bytes(owner, "little") == lane and public is not None
                (fine if known else odd).append(row)
            rows = self._opened_one_by_one(rows, odd, sources, lengths, now)
            if not rows or public is None:
                return
            keys = [words[row] ^ BACKBONE_BIT for row in rows]
        # Under load one batch in eight is enough: a live flow is in hundreds of them.
        if self._core.flows.noting(now) and (n < self._batch.size or not self._noted_batches % 8):
            self._last_noted.update(zip(keys, repeat(now)))
        self._noted_batches += 1
        self._send_down(public.fileno(), rows, keys, [lengths[row] - begin - _HEADER for row in rows])

    def _send_down(self, fd: int, rows: Sequence[int], keys: list[int], lengths: list[int]) -> None:
        batch, counters, count = self._batch, self._core.counters, len(rows)
        addresses = self._addresses[_HEADER + self._overhead]
        if rows != self._rows[count]:
            addresses = array("Q", map(addresses.__getitem__, rows))
        batch.set_destinations(count, memoryview(array("Q", keys)))
        batch.set_pieces(count, addresses, memoryview(array("Q", lengths)))
        sent = batch.send(fd, count)
        octets = sum(lengths)
        if sent < count:
            counters.drops["send_failed"] += count - sent
            octets = octets * sent // count
        counters.packets_to_clients += sent
        counters.bytes_to_clients += octets

    def _opened_one_by_one(
        self, rows: Sequence[int], odd: list[int], sources: list[int], lengths: list[int], now: float
    ) -> Sequence[int]:
        """Let the core decide about the odd rows, whose tags are good; returns the others."""
        begin = self._overhead
        for row in odd:
            (packet,) = self._batch.parts((row,), begin, (lengths[row] - begin,))
            for each in self._core.backbone.opened(sources[row], bytes(packet[:_HEADER]), packet[_HEADER:], now):
                self._deliver(each)
        without = set(odd)
        return [row for row in rows if row not in without] if odd else rows

    # ---- tags, and what is sent ----

    def _tags(self, rows: Sequence[int], begin: int, lengths: list[int]) -> list[bytes]:
        """The tags of these rows' headers, which begin there, with the datagrams behind them."""
        return self._two_hops.keys.tags(self._batch.parts(rows, begin, lengths))

    def _set_tags(self, at: int, n: int, rows: Sequence[int], tags: list[bytes]) -> None:
        if len(rows) == n:
            self._words[at][n][:] = memoryview(b"".join(tags)).cast("Q")
            return
        column = self._words[at][n]
        for row, tag in zip(rows, memoryview(b"".join(tags)).cast("Q").tolist(), strict=True):
            column[row] = tag

    def _send(self, fd: int, n: int, rows: Sequence[int], to: bytes, begin: int, lengths: list[int]) -> int:
        """Send these rows' memory from octet `begin` on, where the client's word is; how many went.

        `to`, 8 octets each, and `lengths`, of what is sent: of these rows; `n`: rows of the batch.
        """
        batch, count = self._batch, len(rows)
        addresses = self._addresses[begin]
        whole = rows == self._rows[n]
        if not whole:
            addresses = array("Q", map(addresses.__getitem__, rows))
        messages: list[OutgoingMessage] = []
        longest = max(lengths)
        if count >= SEGMENT_FROM and batch.segments and longest <= MAX_BACKBONE_SEGMENT:
            one = to == to[:IPV4_HEADER] * count
            if one and min(lengths) == longest:
                messages = uniform(count, longest)
            else:
                clients: list[int] = self._words[begin][n].tolist()
                if len(set(clients if whole else [clients[row] for row in rows])) == count:
                    # Otherwise packets of one client would overtake each other.
                    targets: list[int] = memoryview(to).cast("Q").tolist()
                    order, messages = grouped(None if one else targets, lengths)
                    to = array("Q", map(targets.__getitem__, order)).tobytes()
                    lengths = list(map(lengths.__getitem__, order))
                    addresses = array("Q", map(addresses.__getitem__, order))
        batch.set_destinations(count, memoryview(to).cast("Q"))
        batch.set_pieces(count, addresses, memoryview(array("Q", lengths)))
        sent = batch.segment(fd, messages) if messages else 0
        return sent + batch.send(fd, count, sent) if sent < count else sent

    def _count_to_relays(self, sent: int, lengths: list[int]) -> None:
        counters, octets = self._core.counters, sum(lengths)
        if sent < len(lengths):
            counters.drops["send_failed"] += len(lengths) - sent
            octets = octets * sent // len(lengths)
        counters.packets_to_relays += sent
        counters.bytes_to_relays += octets
