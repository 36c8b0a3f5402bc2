"""From what a load generator noted to lateness, losses and delays. Pure: records in, statistics out, no clock.

Everything is paired by timestamp and nothing by order, so that a lost, repeated or concealed frame moves no other one:

- packets to the client lie on their stream's own schedule, 20 ms per 960 ticks of RTP timestamp, laid where the most
  punctual twentieth of the window arrived. A timestamp that is due in the window and never comes is missing;
- frames to the agent belong to the packet whose timestamp has their position (`first_sample`). Silence that was played
  for packets that came after all moves the positions behind it: by how much is found by causality, see `_shifts`.

A window in which the load generator itself was late says nothing about the server: `driver_was_late`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

PERIOD_NS: Final = 20_000_000
PERIOD_TICKS: Final = 960
LATE_MS: Final = 10.0
LATE_SHARE: Final = 0.01
"""More frames than this share may not be later than `LATE_MS`."""
DRIVER_LATE_MS: Final = 5.0
"""p99 of the load generator's own lateness above which a window says nothing about the server."""
DRIVER_STALL_MS: Final = 60.0
"""The same, of a single stop: the agent is 100 ms ahead, and after 100 ms the transceiver conceals."""
PUNCTUAL_PERCENT: Final = 5
LOOKED_AHEAD: Final = 25
"""Frames among which one took less than 20 ms on its way."""
CONCEALED: Final = 1
SILENCE: Final = 2


class Frame(NamedTuple):
    """A frame that the agent received."""

    position: int
    """Its first sample, in frames."""
    flags: int
    captured_ns: int
    read_ns: int


class Stream(Protocol):
    """The records of one session; all times are of one wall clock."""

    sent_ns: list[int]
    """When packet n left, from the session's first packet on; its timestamp is n frames after the first one's."""
    received: list[tuple[int, int]]
    """(arrival, RTP timestamp) of packets to the client, from the beginning of the window on."""
    frames: list[Frame]
    """To the agent, from the beginning of the window on."""
    silence_frames: int
    """Frames of silence that the agent ever received: positions may have moved by as many."""


@dataclass
class Evaluation:
    """One window of steady speech. Its owner adds every stream once, then asks for the statistics."""

    begin_ns: int
    end_ns: int
    late_ms: list[float] = field(default_factory=list)
    """Of packets to clients, due time to arrival."""
    packet_to_transceiver_ms: list[float] = field(default_factory=list)
    """Packet sent to packet read by the transceiver (`captured_ns`): what it waited in the socket."""
    packet_to_agent_ms: list[float] = field(default_factory=list)
    """Packet sent to frame read by the agent."""
    driver_ms: list[float] = field(default_factory=list)
    """Due time of the load generator's packets to their sending."""
    missing: int = 0
    """Packets that were due to clients and did not come."""
    missing_frames: int = 0
    """Packets whose frame did not reach the agent."""
    concealed: int = 0
    """Packets in whose place the agent received a concealed frame."""
    streams: int = 0

    def add(self, stream: Stream, agent: bool = True) -> None:
        """Count the records of a session; `agent`: its frames count as well."""
        self.streams += 1
        self._to_client(stream)
        if agent:
            self._to_agent(stream)

    def _to_client(self, stream: Stream) -> None:
        arrivals: dict[int, int] = {}
        """By timestamp in frames from the first one; a repeated packet counts by its first copy."""
        if stream.received:
            first = stream.received[0][1]
            for at, timestamp in stream.received:
                ticks = ((timestamp - first + 0x80000000) & 0xFFFFFFFF) - 0x80000000
                arrivals.setdefault(round(ticks / PERIOD_TICKS), at)
        if len(arrivals) < 2:
            self.missing += (self.end_ns - self.begin_ns) // PERIOD_NS
            return
        shifts = sorted(at - number * PERIOD_NS for number, at in arrivals.items())
        base = shifts[len(shifts) * PUNCTUAL_PERCENT // 100]
        for number in range(ceil((self.begin_ns - base) / PERIOD_NS), ceil((self.end_ns - base) / PERIOD_NS)):
            at = arrivals.get(number, 0)
            if at:
                self.late_ms.append(max(0, at - base - number * PERIOD_NS) / 1e6)
            else:
                self.missing += 1

    def _to_agent(self, stream: Stream) -> None:
        found: dict[int, Frame] = {}
        for packet, frame in paired(stream):
            found.setdefault(packet, frame)
        first, last = (bisect_left(stream.sent_ns, at) for at in (self.begin_ns, self.end_ns))
        for packet in range(first, last):
            sent = stream.sent_ns[packet]
            if packet not in found:
                self.missing_frames += 1
                continue
            frame = found[packet]
            if frame.flags & CONCEALED:
                self.concealed += 1
                continue
            self.packet_to_transceiver_ms.append((frame.captured_ns - sent) / 1e6)
            self.packet_to_agent_ms.append((frame.read_ns - sent) / 1e6)

    @property
    def driver_was_late(self) -> bool:
        """Whether the load generator itself was late: then the window has to be measured again."""
        found = distribution(self.driver_ms)
        return found["p99"] > DRIVER_LATE_MS or found["max"] > DRIVER_STALL_MS

    @property
    def in_time(self) -> bool:
        """All frames came, both ways, and hardly any was late."""
        whole = not (self.missing or self.missing_frames or self.concealed)
        return whole and all(late_share(values) <= LATE_SHARE for values in (self.late_ms, self.packet_to_agent_ms))

    def statistics(self) -> dict[str, Any]:
        return {
            "late_ms": distribution(self.late_ms),
            "late_percent": round(late_share(self.late_ms) * 100, 3),
            "missing": self.missing,
            "packet_to_transceiver_ms": distribution(self.packet_to_transceiver_ms),
            "packet_to_agent_ms": distribution(self.packet_to_agent_ms),
            "missing_frames": self.missing_frames,
            "concealed_frames": self.concealed,
            "driver_late_ms": distribution(self.driver_ms),
            "in_time": self.in_time,
        }


def paired(stream: Stream) -> Iterator[tuple[int, Frame]]:
    """Each frame that is not silence, with the number of its packet."""
    stretch: list[Frame] = []
    for frame in stream.frames:
        if not frame.flags & SILENCE:
            stretch.append(frame)
            continue
        yield from _pair_stretch(stretch, stream)
        stretch = []
    yield from _pair_stretch(stretch, stream)


def _pair_stretch(stretch: Sequence[Frame], stream: Stream) -> Iterator[tuple[int, Frame]]:
    """Of frames without silence between them."""
    if not stream.silence_frames:
        yield from ((frame.position, frame) for frame in stretch if frame.position < len(stream.sent_ns))
        return
    for frame, shift in zip(stretch, _shifts(stretch, stream), strict=True):
        if shift is not None:
            yield frame.position - shift, frame


def _shifts(stretch: Sequence[Frame], stream: Stream) -> list[int | None]:
    """By how many frames positions have moved.

    Packets that come after silence was made up for them lie that much further on; what is left out of quiet places
    later takes it back. No packet arrives before it is sent, and among the next half second at least one arrives
    within 20 ms: so it is the least number by which none of these would be too early.
    """
    least: list[int | None] = []
    for frame in stretch:
        last = len(stream.sent_ns) - 1
        shift = max(0, frame.position - last)
        while shift <= min(stream.silence_frames, frame.position) and (
            stream.sent_ns[frame.position - shift] > frame.captured_ns
        ):
            shift += 1
        least.append(shift if shift <= min(stream.silence_frames, frame.position) else None)
    found: list[int | None] = []
    for index, own in enumerate(least):
        ahead = [shift for shift in least[index : index + LOOKED_AHEAD] if shift is not None]
        found.append(max(ahead) if own is not None and max(ahead) <= stretch[index].position else None)
    return found


def late_share(values: Sequence[float]) -> float:
    """Of 1."""
    return float(np.count_nonzero(np.asarray(values) > LATE_MS)) / len(values) if len(values) else 0.0


def distribution(values: Sequence[float]) -> dict[str, float]:
    """Sorted values at these ranks; zeros if there are none."""
    ordered = np.sort(np.asarray(values, dtype=float)) if len(values) else np.zeros(1)
    ranks = {"p50": 0.50, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: round(float(ordered[min(len(ordered) - 1, int(len(ordered) * at))]), 3) for name, at in ranks.items()}
