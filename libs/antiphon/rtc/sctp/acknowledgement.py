"""When what has arrived is acknowledged (RFC 9260 section 6.2). Sans-IO."""

from __future__ import annotations

from typing import Final

ACK_DELAY: Final = 0.1
"""Seconds that an acknowledgement waits for a second packet (section 6.2 allows 0.5)."""
QUIET: Final = 0.02
"""Seconds since the last acknowledgement after which the next one does not wait: only a stream of packets is worth it,
and some clients ask by a message whether their path lives."""


class AcknowledgementTimer:
    """Of one association; owned and called by it."""

    def __init__(self) -> None:
        self.expires_at: float | None = None
        """When an acknowledgement that waits is due; None: none waits."""
        self._now = False
        self._sent_at = float("-inf")

    def at_once(self) -> None:
        """The next packet acknowledges."""
        self._now = True

    def arrived(self, now: float, in_order: bool) -> None:
        """Data has arrived; `in_order`: nothing is missing, and the sender does not ask for an answer at once."""
        if self.expires_at is None and in_order:
            self.expires_at = now if now - self._sent_at >= QUIET else now + ACK_DELAY
        else:
            self._now = True

    def is_due(self, now: float) -> bool:
        return self._now or (self.expires_at is not None and now >= self.expires_at)

    def sent(self, now: float) -> None:
        """An acknowledgement goes out now."""
        self._sent_at = now
        self.clear()

    def clear(self) -> None:
        """All that has arrived is covered."""
        self._now, self.expires_at = False, None

    def stop(self) -> None:
        """The association has ended: nothing is waited for."""
        self.expires_at = None
