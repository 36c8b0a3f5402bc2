"""Finds the inbound lane of a packet by its tunnel header, as it lies in a batch of datagrams. Pure."""

from __future__ import annotations

import sys
from typing import Final, Generic, TypeVar

from antiphon.schemas import tunnel

LaneT = TypeVar("LaneT")
_WORD: Final = tunnel.IPV4_HEADER
"""Octets of the shortest header, of a client on IPv4 whose relay is of this place: most packets have it."""


class LaneTable(Generic[LaneT]):
    """Owner: `Lanes`, for the life of the process; bounded by the sessions there are."""

    def __init__(self) -> None:
        self.short: dict[int, LaneT] = {}
        """By the header, where it has 8 octets: as a number, which a batch shows without a copy."""
        self._long: dict[bytes, LaneT] = {}
        self._lengths: dict[bytes, int] = {}
        """Of the long headers, by their first two octets."""

    def __len__(self) -> int:
        return len(self.short) + len(self._long)

    def add(self, header: bytes, lane: LaneT) -> None:
        """In place of the one that has this header, if there is one."""
        if len(header) == _WORD:
            self.short[int.from_bytes(header, sys.byteorder)] = lane
        else:
            self._long[header] = lane
            self._lengths[header[:2]] = len(header)  # there are six kinds

    def remove(self, header: bytes, lane: LaneT) -> None:
        """Unless another lane has taken its place."""
        if len(header) == _WORD:
            if self.short.get(word := int.from_bytes(header, sys.byteorder)) is lane:
                del self.short[word]
        elif self._long.get(header) is lane:
            del self._long[header]

    def long_at(self, octets: memoryview, at: int) -> LaneT | None:
        """The lane of the packet at `octets[at:]`, if its header is a long one."""
        if not self._long:
            return None
        length = self._lengths.get(bytes(octets[at : at + 2]))
        return self._long.get(bytes(octets[at : at + length])) if length is not None else None

    def at(self, octets: memoryview, at: int) -> LaneT | None:
        """The lane of the packet at `octets[at:]`, whichever header it has."""
        lane = self.short.get(int.from_bytes(octets[at : at + _WORD], sys.byteorder))
        return self.long_at(octets, at) if lane is None else lane
