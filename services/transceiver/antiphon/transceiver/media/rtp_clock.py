"""The RTP timestamps of outgoing speech: they run on with the clock while nothing is sent. Pure."""

from __future__ import annotations

from typing import Final

from antiphon.transceiver.session.state import RtpState
from antiphon.transceiver.timing.pacing import PERIOD

HICCUP: Final = 0.1
"""Seconds. A frame of a live agent that comes later than its visit is jitter, which the client's jitter buffer evens
out: its timestamp continues. Only a longer break is a pause. The timing wheel makes up for visits that are as late."""


class RtpClock:
    """Writes the timestamp of the `RtpState`. Owner: an `AudioSender`, for its whole life."""

    def __init__(self, rtp: RtpState) -> None:
        self.last_sent: float | None = None
        """When the last frame left, or was passed over; None before the first."""
        self._rtp = rtp
        self._due = 0.0
        """When the packet with the next timestamp is on time; read where `last_sent` is known."""
        self._passed_over = False

    def follow(self, after_silence: bool, now: float) -> bool:
        """Move the timestamp over a pause, if there was one before this packet; whether it begins a talk spurt."""
        if self.last_sent is None:
            self._due = now + PERIOD
            return True
        lag = now - self._due
        starts = self._passed_over or lag > HICCUP or (after_silence and now - self.last_sent > HICCUP)
        if starts and lag > 0:
            # Whole frames, so that the receiver's buffer sees a plain gap.
            frames = round(lag / PERIOD)
            self._advance(frames)
            lag -= frames * PERIOD
        self._due = now + PERIOD - max(0.0, lag)
        return starts

    def sent(self, now: float) -> None:
        """A packet left."""
        self._advance(1)
        self.last_sent, self._passed_over = now, False

    def pass_over(self, now: float) -> None:
        """A frame is not sent: the next packet begins a talk spurt behind it."""
        self.follow(False, now)
        self._advance(1)
        self.last_sent, self._passed_over = now, True

    def at(self, now: float) -> int:
        """The timestamp of this moment, for a report."""
        timestamp = self._rtp.timestamp
        if self.last_sent is not None:
            timestamp += round((now - self._due) / PERIOD * self._rtp.frame_ticks)
        return timestamp & 0xFFFFFFFF

    def restore(self, last_sent: float) -> None:
        """Continue from what another process has sent."""
        self.last_sent, self._due = last_sent, last_sent + PERIOD

    def _advance(self, frames: int) -> None:
        self._rtp.timestamp = (self._rtp.timestamp + frames * self._rtp.frame_ticks) & 0xFFFFFFFF
