"""The end of a call whose client sends far more than a call takes: it is told first. Sans-IO."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from antiphon.schemas import messages
from antiphon.transceiver.session.budget import PacketBudget

NOTICE_SECONDS: Final = 0.2
"""For the notice of an end to reach the client before the end does."""
OVER_BUDGET: Final = {
    "type": "error",
    "event_id": "event_over_budget",
    "error": {
        "type": "client_error",
        "code": "over_budget",
        "message": "the client sends far more packets than a call takes: the call ends",
        "param": None,
        "event_id": None,
    },
}


class OverBudget:
    """Owner: the `Session`, for its whole life; event loop only."""

    def __init__(self, budget: PacketBudget, send: Callable[[str, str], None]) -> None:
        """`send(channel, text)` sends on a data channel of the client."""
        self._budget = budget
        self._send = send
        self._notified_at: float | None = None

    def is_over(self, now: float) -> bool:
        """Whether the call has to end. Call every 50 ms or so: the client is told when its budget is overdrawn."""
        if not self._budget.is_overdrawn(now):
            return False
        if self._notified_at is None:
            self._notified_at = now
            self._send(messages.EVENTS_CHANNEL, json.dumps(OVER_BUDGET))
        return now - self._notified_at > NOTICE_SECONDS
