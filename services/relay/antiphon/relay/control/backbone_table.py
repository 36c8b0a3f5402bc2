"""Which relays of other clusters are announced: from announcements on NATS to the table that the workers send by.

As with routes, an announcement counts for 5 s after it was received, and while NATS is away none expires.

Where two announcements do not go together, the one that is known keeps what both want, until it expires:

    two relays announce one backbone address     the second is left out
    two relays announce one ingress number       the second is in the table without a number: its callers get no answer
    two processes announce one name              a new one takes over from an old one: both may send, packets go to the
                                                 new one as soon as it has the public port
    an announcement of our own backbone address  is left out
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas.addresses import parse_address
from antiphon.schemas.messages import RelayAnnouncement

log = logging.getLogger(__name__)

MAX_RELAYS: Final = 1024
MAX_ADDRESSES: Final = 4096
"""Of all relays: each worker says hello to each of them once a second."""
MAX_PROCESSES: Final = 2
"""Of one relay: one that takes over and one that is taken over."""
MAX_WARNINGS: Final = 100

Row = tuple[int | None, str, int, str, list[str]]
"""Cluster, name, ingress number, state, addresses: as `ipc.Backbone` has it."""


@dataclass(slots=True)
class _Process:
    addresses: tuple[str, ...]
    renewed: float
    cluster: int | None
    ingress: int
    state: str
    taking_over: bool

    def takes(self, announcement: RelayAnnouncement) -> bool:
        """Update it from an announcement with the same addresses; True if that changes the table."""
        before = self.cluster, self.ingress, self.state, self.taking_over
        self.cluster, self.ingress = announcement.cluster, announcement.ingress
        self.state, self.taking_over = announcement.state, announcement.taking_over
        return before != (self.cluster, self.ingress, self.state, self.taking_over)


@dataclass(slots=True)
class _Relay:
    processes: list[_Process] = field(default_factory=list)
    """The oldest first."""

    def serving(self) -> _Process:
        """The process that packets go to: the newest one that has the public port."""
        return next((each for each in reversed(self.processes) if not each.taking_over), self.processes[-1])


class BackboneTable:
    """The relays of other clusters by name, at most `MAX_RELAYS` with `MAX_ADDRESSES`; when full, others are left out.

    Relays of the own cluster are left out: nothing goes to them over the backbone, and nothing comes from them.

    Belongs to the control process's `BackboneClient`, which alone calls it, on its event loop.
    """

    def __init__(self, name: str, cluster: int | None, own_addresses: Collection[str], ipv6: bool = False) -> None:
        """`cluster`: the own one, None for none. `ipv6`: the family of the own backbone sockets."""
        self._name = name
        self._cluster = cluster
        self._own_addresses = frozenset(own_addresses)
        self._ipv6 = ipv6
        self._relays: dict[str, _Relay] = {}
        self._bus_away_until = float("-inf")
        self._warned: set[str] = set()

    def set_own_addresses(self, addresses: Collection[str]) -> None:
        """The IP that others see is known only when NATS is connected."""
        self._own_addresses = frozenset(addresses)

    def update(self, announcement: RelayAnnouncement, now: float) -> bool:
        """Take in an announcement; True if it changes the table."""
        name, addresses = announcement.name, tuple(announcement.backbone_addresses)
        of_own_cluster = self._cluster is not None and announcement.cluster == self._cluster
        if name == self._name or not addresses or of_own_cluster:
            return False
        relay = self._relays.get(name)
        for process in relay.processes if relay is not None else ():
            if process.addresses == addresses:
                process.renewed = now
                return process.takes(announcement)
        if (reason := self._refusal(name, addresses)) is not None:
            self._warn_once(f"relay {name:.64} is left out: {reason}")
            return False
        if relay is None:
            relay = self._relays[name] = _Relay()
        # Another number of workers on the same ports is the same process place; so is a third process.
        relay.processes = [each for each in relay.processes if set(addresses).isdisjoint(each.addresses)]
        del relay.processes[: len(relay.processes) + 1 - MAX_PROCESSES]
        new = _Process(addresses, now, None, 0, "", False)
        new.takes(announcement)
        relay.processes.append(new)
        return True

    def _refusal(self, name: str, addresses: Sequence[str]) -> str | None:
        """Why these addresses can't be used."""
        for text in addresses:
            host = parse_address(text).host
            if (":" in host) != self._ipv6:
                return (
                    f"it announces backbone address {text}, but ours is {'IPv6' if self._ipv6 else 'IPv4'}: set "
                    "ANTIPHON_RELAY_BACKBONE_BIND so that all relays are of one family"
                )
            parsed = ipaddress.ip_address(host)
            if parsed.is_unspecified or parsed.is_multicast:
                return f"nothing can be sent to backbone address {text}: set its ANTIPHON_RELAY_BACKBONE_ADVERTISE"
            if text in self._own_addresses:
                return f"it announces our backbone address {text}: set ANTIPHON_RELAY_BACKBONE_ADVERTISE of each relay"
        if len(set(addresses)) != len(addresses):
            return "it announces a backbone address twice"
        wanted = set(addresses)
        for other, relay in self._relays.items():
            if other != name and not all(wanted.isdisjoint(process.addresses) for process in relay.processes):
                return f"relay {other:.64} has announced a backbone address of it before"
        held = sum(len(process.addresses) for relay in self._relays.values() for process in relay.processes)
        if (name not in self._relays and len(self._relays) >= MAX_RELAYS) or held + len(addresses) > MAX_ADDRESSES:
            return f"more than {MAX_RELAYS} relays or {MAX_ADDRESSES} backbone addresses are announced"
        return None

    def restore(self, rows: Iterable[Row], now: float) -> None:
        """Begin with what was announced when this relay last ran; it expires like everything else."""
        for cluster, name, ingress, state, addresses in rows:
            relay = self._relays.setdefault(name, _Relay())
            relay.processes.append(_Process(tuple(addresses), now, cluster, ingress, state, False))

    def expire(self, now: float, bus_alive: bool) -> bool:
        """Drop what was not renewed; True if this changes the table."""
        if not bus_alive:
            self._bus_away_until = now
            return False
        deadline = now - ANNOUNCE_TTL
        if self._bus_away_until > deadline:
            return False
        changed = False
        for name, relay in list(self._relays.items()):
            kept = [each for each in relay.processes if each.renewed > deadline]
            changed |= len(kept) < len(relay.processes)
            relay.processes = kept
            if not kept:
                del self._relays[name]
        return changed

    def rows(self, own_ingress: int) -> list[Row]:
        """What the workers send by. Of two processes of a relay the one that packets go to is the last."""
        holders = {own_ingress: self._name} if own_ingress else {}
        rows: list[Row] = []
        for name, relay in self._relays.items():
            serving = relay.serving()
            for process in sorted(relay.processes, key=lambda each: each is serving):
                ingress = process.ingress
                if ingress and holders.setdefault(ingress, name) != name:
                    self._warn_once(
                        f"relay {name:.64} announces ingress number {ingress} of relay {holders[ingress]:.64}: it gets "
                        "no packets for its callers from here until one of the two has another ANTIPHON_RELAY_INGRESS"
                    )
                    ingress = 0
                state = process.state if process is serving else "draining"
                rows.append((process.cluster, name, ingress, state, list(process.addresses)))
        return rows

    def ingress_numbers(self) -> set[int]:
        """The numbers that are announced."""
        return {process.ingress for relay in self._relays.values() for process in relay.processes}

    def _warn_once(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(text)
            log.warning("%s", text)
