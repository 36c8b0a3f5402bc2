"""Which datagrams go into one message that the kernel cuts up again (UDP segmentation offload).

All segments of a message go to one destination and are equally long, but for the last, which may be shorter. So
rows are sorted by destination and falling length, and every message takes a run of equal ones and one more.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SEGMENT_FROM: Final = 16
"""From this many rows on, to sort them costs less than the system calls that segmentation saves."""
SEGMENTS: Final = 64
"""Segments of one message: UDP_MAX_SEGMENTS of older kernels; newer ones take 128."""
MAX_MESSAGE: Final = 65_000
"""Bytes of one message before it is cut: a UDP length has 16 bits."""
MAX_SEGMENT: Final = 1400
"""Longer ones may not fit a link in one piece, and the kernel refuses a message whose segments don't."""

MAX_BACKBONE_SEGMENT: Final = 1252
"""Likewise between regions, header included: their tunnels carry 1280 octets at least (WireGuard has 1420)."""


class OutgoingMessage(NamedTuple):
    """Rows `first` to `first + rows` as segments of `length` bytes."""

    first: int
    rows: int
    length: int


def uniform(count: int, length: int) -> list[OutgoingMessage]:
    """Messages for rows that are all equally long and go to one destination."""
    most = min(SEGMENTS, MAX_MESSAGE // length)
    return [OutgoingMessage(first, min(most, count - first), length) for first in range(0, count, most)]


def grouped(destinations: list[int] | None, lengths: list[int]) -> tuple[list[int], list[OutgoingMessage]]:
    """The order in which rows are to be sent, and the messages that they make then.

    `destinations`: of each row; None if there is only one.
    """
    marks = lengths if destinations is None else [to << 16 | n for to, n in zip(destinations, lengths, strict=True)]
    order = sorted(range(len(marks)), key=marks.__getitem__, reverse=True)
    marks = [marks[row] for row in order]
    messages: list[OutgoingMessage] = []
    first, rows = 0, len(marks)
    while first < rows:
        mark = marks[first]
        length = mark & 0xFFFF
        end = min(rows, first + min(SEGMENTS, MAX_MESSAGE // length))
        after = first + 1
        while after < end and marks[after] == mark:
            after += 1
        if after < end and marks[after] >> 16 == mark >> 16:
            after += 1
        messages.append(OutgoingMessage(first, after - first, length))
        first = after
    return order, messages
