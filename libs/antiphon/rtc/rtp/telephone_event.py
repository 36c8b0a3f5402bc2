"""Telephone keys among the audio packets of a stream (RFC 4733), as events. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.schemas import messages


class TelephoneEvents:
    """Each key press becomes one event, when its end arrives or the next key begins.

    A press is told apart by its RTP timestamp; its packets repeat with a growing duration, the last of them
    three times (RFC 4733 section 2.5). Owner: a receiver, for its life; one thread only.
    """

    def __init__(self, clock_rate: int, notify: Callable[[messages.TelephoneEvent], None]) -> None:
        self._clock_rate = clock_rate
        self._notify = notify
        self._timestamp: int | None = None
        self._event = self._duration = 0
        self._notified = True

    def receive(self, timestamp: int, payload: bytes) -> None:
        """Take one payload; anything too short to be one is ignored."""
        if len(payload) < 4:
            return
        if timestamp != self._timestamp:
            if self._timestamp is not None and (self._timestamp - timestamp) & 0xFFFFFFFF < 0x80000000:
                return  # a late packet of an earlier press
            self._finish()  # every packet with the end bit of the press before was lost
            self._timestamp, self._notified = timestamp, False
            self._event = payload[0]
            self._duration = 0
        self._duration = max(self._duration, payload[2] << 8 | payload[3])
        if payload[1] & 0x80:
            self._finish()

    def _finish(self) -> None:
        if not self._notified:
            self._notified = True
            duration_ms = self._duration * 1000 / self._clock_rate
            self._notify(messages.TelephoneEvent(event=self._event, duration_ms=round(duration_ms, 1)))
