"""What comes with the caller's audio and is none: telephone keys (RFC 4733) and audio levels (RFC 6464). Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.schemas import messages

LEVEL_EVERY: Final = 10
"""Packets between two audio level events: 200 ms."""
_ONE_BYTE_EXTENSIONS: Final = b"\xbe\xde"  # RFC 8285 section 4.2


class TelephoneEvents:
    """Each key press becomes one event, when its end is seen or the next key begins.

    A press is told apart by its RTP timestamp; its packets repeat with a growing duration, the last of them
    three times (RFC 4733 section 2.5).
    """

    def __init__(self, clock_rate: int, tell: Callable[[messages.TelephoneEvent], None]) -> None:
        self._clock_rate = clock_rate
        self._tell = tell
        self._timestamp: int | None = None
        self._event = self._duration = 0
        self._told = True

    def receive(self, timestamp: int, payload: bytes) -> None:
        """Take one payload; anything too short to be one is ignored."""
        if len(payload) < 4:
            return
        if timestamp != self._timestamp:
            if self._timestamp is not None and (self._timestamp - timestamp) & 0xFFFFFFFF < 0x80000000:
                return  # a straggler of a press before
            self._finish()  # of the press before every packet with the end bit was lost
            self._timestamp, self._told = timestamp, False
            self._event = payload[0]
            self._duration = 0
        self._duration = max(self._duration, payload[2] << 8 | payload[3])
        if payload[1] & 0x80:
            self._finish()

    def _finish(self) -> None:
        if not self._told:
            self._told = True
            duration_ms = self._duration * 1000 / self._clock_rate
            self._tell(messages.TelephoneEvent(event=self._event, duration_ms=round(duration_ms, 1)))


class AudioLevels:
    """The loudest of each ten packets, by the client's own measure."""

    def __init__(self, extension_id: int, tell: Callable[[messages.AudioLevel], None]) -> None:
        self._id = extension_id
        self._tell = tell
        self._count = 0
        self._attenuation = 127
        self._voice = False

    def receive(self, packet: bytes) -> None:
        """Take a decrypted RTP packet whose lengths were found right."""
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
            self._tell(messages.AudioLevel(level_dbov=-self._attenuation, voice=self._voice))
            self._count, self._attenuation, self._voice = 0, 127, False
