"""Whether a session's client is still there, by the time of its last authenticated packet (RFC 7675). Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.schemas import messages

CHECK_TIMEOUT: Final = 8.0
"""Seconds from the answer to the first check. A session without one costs its caller nothing but an offer."""
SETUP_TIMEOUT: Final = 30.0
"""Seconds from the answer to media, with those in which a user decides about the microphone."""
SUSPECT_AFTER: Final = 5.0
"""Seconds of silence after which a session is suspect: a browser checks at least every 2.7 (Firefox 6)."""
CONSENT_TIMEOUT: Final = 30.0
"""A browser needs up to 25 s to give up and restart ICE: until then its session is kept."""


class Consent:
    """The consent of one session, which owns it for its whole life and calls it on the event loop only."""

    def __init__(self, now: float, timeout: float, notify: Callable[[messages.Suspect], None]) -> None:
        """`timeout`: seconds of silence that end the session. `notify` gets each change of whether it is suspect."""
        self.opened_at = now
        self._timeout = timeout
        self._notify = notify
        self._suspect = False

    @property
    def suspect(self) -> bool:
        """The client is silent, and has been told of as such."""
        return self._suspect

    def end_reason(self, last_received: float, checked: bool, connected: bool, now: float) -> messages.EndReason | None:
        """Why the session has to end, or None. `checked`: a check has come; `connected`: the handshake is done."""
        if not connected:
            waited = now - self.opened_at
            return "setup_timeout" if waited > (SETUP_TIMEOUT if checked else CHECK_TIMEOUT) else None
        silent = now - last_received
        if silent > self._timeout:
            return "client_vanished"
        if self._suspect != (silent > SUSPECT_AFTER):
            self._suspect = not self._suspect
            self._notify(messages.Suspect(silent_s=round(silent, 1) if self._suspect else 0.0))
        return None
