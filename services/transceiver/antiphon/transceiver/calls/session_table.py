"""The making and removing of sessions: all that belongs to one is acquired, and given back, in one place."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from antiphon.rtc.dtls.certificate import Certificate
from antiphon.runtime import telemetry
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.metrics.call_meter import CallMeter
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls import client_statistics
from antiphon.runtime.telemetry import call_trace, names
from antiphon.schemas import messages
from antiphon.transceiver.bus.recorded_output import RecordedOutput
from antiphon.transceiver.bus.session_output import ListenerOutput, SessionOutput
from antiphon.transceiver.calls.call_records import CallRecords
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints
from antiphon.transceiver.session.endings import Endings
from antiphon.transceiver.session.output import MOVED, Output
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import SessionState
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler

COUNTED: Final = (
    "packets_received",
    "packets_lost",
    "packets_late",
    "frames_concealed",
    "packets_sent",
    "packets_refused",
    "packets_replayed",
    "records_refused",
    "packets_over_budget",
    "checks_replayed",
    "events_dropped",
)
"""Of the statistics of a call: what can be added up."""


UNUSED: Final = ("late", "bad_answer", "no_relay")
"""Causes with which signaling ends a session that its client never got: the call goes on elsewhere, or was refused, and
its root span is no concern of this process."""


class SessionListener(Protocol):
    """A component that keeps something for each session."""

    def session_removed(self, session_id: str) -> None:
        """The session has ended here, or is in another process now: release what is kept for it."""


class SendGates(Protocol):
    """Which sessions may send: `CopyOwner`, for those of which a second region has a copy."""

    def gate(self, session_id: str) -> Callable[[], bool]:
        """Called for each datagram of that session."""


class MediaLanes(Protocol):
    """The short way of media: `lanes.lanes.Lanes`."""

    def add(self, session: Session, output: SessionOutput) -> None:
        """A session with an agent begins here."""


class SessionTable:
    """Makes sessions, and removes each when it ends.

    Owner: the process, for its whole life. Event loop only. A session reports its own end, whatever the reason was;
    this is the one place that acts on it. The table owns the demultiplexer's and the endpoints' entries of a session.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        scheduler: Scheduler,
        demux: Demux,
        endpoints: Endpoints,
        listeners: Sequence[SessionListener],
        gates: SendGates | None = None,
        metrics: Metrics = OFF,
        records: CallRecords | None = None,
        count_report: Callable[[messages.ClientStatistics, messages.ClientStatistics | None], None] | None = None,
        relay_name: Callable[[tuple[str, int]], str] | None = None,
        lanes: MediaLanes | None = None,
    ) -> None:
        """`listeners` are notified in this order when a session is removed. `gates` None: no call has a copy.
        `records`: makes the records of calls, of which a listener has none. `count_report`: as of `Session`.
        `relay_name`: of the relay at an address. `lanes`: are told of each session with an agent; None: there are none.
        """
        self._lanes = lanes
        self._records = records
        self._count_report = count_report
        self._gates = gates
        self._metrics = metrics
        self._relay_name = relay_name
        self.demux = demux
        self.endpoints = endpoints
        self.endings = Endings()
        self._settings = settings
        self._password_key = settings.password_key_bytes()
        self._publisher = publisher
        self._scheduler = scheduler
        self._listeners = tuple(listeners)
        self._loop = asyncio.get_running_loop()
        self._removed_totals: Counter[str] = Counter()

    def make(
        self, state: SessionState, certificate: Certificate | None, dtls_client: bool, endpoint: Endpoint
    ) -> Session:
        """A session at this endpoint, found from now on. Spans of its milestones are children of its call.

        `certificate` None: it goes on from a checkpoint.
        """
        now = self._loop.time()
        context = telemetry.call_context(state.call_trace, state.session_id)
        may_send = self._gates.gate(state.session_id) if self._gates is not None and state.copied else None
        output: Output = ListenerOutput(endpoint.socket)
        made = None
        record = None
        if not state.listens_to:
            root = state.call_trace.get("parent", "")
            meter = CallMeter(self._metrics, "webrtc", state.creator, root, state.began_at)
            if certificate is not None:
                meter.started()
            output = made = SessionOutput(
                state.agent,
                state.session_id,
                endpoint.socket,
                self._publisher,
                context,
                now,
                may_send,
                meter,
                self._relay_name,
                state.call_trace,
            )
            if self._records is not None:
                record = self._records.make(state, time.time() - now)
                output = RecordedOutput(made, record, self._loop.time)
        session = Session(
            state,
            certificate,
            self._password_key,
            dtls_client,
            output,
            now,
            self._scheduler.join,
            self._scheduler.leave,
            self._scheduler.take_turn,
            self._settings.consent_seconds,
            self._remove,
            time.time() - now,
            record,
            self._count_report,
            self._loop.time,
        )
        self.endpoints.put(state.session_id, endpoint)
        self.demux.add(session)
        if self._lanes is not None and made is not None:
            self._lanes.add(session, made)
        call_trace.know(state.session_id, state.call_trace)
        return session

    def totals(self) -> dict[str, int]:
        """The counters of all calls so far, running ones included; of one that moved here, from its beginning."""
        totals = self._removed_totals.copy()
        for session in self.demux:
            totals.update(_counted(session))
        return {name: totals[name] for name in COUNTED}

    def _remove(self, session: Session) -> None:
        """The session has ended here: forget it under all its names."""
        session_id = session.state.session_id
        if self.demux.get(session_id) is not session:
            return
        self._removed_totals.update(_counted(session))
        self.endings.note(session, self._loop.time())
        self.demux.remove(session)
        _end_trace(session)
        self.endpoints.remove(session_id)
        for listener in self._listeners:
            listener.session_removed(session_id)
        call_trace.forget(session_id)


def _end_trace(session: Session) -> None:
    """Write the root span of a call that has ended; one that moved is the other process's now."""
    if session.ended is None or session.ended == MOVED or (session.cause in UNUSED and not session.got_through):
        return
    state = session.state
    telemetry.end_call(
        state.call_trace,
        state.session_id,
        session.ended,
        session.cause,
        name=names.LISTEN if state.listens_to else names.CALL,
        attributes={
            names.CONNECTED: session.got_through,
            names.MOVES: state.moves,
            names.TURNS: state.turns,
            **({names.LISTENS_TO: state.listens_to} if state.listens_to else {names.AGENT_NAME: state.agent}),
            **(client_statistics.attributes(client) if (client := session.client_statistics) else {}),
        },
    )


def _counted(session: Session) -> dict[str, int]:
    return session.statistics().model_dump(include=set(COUNTED))
