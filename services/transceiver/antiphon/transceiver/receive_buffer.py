"""From packets as they come to an unbroken stream of things to decode. Sans-IO.

A model needs no playout delay, so a packet that is in order leaves at once. Only a gap waits: for a
deadline that follows the measured jitter, then the last missing packet comes from the in-band FEC of its
follower and the others are concealed. One lost packet so delays what follows it once and leaves no delay
behind. When a sender stops sending (discontinuous transmission, mute), silence is made up at the pace of
the clock, so that the end of an utterance is not seen late.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from antiphon.transceiver import opus

TICKS_PER_SECOND: Final = 48000
FRAME_TICKS: Final = 960
MAX_PENDING: Final = 64
"""Packets held behind a gap; one more gives the gap up."""
MAX_MISORDER: Final = 1000
"""A sequence number further off than this is a new start of the sender."""
MIN_WAIT: Final = 0.020
MAX_WAIT: Final = 0.120
STARVED_AFTER: Final = 0.100
"""Seconds without a packet after which silence is made up."""
MAX_CONCEALED: Final = 5 * FRAME_TICKS
"""Concealment beyond 100 ms is noise: the rest of a longer gap is silence."""
REPAY_AFTER: Final = 50
"""Frames of a pause that come in full, because the end of a turn is found by them; later ones may be left out."""
COMFORT_FRAMES: Final = 10
"""Half of what lies between two packets of a sender in DTX (RFC 6716 section 2.1.9: 400 ms)."""
MAX_SILENCE: Final = 10 * TICKS_PER_SECOND
"""A pause longer than this is jumped over instead of filled."""
MAX_SURPLUS: Final = 5 * TICKS_PER_SECOND
"""Packets that would make the stream longer than what was sent by more than this are too late, and left out."""


class Kind(Enum):
    """What to do for a piece of the stream."""

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
    payload: bytes = b""


class _Held(NamedTuple):
    timestamp: int
    payload: bytes
    arrived: float


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


class ReceiveBuffer:
    """One incoming Opus stream."""

    def __init__(self, counters: BufferCounters | None = None, surplus: int = 0) -> None:
        self.counters = counters or BufferCounters()
        self.surplus = surplus
        """Ticks by which the stream is longer than what was sent, because packets came late after silence. Taken back
        here in a later pause, and by the caller, which counts it down, where it leaves out quiet frames."""
        self.jitter = 0.0
        """Seconds, as in RFC 3550; kept by the caller, read for the deadline."""
        self._next_sequence = -1
        self._next_timestamp = 0
        self._pending: dict[int, _Held] = {}
        self._filled_until = 0.0
        self._filling = False
        """Silence is being made up: `_next_timestamp` runs by our clock."""
        self._filled_frames = 0
        """Of this pause."""
        self._made_up = 0
        """Ticks of silence since the last packet."""

    @property
    def next_timestamp(self) -> int:
        """RTP timestamp of what is played next."""
        return self._next_timestamp & 0xFFFFFFFF

    def push(self, sequence: int, timestamp: int, payload: bytes, now: float) -> list[Piece]:
        """Take one packet; returns what can be decoded now."""
        try:
            ticks = opus.packet_ticks(payload)
        except opus.OpusError:
            self.counters.malformed += 1
            return []
        if not self._pending and timestamp == self._next_timestamp and sequence == self._next_sequence & 0xFFFF:
            self._next_sequence += 1  # nearly always: the next one, and nothing waits
            self._advance(timestamp + ticks, now)
            return [Piece(Kind.DECODE, ticks, payload)]
        if self._next_sequence < 0:
            self._restart(sequence, timestamp)
        # The extended number that is nearest to the one expected.
        ahead = ((sequence - self._next_sequence + 0x8000) & 0xFFFF) - 0x8000
        if abs(ahead) > MAX_MISORDER:
            self.counters.resets += 1
            self._restart(sequence, timestamp)
            ahead = 0
        extended = self._next_sequence + ahead
        if ahead < 0:
            self.counters.late += 1
            return []
        if extended in self._pending:
            self.counters.duplicate += 1
            return []
        self._pending[extended] = _Held(timestamp, payload, now)
        return self._release(now)

    def skip(self, sequence: int, now: float) -> list[Piece]:
        """A packet of this stream without audio (a telephone event, a probe): its number is no loss."""
        if self._next_sequence < 0:
            return []
        ahead = ((sequence - self._next_sequence + 0x8000) & 0xFFFF) - 0x8000
        if 0 <= ahead <= MAX_MISORDER:
            self._pending.setdefault(self._next_sequence + ahead, _Held(0, b"", now))
        return self._release(now)

    def poll(self, now: float) -> list[Piece]:
        """Give up gaps whose time is over, and fill a pause; call every 20 ms."""
        if self._next_sequence < 0:
            return []
        pieces = self._release(now)
        # Once silence is being made up it comes frame by frame; only its start waits.
        quiet = FRAME_TICKS / TICKS_PER_SECOND if self._filling else STARVED_AFTER
        if not self._pending and now - self._filled_until >= quiet:
            pieces += self._fill_pause(now)
        return pieces

    def _restart(self, sequence: int, timestamp: int) -> None:
        self._pending.clear()
        # Extended numbers stay positive however far back a reordered packet lies.
        self._next_sequence = sequence + 0x10000
        self._next_timestamp = timestamp
        self._filling = False
        self._made_up = 0

    def _release(self, now: float) -> list[Piece]:
        pieces: list[Piece] = []
        while self._pending:
            held = self._pending.pop(self._next_sequence, None)
            if held is not None:
                if held.payload:
                    pieces += self._in_order(held, now)
                else:
                    self._next_sequence += 1
                continue
            first = min(self._pending)
            wait = min(max(3 * self.jitter, MIN_WAIT), MAX_WAIT)
            # Every pending packet came behind the gap; the first of them to come started its wait.
            since = min(held.arrived for held in self._pending.values())
            if now - since < wait and len(self._pending) <= MAX_PENDING:
                break
            pieces += self._give_up(first)
        return pieces

    def _in_order(self, held: _Held, now: float) -> list[Piece]:
        pieces: list[Piece] = []
        pause = _signed(held.timestamp - self._next_timestamp)
        if 0 < pause <= MAX_SILENCE:
            pieces.append(Piece(Kind.SILENCE, pause))
        elif -self._made_up <= pause < 0:
            # Silence was made up for longer than the pause was: the stream goes on from where it is, without
            # a loss of speech, and what it is longer now is taken back later.
            if self.surplus - pause > MAX_SURPLUS:
                self.counters.late += 1
                self._next_sequence += 1
                return []
            self.surplus -= pause
        elif pause:
            # The sender's timestamps jumped (or ran on over a very long pause): count the position on.
            pieces.append(Piece(Kind.JUMP, max(0, min(pause, MAX_SILENCE))))
        ticks = opus.packet_ticks(held.payload)
        pieces.append(Piece(Kind.DECODE, ticks, held.payload))
        self._advance(held.timestamp + ticks, now)
        self._next_sequence += 1
        return pieces

    def _give_up(self, first: int) -> list[Piece]:
        """The packets before `first` are lost."""
        held = self._pending[first]
        if not held.payload:
            # How much was lost the next audio's timestamp tells; by then it is a pause.
            self._next_sequence = first
            return []
        missing = first - self._next_sequence
        span = _signed(held.timestamp - self._next_timestamp)
        own = opus.packet_ticks(held.payload)
        self._next_sequence = first
        if span <= 0:
            return []  # silence was made up for all of it already
        pieces: list[Piece] = []
        if span > missing * opus.MAX_PACKET_MS * opus.TICKS_PER_MS:
            # More time than the lost packets can have held: the sender also paused, or chose new timestamps.
            pause, span = span - missing * own, missing * own
            pieces.append(Piece(Kind.SILENCE, pause) if pause <= MAX_SILENCE else Piece(Kind.JUMP, MAX_SILENCE))
        recoverable = min(own, span)
        rest = span - recoverable
        while rest > 0:
            step = min(FRAME_TICKS, rest)
            concealed = span - recoverable - rest < MAX_CONCEALED
            pieces.append(Piece(Kind.CONCEAL if concealed else Kind.SILENCE, step))
            self.counters.concealed_ticks += step
            rest -= step
        pieces.append(Piece(Kind.RECOVER, recoverable, held.payload))
        self.counters.recovered += 1
        self._next_timestamp = held.timestamp
        return pieces

    def _fill_pause(self, now: float) -> list[Piece]:
        frames = int((now - self._filled_until) * TICKS_PER_SECOND) // FRAME_TICKS
        self._filling = True
        self._filled_until += frames * FRAME_TICKS / TICKS_PER_SECOND
        self._next_timestamp = (self._next_timestamp + frames * FRAME_TICKS) & 0xFFFFFFFF
        self._filled_frames += frames
        self._made_up += frames * FRAME_TICKS
        if self._filled_frames > REPAY_AFTER:
            repaid = min(frames, self.surplus // FRAME_TICKS)
            self.surplus -= repaid * FRAME_TICKS
            frames -= repaid
        skipped = max(0, frames - MAX_SILENCE // FRAME_TICKS)  # the process itself stood still
        jump = [Piece(Kind.JUMP, skipped * FRAME_TICKS)] if skipped else []
        return jump + [Piece(Kind.SILENCE, FRAME_TICKS)] * (frames - skipped)

    def _advance(self, timestamp: int, now: float) -> None:
        self._next_timestamp = timestamp & 0xFFFFFFFF
        self._filled_until = now
        self._filling = False
        self._made_up = 0
        # A comfort packet is no end of the pause: only speech brings this down to nothing.
        if self._filled_frames:
            self._filled_frames = max(0, self._filled_frames - COMFORT_FRAMES)


def _signed(difference: int) -> int:
    """A 32-bit difference as a signed number."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000
