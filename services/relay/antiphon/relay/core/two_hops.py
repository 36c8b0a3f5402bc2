"""The backbone as one worker knows it: other relays, how clients are spread over them, packets' headers and tags.

Two roles, of the same relay for different calls:

- ingress: clients whose transceiver is in another cluster. `way_to` chooses one of that cluster's relays;
- relay of a cluster: packets between other ingress relays and the transceivers here. Nothing is kept about a call:
  the header has the whole way, and the tables here say only which slot and which ingress is at which address.

What needs the flow table is in `core`. No socket, no clock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from antiphon.relay.core.backbone_hellos import BackboneHellos, usable
from antiphon.relay.core.backbone_table import BackboneTable, Relay
from antiphon.relay.core.flow_key import header_of, key_of_header
from antiphon.relay.core.remote_owner import Identity, identity_of, owner_elsewhere
from antiphon.schemas import backbone, tunnel
from antiphon.schemas.backbone import BackboneKeys, Hello

BUCKETS: Final = 4096
"""Clients are spread by this many shares: a relay that is out gives its own to all others alike."""
MAX_CACHED: Final = 1 << 16
"""Ways that are remembered; when full they are found anew. An announced relay could name any slot."""
ASKED_EVERY_SECONDS: Final = 0.25
"""A cluster's transceivers are asked for the clients of one ingress no more often, however many workers ask."""

_ROUTE: Final = struct.Struct(">HHHBB")
_FLAGS: Final = backbone.VERSION << 4
NOWHERE: Final = b""
"""In place of an address: no relay, or no transceiver, is known for this packet."""


def swapped(number: int) -> int:
    """A big-endian 16-bit field of a header as a little-endian number holds it."""
    return int.from_bytes(number.to_bytes(2, "big"), "little")


class TwoHopsSettings(NamedTuple):
    """What a worker is told once about the backbone."""

    ingress: int
    """0: no number, or none yet."""
    cluster: int | None
    worker: int
    keys: BackboneKeys
    own_address: int | None = None
    """Of the worker's backbone socket, where that is known."""


class TransceiversByRoute(dict[int, bytes]):
    """Route (the last 8 octets of a header without tag, as a little-endian number) -> transceiver, or `NOWHERE`.

    A packet loop looks whole columns up in it. Belongs to `TwoHops`.
    """

    def __init__(self, of_slot: Mapping[tuple[int, int], int]) -> None:
        """`of_slot`: (slot, epoch) in the own cluster -> tunnel address. The owner clears this when that changes."""
        super().__init__()
        self._of_slot = of_slot

    def __missing__(self, route: int) -> bytes:
        _, slot, epoch, _, flags = _ROUTE.unpack(route.to_bytes(8, "little"))
        address = self._of_slot.get((slot, epoch))
        if address is None or flags != _FLAGS:
            return NOWHERE
        if len(self) >= MAX_CACHED:
            self.clear()
        found = self[route] = header_of(address)
        return found


class WorkersByRoute(dict[int, bytes]):
    """Route (as above) -> backbone address of that ingress's worker, or `NOWHERE`. Belongs to `TwoHops`."""

    def __init__(self, two_hops: TwoHops) -> None:
        super().__init__()
        self._two_hops = two_hops

    def __missing__(self, route: int) -> bytes:
        ingress, _, _, worker, flags = _ROUTE.unpack(route.to_bytes(8, "little"))
        address = self._two_hops.worker_of(ingress, worker)
        if address is None or flags != _FLAGS:
            return NOWHERE
        if len(self) >= MAX_CACHED:
            self.clear()
        found = self[route] = header_of(address)
        return found


class NextHops(dict[int, bytes]):
    """Client of another cluster -> where its packets go to and behind what: relay's address (8 octets), route (8).

    A packet loop looks whole columns up in it, for clients in `owners`, the confirmed ones; `NOWHERE` stands for no
    relay, and for one on IPv6. The flow table removes an entry with the flow, or when the owner is another one.
    Belongs to `TwoHops`.
    """

    def __init__(self, two_hops: TwoHops, owners: Mapping[int, bytes]) -> None:
        super().__init__()
        self._two_hops = two_hops
        self._owners = owners

    def __missing__(self, client: int) -> bytes:
        way = self._two_hops.way_to(client, key_of_header(self._owners[client]))
        if way is None:
            return NOWHERE
        relay = header_of(way[0])
        if len(relay) != tunnel.IPV4_HEADER:
            return NOWHERE
        found = self[client] = relay + way[1]
        return found


class TwoHops:
    """Belongs to a worker's `RelayCore` and lives as long; the core and the packet loop use it, on the one thread."""

    def __init__(self, settings: TwoHopsSettings, learning: bool, owners: Mapping[int, bytes]) -> None:
        """`learning`: bare headers of clusters make flows known, and clusters are asked for them; `owners`: confirmed
        ones of the flow table."""
        self.keys = settings.keys
        self.cluster = settings.cluster
        self.ingress = settings.ingress
        self.table = BackboneTable()
        self.hellos = BackboneHellos(learning, self.relay_for)
        self._of_slot: dict[tuple[int, int], int] = {}
        self.transceiver_of_route = TransceiversByRoute(self._of_slot)
        self.worker_of_route = WorkersByRoute(self)
        self.ingress_of_source: dict[int, int] = {}
        """Backbone address -> its relay's ingress number, swapped; without those that lost it to another relay."""
        self.lane_of_source: dict[int, int] = {}
        """Backbone address -> an owner in its relay's cluster without slot and epoch (see `remote_owner`)."""
        self.next_hops = NextHops(self, owners)
        self._worker = settings.worker
        self._own_address = settings.own_address
        self._chosen: dict[tuple[int, int], int | None] = {}
        self._asked: dict[int, float] = {}
        self._questions: list[int] = []

    # ---- tables ----

    def set_relays(self, relays: Iterable[Relay], now: float) -> None:
        """These relays are announced, and no others."""
        self.table = BackboneTable(relays, self._own_address)
        at = self.table.relay_at
        self.ingress_of_source.clear()
        self.ingress_of_source.update(
            (address, swapped(relay.ingress))
            for address, relay in at.items()
            if relay.ingress and self.has_number(relay)
        )
        self.lane_of_source.clear()
        self.lane_of_source.update(
            (address, owner_elsewhere((relay.cluster, 0, 0)))
            for address, relay in at.items()
            if relay.cluster is not None
        )
        elsewhere = {
            address: cluster
            for cluster, members in self.table.clusters.items()
            if cluster != self.cluster
            for relay in members
            for address in relay.addresses
        }
        self.hellos.set_addresses(elsewhere, now)
        self._asked = {ingress: when for ingress, when in self._asked.items() if self.table.ingress(ingress)}
        self.relays_changed()

    def has_number(self, relay: Relay) -> bool:
        """Whether its ingress number is its own; two processes of a relay share it while one takes over."""
        holder = self.table.ingress(relay.ingress)
        return holder is not None and holder.name == relay.name

    def set_keys(self, keys: BackboneKeys) -> None:
        """These keys are live from now on, and no others. Tags can't be turned on or off in a running relay."""
        if keys.tagged == self.keys.tagged:
            self.keys = keys

    def relays_changed(self) -> None:
        """A relay is out, or takes packets again, or the table is another one: ways are chosen anew."""
        self._chosen.clear()
        self.worker_of_route.clear()
        self.next_hops.clear()

    def set_ingress(self, number: int) -> None:
        """The relay's own number is this from now on; 0: none."""
        self.ingress = number
        self.next_hops.clear()

    def set_transceivers(self, routes: Mapping[Identity, int]) -> None:
        """The transceivers that are announced here. Without an own cluster, a slot of two clusters is nobody's."""
        of_slot: dict[tuple[int, int], int] = {}
        twice: set[tuple[int, int]] = set()
        for (cluster, slot, epoch), address in routes.items():
            if self.cluster is None and (slot, epoch) in of_slot:
                twice.add((slot, epoch))
            elif self.cluster is None or cluster == self.cluster:
                of_slot[slot, epoch] = address
        self.transceiver_of_route.clear()
        self._of_slot.clear()
        self._of_slot.update((slot, at) for slot, at in of_slot.items() if slot not in twice)

    # ---- ingress ----

    def reaches(self, cluster: int) -> bool:
        """Whether clients of that cluster may enter here: it has a relay, and this one has an ingress number."""
        return bool(self.ingress) and cluster in self.table.clusters

    def relay_for(self, cluster: int, bucket: int) -> int | None:
        """The address that takes this share of a cluster's clients (rendezvous hashing); None if there is no relay.

        When an address is out, only its own share moves, and comes back with it.
        """
        key = cluster, bucket
        if key not in self._chosen:
            members = self.table.clusters.get(cluster, [])
            ready = [address for relay in members if relay.ready for address in relay.addresses]
            draining = [address for relay in members if not relay.ready for address in relay.addresses]
            addresses = usable(ready, draining, self.hellos.is_answering)
            best = max(addresses, key=lambda address: hash((bucket, address)), default=None)
            if len(self._chosen) >= MAX_CACHED:
                self._chosen.clear()
            self._chosen[key] = best
        return self._chosen[key]

    def way_to(self, client: int, owner: int) -> tuple[int, bytes] | None:
        """(relay, route of the header, with the flag of the tag) for a client of an owner elsewhere; None: no relay."""
        cluster, slot, epoch = identity_of(owner)
        if not self.ingress or cluster == self.cluster:
            return None
        relay = self.relay_for(cluster, hash((client, 1)) % BUCKETS)
        if relay is None:
            return None
        tcp = backbone.TCP_FLAG if client & tunnel.TCP_BIT else 0
        flags = _FLAGS | tcp | (backbone.TAG_FLAG if self.keys.tagged else 0)
        return relay, _ROUTE.pack(self.ingress, slot, epoch, self._worker, flags)

    def sealed(self, client: int, route: bytes, datagram: bytes | memoryview) -> bytes:
        """The packet of a client for the relay; `route` as `way_to` gives it."""
        return self.keys.seal(header_with_route(client, route), datagram)

    # ---- relay of a cluster ----

    def transceiver_of(self, slot: int, epoch: int) -> int | None:
        """The tunnel address of a transceiver of the own cluster."""
        return self._of_slot.get((slot, epoch))

    def worker_of(self, ingress: int, worker: int) -> int | None:
        """Where a packet for this ingress goes to; None if it is not announced, or is this relay."""
        relay = self.table.ingress(ingress) if ingress != self.ingress else None
        return relay.addresses[worker % len(relay.addresses)] if relay is not None else None

    def workers_of(self, ingress: int) -> tuple[int, ...]:
        """All workers of an ingress."""
        return self.table.workers(ingress) if ingress != self.ingress else ()

    def asked_for(self, ingress: int, now: float) -> None:
        """An ingress asks for its clients: the transceivers here are asked, at `take_questions`."""
        if now - self._asked.get(ingress, float("-inf")) >= ASKED_EVERY_SECONDS:
            self._asked[ingress] = now
            self._questions.append(ingress)

    def take_questions(self) -> list[tuple[int, bytes]]:
        """(transceiver, packet) each: "tell me your clients that entered by this ingress"."""
        questions, self._questions = self._questions, []
        owners = set(self._of_slot.values())
        return [(owner, tunnel.hello_for(ingress)) for ingress in questions for owner in owners]

    # ---- hellos ----

    def due_hellos(self, now: float) -> list[tuple[int, bytes]]:
        """(address, packet) of the hellos to be sent now."""
        due, changed = self.hellos.due(self.ingress, now)
        if changed:
            self.relays_changed()
        return [(each.address, self.keys.seal_hello(each.hello)) for each in due]

    def on_hello(self, source: int, hello: Hello, now: float) -> bytes | None:
        """What `source`, an announced relay, gets in return."""
        if hello.kind == backbone.ANSWER:
            if self.hellos.answered(source, hello.stamp, now):
                self.relays_changed()
            return None
        relay = self.table.relay_at.get(source)
        if hello.asks_clients and relay is not None and relay.ingress == hello.ingress and hello.ingress:
            self.asked_for(hello.ingress, now)
        return self.keys.seal_hello(hello._replace(kind=backbone.ANSWER))

    def failed(self, address: int, now: float) -> None:
        """The network reports that nothing takes packets at this address."""
        if self.hellos.failed(address, now):
            self.relays_changed()

    def round_trips(self) -> tuple[dict[int, float], list[str]]:
        """(cluster -> milliseconds to its nearest relay, names of relays of which no address answers)."""
        nearest = {cluster: round(seconds * 1000, 3) for cluster, seconds in self.hellos.nearest().items()}
        out = {
            relay.name
            for cluster, members in self.table.clusters.items()
            if cluster != self.cluster
            for relay in members
            if self.hellos.all_out(relay.addresses)
        }
        return nearest, sorted(out)


def header_with_route(client: int, route: bytes) -> bytes:
    """The backbone header of a client, without a tag and its flag."""
    header = header_of(client)
    flags = route[-1] & ~backbone.TAG_FLAG
    return header[:1] + bytes((header[1] | backbone.BACKBONE_BIT >> 8,)) + header[2:] + route[:-1] + bytes((flags,))
