"""The receive buffer behind an impaired network: an hour of packets in seconds, always the same way."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.net.emulator import Conditions, Link

from antiphon.rtc.media.jitter_buffer import (
    FRAME_TICKS,
    MAX_PENDING,
    MAX_SILENCE,
    STARVED_AFTER,
    JitterBuffer,
    Kind,
    Piece,
)
from antiphon.rtc.rtp.rtcp import Reception

pytestmark = pytest.mark.pure

SILK_20_MS = b"\x08"
FRAME = 0.020


def packet(number: int) -> bytes:
    """20 ms of Opus as far as its lengths say, marked so that a test knows it again."""
    return SILK_20_MS + number.to_bytes(4, "big")


@dataclass
class Played:
    """What a buffer has given out."""

    decoded: list[tuple[int, int, float]] = field(default_factory=list)
    """(packet, its position in ticks, when)"""
    recovered: list[int] = field(default_factory=list)
    silence: list[float] = field(default_factory=list)
    ticks: int = 0
    concealed: int = 0
    most_pending: int = 0

    def take(self, pieces: Iterable[Piece], now: float) -> None:
        for piece in pieces:
            if piece.kind is Kind.DECODE:
                self.decoded.append((int.from_bytes(piece.payload[1:], "big"), self.ticks, now))
            elif piece.kind is Kind.RECOVER:
                self.recovered.append(int.from_bytes(piece.payload[1:], "big"))
            elif piece.kind is Kind.CONCEAL:
                self.concealed += piece.ticks
            elif piece.kind is Kind.SILENCE:
                self.silence += [now] * (piece.ticks // FRAME_TICKS)
            assert piece.ticks >= 0
            self.ticks += piece.ticks


def run(
    conditions: Conditions,
    seconds: float,
    seed: int = 1,
    speaks: Callable[[int], bool] = lambda number: True,
    first_sequence: int = 65000,
    first_timestamp: int = 0xFFFF0000,
    drift: float = 0.0,
) -> tuple[Played, JitterBuffer, Link]:
    """A sender of 20 ms packets, the link, and the buffer, polled every 20 ms. `speaks(n)`: packet n is sent."""
    link, buffer, played, reception = Link(conditions, seed), JitterBuffer(), Played(), Reception()
    events: list[tuple[float, int, int, int]] = []  # (arrival, sequence, timestamp, number)
    sequence, number, poll = first_sequence, 0, 10.0

    def take(pieces: list[Piece], now: float) -> None:
        assert all(piece.arrived <= now + 1e-9 for piece in pieces), "audio is played before it arrived"
        played.take(pieces, now)

    while number * FRAME < seconds or events:
        # Polls come every 20 ms of our clock, packets when the link delivers them.
        while events and events[0][0] <= poll:
            arrival, seq, timestamp, which = heapq.heappop(events)
            reception.add(1, seq, timestamp, arrival)
            buffer.jitter = reception.jitter / 48000
            take(buffer.push(seq, timestamp, packet(which), arrival), arrival)
            played.most_pending = max(played.most_pending, len(buffer._pending))
        take(buffer.poll(poll), poll)
        poll += FRAME
        while number * FRAME < seconds and 10.0 + number * FRAME * (1 + drift) <= poll:
            if speaks(number):
                timestamp = (first_timestamp + number * FRAME_TICKS) & 0xFFFFFFFF
                for arrival in link.arrivals(10.0 + number * FRAME * (1 + drift)):
                    heapq.heappush(events, (arrival, sequence & 0xFFFF, timestamp, number))
                sequence += 1
            number += 1
    return played, buffer, link


NETWORKS = {
    "clean": Conditions(),
    "5 % loss, 30 ms jitter": Conditions(loss=0.05, jitter=0.030),
    "bursts": Conditions(loss=0.05, burst=4, jitter=0.010),
    "long bursts": Conditions(loss=0.05, burst=15, jitter=0.030),
    "reordered and doubled": Conditions(jitter=0.060, duplicate=0.1),
    "everything": Conditions(loss=0.1, burst=3, jitter=0.080, duplicate=0.1),
}


def dtx(number: int) -> bool:
    """3 s of speech, then 5 s in which only every twentieth packet is sent, as Opus does in its DTX."""
    return number % 400 < 150 or number % 20 == 0


@pytest.mark.long
@pytest.mark.parametrize("speaks", [lambda number: True, dtx], ids=["without pauses", "DTX"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_packet_is_played_in_order_once_and_at_its_place(network: str, speaks: Callable[[int], bool]) -> None:
    seconds = 3600 if network == "5 % loss, 30 ms jitter" else 900
    played, buffer, link = run(NETWORKS[network], seconds, speaks=speaks)
    numbers = [number for number, _, _ in played.decoded]
    assert numbers == sorted(set(numbers)), "a packet was played twice or out of order"
    first = numbers[0]
    # Silence made up for packets that were only late lengthens the stream; a later pause takes it back.
    behind = [position / 48000 - (number - first) * FRAME for number, position, _ in played.decoded]
    assert min(behind) > -0.001
    if NETWORKS[network].burst <= 4 and NETWORKS[network].jitter < 0.080 and speaks is not dtx:
        assert max(behind) < 0.030
    elif speaks is dtx:
        assert max(behind) < 0.5
        assert behind[-1] < 0.1, "what a disturbance added was never taken back"
    assert played.most_pending <= MAX_PENDING + 1
    assert buffer.counters.malformed == buffer.counters.resets == 0
    sent = sum(speaks(number) for number in range(seconds * 50))
    assert len(numbers) + buffer.counters.late >= (sent - link.lost) * 0.999


@pytest.mark.parametrize("network", ["clean", "5 % loss, 30 ms jitter"])
def test_no_delay_is_left_behind(network: str) -> None:
    """Whatever happened before: a packet in order leaves in the moment it arrives."""
    played, _, _ = run(NETWORKS[network], 600)
    transit = [at - 10.0 - number * FRAME for number, _, at in played.decoded]
    floor = NETWORKS[network].delay + NETWORKS[network].jitter
    for start in range(0, len(transit) - 500, 500):
        late = sorted(transit[start : start + 500])
        assert late[400] <= floor + 0.0001
        assert late[-1] <= floor + 0.120 + 2 * FRAME  # the longest wait for a gap, to the next poll


def test_packets_in_order_leave_at_once() -> None:
    buffer = JitterBuffer()
    for number in range(100):
        pieces = buffer.push(number, number * FRAME_TICKS, packet(number), number * FRAME)
        assert pieces == [Piece(Kind.DECODE, FRAME_TICKS, number * FRAME, packet(number))]


def test_a_decoded_piece_has_the_arrival_of_its_packet_and_a_made_up_one_lies_beside_its_neighbours() -> None:
    """Behind a path that loses, doubles and reorders; nothing but the path itself makes arrivals run backwards."""
    link, buffer = Link(NETWORKS["everything"], 5), JitterBuffer()
    arrived: dict[int, float] = {}
    events = [(at, number) for number in range(10_000) for at in link.arrivals(number * FRAME) if number % 100 < 80]
    pieces: list[Piece] = []
    poll = 0.0
    for at, number in sorted(events):
        while poll <= at:
            pieces += buffer.poll(poll)
            poll += FRAME
        arrived.setdefault(number, at)
        pieces += buffer.push(number & 0xFFFF, number * FRAME_TICKS, packet(number), at)
    newest = 0.0
    following = [piece for piece in pieces if piece.kind in (Kind.DECODE, Kind.RECOVER)]
    for piece in pieces:
        if piece.kind in (Kind.DECODE, Kind.RECOVER):
            assert piece.arrived == arrived[int.from_bytes(piece.payload[1:], "big")]
            following.pop(0)
        elif following:
            assert piece.arrived >= min(newest, following[0].arrived)
            assert piece.arrived <= newest + FRAME + 1e-9
        newest = max(newest, piece.arrived)
    assert {piece.kind for piece in pieces} >= {Kind.DECODE, Kind.RECOVER, Kind.CONCEAL, Kind.SILENCE}


def test_one_lost_packet_delays_its_followers_once_and_only_by_the_deadline() -> None:
    buffer, played = JitterBuffer(), Played()
    for number in range(100):
        now = number * FRAME
        if number != 50:
            played.take(buffer.push(number, number * FRAME_TICKS, packet(number), now), now)
        played.take(buffer.poll(now + 0.001), now + 0.001)
    late = [(number, round(at - number * FRAME, 3)) for number, _, at in played.decoded if at > number * FRAME]
    assert late == [(51, 0.02)] or late == [(51, 0.021)]
    assert played.recovered == [51]  # from the FEC that the next packet carries
    assert played.ticks == 100 * FRAME_TICKS


def test_the_last_of_several_lost_packets_comes_from_fec_and_the_others_are_concealed() -> None:
    buffer, played = JitterBuffer(), Played()
    for number in (0, 1, 5):
        played.take(buffer.push(number, number * FRAME_TICKS, packet(number), number * FRAME), number * FRAME)
    played.take(buffer.poll(0.2), 0.2)
    assert played.concealed == 2 * FRAME_TICKS
    assert played.recovered == [5]
    assert [position // FRAME_TICKS for _, position, _ in played.decoded] == [0, 1, 5]


def test_a_reordered_packet_in_time_is_played_and_nothing_is_concealed() -> None:
    buffer, played = JitterBuffer(), Played()
    for number, now in ((0, 0.0), (2, 0.030), (1, 0.040), (3, 0.060)):
        played.take(buffer.push(number, number * FRAME_TICKS, packet(number), now), now)
    assert [number for number, _, _ in played.decoded] == [0, 1, 2, 3]
    assert not played.recovered


def test_the_end_of_an_utterance_is_never_late() -> None:
    """A sender that stops sending is silent at most 100 ms and a poll later, and then at the clock's pace."""
    stopped = 10.0 + 500 * FRAME
    buffer = JitterBuffer()
    played = Played()
    for number in range(500):
        played.take(buffer.push(number, number * FRAME_TICKS, packet(number), 10 + number * FRAME), 0)
    now = stopped
    while now < stopped + 5:
        played.take(buffer.poll(now), now)
        due = (now - stopped) / FRAME
        if now > stopped + STARVED_AFTER + FRAME:
            assert len(played.silence) >= int(due) - 1
        assert len(played.silence) <= due + 1
        now += FRAME
    assert played.silence[0] <= stopped + STARVED_AFTER + FRAME


def test_a_long_stop_of_the_process_is_jumped_over_not_filled() -> None:
    buffer, played = JitterBuffer(), Played()
    played.take(buffer.push(0, 0, packet(0), 0.0), 0.0)
    played.take(buffer.poll(3600.0), 3600.0)
    assert len(played.silence) <= MAX_SILENCE // FRAME_TICKS
    assert played.ticks == pytest.approx(3600 * 48000, abs=2 * FRAME_TICKS)


def test_a_sender_that_starts_anew_is_followed_at_once() -> None:
    buffer, played = JitterBuffer(), Played()
    numbers = [*range(10), *range(40_000, 40_010), *range(5, 15)]
    for at, number in enumerate(numbers):
        timestamp = number * 777_777 & 0xFFFFFFFF if number >= 40_000 else number * FRAME_TICKS
        timestamp = (number - 40_000) * FRAME_TICKS + 123456789 if number >= 40_000 else timestamp
        played.take(buffer.push(number, timestamp, packet(number), at * FRAME), at * FRAME)
    assert [number for number, _, _ in played.decoded] == numbers
    assert buffer.counters.resets == 2
    assert played.ticks == len(numbers) * FRAME_TICKS


def test_a_jump_of_the_timestamps_alone_costs_no_sample() -> None:
    buffer, played = JitterBuffer(), Played()
    for number in range(20):
        timestamp = number * FRAME_TICKS + (0x70000000 if number >= 10 else 0)
        played.take(buffer.push(number, timestamp, packet(number), number * FRAME), number * FRAME)
    assert [number for number, _, _ in played.decoded] == list(range(20))
    assert not played.silence


@pytest.mark.long
@pytest.mark.parametrize("drift", [-0.0002, 0.0002])
def test_an_hour_of_clock_drift_adds_nothing(drift: float) -> None:
    played, _, _ = run(Conditions(jitter=0.010), 3600, drift=drift)
    assert all(position == number * FRAME_TICKS for number, position, _ in played.decoded)
    assert not played.silence
    assert played.concealed == 0


def test_a_gap_while_silence_is_made_up_adds_no_time() -> None:
    buffer, played = JitterBuffer(), Played()
    played.take(buffer.push(0, 0, packet(0), 0.0), 0.0)
    now = 0.0
    while now < 1.0:
        now += FRAME
        played.take(buffer.poll(now), now)
    # The comfort packet 1 was lost; 2 comes after a second of silence.
    played.take(buffer.push(2, 50 * FRAME_TICKS, packet(2), now), now)
    played.take(buffer.poll(now + 0.1), now + 0.1)
    assert [position for _, position, _ in played.decoded][-1] in (49 * FRAME_TICKS, 50 * FRAME_TICKS)
    assert not played.recovered


@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.sampled_from([packet(1), b"", b"\x08", b"\xff", b"\x03\x3f", bytes(40)]) | st.binary(max_size=60),
            st.floats(0, 0.5),
        ),
        max_size=60,
    )
)
def test_any_packets_at_all_keep_the_buffer_bounded(packets: list[tuple[int, int, bytes, float]]) -> None:
    buffer, now = JitterBuffer(), 0.0
    for sequence, timestamp, payload, wait in packets:
        now += wait
        pieces = buffer.push(sequence, timestamp, payload, now) + buffer.poll(now)
        assert all(0 <= piece.ticks <= MAX_SILENCE for piece in pieces)
        assert len(buffer._pending) <= MAX_PENDING + 1


@pytest.mark.long
def test_memory_is_bounded_when_the_first_packet_of_a_flood_is_missing() -> None:
    buffer, generator = JitterBuffer(), random.Random(3)
    buffer.push(0, 0, packet(0), 0.0)
    for number in range(2, 100_000):
        buffer.push(number + generator.randrange(2), number * FRAME_TICKS, packet(number), 0.0)
        assert len(buffer._pending) <= MAX_PENDING + 1
