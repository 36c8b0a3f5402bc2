"""The relay's decisions: where does this packet go, if anywhere? No socket, no clock, no log.

What it promises, whatever it is given:
- a client's packet goes to an announced transceiver or nowhere;
- a flow begins with a token that opens, is of this day and names an announced transceiver of that epoch, or
  with a packet of an announced transceiver;
- a client is sent only what its flow's own transceiver sent for it; the relay says nothing of its own.

The packet loops ask `from_client` and `from_tunnel` about what is out of the ordinary, and look up the rest in
`flows.confirmed` themselves, by whole batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from antiphon.relay import stun
from antiphon.relay.flow_key import header_of, key_in_tunnel_packet
from antiphon.relay.flows import FlowTable
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.route_token import RouteKeyring, age_in_hours

Identity = tuple[int, int, int]
"""(cluster, slot, epoch): a transceiver's incarnation, as a token names it."""

MAX_DATAGRAM: Final = 1500
"""Bytes of a client's datagram: more does not come through the internet in one piece."""
MAX_TOKEN_AGE_HOURS: Final = 24
MAX_TOKEN_LEAD_HOURS: Final = 1
"""Clocks differ: a token may be this much from the future."""
IDLE_SWEEP_SECONDS: Final = 5.0
HELLO_AFTER: Final = (0.0, 0.3, 1.2, 2.5)
"""Seconds after which a new transceiver is asked for its clients. More than once, because UDP loses and
because the transceiver ignores a relay whose announcement it has not read yet."""


@dataclass(slots=True)
class Counters:
    """What went through, and what did not."""

    packets_to_transceivers: int = 0
    bytes_to_transceivers: int = 0
    packets_to_clients: int = 0
    bytes_to_clients: int = 0
    hellos_sent: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    """By reason; the reasons are listed in docs/relay.md."""


class RelayCore:
    """One worker's flows and routes.

    `now` is a monotonic clock in seconds, `unix_time` the wall clock: tokens carry the hour they were minted.
    """

    def __init__(self, keyring: RouteKeyring, max_flows: int, unix_time: float) -> None:
        self.flows = FlowTable(max_flows)
        self.counters = Counters()
        self._keyring = keyring
        self._unix_time = unix_time
        self._routes: dict[Identity, int] = {}
        self._announced: frozenset[int] = frozenset()
        self._hellos: list[tuple[float, int]] = []
        self._next_idle_sweep = 0.0

    @property
    def routes(self) -> int:
        """How many transceivers are announced."""
        return len(self._routes)

    def from_client(self, client: int, datagram: bytes | memoryview, now: float) -> int | None:
        """The owner that gets this datagram of `client`; None if it is dropped (and counted)."""
        if not 0 < len(datagram) <= MAX_DATAGRAM:
            return self._drop("bad_length")
        if stun.is_binding_request(datagram):
            return self._from_binding_request(client, datagram, now)
        owner = self.flows.owner_of(client)
        return owner if owner is not None else self._drop("unknown_client")

    def _from_binding_request(self, client: int, request: bytes | memoryview, now: float) -> int | None:
        """The token wins over the table: a client that moves to another transceiver says so here."""
        confirmed = self.flows.confirmed.get(client)
        ufrag = stun.addressed_ufrag(request)
        if ufrag is None:
            return confirmed if confirmed is not None else self._drop("no_token")
        try:
            token = self._keyring.open(ufrag)
        except MalformedError:
            # A call may outlive the key that sealed its token: its flow goes on, a new one is not made.
            return confirmed if confirmed is not None else self._drop("forged_token")
        owner = self._routes.get(token[:3])
        if owner is None:
            return self._drop("no_route")
        if owner == confirmed:
            return owner
        if not -MAX_TOKEN_LEAD_HOURS <= age_in_hours(token, self._unix_time) <= MAX_TOKEN_AGE_HOURS:
            return self._drop("expired_token")
        if not self.flows.open(client, owner, now):
            return self._drop("table_full")
        return owner

    def from_tunnel(self, source: int, packet: bytes | memoryview, now: float) -> int | None:
        """The client that gets this tunnel packet's payload; None if nobody does.

        A bare header makes its flow known and goes no further; that is no drop.
        """
        if source not in self._announced:
            return self._drop("unannounced_sender")
        client = key_in_tunnel_packet(packet)
        if client is None:
            return self._drop("malformed_tunnel")
        payload = len(packet) - len(header_of(client))
        if payload > MAX_DATAGRAM:
            return self._drop("bad_length")
        if self.flows.confirmed.get(client) == source:
            self.flows.heard[client] = now
        elif not self.flows.confirm(client, source, now):
            return self._drop("not_owner" if client in self.flows.confirmed else "table_full")
        return client if payload else None

    def set_routes(self, routes: Mapping[Identity, int], now: float) -> None:
        """These transceivers are announced, and no others. Flows of those that are gone go with them."""
        gone = {owner for identity, owner in self._routes.items() if routes.get(identity) != owner}
        new = [owner for identity, owner in routes.items() if self._routes.get(identity) != owner]
        if gone:
            self.flows.forget_owners(gone)
        self._routes = dict(routes)
        self._announced = frozenset(routes.values())
        self._hellos = [hello for hello in self._hellos if hello[1] in self._announced and hello[1] not in gone]
        self._hellos += [(now + delay, owner) for owner in new for delay in HELLO_AFTER]

    def due_hellos(self, now: float) -> list[int]:
        """Transceivers to ask for their clients now."""
        due = [owner for when, owner in self._hellos if when <= now]
        if due:
            self._hellos = [hello for hello in self._hellos if hello[0] > now]
            self.counters.hellos_sent += len(due)
        return due

    def tick(self, now: float, unix_time: float) -> None:
        """Time passes; to be called several times a second."""
        self._unix_time = unix_time
        self.flows.expire_half_open(now)
        if now >= self._next_idle_sweep:
            self._next_idle_sweep = now + IDLE_SWEEP_SECONDS
            self.flows.expire_idle(now)

    def _drop(self, reason: str) -> int | None:
        self.counters.drops[reason] += 1
        return None
