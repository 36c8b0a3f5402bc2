"""What an SCTP association has received: TSNs, fragments of messages, and messages that wait. Sans-IO.

A chunk costs the same however many are held, and everything held counts against the advertised window.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from antiphon.rtc.sctp.packet import FIRST, LAST, UNORDERED

MAX_MESSAGE: Final = 262_144
"""Octets of a message that a client sends us, `a=max-message-size` of the answer: what browsers take of each other.
With what JSON adds it is a NATS message of at most 1 MiB; `SessionOutput.message` refuses what does not fit."""
WINDOW: Final = 524_288
"""Octets: twice the largest message, so that one in fragments fits beside messages before it."""
OVERHEAD: Final = 256
"""Octets that each chunk and message counts for beside its own: this bounds how many of the smallest are held."""
MAX_AHEAD: Final = 8192
"""How far beyond the last TSN of all a chunk may be: more than the window holds, and several times as many as are
skipped when another process takes over (`CHUNKS_AHEAD`). A SACK can report 65,535."""
MAX_JUMP: Final = 65_535
"""TSNs that one FORWARD-TSN may give up."""
MAX_STREAMS: Final = 256
"""Streams with a sequence of their own, of which a client may open 16; chunks of more are acknowledged and left out."""
MAX_GAPS: Final = 256
"""Gap ack blocks of a SACK: it fits into a packet of 1189 octets, with the duplicates."""
MAX_DUPLICATES: Final = 16


class AssociationError(Exception):
    """The peer broke the protocol beyond repair: the association is aborted, and the agent gets the reason."""


class Fragment(NamedTuple):
    """The fields of a DATA chunk that messages are made of."""

    flags: int
    tsn: int
    stream: int
    sequence: int
    protocol: int
    payload: bytes


class Message(NamedTuple):
    """A message in one piece."""

    stream: int
    protocol: int
    payload: bytes


@dataclass(slots=True)
class _Run:
    """Fragments of one message that follow each other."""

    first: int
    last: int
    size: int


@dataclass(slots=True)
class _Stream:
    next: int = 0
    """Sequence number of the message to be delivered next."""
    blocked: dict[int, _Run] = field(default_factory=dict)
    """Whole messages behind one that is missing, by sequence number."""


class Inbound:
    """One association's receiving side.

    Owner: the association, which makes a new one when it learns the peer's first TSN and when it is restored; one
    thread only. TSNs are kept as numbers that never wrap; `& 0xFFFFFFFF` gives the one in packets.
    """

    def __init__(self, last_tsn: int) -> None:
        """`last_tsn`: the TSN before the first expected one."""
        self.cumulative = last_tsn
        """All TSNs up to this one were received or abandoned."""
        self.duplicates: list[int] = []
        """To be reported once; more than `MAX_DUPLICATES` are not."""
        self.ready: deque[Message] = deque()
        """Whole messages, in order."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        """Stretches of TSNs received beyond `cumulative`."""
        self._held: dict[int, Fragment] = {}
        self._runs: dict[int, _Run] = {}
        """By first and by last TSN."""
        self._streams: dict[int, _Stream] = {}
        self._used = 0

    @property
    def tsn(self) -> int:
        return self.cumulative & 0xFFFFFFFF

    @property
    def window(self) -> int:
        """Octets that may come (a_rwnd)."""
        return max(0, WINDOW - self._used)

    @property
    def held(self) -> int:
        """Chunks that wait for others."""
        return len(self._held)

    @property
    def has_gaps(self) -> bool:
        return bool(self._firsts)

    def gaps(self) -> list[tuple[int, int]]:
        """Gap ack blocks, the first `MAX_GAPS` of them."""
        base = self.cumulative
        return [
            (first - base, last - base)
            for first, last in zip(self._firsts[:MAX_GAPS], self._lasts[:MAX_GAPS], strict=True)
        ]

    def receive(self, chunk: Fragment) -> None:
        """Take a chunk; one that there is no room for is not acknowledged. AssociationError ends the association."""
        tsn = self._number(chunk.tsn)
        if tsn <= self.cumulative or self._has(tsn):
            if len(self.duplicates) < MAX_DUPLICATES:
                self.duplicates.append(chunk.tsn)
            return
        if tsn - self.cumulative > MAX_AHEAD or not self._make_room(len(chunk.payload) + OVERHEAD, tsn):
            return
        before = self.cumulative
        self._mark(tsn)
        if chunk.stream in self._streams or len(self._streams) < MAX_STREAMS:
            self._streams.setdefault(chunk.stream, _Stream())
            self._hold(tsn, chunk)
        if self.cumulative > before:
            self._forget_hopeless(before)

    def forward(self, tsn: int, streams: list[tuple[int, int]]) -> None:
        """FORWARD-TSN (RFC 3758 section 3.6): the peer abandoned what is missing up to this TSN."""
        before, to = self.cumulative, self._number(tsn)
        if not before < to <= before + MAX_JUMP:
            return
        self.cumulative = to
        passed = bisect_left(self._lasts, to)
        del self._firsts[:passed], self._lasts[:passed]
        if self._firsts and self._firsts[0] <= to + 1:
            self.cumulative = max(to, self._lasts[0])
            del self._firsts[0], self._lasts[0]
        for number, sequence in streams:
            if number in self._streams or len(self._streams) < MAX_STREAMS:
                self._skip(self._streams.setdefault(number, _Stream()), sequence)
        self._forget_hopeless(before)

    def reset(self, streams: list[int]) -> None:
        """The peer counts these streams anew (RFC 6525): sequence numbers begin at 0."""
        needed = {fragment.stream for fragment in self._held.values()}
        for number in streams:
            stream = self._streams.pop(number, None)
            if stream is None or number not in needed:
                continue
            # Chunks sent after the reset may have arrived already.
            self._streams[number] = _Stream()
            for run in sorted(stream.blocked.values(), key=lambda run: run.first):
                if run.first > self.cumulative:
                    self._complete(run, self._held[run.first])
                else:
                    self._drop(run)

    def pop(self) -> Message:
        """The first of `ready`; its room is free again."""
        message = self.ready.popleft()
        self._used -= len(message.payload) + OVERHEAD
        return message

    # ---- as a plain value

    def received(self) -> list[int]:
        """TSNs beyond `cumulative`."""
        return [
            tsn & 0xFFFFFFFF
            for first, last in zip(self._firsts, self._lasts, strict=True)
            for tsn in range(first, last + 1)
        ]

    def streams(self) -> list[tuple[int, int, list[Fragment]]]:
        """Number, next sequence number and fragments of each stream."""
        fragments: dict[int, list[Fragment]] = {number: [] for number in self._streams}
        for tsn in sorted(self._held):
            fragments[self._held[tsn].stream].append(self._held[tsn])
        return [(number, stream.next, fragments[number]) for number, stream in self._streams.items()]

    def restore(
        self, received: list[int], streams: list[tuple[int, int, list[Fragment]]], ready: list[Message]
    ) -> None:
        """Take over what `received`, `streams` and `ready` of another one held."""
        for tsn in received:
            self._mark(self._number(tsn))
        for message in ready:
            self._make_ready(message)
        for number, sequence, fragments in streams:
            self._streams[number] = _Stream(sequence)
            for fragment in fragments:
                with contextlib.suppress(AssociationError):  # raised again at its next fragment
                    self._hold(self._number(fragment.tsn), fragment)

    # ---- TSNs

    def _number(self, tsn: int) -> int:
        """The number without wraps that is nearest to what is awaited."""
        return self.cumulative + ((tsn - self.cumulative + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def _has(self, tsn: int) -> bool:
        at = bisect_right(self._firsts, tsn) - 1
        return at >= 0 and tsn <= self._lasts[at]

    def _mark(self, tsn: int) -> None:
        firsts, lasts = self._firsts, self._lasts
        if tsn == self.cumulative + 1:
            self.cumulative = tsn
            if firsts and firsts[0] == tsn + 1:
                self.cumulative = lasts[0]
                del firsts[0], lasts[0]
            return
        at = bisect_right(firsts, tsn)
        joins_left = at > 0 and lasts[at - 1] == tsn - 1
        joins_right = at < len(firsts) and firsts[at] == tsn + 1
        if joins_left and joins_right:
            lasts[at - 1] = lasts[at]
            del firsts[at], lasts[at]
        elif joins_left:
            lasts[at - 1] = tsn
        elif joins_right:
            firsts[at] = tsn
        else:
            firsts.insert(at, tsn)
            lasts.insert(at, tsn)

    def _unmark(self, tsn: int) -> None:
        """As if it had not come: it is beyond `cumulative`, so the peer keeps it (RFC 9260 section 6.2)."""
        firsts, lasts = self._firsts, self._lasts
        at = bisect_right(firsts, tsn) - 1
        first, last = firsts[at], lasts[at]
        del firsts[at], lasts[at]
        for begin, end in ((tsn + 1, last), (first, tsn - 1)):
            if begin <= end:
                firsts.insert(at, begin)
                lasts.insert(at, end)

    # ---- the window

    def _make_room(self, octets: int, tsn: int) -> bool:
        """For the chunk that everything waits for, chunks far ahead of it give way: else neither would ever move."""
        if self._used + octets <= WINDOW:
            return True
        if tsn != self.cumulative + 1:
            return False
        while self._used + octets > WINDOW:
            highest = max(self._held, default=self.cumulative)
            if highest <= self.cumulative:
                if self.ready:  # they are delivered without further data
                    return False
                raise AssociationError(f"the client left out a message, and {WINDOW} bytes wait behind it")
            self._give_back(highest)
        return True

    def _give_back(self, tsn: int) -> None:
        run = self._runs.pop(tsn)
        fragment = self._held.pop(tsn)
        self._used -= len(fragment.payload) + OVERHEAD
        self._unmark(tsn)
        blocked = self._streams[fragment.stream].blocked
        if blocked.get(fragment.sequence) is run:
            del blocked[fragment.sequence]
        if run.first < tsn:
            run.last, run.size = tsn - 1, run.size - len(fragment.payload)
            self._runs[run.last] = run

    # ---- fragments and messages

    def _hold(self, tsn: int, chunk: Fragment) -> None:
        self._held[tsn] = chunk
        self._used += len(chunk.payload) + OVERHEAD
        run = _Run(tsn, tsn, len(chunk.payload))
        if not chunk.flags & FIRST and self._continues(tsn - 1, chunk):
            left = self._runs.pop(tsn - 1)
            run.first, run.size = left.first, run.size + left.size
        if not chunk.flags & LAST and tsn + 1 in self._held and self._continues(tsn, self._held[tsn + 1]):
            right = self._runs.pop(tsn + 1)
            run.last, run.size = right.last, run.size + right.size
        self._runs[run.first] = self._runs[run.last] = run
        if run.size > MAX_MESSAGE:
            raise AssociationError(f"the client sent a message of more than {MAX_MESSAGE} bytes (a=max-message-size)")
        if self._is_whole(run):
            self._complete(run, chunk)

    def _continues(self, before: int, chunk: Fragment) -> bool:
        """Whether `chunk` continues the message of the fragment before it."""
        other = self._held.get(before)
        return (
            other is not None
            and not other.flags & LAST
            and not chunk.flags & FIRST
            and (other.stream, other.sequence, other.flags & UNORDERED)
            == (chunk.stream, chunk.sequence, chunk.flags & UNORDERED)
        )

    def _is_whole(self, run: _Run) -> bool:
        return bool(self._held[run.first].flags & FIRST and self._held[run.last].flags & LAST)

    def _complete(self, run: _Run, chunk: Fragment) -> None:
        if chunk.flags & UNORDERED:
            self._assemble(run)
            return
        stream = self._streams[chunk.stream]
        ahead = (chunk.sequence - stream.next) & 0xFFFF
        if 0 < ahead < 0x8000:
            if chunk.sequence in stream.blocked:  # the number of another message: one of them is wrong
                self._drop(run)
            else:
                stream.blocked[chunk.sequence] = run
            return
        self._assemble(run)
        if ahead == 0:
            self._advance(stream, (stream.next + 1) & 0xFFFF)

    def _advance(self, stream: _Stream, sequence: int) -> None:
        stream.next = sequence
        while (run := stream.blocked.pop(stream.next, None)) is not None:
            self._assemble(run)
            stream.next = (stream.next + 1) & 0xFFFF

    def _skip(self, stream: _Stream, sequence: int) -> None:
        """Messages of a stream up to this sequence number will not come, but for those that are here."""
        if not 0 < (sequence + 1 - stream.next) & 0xFFFF < 0x8000:
            return
        ahead = {(number - stream.next) & 0xFFFF: number for number in stream.blocked}
        for distance in sorted(ahead):
            if distance <= (sequence - stream.next) & 0xFFFF:
                self._assemble(stream.blocked.pop(ahead[distance]))
        self._advance(stream, (sequence + 1) & 0xFFFF)

    def _assemble(self, run: _Run) -> None:
        first = self._held[run.first]
        payload = b"".join(self._held[tsn].payload for tsn in range(run.first, run.last + 1))
        self._drop(run)
        self._make_ready(Message(first.stream, first.protocol, payload))

    def _make_ready(self, message: Message) -> None:
        self.ready.append(message)
        self._used += len(message.payload) + OVERHEAD

    def _drop(self, run: _Run) -> None:
        """Its TSNs stay acknowledged."""
        for tsn in range(run.first, run.last + 1):
            self._used -= len(self._held.pop(tsn).payload) + OVERHEAD
        self._runs.pop(run.first, None)
        self._runs.pop(run.last, None)

    def _forget_hopeless(self, before: int) -> None:
        """Fragments whose beginning or end can't come any more, because all TSNs up to `cumulative` are settled."""
        now = self.cumulative
        passed = range(before, now + 2) if now - before < len(self._runs) else list(self._runs)
        for tsn in passed:
            run = self._runs.get(tsn)
            if run is not None and not self._is_whole(run):
                without_first = run.first <= now + 1 and not self._held[run.first].flags & FIRST
                if without_first or (run.last < now and not self._held[run.last].flags & LAST):
                    self._drop(run)
