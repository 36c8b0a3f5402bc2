"""The relay's decisions: where does this packet go, if anywhere? No socket, no clock, no log.

What it promises, whatever it is given:
- a client's packet goes to an announced transceiver or nowhere;
- a flow begins with a token that opens, is of this day and names an announced transceiver of that epoch, or
  with a packet of an announced transceiver;
- a client is sent only what its flow's own transceiver sent for it; the relay sends nothing of its own;
- of an unknown client a few packets of SRTP go to all announced transceivers, within a rate (`notices`);
- a caller sends a transceiver no more packets than its budget allows, by however many flows;
- a packet of another relay goes to a transceiver or to a client of this relay, never to a third relay.

The packet loops ask `from_client` and `from_tunnel` about each packet, and `backbone` about those of other relays.
The batched loop does so (by `decide`) only about what is out of the ordinary: it charges and looks up the rest in
`flows.charged` and `flows.owners` itself, by whole batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from antiphon.relay.core import stun
from antiphon.relay.core.backbone_packets import BackbonePackets
from antiphon.relay.core.backbone_table import Relay
from antiphon.relay.core.flow_key import header_of, key_in_tunnel_packet
from antiphon.relay.core.flow_table import NO_LIMIT, FlowTable
from antiphon.relay.core.new_flow_limiter import NewFlowLimiter
from antiphon.relay.core.notices import Notices
from antiphon.relay.core.outgoing import MAX_DATAGRAM
from antiphon.relay.core.packet_budget import PacketLimit, Spent
from antiphon.relay.core.pending_packets import PendingPackets, may_be_media
from antiphon.relay.core.remote_owner import owner_elsewhere
from antiphon.relay.core.slot_move_table import SlotMoveTable
from antiphon.relay.core.two_hops import TwoHops, TwoHopsSettings
from antiphon.relay.counters import Counters
from antiphon.schemas.backbone import BackboneKeys
from antiphon.schemas.route_token import RouteKeyring, age_in_hours
from antiphon.schemas.tunnel import TCP_BIT

OVER_BUDGET_REASON: Final = "over_budget"
TransceiverIdentity = tuple[int, int, int]
"""(cluster, slot, epoch): a transceiver's incarnation, as a token names it."""

MAX_TOKEN_AGE_HOURS: Final = 24
MAX_TOKEN_LEAD_HOURS: Final = 1
"""Clocks differ: a token may be this much from the future."""
FIRST_BYTE_BEYOND_STUN: Final = 4
"""RFC 7983: STUN begins with 0 to 3."""
IDLE_SWEEP_SECONDS: Final = 5.0
HELLO_AFTER: Final = (0.0, 0.3, 1.2, 2.5)
"""Seconds after which a new transceiver is asked for its clients. More than once, because UDP loses and
because the transceiver ignores a relay whose announcement it has not read yet."""


class RelayCore:
    """One worker's flows and routes.

    Belongs to its worker process and lives as long; the worker's loop calls it, on the process's one thread.
    `now` is a monotonic clock in seconds, `unix_time` the wall clock: tokens carry the hour they were minted.
    """

    def __init__(
        self,
        keyring: RouteKeyring,
        max_flows: int,
        unix_time: float,
        new_flows_per_network: float = 0,
        learning: bool = True,
        asking: bool = False,
        tcp: bool = False,
        limit: PacketLimit = NO_LIMIT,
        two_hops: TwoHopsSettings | None = None,
    ) -> None:
        """`learning`: owners' packets make flows known; `asking`: the caller looks the `questions` up over NATS;
        `tcp`: clients are on ICE-TCP; `limit`: of the packets of one of the relay's callers; `two_hops`: there is a
        backbone."""
        owners: dict[int, bytes] = {}
        self.two_hops = TwoHops(two_hops, learning, owners) if two_hops is not None else None
        """None: there is no backbone."""
        self.flows = FlowTable(max_flows, limit, owners, self.two_hops.next_hops if self.two_hops else None)
        self.counters = Counters()
        self._pending = PendingPackets() if asking else None
        self.notices = Notices()
        """What transceivers are told of its own accord: a worker sends it."""
        self._limit = NewFlowLimiter(new_flows_per_network)
        self._learning = learning
        self._tcp_bit = TCP_BIT if tcp else 0
        self._keyring = keyring
        self._unix_time = unix_time
        self._routes: dict[TransceiverIdentity, int] = {}
        self._moves = SlotMoveTable()
        self._announced: frozenset[int] = frozenset()
        self._hellos: list[tuple[float, int]] = []
        self._next_idle_sweep = 0.0
        self.backbone = BackbonePackets(
            self.two_hops, self.flows, self.counters, self._moves, self, learning=learning, tcp=tcp
        )
        """What becomes of packets from and to other relays."""

    @property
    def announced(self) -> frozenset[int]:
        """The tunnel addresses of the announced transceivers."""
        return self._announced

    def measured(self, lateness: float = 0.0) -> Counters:
        """The counters, with the gauges of this moment; `lateness` of the packet loop in seconds."""
        self.counters.measure(self.flows.confirmed, self.flows.half_open, len(self._routes), lateness)
        return self.counters

    def from_client(self, client: int, datagram: bytes | memoryview, now: float) -> int | None:
        """The owner that gets this datagram of `client`; None if it is dropped (and counted)."""
        charged = self.flows.charged.get(client)
        if charged is not None:
            self.flows.budgets.begin(now)
            if not next(charged):
                return self._drop(OVER_BUDGET_REASON)
        return self.decide(client, datagram, now)

    def decide(self, client: int, datagram: bytes | memoryview, now: float) -> int | None:
        """As `from_client`, for a datagram that was charged to its confirmed flow already, if it has one."""
        if not 0 < len(datagram) <= MAX_DATAGRAM:
            return self._drop("bad_length")
        if stun.is_binding_request(datagram):
            return self._from_binding_request(client, datagram, now)
        owner = self.flows.confirmed_owner(client)
        if owner is not None:
            return owner
        if self.flows.owner_of(client) is not None:
            return self._charged_half_open(client, now)
        pending = self._pending
        if pending is not None and may_be_media(datagram[0]) and pending.add(client, bytes(datagram), now):
            return None
        if self._learning and not self._tcp_bit:
            self.notices.offer(client, datagram, self._announced, now)
        return self._drop("unknown_client")

    def _from_binding_request(self, client: int, request: bytes | memoryview, now: float) -> int | None:
        """The token wins over the table: a client moves to another transceiver by its request."""
        confirmed = self.flows.confirmed_owner(client)
        ufrag = stun.addressed_ufrag(request)
        if ufrag is None:
            return confirmed if confirmed is not None else self._drop("no_token")
        token = self._keyring.find(ufrag)
        if token is None:
            # A call may outlive the key that sealed its token: its flow stays, a new one is not made.
            return confirmed if confirmed is not None else self._drop("forged_token")
        owner = self.owner_of(token[:3])
        if owner is None:
            return self._drop("no_route")
        if owner == confirmed:
            self.flows.name(client, token[:4])
            return owner
        if self.flows.is_waiting(client, owner):
            return self._charged_half_open(client, now)
        if not -MAX_TOKEN_LEAD_HOURS <= age_in_hours(token, self._unix_time) <= MAX_TOKEN_AGE_HOURS:
            return self._drop("expired_token")
        if not self._limit.allows(client, now):
            return self._drop("network_limit")
        refused = self.flows.open(client, owner, now, token[:4])
        return self._charged_half_open(client, now) if refused is None else self._drop(refused)

    def owner_of(self, identity: TransceiverIdentity) -> int | None:
        """Where the sessions of this transceiver are: its address, or the owner that stands for another cluster."""
        identity = self._moves.resolve(identity)
        two_hops = self.two_hops
        if two_hops is None:
            return self._routes.get(identity)
        if two_hops.cluster is None or identity[0] == two_hops.cluster:
            owner = self._routes.get(identity)
            if owner is not None or identity[0] == two_hops.cluster:
                return owner
        return owner_elsewhere(identity) if two_hops.reaches(identity[0]) else None

    def _charged_half_open(self, client: int, now: float) -> int | None:
        self.flows.budgets.begin(now)
        return self.flows.charge_half_open(client) or self._drop(OVER_BUDGET_REASON)

    def from_tunnel(self, source: int, packet: bytes | memoryview, now: float) -> int | None:
        """The client that gets this tunnel packet's payload; None if there is none.

        A bare header makes its flow known and goes no further; that is no drop.
        """
        if source not in self._announced:
            return self._drop("unannounced_sender")
        client = key_in_tunnel_packet(packet)
        if client is None:
            return self._drop("malformed_tunnel")
        begins = len(header_of(client))
        payload = len(packet) - begins
        if client & TCP_BIT != self._tcp_bit:
            # Owners tell all their clients to all workers.
            return self._drop("other_transport") if payload else None
        if payload > MAX_DATAGRAM:
            return self._drop("bad_length")
        confirmed = self.flows.confirmed_owner(client)
        if confirmed == source:
            self.flows.note(client, now)
        else:
            # An answer to a check teaches nothing: its flow was half-open, or gave way to others of the same token.
            learn = self._learning and not (payload and packet[begins] < FIRST_BYTE_BEYOND_STUN)
            if not self.flows.confirm(client, source, now, learn):
                if confirmed is not None:
                    self.notices.disown(source, client, now)
                    return self._drop("not_owner")
                return self._drop("table_full" if learn else "not_learning")
        return client if payload else None

    # ---- two hops ----

    def set_relays(self, relays: Iterable[Relay], now: float) -> None:
        """These relays are announced with a backbone, and no others."""
        if self.two_hops is not None:
            self.two_hops.set_relays(relays, now)
            self._apply_moves(now)

    def set_ingress(self, number: int, now: float) -> None:
        """The relay's ingress number is this from now on."""
        if self.two_hops is not None:
            self.two_hops.set_ingress(number)
            self._apply_moves(now)

    def set_backbone_keys(self, keys: BackboneKeys) -> None:
        """These backbone keys are live, and no others."""
        if self.two_hops is not None:
            self.two_hops.set_keys(keys)

    def set_moves(self, moves: Iterable[tuple[TransceiverIdentity, TransceiverIdentity]], now: float) -> None:
        """These slot moves count, and no others: tokens and flows of the old identities go to the new ones."""
        self._moves.set(moves)
        self._apply_moves(now)

    def _apply_moves(self, now: float) -> None:
        moved: dict[int, int] = {}
        for old in self._moves.moved():
            new = self.owner_of(old)
            if new is not None:
                formers = {owner_elsewhere(old), self._routes.get(old, new)} - {new}
                moved.update((former, new) for former in formers)
        if moved:
            self.flows.move_owners(moved, now)

    # ---- look-ups ----

    def questions(self) -> list[int]:
        """Clients whose packets wait and whose owners have not been looked up yet."""
        return self._pending.questions() if self._pending is not None else []

    def found(self, client: int, identity: TransceiverIdentity, now: float) -> int | None:
        """A look-up names the transceiver that owns `client`: learn it; None if that one is not announced here."""
        owner = self.owner_of(identity)
        if owner is None or not (self.flows.confirmed_owner(client) == owner or self.flows.confirm(client, owner, now)):
            return None
        self.counters.flows_found += 1
        return owner

    def take_deliverable(self) -> list[tuple[int, int, bytes]]:
        """(client, owner, datagram) of the waiting packets whose owner is known by now; they wait no longer."""
        if self._pending is None:
            return []
        known = ((client, self.flows.owner_of(client)) for client in self._pending.clients())
        return [
            (client, owner, datagram)
            for client, owner in list(known)
            if owner is not None
            for datagram in self._pending.take(client)
        ]

    def set_keyring(self, keyring: RouteKeyring) -> None:
        """These route keys are live, and no others. Flows stay: calls outlive the keys of their tokens."""
        self._keyring = keyring

    @property
    def keyring(self) -> RouteKeyring:
        return self._keyring

    def set_routes(self, routes: Mapping[TransceiverIdentity, int], now: float) -> None:
        """These transceivers are announced, and no others. The flows of all others are dropped."""
        gone = {owner for identity, owner in self._routes.items() if routes.get(identity) != owner}
        former = self._routes
        new = [owner for identity, owner in routes.items() if self._routes.get(identity) != owner]
        self._routes = former | dict(routes)  # flows of a transceiver that has gone and moved are still to be found
        if self.two_hops is not None:
            self.two_hops.set_transceivers(routes)
        self._apply_moves(now)
        if gone:
            self.flows.forget_owners(gone)
        self._routes = dict(routes)
        self._announced = frozenset(routes.values())
        self._hellos = [hello for hello in self._hellos if hello[1] in self._announced and hello[1] not in gone]
        self._schedule_hellos(new, now)

    def repeat_hellos(self, now: float) -> None:
        """Flows may come here from another process: ask all transceivers and clusters for their clients."""
        if self.two_hops is not None:
            self.two_hops.hellos.ask_again(now)
        self._hellos.clear()
        self._schedule_hellos(self._announced, now)

    def _schedule_hellos(self, owners: Iterable[int], now: float) -> None:
        if self._learning:
            self._hellos += [(now + delay, owner) for owner in owners for delay in HELLO_AFTER]

    def due_hellos(self, now: float) -> list[int]:
        """Transceivers to ask for their clients now."""
        due = [owner for when, owner in self._hellos if when <= now]
        if due:
            self._hellos = [hello for hello in self._hellos if hello[0] > now]
            self.counters.hellos_sent += len(due)
        return due

    def take_busy(self) -> list[Spent]:
        """What busy calls have sent through this worker since the last time, for the relay's other workers."""
        return self.flows.budgets.take_busy()

    def spent_elsewhere(self, spent: Iterable[Spent], now: float) -> None:
        """Charge what these calls have sent through the relay's other workers."""
        self.flows.budgets.begin(now)
        calls = list(spent)
        identities = {(each.token[0], each.token[1], each.token[2]) for each in calls}
        owners = {identity: self.owner_of(identity) for identity in identities}
        self.flows.budgets.spent_elsewhere(
            calls, {who: header_of(owner) for who, owner in owners.items() if owner is not None}
        )

    def tick(self, now: float, unix_time: float) -> None:
        """Time passes; to be called several times a second."""
        self._unix_time = unix_time
        self.flows.budgets.begin(now)
        self.flows.expire_half_open(now)
        self.flows.budgets.expire(now)
        if self._pending is not None:
            expired = self._pending.expire(now)
            if expired:
                self.counters.drops["unknown_client"] += expired
        if now >= self._next_idle_sweep:
            self._next_idle_sweep = now + IDLE_SWEEP_SECONDS
            self.flows.expire_idle(now)

    def _drop(self, reason: str) -> int | None:
        self.counters.drops[reason] += 1
        return None
