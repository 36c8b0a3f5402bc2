"""The position of a packet in its stream, from the sender's RTP time and our clock. Sans-IO.

A correct timestamp says how long a pause was. Many senders write others: timestamps that stop during a mute, jump,
start anew, count at another rate, or are all the same. So a timestamp is believed only as far as sequence numbers and
arrivals agree with it: it never inserts more silence than our clock has time for, and never makes a packet too late.

A packet that follows made-up silence may have been delayed (a stall), or its sender's clock stopped (a mute). Later
packets decide: after a stall more audio arrives than time passes. Until then the packet counts as on time; audio that
arrives faster than time passes turns the silence into `surplus`.
"""

from __future__ import annotations

from typing import Final

TICKS_PER_SECOND: Final = 48000
SMALLEST: Final = 120
"""Ticks of the shortest Opus frame (2.5 ms). A smaller difference between two packets is no pause: the sender reads its
timestamps from a clock."""
SLACK: Final = TICKS_PER_SECOND * 120 // 1000
"""Ticks by which a pause may exceed the time that passed: the packet before it may have been late by jitter."""
BEHIND: Final = TICKS_PER_SECOND // 10
"""Ticks behind our clock from which on the sending process is believed to have been stopped."""
LONGEST_FRAMES: Final = TICKS_PER_SECOND * 120 // 1000
"""Ticks of the longest Opus packet (RFC 6716 section 3.2.5)."""
UNDECIDED: Final = TICKS_PER_SECOND // 2
"""Ticks of audio at the pace of the clock after which the sender's clock is known to have stopped."""
MAX_PAUSE_BEHIND_TIME: Final = TICKS_PER_SECOND
"""Ticks played of a pause between packets that are all late: the agent finds the end of a turn by them."""
MAX_SURPLUS: Final = 10 * TICKS_PER_SECOND
"""Ticks by which a stream may become longer than what was sent; beyond it, audio that arrives too fast is left out."""
FOLLOW: Final = 8
"""At each `track_clock` the estimate of the sender's clock moves by one part in this many towards a path that became
slower, or a clock that runs slower."""


class Timeline:
    """One sender's RTP time. Owner: a `JitterBuffer`, for as long as that lives, which reports what is played.

    `next_timestamp` is the RTP time of what is played next. Our estimate of the sender's clock is
    `now * 48000 + _origin`: the end of a packet that arrives now without delay.
    """

    def __init__(self) -> None:
        self.next_timestamp = 0
        self.surplus = 0
        """Ticks by which the stream is longer than what was sent, because packets came late after made-up silence.
        The jitter buffer and the `FrameDecoder` count it down by what they leave out."""
        self.made_up = 0
        """Ticks of silence since the last packet."""
        self._origin = 0
        self._undecided = 0
        """Ticks of made-up silence before the last packet: its sender's clock stopped, or it was late. Audio that
        arrives faster than time passes decides it."""
        self._at_pace = 0
        """Ticks of audio since audio last arrived faster than time passes."""
        self._odd_sequence = -1
        """The last packet whose timestamp fitted neither the end of the packet before nor a pause. If it was the newest
        packet, the next timestamp is not believed: with another clock rate every timestamp is odd."""

    @property
    def undecided(self) -> bool:
        """Every packet must be placed, also those in order."""
        return self._undecided > 0

    def begin(self, timestamp: int, ticks: int, now: float) -> None:
        """The first packet, of `ticks`, arrived."""
        self.next_timestamp = timestamp
        self._origin = timestamp + ticks - int(now * TICKS_PER_SECOND)

    def begin_anew(self, timestamp: int) -> None:
        """The sender numbers its packets anew and this is the first: the stream continues at its position."""
        self._move(signed(timestamp - self.next_timestamp))
        self._take_made_up_as_undecided(self.made_up)

    def fill(self, ticks: int) -> None:
        """Silence was made up."""
        self.next_timestamp = (self.next_timestamp + ticks) & 0xFFFFFFFF
        self.made_up += ticks

    def place(self, sequence: int, timestamp: int, ticks: int, arrived: float, gap: float) -> int | None:
        """Ticks of silence to play before the packet whose turn it is, `gap` seconds after the one before it.

        None: it would make the stream longer than what was sent by more than `MAX_SURPLUS` and is left out.
        """
        pause = signed(timestamp - self.next_timestamp)
        inserted = skipped = 0
        if abs(pause) >= SMALLEST:
            room = self._room(ticks, arrived)
            distrusted = self._distrusts(sequence)
            if self.made_up:
                if distrusted:
                    self._odd_sequence = sequence
                elif 0 < pause <= room + SLACK:
                    inserted = pause
                if not inserted:
                    # A timestamp before the silence began, or far after it: the sender's clock was reset.
                    self._take_made_up_as_undecided(min(-pause, self.made_up) if pause < 0 else self.made_up)
            elif room >= BEHIND and 0 < pause <= room + SLACK:
                inserted = pause
            else:
                self._odd_sequence = sequence
                if not distrusted and pause > 0:
                    if pause <= room + SLACK:
                        inserted = pause
                    elif self._undecided > 0 and gap * TICKS_PER_SECOND < ticks / 2:
                        # A pause of a sender all of whose packets were late: it arrives together with them.
                        inserted = min(pause, self._undecided, MAX_PAUSE_BEHIND_TIME)
                        skipped = min(pause, self._undecided) - inserted
                    elif room >= BEHIND:
                        inserted = room
        self._move(pause - inserted - skipped)
        self.made_up = 0
        self.next_timestamp = (timestamp + ticks) & 0xFFFFFFFF
        return inserted if self._decide(ticks, skipped, arrived) else None

    def lost_before(self, missing: int, sequence: int, timestamp: int, ticks: int, arrived: float) -> tuple[int, int]:
        """`missing` packets before this one are lost: ticks of pause, and ticks of their audio."""
        span = signed(timestamp - self.next_timestamp)
        room = self._room(ticks, arrived)
        distrusted = self._distrusts(sequence - missing)
        if 0 < span <= room + SLACK + self._undecided and not distrusted:
            self.next_timestamp = timestamp
            if span <= missing * LONGEST_FRAMES:
                return 0, span
            # More than the lost packets can have held: the sender also paused.
            return span - missing * ticks, missing * ticks
        if distrusted:
            self._odd_sequence = sequence - 1
        if self.made_up:
            return 0, 0  # silence was made up for all of it already
        lost = max(0, min(missing * ticks, room)) // SMALLEST * SMALLEST
        self._move(span - lost)
        self.next_timestamp = timestamp
        return 0, lost

    def track_clock(self, arrived: float) -> None:
        """Call every second or so with the last arrival: follows clock drift and a path that becomes slower."""
        if not self._undecided and not self.made_up:
            ahead = self._ahead(arrived)
            self._origin += ahead if ahead > 0 else -(-ahead // FOLLOW)

    def _decide(self, ticks: int, skipped: int, arrived: float) -> bool:
        """Whether the packet is played, after it was placed."""
        early = self._ahead(arrived)
        if early > 0:
            self._origin += early
        if not self._undecided:
            return True
        if early <= 0:
            self._at_pace += ticks
            if self._at_pace > UNDECIDED:
                self._undecided = 0
            return True
        self._at_pace = 0
        late = min(early, self._undecided)
        self._undecided -= late
        if 0 < self._undecided <= min(ticks, TICKS_PER_SECOND // 50):
            # All but one packet: the sender's clock ran on, and this much is jitter.
            late += self._undecided
            self._origin += self._undecided
            self._undecided = 0
        played = self.surplus + late - skipped <= MAX_SURPLUS
        self.surplus = max(0, self.surplus + late - skipped - (0 if played else ticks))
        return played

    def _take_made_up_as_undecided(self, ticks: int) -> None:
        self._undecided += ticks
        self._at_pace = 0
        self.made_up = 0

    def _distrusts(self, sequence: int) -> bool:
        return self._odd_sequence == sequence - 1

    def _ahead(self, now: float) -> int:
        """Ticks by which the stream is ahead of the sender's clock, as far as we know that."""
        return signed(self.next_timestamp - int(now * TICKS_PER_SECOND) - self._origin)

    def _room(self, ticks: int, arrived: float) -> int:
        """Ticks that passed by our clock and are not played yet, without those of the packet."""
        return -self._ahead(arrived) - ticks

    def _move(self, ticks: int) -> None:
        """The sender's timestamps jumped by so much, without time passing."""
        self.next_timestamp = (self.next_timestamp + ticks) & 0xFFFFFFFF
        self._origin += ticks


def signed(difference: int) -> int:
    """A 32-bit difference as a signed number."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000
