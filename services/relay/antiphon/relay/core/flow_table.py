"""The flow table: which transceiver owns which client address. An owner in another cluster is one like any other.

    (none) --binding request with a good token--> half-open --any packet of that owner--> confirmed
    (none) --packet or bare header of an announced transceiver--------------------------> confirmed
    half-open --5 s without an answer, or the table is full--> (none)
    confirmed --60 to 80 s without a packet of its owner, or its announcement is gone----> (none)

A half-open flow exists beside a confirmed one of the same client when the token names another owner. The confirmed
flow carries the call until the new owner answers.

Only the owner's packets keep a flow alive: they are the proof that the owner still knows this client.
An attacker who forges source addresses can therefore fill the half-open part alone, and that part goes first when the
table is full: a request that its transceiver has not checked never displaces a call.

A token opens few flows at a time (a client has a handful of local addresses), so that a captured one is of little
use: the oldest half-open flow of the same token makes room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Final, NamedTuple

from antiphon.relay.core.flow_key import header_of, key_of_header
from antiphon.relay.core.packet_budget import Budget, PacketBudgets, PacketLimit, Token

HALF_OPEN_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 60.0
NOTE_EVERY_SECONDS: Final = 20.0
NOTE_FOR_SECONDS: Final = 7.0
"""How long in every `NOTE_EVERY_SECONDS` each packet is noted as a sign of life. Noting costs a quarter of what
forwarding does, and the owner of a live flow answers consent checks every 5 s or more often (RFC 7675)."""
MAX_FLOWS_PER_TOKEN: Final = 16

NO_LIMIT: Final = PacketLimit(0, 0)


class HalfOpen(NamedTuple):
    """A request went to this owner, which has not answered yet."""

    owner: int
    opened: float
    token: Token | None
    budget: Budget


class FlowTable:
    """Flows by client key, at most `capacity` of them, half-open ones included.

    Belongs to a worker's `RelayCore`; the core and the worker's packet loop use it, on the process's one thread. When
    full, the oldest half-open flow makes room for a new one; without one the new flow is refused.

    `owners`, `charged` and `last_noted` are plain dicts, never replaced, so that a packet loop may bind their methods
    and look up a whole batch by `map`; it may write `last_noted` for keys that are in `owners` alone, and only while
    `noting`. It calls `budgets.begin` before it takes from `charged`.
    """

    def __init__(
        self,
        capacity: int,
        limit: PacketLimit = NO_LIMIT,
        owners: dict[int, bytes] | None = None,
        next_hops: dict[int, bytes] | None = None,
    ) -> None:
        """`owners`: an empty dict that others may read; `next_hops`: what others remember about confirmed flows, an
        entry of which is removed here when the flow ends or its owner is another one."""
        if capacity < 1:
            raise ValueError(f"flow table capacity is {capacity}: it needs room for one flow at least")
        self.capacity = capacity
        self.owners: dict[int, bytes] = owners if owners is not None else {}
        """Client key -> confirmed owner, as octets: what joined together is a column of destinations."""
        self.charged: dict[int, Iterator[bytes]] = {}
        """Client key -> what gives the confirmed owner for each packet that is charged; the same keys as `owners`."""
        self.budgets = PacketBudgets(limit, capacity)
        self._next_hops: dict[int, bytes] = next_hops if next_hops is not None else {}
        self.last_noted: dict[int, float] = {}
        """Client key -> when a packet of the owner for it was last noted; the same keys as `owners`."""
        self._budget_of: dict[int, Budget] = {}  # the same keys as `owners`
        self._half_open: dict[int, HalfOpen] = {}  # oldest first
        self._token_of: dict[int, Token] = {}  # confirmed flows that a token opened
        self._clients_of: dict[Token, dict[int, None]] = {}  # oldest first

    def __len__(self) -> int:
        return len(self.owners) + len(self._half_open)

    @property
    def confirmed(self) -> int:
        """How many flows have an owner that sent packets for them."""
        return len(self.owners)

    @property
    def half_open(self) -> int:
        """How many flows wait for their owner's first answer."""
        return len(self._half_open)

    @staticmethod
    def noting(now: float) -> bool:
        """Whether signs of life are noted now."""
        return now % NOTE_EVERY_SECONDS < NOTE_FOR_SECONDS

    def confirmed_owner(self, client: int) -> int | None:
        """The transceiver that sent packets for this client."""
        octets = self.owners.get(client)
        return None if octets is None else key_of_header(octets)

    def owner_of(self, client: int) -> int | None:
        """Where this client's packets go: to the confirmed owner, else to the half-open one."""
        owner = self.confirmed_owner(client)
        if owner is None:
            waiting = self._half_open.get(client)
            return waiting.owner if waiting is not None else None
        return owner

    def open(self, client: int, owner: int, now: float, token: Token | None = None) -> str | None:
        """A request of `client` goes to `owner`: note it half-open. Else the reason why not, a drop reason.

        Asking again does not renew: what isn't answered within 5 s starts over.
        """
        waiting = self._half_open.get(client)
        if waiting is not None:
            if waiting.owner == owner:
                return None
            self._drop_half_open(client)
        if token is not None and not self._make_room_for_token(token):
            return "token_limit"
        if not self._make_room():
            return "table_full"
        budget = self.budgets.join(client, token, header_of(owner), half_open=True)
        self._half_open[client] = HalfOpen(owner, now, token, budget)
        if token is not None:
            self._clients_of.setdefault(token, {})[client] = None
        return None

    def is_waiting(self, client: int, owner: int) -> bool:
        """Whether a half-open flow to this owner is noted already."""
        waiting = self._half_open.get(client)
        return waiting is not None and waiting.owner == owner

    def confirm(self, client: int, owner: int, now: float, learn: bool = True) -> bool:
        """`owner` sent a packet for `client`, whose flow it is not yet: make it so, if it may.

        It may if it answers a half-open flow, or with `learn` if the client has no confirmed owner. False if the
        client is another transceiver's, or if the table is full of calls.
        """
        waiting = self._half_open.get(client)
        token = None
        if waiting is not None and waiting.owner == owner:
            del self._half_open[client]
            self.budgets.leave(waiting.budget)
            self._forget_token(client, but=waiting.token)
            token = waiting.token
            if token is not None:
                self._token_of[client] = token
        elif not learn or client in self.owners or not self._make_room():
            return False
        self.owners[client] = header_of(owner)
        self._next_hops.pop(client, None)
        self._charge(client, token)
        self.last_noted[client] = now
        return True

    def name(self, client: int, token: Token) -> None:
        """A check of this confirmed client to its owner has this token: a learned flow is that call's from now on.

        A flow that has a token keeps it: the relay can't tell whose check it was.
        """
        if client in self.owners and client not in self._token_of:
            self._token_of[client] = token
            self._clients_of.setdefault(token, {})[client] = None
            self._charge(client, token)

    def charge_half_open(self, client: int) -> int | None:
        """Charge a packet to a half-open flow: its owner; 0 if the budget is used up, None if there is no flow."""
        waiting = self._half_open.get(client)
        return None if waiting is None else key_of_header(next(waiting.budget.take))

    def _charge(self, client: int, token: Token | None) -> None:
        """Let a confirmed flow charge the budget of this token, or its own."""
        budget = self.budgets.join(client, token, self.owners[client])
        former = self._budget_of.get(client)
        if former is not None:
            self.budgets.leave(former)
        self._budget_of[client] = budget
        self.charged[client] = budget.take

    def note(self, client: int, now: float) -> None:
        """The confirmed owner of `client` sent a packet for it."""
        self.last_noted[client] = now

    def forget_client(self, client: int) -> None:
        """Drop this client's flows: its connection has ended."""
        if client in self._half_open:
            self._drop_half_open(client)
        if client in self.owners:
            self._drop_confirmed(client)

    def move_owners(self, moved: Mapping[int, int], now: float) -> int:
        """The sessions of these owners go on at others: their confirmed flows too; returns how many.

        What is half-open there ends: the client asks again.
        """
        octets = {header_of(old): new for old, new in moved.items()}
        clients = [(client, octets[owner]) for client, owner in self.owners.items() if owner in octets]
        for client, new in clients:
            self.owners[client] = header_of(new)
            self._next_hops.pop(client, None)
            self._charge(client, self._token_of.get(client))
            self.last_noted[client] = now
        for client in [client for client, flow in self._half_open.items() if flow.owner in moved]:
            self._drop_half_open(client)
        return len(clients)

    def forget_owners(self, owners: Set[int]) -> int:
        """Drop every flow of these owners, which are no longer announced; returns how many."""
        gone = {header_of(owner) for owner in owners}
        confirmed = [client for client, owner in self.owners.items() if owner in gone]
        waiting = [client for client, flow in self._half_open.items() if flow.owner in owners]
        for client in confirmed:
            self._drop_confirmed(client)
        for client in waiting:
            self._drop_half_open(client)
        return len(confirmed) + len(waiting)

    def expire_half_open(self, now: float) -> int:
        """Drop what was never answered; costs only what it drops."""
        expired = 0
        while self._half_open:
            client, flow = next(iter(self._half_open.items()))
            if now - flow.opened < HALF_OPEN_SECONDS:
                break
            self._drop_half_open(client)
            expired += 1
        return expired

    def expire_idle(self, now: float) -> int:
        """Drop confirmed flows that are silent; walks the whole table (about 3 ms at 100k flows)."""
        before = now - IDLE_SECONDS - (NOTE_EVERY_SECONDS - NOTE_FOR_SECONDS)
        silent = [client for client, last_noted in self.last_noted.items() if last_noted <= before]
        for client in silent:
            self._drop_confirmed(client)
        return len(silent)

    def _drop_confirmed(self, client: int) -> None:
        del self.owners[client], self.last_noted[client], self.charged[client]
        self._next_hops.pop(client, None)
        self.budgets.leave(self._budget_of.pop(client))
        waiting = self._half_open.get(client)
        self._forget_token(client, but=waiting.token if waiting is not None else None)

    def _drop_half_open(self, client: int) -> None:
        flow = self._half_open.pop(client)
        token = flow.token
        self.budgets.leave(flow.budget)
        if token is not None and self._token_of.get(client) != token:
            self._unlink(client, token)

    def _forget_token(self, client: int, but: Token | None) -> None:
        """This confirmed flow is its token's no longer; `but` is still linked to the client by another flow."""
        token = self._token_of.pop(client, None)
        if token is not None and token != but:
            self._unlink(client, token)

    def _unlink(self, client: int, token: Token) -> None:
        clients = self._clients_of[token]
        del clients[client]
        if not clients:
            del self._clients_of[token]

    def _make_room_for_token(self, token: Token) -> bool:
        clients = self._clients_of.get(token, {})
        if len(clients) < MAX_FLOWS_PER_TOKEN:
            return True
        oldest = next((each for each in clients if self._token_of.get(each) != token), None)
        if oldest is None:
            return False
        self._drop_half_open(oldest)
        return True

    def _make_room(self) -> bool:
        if len(self) < self.capacity:
            return True
        if not self._half_open:
            return False
        self._drop_half_open(next(iter(self._half_open)))
        return True
