"""One lease in several registers: what a majority of them says counts. Pure: no time, no sockets.

Each register is an entry of a bucket with one replica, on a hub server of its own, and is written by compare-and-swap.
Over them runs Paxos with a value that is overwritten (Lamport 2001, "Paxos Made Simple"; Rystsov 2018, "CASPaxos"):
a process asks for a promise under a *ballot* of its own, and writes what a majority has promised to take. So a value
that a majority holds is the one that every later majority finds, and of two processes one comes first. The process
that wrote last goes on with one write to each register, without a promise, as long as no other asks for one.

A register that has lost what it held has no vote. It gets one again only with content that a majority of the others
has confirmed after the loss was seen. Its *token* is made anew with its bucket, so that a late write for the former
one changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from antiphon.schemas.messages import CopyLease, LeaseRegister

MAX_RESTARTS: Final = 3
"""New ballots within one operation; then another process is at work, and the operation is refused."""


class Known(NamedTuple):
    """What a register held when it was read or written last. A value."""

    token: str
    """Of the bucket that it is in."""
    revision: int
    entry: LeaseRegister | None
    """None: nothing was ever written, or it was lost."""


class Request(NamedTuple):
    """Read this register (from 0), or put `entry` into it in the place of that revision (0: where there is none)."""

    register: int
    entry: LeaseRegister | None
    """None: read."""
    token: str = ""
    revision: int = 0


class Tag(NamedTuple):
    """Of a value: what may have been chosen later has a higher one."""

    round: int
    by: str
    number: int


NOTHING: Final = Tag(0, "", 0)


def tag_of(entry: LeaseRegister | None) -> Tag:
    """Of the value in this entry; the lowest one where there is none."""
    if entry is None or entry.lease is None:
        return NOTHING
    return Tag(entry.accepted_round, entry.accepted_of, entry.number)


class Outcome(NamedTuple):
    """How an operation ended."""

    done: bool
    """False: refused; nothing was changed for good, or another process has changed it since."""
    lease: CopyLease | None = None
    """What a majority holds; None: they hold nothing."""
    number: int = 0


Change = Callable[[CopyLease | None, int], CopyLease | None]
"""`change(lease, number)`: what to write in the place of what stands there (None, 0: nothing); None: leave it."""


class _Promise(NamedTuple):
    """A register has promised our ballot: what it held then."""

    token: str
    tag: Tag
    lease: CopyLease | None


def _as_it_is(lease: CopyLease | None, number: int) -> CopyLease | None:
    return lease


@dataclass(eq=False)
class _Operation:
    phase: Literal["read", "prepare", "accept"]
    change: Change
    only: frozenset[int]
    recover: bool = False
    create: bool = False
    everywhere: bool = False
    fresh: dict[int, Known] = field(default_factory=dict)
    """What was read in this operation."""
    failed: set[int] = field(default_factory=set)
    """Registers that gave no answer to their last request: they are asked on, and not waited for."""
    empty: dict[int, str] = field(default_factory=dict)
    """Registers that were seen empty before the operation began, and their tokens."""
    restarts: int = 0
    proposal: LeaseRegister | None = None
    base: Tag = NOTHING
    """What the proposal replaces."""


class QuorumLease:
    """What one process knows of one lease, and its operation on it.

    `read` or `swap`, then `requests` after that and after each answer, which is one of `has_read`, `written` and
    `failed`, until there is an `outcome`; `requests` once more. At most one request per register is on its way, those
    of an operation that was given up included. Owner: `LeaseBucket`. Event loop only.
    """

    def __init__(self, registers: int, proposer: str) -> None:
        """`proposer`: unlike that of every other object that was ever made for this lease."""
        self._count = registers
        self._majority = registers // 2 + 1
        self._proposer = proposer
        self._known: list[Known | None] = [None] * registers
        self._busy: list[tuple[Request, _Operation | None] | None] = [None] * registers
        self._round = 0
        """The highest that was seen or used."""
        self._ballot = 0, ""
        """Ours that registers have promised; round 0: none."""
        self._promises: dict[int, _Promise] = {}
        self._base: tuple[CopyLease, int, Tag] | None = None
        """What a majority took from us last under this ballot."""
        self._fills: dict[int, LeaseRegister] = {}
        self._operation: _Operation | None = None
        self.outcome: Outcome | None = None

    # ---- operations -------------------------------------------------------------------------------------

    def read(self, recover: bool, everywhere: bool = False) -> None:
        """What a majority holds. `recover`: where no majority agrees, the newest value is given to one.

        `everywhere`: there is nothing only if every register says so.
        """
        every = frozenset(range(self._count))
        self._begin(_Operation("read", _as_it_is, every, recover=recover, everywhere=everywhere))

    def swap(self, change: Change, create: bool = False, only: Collection[int] | None = None) -> None:
        """Replace what stands there. `only`: leave the other registers alone; a majority is one of all.

        `create`: registers that hold nothing vote, too. For a process that knows that none has taken the lease.
        """
        among = frozenset(range(self._count) if only is None else only)
        operation = _Operation("prepare", change, among, create=create)
        self._begin(operation)
        if self._base is not None and len(self._promises) >= self._majority:
            lease, number, tag = self._base
            changed = change(lease, number)
            if changed is not None:
                self._propose(operation, changed, number + 1, tag)
                return
        self._new_ballot()

    def give_up(self) -> None:
        """No answer came in time: registers may have taken what was sent, or may take it later."""
        self._operation = None
        self._drop_ballot()

    def _begin(self, operation: _Operation) -> None:
        if self._operation is not None:
            self.give_up()
        self._fills.clear()
        self._operation, self.outcome = operation, None
        for index, known in enumerate(self._known):
            if known is not None and known.entry is None:
                operation.empty[index] = known.token

    def _propose(self, operation: _Operation, lease: CopyLease, number: int, base: Tag) -> None:
        operation.phase, operation.base = "accept", base
        operation.proposal = LeaseRegister(
            registers=self._count,
            promised_round=self._ballot[0],
            promised_to=self._ballot[1],
            accepted_round=self._ballot[0],
            accepted_of=self._ballot[1],
            number=number,
            lease=lease,
        )

    def _new_ballot(self) -> None:
        self._drop_ballot()
        self._round += 1
        self._ballot = self._round, self._proposer

    def _drop_ballot(self) -> None:
        self._ballot, self._base = (0, ""), None
        self._promises.clear()

    def _end(self, outcome: Outcome) -> None:
        operation, self._operation, self.outcome = self._operation, None, outcome
        if not outcome.done:
            self._drop_ballot()
        elif operation is not None and (proposal := operation.proposal) is not None and proposal.lease is not None:
            self._base = proposal.lease, proposal.number, tag_of(proposal)
            if not operation.create:  # a majority of the others has confirmed it since they were seen empty
                self._fills = dict.fromkeys(operation.empty, proposal)

    # ---- what to send -----------------------------------------------------------------------------------

    def requests(self) -> list[Request]:
        """To be sent now, all side by side."""
        found = []
        for index, busy in enumerate(self._busy):
            request = self._next(index) if busy is None else None
            if request is not None:
                self._busy[index] = request, self._operation
                found.append(request)
        return found

    def _next(self, index: int) -> Request | None:
        operation, known = self._operation, self._known[index]
        if operation is None:
            filling = self._fills.pop(index, None)
            if filling is None or known is None or known.entry is not None:
                return None
            return Request(index, filling, known.token, 0)
        if index not in operation.only:
            return None
        if operation.phase == "read":
            return None if index in operation.fresh else Request(index, None)
        if known is None:
            return Request(index, None)
        if known.entry is None and not operation.create:
            return None
        entry = known.entry or LeaseRegister(registers=self._count)
        promised = _promised(entry)
        if promised > self._ballot:
            return None
        if promised < self._ballot:
            promise = entry.model_copy(update={"promised_round": self._ballot[0], "promised_to": self._ballot[1]})
            return Request(index, promise, known.token, known.revision)
        proposal = operation.proposal
        if proposal is None or tag_of(entry) == tag_of(proposal):
            return None
        return Request(index, proposal, known.token, known.revision)

    # ---- what has come back -----------------------------------------------------------------------------

    def has_read(self, request: Request, known: Known) -> None:
        """The register holds this."""
        operation = self._answered(request)
        self._learn(request.register, known)
        if operation is not None:
            operation.fresh[request.register] = known
        self._decide()

    def written(self, request: Request, revision: int | None) -> None:
        """The register holds it, as this revision; None: another revision was there."""
        self._answered(request)
        if revision is None:
            self._learn(request.register, None)
        else:
            self._learn(request.register, Known(request.token, revision, request.entry))
        self._decide()

    def failed(self, request: Request) -> None:
        """No answer. What was to be written may have been, or may be later."""
        self._busy[request.register] = None
        self._learn(request.register, None)
        if self._operation is not None:
            self._operation.failed.add(request.register)
        self._decide()

    def _answered(self, request: Request) -> _Operation | None:
        """The operation if the request is of the present one."""
        busy, self._busy[request.register] = self._busy[request.register], None
        operation = self._operation
        if operation is not None:
            operation.failed.discard(request.register)
        return operation if busy is not None and busy[1] is operation else None

    def _learn(self, index: int, known: Known | None) -> None:
        self._known[index] = known
        if known is None:
            return
        entry = known.entry
        promise = self._promises.get(index)
        if entry is not None:
            self._round = max(self._round, entry.promised_round, entry.accepted_round)
        if entry is None or not self._ballot[0] or _promised(entry) != self._ballot:
            self._promises.pop(index, None)
        elif promise is None or promise.token != known.token:
            self._promises[index] = _Promise(known.token, tag_of(entry), entry.lease)

    def _decide(self) -> None:
        operation = self._operation
        if operation is None:
            return
        if operation.phase == "read":
            self._decide_read(operation)
        if operation is self._operation and operation.phase == "prepare":
            self._decide_prepare(operation)
        if operation is self._operation and operation.phase == "accept":
            self._decide_accept(operation)

    def _decide_read(self, operation: _Operation) -> None:
        fresh = operation.fresh
        empty = sum(known.entry is None for known in fresh.values())
        if empty >= (self._count if operation.everywhere else self._majority):
            self._end(Outcome(True))
            return
        held = [known.entry for known in fresh.values() if known.entry is not None and known.entry.lease is not None]
        tags = [tag_of(entry) for entry in held]
        for entry in held:
            if tags.count(tag_of(entry)) >= self._majority:
                self._end(Outcome(True, entry.lease, entry.number))
                return
        votes = sum(known.entry is not None for known in fresh.values())
        if operation.recover and votes >= self._majority:
            operation.phase = "prepare"
            self._new_ballot()
        elif len(fresh) == self._count and not operation.everywhere:
            self._end(Outcome(False))

    def _can_vote(self, operation: _Operation, index: int) -> bool:
        """As far as we know."""
        known = self._known[index]
        if known is None:
            return True
        if known.entry is None:
            return operation.create
        return _promised(known.entry) <= self._ballot

    def _decide_prepare(self, operation: _Operation) -> None:
        possible = {index for index in operation.only if self._can_vote(operation, index)}
        if len(possible) < self._majority:
            if operation.restarts >= MAX_RESTARTS or sum(map(self._holds, operation.only)) < self._majority:
                self._end(Outcome(False))
                return
            operation.restarts += 1
            self._new_ballot()
            return
        found = self._choosable()
        if found is None:
            return
        if operation.recover:
            if found.lease is None:
                self._end(Outcome(True))
            else:
                self._propose(operation, found.lease, found.tag.number, found.tag)
            return
        lease = operation.change(found.lease, found.tag.number)
        if lease is not None:
            self._propose(operation, lease, found.tag.number + 1, found.tag)
        elif not possible - self._promises.keys() - operation.failed:
            self._end(Outcome(False))

    def _holds(self, index: int) -> bool:
        known = self._known[index]
        return known is None or known.entry is not None

    def _choosable(self) -> _Promise | None:
        """The newest value that a majority may have, by the registers that have promised; None: too few have.

        A newer one that too few hold can't get a majority any more: the others have promised to take none of it.
        """
        promises = sorted(self._promises.values(), key=lambda promise: promise.tag, reverse=True)
        if len(promises) < self._majority:
            return None
        return promises[self._majority - 1 - (self._count - len(promises))]

    def _decide_accept(self, operation: _Operation) -> None:
        assert operation.proposal is not None
        tag = tag_of(operation.proposal)
        taken = sum(known is not None and tag_of(known.entry) == tag for known in self._known)
        if taken >= self._majority:
            self._end(Outcome(True, operation.proposal.lease, operation.proposal.number))
            return
        found = self._choosable()
        if found is not None and found.tag > operation.base and found.tag != tag:
            self._end(Outcome(False))  # a register lost its promise, and holds what was chosen since
            return
        if sum(self._can_vote(operation, index) for index in operation.only) < self._majority:
            self._end(Outcome(False))


def _promised(entry: LeaseRegister) -> tuple[int, str]:
    return entry.promised_round, entry.promised_to
