"""The announced relays that have a backbone: by address, by ingress number and by cluster.

Two relays with one ingress number can't both be answered: replies go to the first one by (ready, name), and packets of
the other one are dropped by the cluster's relays, which shows in their counters as `ingress_conflict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

MAX_RELAYS: Final = 1024
MAX_ADDRESSES: Final = 4096
"""Of all relays together; each costs a hello per second and worker."""


_FAMILY: Final = 0xFFFF


class Relay(NamedTuple):
    """What is announced about one relay. A value."""

    cluster: int | None
    """The cluster whose transceivers it serves; None: it has none of its own."""
    name: str
    ingress: int
    """Its number in backbone headers; 0: none."""
    ready: bool
    """Not draining."""
    addresses: tuple[int, ...]
    """One per worker, in their order, as keys (see `flow_key`)."""


class BackboneTable:
    """A snapshot of the announced relays, never changed. Made by `TwoHops` for each new table, on the worker's thread.

    When there are more than `MAX_RELAYS` or `MAX_ADDRESSES`, the last ones by name are left out. An address that two
    relays announce is the first one's.
    """

    def __init__(self, relays: Iterable[Relay] = (), own_address: int | None = None) -> None:
        """`own_address`: of this worker; the relay that announces it is this one, and no destination. Relays on the
        other IP family can't be reached from it, and are left out."""
        self.relays: list[Relay] = []
        self.relay_at: dict[int, Relay] = {}
        """Backbone address -> the relay that announces it: packets from any other address are dropped."""
        self._by_ingress: dict[int, Relay] = {}
        self._workers: dict[int, tuple[int, ...]] = {}
        self._of_cluster: dict[int, list[Relay]] = {}
        room = MAX_ADDRESSES
        for relay in sorted(relays, key=lambda each: (not each.ready, each.name)):
            addresses = tuple(each for each in relay.addresses if each not in self.relay_at)
            if own_address in relay.addresses or not addresses:
                continue
            if own_address is not None and any((each ^ own_address) & _FAMILY for each in addresses):
                continue
            if len(self.relays) >= MAX_RELAYS or len(addresses) > room:
                continue
            room -= len(addresses)
            if addresses != relay.addresses:
                relay = relay._replace(addresses=addresses)
            self.relays.append(relay)
            self.relay_at.update(dict.fromkeys(addresses, relay))
            if relay.ingress:
                holder = self._by_ingress.setdefault(relay.ingress, relay)
                if holder.name == relay.name:  # two processes of it, while one takes over
                    self._workers[relay.ingress] = (*self._workers.get(relay.ingress, ()), *addresses)
            if relay.cluster is not None:
                self._of_cluster.setdefault(relay.cluster, []).append(relay)

    @property
    def clusters(self) -> Mapping[int, list[Relay]]:
        """The relays of each cluster that has any."""
        return self._of_cluster

    def cluster_of(self, address: int) -> int | None:
        """The cluster of the relay that announces this address."""
        relay = self.relay_at.get(address)
        return relay.cluster if relay is not None else None

    def ingress(self, number: int) -> Relay | None:
        """The relay with this ingress number: where its clients' packets go to."""
        return self._by_ingress.get(number)

    def workers(self, number: int) -> tuple[int, ...]:
        """The addresses of all workers of the relay with this ingress number, of both processes if one takes over."""
        return self._workers.get(number, ())
