"""Ogg files with two voices in Opus, one on each side (RFC 3533, RFC 7845): pages out of samples, samples out of pages.

Browsers, ffmpeg and sound editors open them. Written page by page, one a second, so that a writer that is killed loses
a second at most.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from antiphon.rtc.media import opus

Samples = NDArray[np.int16]
BITRATE: Final = 64_000
"""Bits per second for both voices: 29 MB an hour. At 32,000 a side leaks into the other one, 31 dB below itself; from
48,000 on it is 70 dB or more."""
PRE_SKIP: Final = 312
"""Ticks of 48 kHz by which libopus is behind in the mode that we use."""
_TICKS: Final = 960
"""Of a packet of 20 ms."""
_PACKETS_OF_A_PAGE: Final = 50
_HEADER: Final = struct.Struct("<4sBBqIIIB")
_REVERSED: Final = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_FIRST, _LAST = 2, 4


class OggError(ValueError):
    """This is no such file."""


def _checksum(page: bytes) -> int:
    """CRC-32 with the polynomial of Ethernet, most significant bit first, from 0 (RFC 3533 section 6).

    zlib has the same one with all bits the other way round.
    """
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


class OggWriter:
    """One file. Owner: the recording of a call; not for several threads, as `opus.Encoder`."""

    def __init__(self, rate: int, serial: int = 1) -> None:
        """`rate`: 8000, 16000, 24000 or 48000 Hz."""
        self.rate = rate
        self._serial, self._sequence = serial, 0
        self._encoder = opus.Encoder(rate, BITRATE, channels=2)
        self._rest = b""
        self._packets: list[bytes] = []
        self._granule = 0
        self._samples = 0
        self._frame = rate // 50 * 4

    def begin(self) -> bytes:
        """The pages in front of the first sound."""
        head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 2, PRE_SKIP, self.rate, 0, 0)
        vendor = b"antiphon"
        tags = b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", 0)
        return self._page([head], 0, _FIRST) + self._page([tags], 0, 0)

    def add(self, pcm: bytes) -> bytes:
        """More sound, s16le, both sides in turn; the pages that are complete by it."""
        self._samples += len(pcm) // 4
        pcm = self._rest + pcm
        whole = len(pcm) // self._frame * self._frame
        self._rest = pcm[whole:]
        pages = b""
        for at in range(0, whole, self._frame):
            pages += self._packet(pcm[at : at + self._frame])
        return pages

    def end(self) -> bytes:
        """The last pages."""
        pages = b""
        # As much more as the decoder is behind, so that the last samples come out.
        missing = -(-PRE_SKIP * self.rate // 48000) * 4 + (self._frame if not self._samples else 0)
        tail = self._rest + bytes(missing)
        for at in range(0, len(tail), self._frame):
            pages += self._packet(tail[at : at + self._frame].ljust(self._frame, b"\0"))
        granule = PRE_SKIP + self._samples * 48000 // self.rate
        packets, self._packets = self._packets, []
        return pages + self._page(packets, granule, _LAST)

    def _packet(self, pcm: bytes) -> bytes:
        self._packets.append(self._encoder.encode(pcm))
        self._granule += _TICKS
        if len(self._packets) < _PACKETS_OF_A_PAGE:
            return b""
        packets, self._packets = self._packets, []
        return self._page(packets, self._granule, 0)

    def _page(self, packets: list[bytes], granule: int, flags: int) -> bytes:
        lacing = b"".join(bytes([255] * (len(each) // 255) + [len(each) % 255]) for each in packets)
        body = lacing + b"".join(packets)
        fields = (b"OggS", 0, flags, granule, self._serial, self._sequence)
        self._sequence += 1
        checksum = _checksum(_HEADER.pack(*fields, 0, len(lacing)) + body)
        return _HEADER.pack(*fields, checksum, len(lacing)) + body


def read(data: bytes, rate: int) -> Samples:
    """Both voices at `rate` Hz, shape (samples, 2); `OggError` for what is none of our files. A cut end is left out."""
    packets = _packets(data)
    head = next(packets, b"")
    if len(head) < 19 or not head.startswith(b"OpusHead") or head[9] != 2:
        raise OggError("it holds no Opus with two sides")
    next(packets, b"")
    decoder = opus.Decoder(rate, channels=2)
    try:
        sound = b"".join(decoder.decode(packet) for packet in packets)
    except opus.OpusError as error:
        raise OggError(f"its Opus can't be decoded: {error}") from None
    skip = int.from_bytes(head[10:12], "little") * rate // 48000
    return np.frombuffer(sound, dtype="<i2").reshape(-1, 2)[skip:]


def _packets(data: bytes) -> Iterator[bytes]:
    at, packet = 0, b""
    while at + _HEADER.size <= len(data):
        magic, version, *_, count = _HEADER.unpack_from(data, at)
        if magic != b"OggS" or version != 0:
            raise OggError("it is no Ogg file, or a page of it is damaged")
        at += _HEADER.size
        lacing = data[at : at + count]
        at += count
        if at + sum(lacing) > len(data):
            return  # its writer was killed within this page
        for length in lacing:
            packet += data[at : at + length]
            at += length
            if length < 255:
                yield packet
                packet = b""
