"""What an association sends: messages, and the chunks that they are cut into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from antiphon.rtc.path_mtu import MAX_USER_DATA
from antiphon.rtc.sctp.packet import FIRST, LAST, UNORDERED

USER_DATA: Final = min(1100, MAX_USER_DATA // 4 * 4)
"""Octets of a message in one chunk: it passes a path of 1280 bytes. A multiple of 4 needs no padding."""


@dataclass(slots=True)
class OutgoingMessage:
    """A message that is not cut into chunks yet."""

    stream: int
    protocol: int
    payload: bytes
    ordered: bool = True
    max_retransmits: int | None = None
    expires_at: float | None = None
    """Neither: it is sent until it is acknowledged."""


@dataclass(slots=True)
class OutgoingChunk:
    """A piece of a message from when it has a number to when that is acknowledged. The first six go into the packet."""

    flags: int
    tsn: int
    stream: int
    sequence: int
    protocol: int
    payload: bytes
    max_retransmits: int | None = None
    expires_at: float | None = None
    abandoned: bool = False
    acknowledged: bool = False
    """By a gap ack block: the peer may still take that back."""
    in_flight: bool = False
    repeat: bool = False
    """It is taken for lost and has to be sent again."""
    sends: int = 0
    misses: int = 0
    sent_at: float = 0.0


def cut_into_chunks(message: OutgoingMessage, tsn: int, sequence: int) -> list[OutgoingChunk]:
    """The chunks of a message, numbered from `tsn` on. `sequence`: its number in its stream, where it is ordered."""
    payload, size = message.payload, len(message.payload)
    chunks: list[OutgoingChunk] = []
    flags = FIRST if message.ordered else FIRST | UNORDERED
    for at in range(0, size, USER_DATA):
        if at + USER_DATA >= size:
            flags |= LAST
        chunks.append(
            OutgoingChunk(
                flags,
                tsn + len(chunks),
                message.stream,
                sequence,
                message.protocol,
                payload if size <= USER_DATA else payload[at : at + USER_DATA],
                message.max_retransmits,
                message.expires_at,
            )
        )
        flags &= ~FIRST
    return chunks
