"""How many packets a caller may send through this relay: a token bucket per call (RFC 2697), counted in chunks.

A call is what a route token names. All flows that its token has opened share one budget, so that more source ports
bring no more packets. A flow that was learned from its owner has no token yet, and a budget of its own until its first
check. Flows that are half-open share a second budget of their token: a recorded check that is sent again from forged
addresses takes nothing from the caller, whose flow is confirmed.

A budget is an iterator. `next` of it gives the owner's octets, or `OVER_BUDGET` when the caller has sent too much. So
the packet loop looks up the owners of a batch and charges their packets in one pass of `map`, without Python code for
each packet: 0.05 us for each beside 2.4 us to forward it (`antiphon bench relay`). Python code runs once for each
chunk, a fifth of the burst, and for each packet that is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import Final, NamedTuple

Token = tuple[int, ...]
"""What names a call: cluster, slot, epoch and session of its route token."""

OVER_BUDGET: Final = b""
"""In place of an owner: this packet is dropped."""
_DROP_ONE: Final = (OVER_BUDGET,)
CHUNKS_IN_BURST: Final = 5
"""After a pause a caller may send the burst, less what is left of a chunk: 200 to 250 packets by default."""
BUSY_SHARE: Final = 0.25
"""Other workers are told about a call that sends more than this share of the rate here. Two workers can't give away
more than the rate unseen, and eight not more than twice of it; an ordinary call stays below."""
MAX_BUSY: Final = 64
"""Calls that are told to other workers at a time: those that have sent most."""


class PacketLimit(NamedTuple):
    """A setting: what a caller may send."""

    per_second: float
    """0 is no limit."""
    burst: int


class Spent(NamedTuple):
    """Packets that a call has sent through this worker since the last report."""

    token: Token
    half_open: bool
    packets: int


class _Key(NamedTuple):
    """What a budget is for: flows of a token to one owner, or one client without a token."""

    token: Token
    owner: bytes
    half_open: bool


class Budget:
    """One token bucket; iterating gives chunks of allowed packets.

    Made by `PacketBudgets`, which alone calls it. It lives while a flow charges it, and until it is full again: a
    caller gets no new burst by a new flow.
    """

    __slots__ = ("_book", "_given", "_level", "_since", "flows", "key", "left", "take")

    def __init__(self, book: PacketBudgets, key: _Key) -> None:
        self.key = key
        self.flows = 0
        """How many flows charge it."""
        self.left = 0.0
        """When the last one left it."""
        self.take: Iterator[bytes] = chain.from_iterable(self) if book.limit.per_second else repeat(key.owner)
        """`next` charges one packet and gives the owner, or `OVER_BUDGET`."""
        self._book = book
        self._level = float(book.limit.burst)
        self._since = book.now
        self._given = 0

    def __iter__(self) -> Budget:
        return self

    def __next__(self) -> Iterable[bytes]:
        """The next chunk: its packets count as sent now, so that what a caller holds back is never more than it."""
        book = self._book
        passed = book.now - self._since
        self._since = book.now
        self._level = min(book.refill_to, self._level + passed * book.limit.per_second)
        if self._given and self._given > passed * book.busy_rate:
            book.note_busy(self.key, self._given)
        self._given = min(book.chunk, int(self._level)) if self._level >= 1 else 0
        if not self._given:
            return _DROP_ONE
        self._level -= self._given
        return repeat(self.key.owner, self._given)

    def close(self) -> None:
        """Break the cycle of budget and iterator: workers collect no garbage."""
        self.take = repeat(OVER_BUDGET)

    def spend(self, packets: int) -> None:
        """This call has sent so much through other workers."""
        book = self._book
        passed = book.now - self._since
        level = self._level + passed * book.limit.per_second - packets
        self._since = book.now
        self._level = max(-float(book.limit.burst), min(book.refill_to, level))


class PacketBudgets:
    """The budgets of one worker's callers.

    Belongs to the `FlowTable` of a worker and lives as long; used on the process's one thread. There is a budget for
    each call with a flow, and for calls whose last flow has gone, until theirs is full again: at most `capacity` of
    those, then the one that left first is forgotten.
    """

    def __init__(self, limit: PacketLimit, capacity: int) -> None:
        self.limit = limit
        self.chunk = max(1, limit.burst // CHUNKS_IN_BURST)
        self.refill_to = float(max(1, limit.burst - self.chunk))
        """A chunk is out already when a budget is full: together they are the burst."""
        self.busy_rate = limit.per_second * BUSY_SHARE
        self.now = 0.0
        """Of the packets that are charged; see `begin`."""
        self._capacity = capacity
        self._budgets: dict[_Key, Budget] = {}
        self._unused: dict[_Key, Budget] = {}  # the first to have lost its last flow first
        self._busy: dict[tuple[Token, bool], int] = {}
        self._full_after = limit.burst / limit.per_second if limit.per_second else 0.0

    def __len__(self) -> int:
        return len(self._budgets)

    def begin(self, now: float) -> None:
        """Packets that are charged from here on have come at `now`."""
        self.now = now

    def join(self, client: int, token: Token | None, owner: bytes, *, half_open: bool = False) -> Budget:
        """The budget that a flow of `client` charges from now on, until `leave`."""
        key = _Key(token if token is not None else (client,), owner, half_open)
        budget = self._budgets.get(key)
        if budget is None:
            budget = self._budgets[key] = Budget(self, key)
        self._unused.pop(key, None)
        budget.flows += 1
        return budget

    def leave(self, budget: Budget) -> None:
        """A flow has ended, or charges another budget."""
        budget.flows -= 1
        if budget.flows:
            return
        if len(self._unused) >= self._capacity:
            self._forget(next(iter(self._unused)))
        budget.left = self.now
        self._unused[budget.key] = budget

    def expire(self, now: float) -> None:
        """Forget the budgets that no flow charges and that are full again; costs only what it forgets."""
        while self._unused:
            key, budget = next(iter(self._unused.items()))
            if now - budget.left <= 2 * self._full_after:  # from as far below zero as `spend` goes
                break
            self._forget(key)

    def _forget(self, key: _Key) -> None:
        del self._unused[key]
        self._budgets.pop(key).close()

    # ---- the same call at other workers ----

    def note_busy(self, key: _Key, packets: int) -> None:
        """This call sends much; for `take_busy`."""
        if len(key.token) > 1:
            call = key.token, key.half_open
            self._busy[call] = self._busy.get(call, 0) + packets

    def take_busy(self) -> list[Spent]:
        """What busy calls have sent since the last time, for the other workers of this relay."""
        if not self._busy:
            return []
        most = sorted(self._busy.items(), key=lambda each: -each[1])[:MAX_BUSY]
        self._busy.clear()
        return [Spent(token, half_open, packets) for (token, half_open), packets in most]

    def spent_elsewhere(self, spent: Iterable[Spent], owner_of: dict[Token, bytes]) -> None:
        """Charge what these calls have sent through other workers; `owner_of` the identity that a token begins with."""
        for token, half_open, packets in spent:
            owner = owner_of.get(tuple(token[:3]))
            budget = self._budgets.get(_Key(tuple(token), owner, half_open)) if owner is not None else None
            if budget is not None:
                budget.spend(packets)
