"""Audio levels in RTP header extensions (RFC 6464), as events. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.schemas import messages

LEVEL_EVERY: Final = 10
"""Packets between two audio level events: 200 ms."""
_ONE_BYTE_EXTENSIONS: Final = b"\xbe\xde"  # RFC 8285 section 4.2


class AudioLevels:
    """The loudest of each ten packets, as the client measured it. Owner: a receiver, for its life; one thread only."""

    def __init__(self, extension_id: int, notify: Callable[[messages.AudioLevel], None]) -> None:
        self._id = extension_id
        self._notify = notify
        self._count = 0
        self._attenuation = 127
        self._voice = False

    def receive(self, packet: bytes) -> None:
        """Take a decrypted RTP packet that `unpack_rtp` accepted."""
        start = 12 + 4 * (packet[0] & 15)
        if not packet[0] & 16 or packet[start : start + 2] != _ONE_BYTE_EXTENSIONS:
            return
        position = start + 4
        end = position + 4 * (packet[start + 2] << 8 | packet[start + 3])
        while position < end:
            element = packet[position]
            number, length = element >> 4, (element & 15) + 1
            if number == 15:
                return
            if not number:
                position += 1  # padding
                continue
            if number == self._id and position + 1 < end:
                self._take(packet[position + 1])
                return
            position += 1 + length

    def _take(self, value: int) -> None:
        self._attenuation = min(self._attenuation, value & 0x7F)
        self._voice = self._voice or bool(value & 0x80)
        self._count += 1
        if self._count == LEVEL_EVERY:
            self._notify(messages.AudioLevel(level_dbov=-self._attenuation, voice=self._voice))
            self._count, self._attenuation, self._voice = 0, 127, False
