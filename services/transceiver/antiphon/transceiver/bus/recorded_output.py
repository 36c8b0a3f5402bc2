"""The output of a session whose events also go into the record of its call."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.runtime.owned_calls.call_record import CallRecord
from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.schemas import messages
from antiphon.transceiver.bus.session_output import SessionOutput


class RecordedOutput:
    """The `Output` of one session, owned by it and called by it only, on the event loop.

    All but events and turns goes to `SessionOutput` without a step in between: datagrams and frames cost what they did.
    """

    def __init__(self, output: SessionOutput, record: CallRecord, clock: Callable[[], float]) -> None:
        self.datagram = output.datagram
        self.audio = output.audio
        self.message = output.message
        self.move = output.move
        self.milestone = output.milestone
        self.first_packet = output.first_packet
        self._publish = output.event
        self._turn = output.turn
        self._record = record
        self._clock = clock

    def turn(self, told: Told) -> None:
        self._turn(told)
        self._record.turn(told.turn, self._clock())

    def event(self, event: messages.Message) -> None:
        self._publish(event)
        self._record.event(event, self._clock())
