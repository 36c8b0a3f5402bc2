"""Reads the plain header of DTLS 1.2 records (RFC 6347 section 4.1), and cuts datagrams between records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
HEADER_LENGTH: Final = 13


def split(data: bytes) -> Iterator[bytes]:
    """The whole records; what is cut off at the end is left out."""
    position = 0
    while position + HEADER_LENGTH <= len(data):
        end = position + HEADER_LENGTH + int.from_bytes(data[position + 11 : position + 13], "big")
        if end > len(data):
            return
        yield data[position:end]
        position = end


def join(records: Iterable[bytes], limit: int) -> list[bytes]:
    """Datagrams of at most `limit` bytes, unless one record alone is longer."""
    datagrams: list[bytes] = []
    for record in records:
        if datagrams and len(datagrams[-1]) + len(record) <= limit:
            datagrams[-1] += record
        else:
            datagrams.append(record)
    return datagrams


def epoch(record: bytes) -> int:
    """0: in plain; 1: under the keys of the handshake."""
    return record[3] << 8 | record[4]


def sequence(record: bytes) -> int:
    """The 48-bit record number."""
    return int.from_bytes(record[5:11], "big")


def numbered(record: bytes, number: int) -> bytes:
    """A plain record under another number: nothing authenticates it."""
    return record[:5] + number.to_bytes(6, "big") + record[11:]


def is_whole(record: bytes) -> bool:
    """A plain handshake record holds whole fragments and nothing else (RFC 6347 section 4.2.2): OpenSSL gives up the
    handshake at one that does not, though anybody can write it."""
    if record[0] != HANDSHAKE:
        return True
    position = HEADER_LENGTH
    while position + 12 <= len(record):
        length, offset, fragment = (
            int.from_bytes(record[position + at : position + at + 3], "big") for at in (1, 6, 9)
        )
        if offset + fragment > length:
            return False
        position += 12 + fragment
    return position == len(record) > HEADER_LENGTH


def message(record: bytes) -> tuple[int, int, int]:
    """Type, epoch and, in plain handshake records, the message's number: equal for each copy of a message.

    The fragment is not part of it: OpenSSL may cut a message elsewhere when it repeats it.
    """
    plain_handshake = record[0] == HANDSHAKE and epoch(record) == 0
    return record[0], epoch(record), int.from_bytes(record[17:19], "big") if plain_handshake else 0
