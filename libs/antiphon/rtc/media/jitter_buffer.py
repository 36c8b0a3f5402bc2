"""From packets as they come to an unbroken stream of things to decode. Sans-IO.

A model needs no playout delay, so a packet that is in order leaves at once. Packets behind a gap wait for a deadline
that follows the measured jitter; then the last missing packet is recovered from the in-band FEC of its follower and the
others are concealed. So a lost packet delays what follows it once and leaves no delay behind. When a sender stops
sending (discontinuous transmission, mute), silence is made up at the pace of the clock, so that the end of an utterance
is found in time. `Timeline` decides what a timestamp means.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from antiphon.rtc.codec import CodecName
from antiphon.rtc.media.codecs import CodecError, packet_ticks_of
from antiphon.rtc.media.timeline import TICKS_PER_SECOND, Timeline, signed

FRAME_TICKS: Final = 960
MAX_PENDING: Final = 64
"""Packets kept behind a gap; one more gives the gap up."""
MAX_MISORDER: Final = 1000
"""A sequence number further off than this means that the sender numbers its packets anew."""
MIN_WAIT: Final = 0.020
MAX_WAIT: Final = 0.120
STARVED_AFTER: Final = 0.100
"""Seconds without a packet after which silence is made up."""
MAX_CONCEALED: Final = 5 * FRAME_TICKS
"""Concealment beyond 100 ms is only noise: the rest of a longer gap is silence."""
REPAY_AFTER: Final = 50
"""Frames of a pause that are always made up, because the agent finds the end of a turn by them; while there is a
surplus, later ones are left out."""
COMFORT_FRAMES: Final = 10
"""Half of the time between two packets of a sender in DTX (RFC 6716 section 2.1.9: 400 ms)."""
MAX_SILENCE: Final = 10 * TICKS_PER_SECOND
"""A longer pause becomes a JUMP instead of silence."""
OVERDUE: Final = 0.080
"""Seconds by which a packet must be late before silence is made up, where the packets are long."""
MAX_STARVED_AFTER: Final = 0.250
"""Seconds: upper bound of the wait that large jitter, or a sender of several packets at a time, is given."""
TRACK_EVERY: Final = 1.0
RESTART_AFTER: Final = 0.2
"""Seconds of consecutive packets, all numbered lower than what was played, after which the sender is believed to number
its packets anew. A path that reorders delivers such packets all at once, or between newer ones."""
MAX_SUSPECTS: Final = 2 * MAX_PENDING
"""More than 200 ms of the shortest packets, which are 80."""


class Kind(Enum):
    """How the samples of a piece are made."""

    DECODE = "decode"
    RECOVER = "recover"
    """Decode the FEC that `payload`, the following packet, carries."""
    CONCEAL = "conceal"
    SILENCE = "silence"
    JUMP = "jump"
    """Advance the position without samples."""


class Piece(NamedTuple):
    """The next `ticks` (48 kHz) of the stream."""

    kind: Kind
    ticks: int
    arrived: float
    """When its samples arrived, by the clock of `now`.

    DECODE, RECOVER: when the packet with this payload arrived; FEC arrives with the packet that follows the lost one.
    CONCEAL, SILENCE in a gap: its own length after the piece before it, but not later than the packet that ended the
    gap. SILENCE in a pause: by the clock, one frame after the other from the last arrival on."""
    payload: bytes = b""


class _BufferedPacket(NamedTuple):
    timestamp: int
    payload: bytes
    """Empty: no audio, only a number."""
    arrived: float
    ticks: int


@dataclass
class BufferCounters:
    """What happened to packets here, since the start."""

    late: int = 0
    """Came after their place was given up."""
    duplicate: int = 0
    concealed_ticks: int = 0
    recovered: int = 0
    resets: int = 0
    malformed: int = 0


class JitterBuffer:
    """One incoming stream. Its timestamps count at 48 kHz: those of another clock are converted before.

    Owner: the receiver of one session or client, for as long as that lives, which alone calls it, from one thread.
    """

    def __init__(self, counters: BufferCounters | None = None, codec: CodecName = "opus") -> None:
        self.counters = counters or BufferCounters()
        self.timeline = Timeline()
        self._packet_ticks = packet_ticks_of(codec)
        self.jitter = 0.0
        """Seconds, as in RFC 3550. The owner updates it; the deadline of a gap follows it."""
        self._next_sequence = -1
        """The next sequence number, extended beyond 16 bit. Where `_plain` is not -1, that is the current one."""
        self._plain = -1
        """The next sequence number while nothing waits and no pause is being filled, else -1. For nearly every packet
        the comparison with it is the only check."""
        self._ticks = FRAME_TICKS
        """Of the last packet."""
        self._pending: dict[int, _BufferedPacket] = {}
        self._suspects: list[_BufferedPacket] = []
        """Consecutive packets that were too late by their numbers."""
        self._suspected_at = 0, -1
        """The lowest number of these and the one after the highest; valid while `_next_sequence` stays the same."""
        self._suspected_before = -1
        self._started = False
        self._filled_until = 0.0
        self._filling = False
        """Silence is being made up: the timeline follows our clock."""
        self._filled_frames = 0
        """Of this pause."""
        self._track_at = 0.0

    @property
    def next_timestamp(self) -> int:
        """RTP timestamp of what is played next."""
        return self.timeline.next_timestamp

    def push(self, sequence: int, timestamp: int, payload: bytes, now: float) -> list[Piece]:
        """Take one packet that arrived at `now`; returns what can be decoded now."""
        try:
            ticks = self._packet_ticks(payload)
        except CodecError:
            self.counters.malformed += 1
            return []
        timeline = self.timeline
        if sequence == self._plain and timestamp == timeline.next_timestamp and ticks == self._ticks:
            # Nearly always: the next packet, and no other waits.
            self._plain = (sequence + 1) & 0xFFFF
            timeline.next_timestamp = (timestamp + ticks) & 0xFFFFFFFF
            self._filled_until = now
            return [Piece(Kind.DECODE, ticks, now, payload)]
        self._extend()
        packet = _BufferedPacket(timestamp, payload, now, ticks)
        pieces: list[Piece] = []
        if self._next_sequence < 0:
            self._restart(sequence, packet)
        # The extended number nearest to the expected one.
        ahead = ((sequence - self._next_sequence + 0x8000) & 0xFFFF) - 0x8000
        if abs(ahead) > MAX_MISORDER:
            pieces = self._count_anew(sequence, packet)
            ahead = 0
        if ahead < 0:
            pieces = self._too_late(self._next_sequence + ahead, packet)
        elif self._next_sequence + ahead in self._pending:
            self.counters.duplicate += 1
        else:
            self._pending[self._next_sequence + ahead] = packet
        pieces += self._release(now)
        self._allow_plain()
        return pieces

    def expects(self, sequence: int, timestamp: int, ticks: int) -> bool:
        """A packet with these numbers and of this length would be the next, nothing waits, and nothing is to be left
        out: `advance` may follow."""
        timeline = self.timeline
        return (
            sequence == self._plain
            and timestamp == timeline.next_timestamp
            and ticks == self._ticks
            and not timeline.surplus
        )

    def advance(self, now: float) -> None:
        """The packet that `expects` said is next arrived at `now`, and is decoded without a `Piece`."""
        self._plain = (self._plain + 1) & 0xFFFF
        timeline = self.timeline
        timeline.next_timestamp = (timeline.next_timestamp + self._ticks) & 0xFFFFFFFF
        self._filled_until = now

    def skip(self, sequence: int, now: float) -> list[Piece]:
        """Take a packet without audio (a telephone event, a probe): its number does not count as lost."""
        if self._next_sequence < 0:
            return []
        self._extend()
        ahead = ((sequence - self._next_sequence + 0x8000) & 0xFFFF) - 0x8000
        if 0 <= ahead <= MAX_MISORDER:
            self._pending.setdefault(self._next_sequence + ahead, _BufferedPacket(0, b"", now, 0))
        pieces = self._release(now)
        self._allow_plain()
        return pieces

    def change_source(self, now: float) -> list[Piece]:
        """The next packet has another SSRC, with its own numbers and timestamps; returns what still waited."""
        if self._next_sequence < 0:
            return []
        self._extend()
        pieces = self._drain(now)
        self._next_sequence = -1
        self._suspects.clear()
        return pieces

    def poll(self, now: float) -> list[Piece]:
        """Give up gaps whose deadline has passed, and fill a pause; call every 20 ms."""
        if self._pending:
            pieces = self._release(now)
            self._allow_plain()
            if self._pending:
                return pieces
        else:
            pieces = []
            if now >= self._track_at:
                self._track_at = now + TRACK_EVERY
                self.timeline.track_clock(self._filled_until)
        # Only the first frame of silence waits; later ones are made up as time passes.
        silent_for = now - self._filled_until
        if silent_for < FRAME_TICKS / TICKS_PER_SECOND or self._next_sequence < 0:
            return pieces
        if self._filling or (silent_for >= STARVED_AFTER and silent_for >= self._starved_after()):
            pieces += self._fill_pause(now)
        return pieces

    def _starved_after(self) -> float:
        return max(self._ticks / TICKS_PER_SECOND + OVERDUE, min(4 * self.jitter, MAX_STARVED_AFTER))

    def _extend(self) -> None:
        """Update the extended number from the plain one."""
        if self._plain >= 0:
            self._next_sequence += (self._plain - self._next_sequence) & 0xFFFF
            self._plain = -1

    def _allow_plain(self) -> None:
        watched = self._pending or self._filling or self._filled_frames or self.timeline.undecided
        self._plain = -1 if watched else self._next_sequence & 0xFFFF

    def _count_anew(self, sequence: int, first: _BufferedPacket) -> list[Piece]:
        """The sender numbers its packets anew; what still waited is played first."""
        self.counters.resets += 1
        pieces = self._drain(first.arrived)
        self._restart(sequence, first)
        return pieces

    def _restart(self, sequence: int, first: _BufferedPacket) -> None:
        # Extended numbers stay positive however far back a reordered packet lies.
        self._next_sequence = sequence + 0x10000
        self._suspects.clear()
        if self._started:
            self.timeline.begin_anew(first.timestamp)
        else:
            self._started = True
            self.timeline.begin(first.timestamp, first.ticks, first.arrived)

    def _too_late(self, extended: int, packet: _BufferedPacket) -> list[Piece]:
        """A number below what was played: a late packet, a duplicate, or a sender that numbers anew from close by."""
        self.counters.late += 1
        following = self._suspects and self._suspected_before == self._next_sequence and not self._pending
        if not following or extended != self._suspected_at[1] or len(self._suspects) >= MAX_SUSPECTS:
            self._suspects.clear()
            self._suspected_before, self._suspected_at = self._next_sequence, (extended, extended)
        self._suspects.append(packet)
        first, _ = self._suspected_at
        self._suspected_at = first, extended + 1
        # Its timestamp is after all that was played, so the packet is not late.
        newer = signed(packet.timestamp - self.timeline.next_timestamp) >= 0
        if not newer and packet.arrived - self._suspects[0].arrived < RESTART_AFTER:
            return []
        suspects = list(self._suspects)
        self.counters.late -= len(suspects)
        pieces = self._count_anew(first & 0xFFFF, suspects[0])
        self._pending = {self._next_sequence + number: each for number, each in enumerate(suspects)}
        return pieces

    def _drain(self, now: float) -> list[Piece]:
        """Everything that waits, without waiting for missing packets."""
        return self._release(now, patient=False)

    def _release(self, now: float, patient: bool = True) -> list[Piece]:
        pieces: list[Piece] = []
        while self._pending:
            packet = self._pending.pop(self._next_sequence, None)
            if packet is not None:
                if packet.payload:
                    pieces += self._in_order(packet)
                self._next_sequence += 1
                continue
            first = min(self._pending)
            if patient and len(self._pending) <= MAX_PENDING:
                wait = min(max(3 * self.jitter, MIN_WAIT), MAX_WAIT)
                # All pending packets are behind the gap; the wait began when the first of them arrived.
                if now - min(packet.arrived for packet in self._pending.values()) < wait:
                    break
            pieces += self._give_up(first)
        return pieces

    def _in_order(self, packet: _BufferedPacket) -> list[Piece]:
        before = self._filled_until
        gap = packet.arrived - before
        pause = self.timeline.place(self._next_sequence, packet.timestamp, packet.ticks, packet.arrived, gap)
        self._ticks = packet.ticks
        self._filled_until = max(self._filled_until, packet.arrived)
        self._filling = False
        # A comfort noise packet does not end the pause: only several packets bring this down to zero.
        self._filled_frames = max(0, self._filled_frames - COMFORT_FRAMES)
        if pause is None:
            self.counters.late += 1
            return []
        pieces = _silence(pause, before, packet.arrived)
        pieces.append(Piece(Kind.DECODE, packet.ticks, packet.arrived, packet.payload))
        return pieces

    def _give_up(self, first: int) -> list[Piece]:
        """The packets before `first` are lost."""
        packet, missing = self._pending[first], first - self._next_sequence
        self._next_sequence = first
        if not packet.payload:
            return []  # the next audio packet's timestamp says how much was lost; it is then a pause
        pause, span = self.timeline.lost_before(missing, first, packet.timestamp, packet.ticks, packet.arrived)
        at = self._filled_until
        pieces = _silence(pause, at, packet.arrived)
        if not span:
            return pieces
        at += pause / TICKS_PER_SECOND
        recoverable = min(packet.ticks, span)
        rest = span - recoverable
        while rest > 0:
            step = min(FRAME_TICKS, rest)
            concealed = span - recoverable - rest < MAX_CONCEALED
            at += step / TICKS_PER_SECOND
            pieces.append(Piece(Kind.CONCEAL if concealed else Kind.SILENCE, step, min(at, packet.arrived)))
            self.counters.concealed_ticks += step
            rest -= step
        pieces.append(Piece(Kind.RECOVER, recoverable, packet.arrived, packet.payload))
        self.counters.recovered += 1
        return pieces

    def _fill_pause(self, now: float) -> list[Piece]:
        self._extend()
        timeline = self.timeline
        frames = int((now - self._filled_until) * TICKS_PER_SECOND) // FRAME_TICKS
        self._filling = True
        self._filled_until += frames * FRAME_TICKS / TICKS_PER_SECOND
        timeline.fill(frames * FRAME_TICKS)
        self._filled_frames += frames
        if self._filled_frames > REPAY_AFTER:
            repaid = min(frames, timeline.surplus // FRAME_TICKS)
            timeline.surplus -= repaid * FRAME_TICKS
            frames -= repaid
        skipped = max(0, frames - MAX_SILENCE // FRAME_TICKS)  # this process was stopped
        end = self._filled_until
        pieces = [Piece(Kind.JUMP, skipped * FRAME_TICKS, end)] if skipped else []
        pieces += [
            Piece(Kind.SILENCE, FRAME_TICKS, end - left * FRAME_TICKS / TICKS_PER_SECOND)
            for left in range(frames - skipped - 1, -1, -1)
        ]
        return pieces


def _silence(ticks: int, after: float, until: float) -> list[Piece]:
    """A pause, frame by frame: it follows what arrived at `after`, and a packet that arrived at `until` ends it."""
    if ticks > MAX_SILENCE:
        return [Piece(Kind.JUMP, ticks, until)]
    pieces: list[Piece] = []
    while ticks > 0:
        step = min(FRAME_TICKS, ticks)
        after += step / TICKS_PER_SECOND
        pieces.append(Piece(Kind.SILENCE, step, min(after, until)))
        ticks -= step
    return pieces
