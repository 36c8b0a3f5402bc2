"""What comes back under this relay's own name: its own announcements, and those of another process of that name.

The own ones show that NATS works. Another process takes over from this one or is taken over, and then goes; one that
stays is another relay with the same name, which is a mistake.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from antiphon.schemas.messages import RelayAnnouncement

log = logging.getLogger(__name__)

ECHO_SECONDS: Final = 2.5
"""NATS is away if our own announcement has not come back for this long: nothing else notices a server that hangs or a
cut cable for minutes."""
SAME_NAME_SECONDS: Final = 60.0
"""After which another process of our name is no takeover any more."""


class OwnName:
    """Belongs to `RelayNatsClient`, which alone calls it, on the event loop of the control process."""

    def __init__(self) -> None:
        self._echoed_at = float("-inf")
        self._other: tuple[float, RelayAnnouncement] | None = None
        self._other_since = float("-inf")

    def is_reachable(self, at: float) -> bool:
        """Whether an announcement of ours had come back a short while before `at`, by `time.monotonic`."""
        return at - self._echoed_at < ECHO_SECONDS

    def other_process(self) -> RelayAnnouncement | None:
        """The last announcement of another process under our name, if recent: one takes over from the other."""
        if self._other is None or time.monotonic() - self._other[0] > ECHO_SECONDS:
            return None
        return self._other[1]

    def on_announcement(self, announcement: RelayAnnouncement, ours: RelayAnnouncement) -> None:
        """An announcement under our name; `ours`: what this process announces."""
        now = time.monotonic()
        if announcement.tunnel_addresses == ours.tunnel_addresses:
            self._echoed_at = now
            return
        if self.other_process() is None:
            self._other_since = now
        elif now - self._other_since > SAME_NAME_SECONDS:
            self._other_since = now
            log.error(
                "another relay is announced under our name %s, with %s: give each its own ANTIPHON_RELAY_NAME",
                ours.name,
                announcement.public_addresses,
            )
        self._other = now, announcement
