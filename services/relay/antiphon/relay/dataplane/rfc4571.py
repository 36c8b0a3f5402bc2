"""Datagrams framed for a byte stream (RFC 4571): 16 bits of length in front of each. Bytes in, bytes out; no socket."""

from __future__ import annotations

from typing import Final

LENGTH_OCTETS: Final = 2


class FrameTooLongError(ValueError):
    """A frame announces more octets than a datagram may have: the rest of the stream can't be read."""


class FrameReader:
    """Cuts one connection's stream into datagrams; belongs to that connection and ends with it.

    Keeps one incomplete frame at most: `max_length` and the two octets of its length.
    """

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length
        self.unread = b""
        """The beginning of a frame that is not complete."""

    def receive(self, data: bytes) -> list[bytes]:
        """The datagrams that are complete with this data, without empty ones; raises `FrameTooLongError`."""
        unread, at, datagrams = self.unread + data, 0, []
        while len(unread) - at >= LENGTH_OCTETS:
            length = unread[at] << 8 | unread[at + 1]
            if length > self._max_length:
                raise FrameTooLongError(f"a frame of {length} octets; at most {self._max_length} are a datagram")
            if len(unread) - at - LENGTH_OCTETS < length:
                break
            at += LENGTH_OCTETS
            if length:
                datagrams.append(unread[at : at + length])
            at += length
        self.unread = unread[at:]
        return datagrams


def pack_frame(datagram: bytes) -> bytes:
    """The datagram with its length in front; at most 65535 octets."""
    return len(datagram).to_bytes(LENGTH_OCTETS, "big") + datagram
