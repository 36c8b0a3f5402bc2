"""Senders whose RTP numbers and times follow no rule, and a receive buffer that listens to them in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon.rtc.media.jitter_buffer import JitterBuffer, Kind, Piece
from antiphon.rtc.rtp.rtcp import Reception

TOC = {2.5: b"\xe0", 5: b"\xe8", 10: b"\xf0", 20: b"\xf8", 40: b"\x10", 60: b"\x18", 120: b"\x1b\x02"}
"""First bytes of Opus packets of so many ms (RFC 6716 section 3.1)."""
POLL = 0.020
BEGIN = 10.0


@dataclass
class Packet:
    """One on its way."""

    number: int
    ms: float
    ssrc: int
    sequence: int
    timestamp: int
    arrives: float

    @property
    def payload(self) -> bytes:
        return TOC[self.ms] + self.number.to_bytes(4, "big")


class OddSender:
    """Writes down what arrives when; its clock counts `rate` ticks a second, whatever is right."""

    def __init__(self, sequence: int = 65500, timestamp: int = 0xFFFF8000) -> None:
        self.now = BEGIN
        self.sequence, self.timestamp, self.ssrc = sequence, timestamp, 1
        self.ms: float = 20
        self.rate = 48000
        self.packets: list[Packet] = []
        self.lost: set[int] = set()
        self.stops: list[tuple[float, float]] = []
        """From when until when the receiving process stands still."""
        self._sent = 0
        self._stalled_until = 0.0

    def speak(self, seconds: float) -> None:
        """Packets without a pause."""
        for _ in range(max(1, round(seconds * 1000 / self.ms))):
            arrives = max(self.now + self.ms / 1000, self._stalled_until)
            self.packets.append(
                Packet(self._sent, self.ms, self.ssrc, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, arrives)
            )
            self._sent += 1
            self.sequence += 1
            self.now += self.ms / 1000
            self.timestamp += round(self.ms * self.rate / 1000)

    def mute(self, seconds: float, clock_runs: bool = False) -> None:
        """No packets."""
        self.now += seconds
        if clock_runs:
            self.timestamp += round(seconds * self.rate)

    def stall(self, seconds: float) -> None:
        """The network holds what is sent from now on for so long, and delivers it at once."""
        self._stalled_until = self.now + seconds

    def stop_receiver(self, seconds: float) -> None:
        """The receiving process stands still from now on; its socket buffers."""
        self.stops.append((self.now, self.now + seconds))

    def lose(self, packets: int) -> None:
        """The next ones."""
        first = self._sent
        self.speak(packets * self.ms / 1000)
        self.lost |= set(range(first, self._sent))

    def swap(self) -> None:
        """Two packets overtake each other."""
        self.speak(2 * self.ms / 1000)
        before, after = self.packets[-2:]
        before.arrives = after.arrives + 0.001

    def double(self) -> None:
        """One packet comes twice."""
        self.speak(self.ms / 1000)
        self.packets.append(self.packets[-1])

    def change_ssrc(self, sequence: int, timestamp: int) -> None:
        self.ssrc, self.sequence, self.timestamp = self.ssrc + 1, sequence, timestamp


@dataclass
class Heard:
    """What the buffer gave out."""

    decoded: list[tuple[int, float, int]] = field(default_factory=list)
    """(packet, when, its position in ticks)"""
    ticks: int = 0
    longest_silence: int = 0
    """Ticks of silence and concealment in a row."""
    end: float = 0.0
    buffer: JitterBuffer = field(default_factory=JitterBuffer)
    _silence: int = 0

    def take(self, pieces: list[Piece], now: float) -> None:
        for piece in pieces:
            assert piece.ticks >= 0
            if piece.kind is Kind.DECODE:
                self.decoded.append((int.from_bytes(piece.payload[-4:], "big"), now, self.ticks))
                self._silence = 0
            else:
                self._silence += piece.ticks
                self.longest_silence = max(self.longest_silence, self._silence)
            self.ticks += piece.ticks

    @property
    def numbers(self) -> list[int]:
        return [number for number, _, _ in self.decoded]

    def between(self, first: int, second: int) -> float:
        """Seconds of the stream from the start of one packet to that of another."""
        positions = {number: position for number, _, position in self.decoded}
        return (positions[second] - positions[first]) / 48000


def listen(sender: OddSender, polls_first: bool = False, after: float = 0.5) -> Heard:
    """Deliver everything, with a poll every 20 ms, as a session does; `after` it is over the buffer goes on."""
    heard, reception, ssrc = Heard(), Reception(), 1
    buffer = heard.buffer
    waiting = sorted((packet for packet in sender.packets if packet.number not in sender.lost), key=_arrival)
    poll, end = BEGIN + 0.0137, sender.now + after
    while poll < end or waiting:
        now = poll
        stop = next((stop for stop in sender.stops if stop[0] <= now < stop[1]), None)
        if stop:
            now = stop[1]
            if polls_first:
                heard.take(buffer.poll(now), now)
        while waiting and waiting[0].arrives <= now:
            packet = waiting.pop(0)
            at = now if stop and packet.arrives > stop[0] else packet.arrives
            if packet.ssrc != ssrc:
                ssrc = packet.ssrc
                heard.take(buffer.change_source(at), at)
            reception.add(packet.ssrc, packet.sequence, packet.timestamp, at)
            buffer.jitter = reception.jitter / 48000
            heard.take(buffer.push(packet.sequence, packet.timestamp, packet.payload, at), at)
        heard.take(buffer.poll(now), now)
        heard.end = now
        poll = now + POLL
    return heard


def _arrival(packet: Packet) -> float:
    return packet.arrives
