"""When a session reports: each second to its client by RTCP, every 5 s to its agent by `Statistics`. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.rtc.dtls.record_layer import RecordCounters
from antiphon.rtc.rtp.srtp import SrtpCounters
from antiphon.schemas import messages
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.media.sender import AudioSender
from antiphon.transceiver.session.state import SessionState

REPORT_INTERVAL: Final = 1.0
STATISTICS_EVERY: Final = 5
"""Reports between two statistics events."""


class Reports:
    """The reports of one session, which owns it for its whole life and calls it on the event loop only."""

    def __init__(
        self,
        state: SessionState,
        receiver: AudioReceiver,
        sender: AudioSender,
        notify: Callable[[messages.Statistics], None],
    ) -> None:
        self._state = state
        self._receiver, self._sender = receiver, sender
        self._notify = notify
        self._srtp, self._records = SrtpCounters(), RecordCounters()
        self._next = 0.0
        self._count = 0

    def start(self, srtp: SrtpCounters, records: RecordCounters, now: float) -> None:
        """The handshake is done: the first report comes after one interval. The counters are those of the engines."""
        self._srtp, self._records = srtp, records
        self._next = now + REPORT_INTERVAL

    def poll(self, now: float) -> None:
        """Send the reports that are due, else a keepalive where one is needed."""
        if now >= self._next:
            self._next += REPORT_INTERVAL
            self._count += 1
            self._sender.report(self._receiver.reception.block(now), now)
            if self._count % STATISTICS_EVERY == 0:
                self._notify(self.statistics())
        self._sender.send_keepalive(now)

    def statistics(self) -> messages.Statistics:
        """The call's counters so far."""
        return messages.Statistics(
            **self._receiver.statistics(),
            packets_sent=self._state.rtp.packets,
            round_trip_ms=self._sender.round_trip_ms,
            remote_packets_lost=self._sender.remote_packets_lost,
            packets_refused=self._srtp.refused,
            packets_replayed=self._srtp.replayed,
            records_refused=self._records.refused,
        )
