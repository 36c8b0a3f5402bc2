"""What operators see of one call: its record, the digests of its client, and the latencies of its turns.

Nothing of the call changes by it, and nothing that fails in it ends the call. Sans-IO.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from antiphon.runtime.owned_calls.call_record import CallRecord
from antiphon.runtime.owned_calls.client_statistics import ClientReports
from antiphon.runtime.owned_calls.turn_latency import Network, Told, TurnLatency
from antiphon.schemas import messages
from antiphon.transceiver.session.state import SessionState

log = logging.getLogger(__name__)

CountReport = Callable[[messages.ClientStatistics, messages.ClientStatistics | None], None]


class OperatorView:
    """Owner: the `Session`, for its whole life; event loop only."""

    def __init__(
        self,
        state: SessionState,
        round_trip_ms: Callable[[], float | None],
        publish_turn: Callable[[Told], None],
        now: float,
        unix_offset: float,
        record: CallRecord | None,
        count_report: CountReport | None,
        clock: Callable[[], float] | None,
    ) -> None:
        """`publish_turn`: a turn is known better. `record`: the call's.
        `count_report(digest, the one before)`: for metrics.
        `clock`: counts like `now`, for how long a step takes.
        """
        self.reports = ClientReports()
        """The digests of its client's statistics."""
        self.turn_latency = TurnLatency(self._turn_known, self._network, now, unix_offset, clock)
        self.turn_latency.restore(state.turns, _turn_of(state))
        self._state = state
        self._round_trip_ms, self._publish_turn = round_trip_ms, publish_turn
        self._record, self._count_report = record, count_report

    def sent(self, channel: str, payload: str | bytes, now: float) -> None:
        """A message has been sent to the client."""
        if self._record is not None and channel == messages.EVENTS_CHANNEL:
            self._record.to_client(payload, now)

    def take_report(self, payload: str | bytes, now: float) -> bool:
        """Whether a message of the client is the digest of its statistics: these are for operators, not for agents."""
        before = self.reports.last
        taken = self.reports.take(payload, now)
        if isinstance(taken, messages.ClientStatistics):
            if self._record is not None:
                self._record.client_statistics(taken)
            if self._count_report is not None:
                self._count_report(taken, before)
        return taken is not False

    def report_turn(self, report: messages.ReportTurn, now: float) -> None:
        """The agent tells what it knows of a turn's latency."""
        try:
            self.turn_latency.reported(report, now)
        except Exception:  # a call must not end of what is only looked at
            log.exception("session %s: a report of a turn is ignored", self._state.session_id)

    def _turn_known(self, told: Told) -> None:
        self._state.turns = self.turn_latency.turns
        self._state.last_turn = told.turn.model_dump(exclude_none=True)
        self._publish_turn(told)

    def _network(self) -> Network:
        client = self.reports.last
        return Network(self._round_trip_ms(), client.jitter_buffer_ms if client is not None else None)


def _turn_of(state: SessionState) -> messages.Turn | None:
    """The last turn of a call that another process has begun; None where there is none, or it can't be read."""
    try:
        return messages.Turn.model_validate(state.last_turn) if state.last_turn else None
    except ValueError:
        return None
