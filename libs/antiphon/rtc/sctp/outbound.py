"""What an SCTP association sends: messages, their chunks until they are acknowledged, and when each leaves. Sans-IO.

Retransmission by RFC 9260 section 6 (`congestion.py`: how much, how soon), partial reliability by RFC 3758. Every
message is cut into chunks with numbers at once, while fewer than `MAX_OUTSTANDING` exist: what a checkpoint holds has
its numbers then, and a client recognises by them what it received already.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain
from operator import attrgetter
from typing import Final

from antiphon.rtc.sctp.congestion import MAX_PACKET, CongestionControl
from antiphon.rtc.sctp.outgoing import USER_DATA, OutgoingChunk, OutgoingMessage, cut_into_chunks
from antiphon.rtc.sctp.packet import FIRST, LAST, UNORDERED, pack_data, pack_forward_tsn, trimmed_gaps

MAX_OUTSTANDING: Final = 512
"""Chunks; above it no further message is cut into chunks, because an acknowledgement may walk through all of them."""
MAX_BURST: Final = 10
"""Packets at once, however wide the windows are."""
MISSES: Final = 3
"""Acknowledgements of later chunks after which a chunk is taken for lost (section 7.2.4)."""

_TSN: Final[Callable[[OutgoingChunk], int]] = attrgetter("tsn")


class Outbound:
    """One association's sending side.

    Owner: the association, for as long as that has the same peer; one thread only. TSNs are kept as numbers that never
    wrap; `& 0xFFFFFFFF` gives the one in packets.
    """

    def __init__(self, tsn: int) -> None:
        """`tsn`: the first to be used."""
        self.next_tsn = tsn
        self.acknowledged = tsn - 1
        """All TSNs up to this one are acknowledged."""
        self.forwarded = tsn - 1
        """All up to this one are acknowledged or given up; beyond `acknowledged` the peer has to be told."""
        self.limit: int | None = None
        """The first TSN that may not be used yet; None: no limit."""
        self.partially_reliable = False
        """The peer understands FORWARD-TSN."""
        self.sent: list[OutgoingChunk] = []
        """In order. TSNs missing between two of them are given up together with the later one."""
        self.queued: deque[OutgoingChunk] = deque()
        """With a number, but not sent yet."""
        self.waiting: deque[OutgoingMessage] = deque()
        self.buffered = 0
        """Octets of `waiting`."""
        self.sequences: dict[int, int] = {}
        """By stream: the number of the next ordered message."""
        self.peer_window = 0
        """Octets that the peer has room for, beyond those in flight."""
        self.flight = 0
        """Octets sent, and neither acknowledged nor taken for lost."""
        self.congestion = CongestionControl()
        self.expires_at: float | None = None
        """When the oldest chunk in flight is taken for lost (T3-rtx)."""
        self._gaps = 0
        """Chunks of `sent` acknowledged by gap ack blocks."""
        self._repeats = 0
        """Chunks of `sent` that may have to be repeated: an upper bound; 0 is exact."""
        self._at_once = False
        """The first packet of a fast retransmission leaves whatever the congestion window says."""
        self._forward_due = False

    # ---- messages

    def queue(self, message: OutgoingMessage) -> None:
        self.waiting.append(message)
        self.buffered += len(message.payload)
        self.cut()

    @property
    def messages(self) -> int:
        """Messages and chunks that are not acknowledged."""
        return len(self.waiting) + len(self.queued) + len(self.sent)

    @property
    def idle(self) -> bool:
        """Everything is acknowledged."""
        return not (self.waiting or self.queued or self.sent)

    def streams(self) -> set[int]:
        """Those of which something is not acknowledged yet."""
        kept: tuple[Iterable[OutgoingChunk | OutgoingMessage], ...] = (self.sent, self.queued, self.waiting)
        return {each.stream for each in chain.from_iterable(kept)}

    def reset(self, streams: list[int]) -> None:
        """Count the messages of these streams anew (RFC 6525)."""
        for stream in streams:
            self.sequences.pop(stream, None)

    def cut(self) -> None:
        """Give numbers to what waits, as far as the limits allow."""
        while self.waiting and len(self.sent) + len(self.queued) < MAX_OUTSTANDING:
            message = self.waiting[0]
            size = len(message.payload)
            if self.limit is not None and self.limit - self.next_tsn < -(-size // USER_DATA):
                return
            self.waiting.popleft()
            self.buffered -= size
            sequence = 0
            if message.ordered:
                sequence = self.sequences.get(message.stream, 0)
                self.sequences[message.stream] = (sequence + 1) & 0xFFFF
            chunks = cut_into_chunks(message, self.next_tsn, sequence)
            self.queued.extend(chunks)
            self.next_tsn += len(chunks)

    # ---- sending

    def transmit(self, now: float) -> list[bytes]:
        """The chunks that may leave now, ready for packets."""
        written: list[bytes] = []
        room = MAX_BURST * MAX_PACKET
        if self._repeats:
            room = self._transmit_lost(now, room, written)
        queued = self.queued
        while queued and room > 0:
            chunk = queued[0]
            if chunk.expires_at is not None and chunk.expires_at <= now and self.partially_reliable:
                self._abandon_queued()
                continue
            size = len(chunk.payload)
            if not self._admits(size):
                break
            queued.popleft()
            self.sent.append(chunk)
            room -= size
            self._send(chunk, now, written)
        self.cut()
        if self._forward_due:
            self._forward_due = False
            written.insert(0, self._pack_forward())
        if self.expires_at is None and (self.flight or self.forwarded > self.acknowledged):
            self.expires_at = now + self.congestion.rto
        return written

    def _transmit_lost(self, now: float, room: int, written: list[bytes]) -> int:
        left = 0
        for chunk in tuple(self.sent):
            if not chunk.repeat:
                continue
            if self._gives_up(chunk, now):
                self._abandon(chunk.tsn)
            elif room > 0 and self._admits(len(chunk.payload)):
                self._at_once = self._at_once and not written
                room -= len(chunk.payload)
                if self.sent and chunk is self.sent[0]:
                    self.expires_at = None  # begins anew (section 6.3.2 R3)
                self._send(chunk, now, written)
            else:
                left += 1
        self._at_once = False
        self._repeats = left
        return room

    def _admits(self, size: int) -> bool:
        """The windows have room. One chunk at a time is sent into a peer's window that is full (section 6.1 A)."""
        return not self.flight or (size <= self.peer_window and (self.flight < self.congestion.cwnd or self._at_once))

    def _send(self, chunk: OutgoingChunk, now: float, written: list[bytes]) -> None:
        size = len(chunk.payload)
        chunk.in_flight, chunk.repeat = True, False
        chunk.sends += 1
        chunk.sent_at = now
        self.flight += size
        self.peer_window = max(0, self.peer_window - size)
        written.append(pack_data(chunk.flags, chunk.tsn, chunk.stream, chunk.sequence, chunk.protocol, chunk.payload))

    # ---- time

    def expired(self, now: float) -> None:
        """The timer ran out: everything in flight is taken for lost (section 6.3.3)."""
        self.expires_at = None
        self.congestion.back_off()
        self._forward_due = self.forwarded > self.acknowledged
        lost = [chunk for chunk in self.sent if not chunk.acknowledged and not chunk.abandoned]
        if lost:
            self.congestion.all_lost()
            for chunk in lost:
                chunk.in_flight, chunk.repeat, chunk.misses = False, True, 0
            self.peer_window += self.flight
            self.flight = 0
            self._repeats = len(lost)

    # ---- acknowledgements

    def acknowledge(self, tsn: int, window: int, gaps: list[tuple[int, int]], now: float) -> None:
        """Take a SACK, or the acknowledgement in a SHUTDOWN. One that is old or impossible changes nothing."""
        to = self.acknowledged + ((tsn - self.acknowledged + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        highest = self.sent[-1].tsn if self.sent else self.acknowledged
        if not self.acknowledged <= to <= highest:
            return
        was_full = self.flight >= self.congestion.cwnd
        before, advanced = self.flight, to > self.acknowledged
        newest = to if advanced else 0
        if advanced:
            self._settle(to, now)
        if gaps or self._gaps:
            newest = max(newest, self._take_gaps(trimmed_gaps(gaps, highest - to), now))
        self.congestion.acknowledged(to)
        if advanced and not self.congestion.recovers:
            self.congestion.widen(max(0, before - self.flight), was_full)
        if gaps and newest and (advanced or not self.congestion.recovers):
            self._count_misses(newest)
        if not self.flight:
            self.congestion.nothing_in_flight()
        self.peer_window = max(0, window - self.flight)
        if self.partially_reliable:
            self._forward()
        if advanced or not (self.flight or self.forwarded > self.acknowledged):
            self.expires_at = None  # `transmit` starts it again
        if not self.flight and self._outstanding():
            self.expires_at = now + self.congestion.rto if self.expires_at is None else self.expires_at
        self.cut()

    def _outstanding(self) -> bool:
        """Something was sent that is not acknowledged for good, though nothing is in flight."""
        return any(not chunk.acknowledged and not chunk.abandoned and not chunk.repeat for chunk in self.sent)

    def _settle(self, to: int, now: float) -> None:
        """Everything up to here has arrived, or was given up."""
        passed = bisect_right(self.sent, to, key=_TSN)
        timed: OutgoingChunk | None = None
        for chunk in self.sent[:passed]:
            if chunk.in_flight:
                self.flight -= len(chunk.payload)
                if chunk.sends == 1:
                    timed = chunk
            if chunk.acknowledged:
                self._gaps -= 1
        del self.sent[:passed]
        self.acknowledged = to
        self.forwarded = max(self.forwarded, to)
        if timed is not None:
            self.congestion.measure(now - timed.sent_at)
        else:
            self.congestion.end_back_off()  # what was repeated measures nothing, but the path works again

    def _take_gaps(self, gaps: list[tuple[int, int]], now: float) -> int:
        """Mark what the gap ack blocks name, and take back what they no longer do; returns the newest of them."""
        sent, base, newest = self.sent, self.acknowledged, 0
        before, self._gaps = self._gaps, 0
        at = 0
        timed: OutgoingChunk | None = None
        for first, last in (*gaps, (1 << 33, 1 << 33)):
            begin = min(bisect_left(sent, base + first, lo=at, key=_TSN), len(sent))
            end = bisect_right(sent, base + last, lo=begin, key=_TSN)
            if before:
                for chunk in sent[at:begin]:
                    chunk.acknowledged = False  # the peer gave it up for want of room (section 6.2)
            for chunk in sent[begin:end]:
                if not chunk.acknowledged:
                    chunk.acknowledged = True
                    newest = chunk.tsn
                    if chunk.in_flight:
                        self.flight -= len(chunk.payload)
                        chunk.in_flight = False
                        if chunk.sends == 1:
                            timed = chunk
                    chunk.repeat = False
            self._gaps += end - begin
            at = end
        if timed is not None:
            self.congestion.measure(now - timed.sent_at)
        return newest

    def _count_misses(self, newest: int) -> None:
        """Section 7.2.4: a chunk that three acknowledgements leave out is lost."""
        lost = False
        for chunk in self.sent:
            if chunk.tsn >= newest:
                break
            if chunk.acknowledged or chunk.abandoned or not chunk.in_flight:
                continue
            chunk.misses += 1
            if chunk.misses == MISSES:  # once; then only the timer repeats it
                chunk.in_flight, chunk.repeat = False, True
                self.flight -= len(chunk.payload)
                self.peer_window += len(chunk.payload)
                self._repeats += 1
                lost = True
        if lost and self.congestion.begin_recovery(self.sent[-1].tsn):
            self._at_once = True

    # ---- partial reliability

    def _gives_up(self, chunk: OutgoingChunk, now: float) -> bool:
        if not self.partially_reliable:
            return False
        return (chunk.max_retransmits is not None and chunk.sends > chunk.max_retransmits) or (
            chunk.expires_at is not None and chunk.expires_at <= now
        )

    def _abandon(self, tsn: int) -> None:
        """Give up the message of this chunk, whole."""
        at = bisect_left(self.sent, tsn, key=_TSN)
        first = at
        while first > 0 and not self.sent[first].flags & FIRST:
            first -= 1
        whole = False
        for chunk in self.sent[first:]:
            if chunk.in_flight:
                self.flight -= len(chunk.payload)
            if chunk.acknowledged:
                chunk.acknowledged = False
                self._gaps -= 1
            chunk.abandoned, chunk.in_flight, chunk.repeat, chunk.payload = True, False, False, b""
            if chunk.flags & LAST:
                whole = True
                break
        if not whole:
            self._abandon_queued()
        self._forward()

    def _abandon_queued(self) -> None:
        """Give up the first chunks of `queued` up to the end of a message."""
        while self.queued:
            chunk = self.queued.popleft()
            chunk.abandoned, chunk.payload = True, b""
            self.sent.append(chunk)
            if chunk.flags & LAST:
                break
        self._forward()

    def _forward(self) -> None:
        """Move `forwarded` over what was given up (RFC 3758 section 3.5)."""
        before = self.forwarded
        at = bisect_right(self.sent, before, key=_TSN)
        while at < len(self.sent) and self.sent[at].abandoned:
            self.forwarded = self.sent[at].tsn
            at += 1
        self._forward_due = self._forward_due or self.forwarded > before

    def _pack_forward(self) -> bytes:
        skipped: dict[int, int] = {}
        for chunk in self.sent:
            if chunk.tsn > self.forwarded:
                break
            if chunk.abandoned and not chunk.flags & UNORDERED:
                skipped[chunk.stream] = chunk.sequence
        return pack_forward_tsn(self.forwarded, skipped)

    # ---- another process goes on

    def skip(self, count: int, streams: list[int]) -> None:
        """Give up the next `count` numbers, and as many messages of these streams: another process may have used them.

        Chunks that exist keep their numbers and are sent again.
        """
        for chunk in self.queued:
            chunk.sends = 1
            self.sent.append(chunk)
        self.queued.clear()
        self.next_tsn += count
        skipped = [(stream, 0) for stream in streams] or [(0, UNORDERED)]
        for position, (stream, flags) in enumerate(skipped, -len(skipped)):
            sequence = (self.sequences.get(stream, 0) + count) & 0xFFFF
            if not flags:
                self.sequences[stream] = sequence
            # One chunk is enough for all numbers before it.
            tsn, last = self.next_tsn + position, (sequence - 1) & 0xFFFF
            self.sent.append(OutgoingChunk(flags | FIRST | LAST, tsn, stream, last, 0, b"", abandoned=True))
        self._forward()

    def resume(self) -> None:
        """Send again all that was sent: after another process had it, no timer of it is known."""
        self.flight = self._gaps = self._repeats = 0
        self.congestion.resume()
        self.expires_at = None
        for chunk in self.sent:
            chunk.acknowledged = chunk.in_flight = False
            chunk.misses = 0
            chunk.repeat = not chunk.abandoned
            self._repeats += chunk.repeat
        self._forward_due = self.forwarded > self.acknowledged
