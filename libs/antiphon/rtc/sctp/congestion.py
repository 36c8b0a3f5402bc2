"""Congestion window and retransmission time of an SCTP association (RFC 9260 sections 6.3 and 7.2). Pure."""

from __future__ import annotations

from typing import Final

from antiphon.rtc.path_mtu import DTLS_RECORD, MAX_DATAGRAM

MAX_PACKET: Final = MAX_DATAGRAM - DTLS_RECORD
FIRST_RTO: Final = 0.4
MIN_RTO: Final = 0.4
"""Seconds. RFC 9260 proposes 1 s for both; a lost INIT or OPEN would hold up a call's beginning by so long. Delayed
acknowledgements of 200 ms and a round trip as long stay below it."""
MAX_RTO: Final = 2.0
"""Seconds. RFC 9260 proposes 60; after a change of path the channel has to go on soon, and one packet in 2 s is
no load."""
FIRST_CWND: Final = 10 * MAX_PACKET
"""As RFC 6928 has it for TCP, and dcSCTP for itself."""
MAX_CWND: Final = 262_144
"""Octets sent and not acknowledged."""


class CongestionControl:
    """Owner: the `Outbound` of one association; one thread only."""

    def __init__(
        self,
        cwnd: int = FIRST_CWND,
        ssthresh: int = MAX_CWND,
        srtt: float | None = None,
        rttvar: float = 0.0,
        rto: float = FIRST_RTO,
    ) -> None:
        self.cwnd, self.ssthresh = cwnd, ssthresh
        """Octets."""
        self.srtt, self.rttvar = srtt, rttvar
        """Seconds; None: nothing was measured yet."""
        self.rto = rto
        self._partial_bytes = 0
        self._recovery_exit: int | None = None
        """The TSN with whose acknowledgement fast recovery ends."""

    @property
    def recovers(self) -> bool:
        """In fast recovery."""
        return self._recovery_exit is not None

    # ---- the window

    def widen(self, acknowledged: int, was_full: bool) -> None:
        """So many octets are acknowledged. Section 7.2.1 and 7.2.2: only a window that was used grows."""
        if self.cwnd <= self.ssthresh:
            if was_full:
                self.cwnd += min(acknowledged, 2 * MAX_PACKET)
        else:
            self._partial_bytes += acknowledged
            if self._partial_bytes >= self.cwnd and was_full:
                self._partial_bytes -= self.cwnd
                self.cwnd += MAX_PACKET
        self.cwnd = min(self.cwnd, MAX_CWND)

    def nothing_in_flight(self) -> None:
        self._partial_bytes = 0

    def acknowledged(self, tsn: int) -> None:
        """All up to this TSN has arrived."""
        if self._recovery_exit is not None and tsn >= self._recovery_exit:
            self._recovery_exit = None

    def begin_recovery(self, newest: int) -> bool:
        """Chunks are lost, and `newest` was the last one sent; False if that is known already (section 7.2.4)."""
        if self._recovery_exit is not None:
            return False
        self.ssthresh = max(self.cwnd // 2, 4 * MAX_PACKET)
        self.cwnd = self.ssthresh
        self._partial_bytes = 0
        self._recovery_exit = newest
        return True

    def all_lost(self) -> None:
        """The timer has run out, and something was in flight (section 6.3.3)."""
        self.ssthresh = max(self.cwnd // 2, 4 * MAX_PACKET)
        self.cwnd = MAX_PACKET
        self.resume()

    def resume(self) -> None:
        """What is in flight is sent anew."""
        self._partial_bytes = 0
        self._recovery_exit = None

    # ---- the timer

    def back_off(self) -> None:
        """The timer has run out."""
        self.rto = min(2 * self.rto, MAX_RTO)

    def measure(self, seconds: float) -> None:
        """A chunk that was sent once has been acknowledged after so long."""
        if self.srtt is None:
            self.srtt, self.rttvar = seconds, seconds / 2
        else:
            self.rttvar += (abs(self.srtt - seconds) - self.rttvar) / 4
            self.srtt += (seconds - self.srtt) / 8
        self.end_back_off()

    def end_back_off(self) -> None:
        """The path works again: the time is that of the round trips."""
        self.rto = FIRST_RTO if self.srtt is None else min(max(self.srtt + 4 * self.rttvar, MIN_RTO), MAX_RTO)
