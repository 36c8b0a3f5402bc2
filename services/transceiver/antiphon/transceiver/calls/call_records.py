"""The records of this process's calls: makes the `CallRecord` of each session."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.runtime.owned_calls.call_record import CallRecord, RecordOutput
from antiphon.schemas import messages
from antiphon.transceiver.calls.call_summary import CallSummaries
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.session.state import SessionState


class CallRecords:
    """Owner: the process, for its whole life. Event loop only; each record belongs to its session."""

    def __init__(self, output: RecordOutput, demux: Demux, summaries: CallSummaries, words: bool) -> None:
        """`words`: what is said in calls is written into their time lines."""
        self._output = output
        self._demux = demux
        self._summaries = summaries
        self._words = words

    def make(self, state: SessionState, unix_offset: float) -> CallRecord:
        """The record of a session that begins here, or that another process began."""
        resumed = state.dtls is not None
        return CallRecord(
            state.session_id, self._output, self._summary(state.session_id), unix_offset, self._words, resumed
        )

    def _summary(self, session_id: str) -> Callable[[], messages.CallSummary | None]:
        def summary() -> messages.CallSummary | None:
            session = self._demux.get(session_id)
            return self._summaries.summary_of(session) if session is not None else None

        return summary
