"""The making and forgetting of sessions: what belongs to one is found, and given back, in one place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from opentelemetry import trace

from antiphon.rtc.dtls.certificate import Certificate
from antiphon.transceiver.bus.publisher import Publisher
from antiphon.transceiver.bus.session_output import SessionOutput
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints
from antiphon.transceiver.session.endings import Endings
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
)
"""Of the statistics of a call: what can be added up."""


class SessionTable:
    """Sessions of the process with their seats."""

    def __init__(self, settings: Settings, publisher: Publisher, clock: Scheduler) -> None:
        self.registry = Demux()
        self.seats = Endpoints()
        self.endings = Endings()
        self.forgetting: list[Callable[[str], None]] = []
        """What else lets go of a session, by its name."""
        self._settings = settings
        self._password_key = settings.password_key_bytes()
        self._publisher = publisher
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._of_the_past: Counter[str] = Counter()

    def make(self, state: SessionState, certificate: Certificate | None, dtls_client: bool, seat: Endpoint) -> Session:
        """A session on this seat, found from now on; spans of its milestones belong to the current one."""
        now = self._loop.time()
        outlet = SessionOutput(state.session_id, seat.port, self._publisher, trace.get_current_span(), now)
        session = Session(
            state,
            certificate,
            self._password_key,
            dtls_client,
            outlet,
            now,
            self._clock.join,
            self._clock.leave,
            self._clock.take_turn,
            self._settings.consent_seconds,
        )
        self.seats.put(state.session_id, seat)
        self.registry.add(session)
        return session

    def totals(self) -> dict[str, int]:
        """The counters of all calls so far, those that run included; of one that moved here, from its beginning."""
        totals = self._of_the_past.copy()
        for session in self.registry:
            totals.update(_counted(session))
        return {name: totals[name] for name in COUNTED}

    def forget(self, session: Session) -> None:
        """The session is over here: let go of it under all its names."""
        if self.registry.get(session.state.session_id) is session:
            self._of_the_past.update(_counted(session))
            self.endings.note(session, self._loop.time())
        self.registry.remove(session)
        self.seats.remove(session.state.session_id)
        for forget in self.forgetting:
            forget(session.state.session_id)


def _counted(session: Session) -> dict[str, int]:
    return session.statistics().model_dump(include=set(COUNTED))
