"""What an alert of the client's means: an authentic one ends the call, one in the handshake only if nothing follows.

A record of epoch 0 is not authentic: any host that knows the client's address can send an alert in its name, and
OpenSSL ends a handshake by it. So such an alert is kept from OpenSSL. A client that has really given up sends nothing
more of its handshake; one that goes on has not sent it. Sans-IO.
"""

from __future__ import annotations

from typing import Final

from antiphon.rtc.dtls.record_layer import ALERT, CLOSE_NOTIFY

HEADER: Final = 13
"""Octets of a record's header (RFC 6347 section 4.1)."""
FATAL: Final = 2
GIVEN_UP_AFTER: Final = 2.0
"""Seconds after an alert in which a client that goes on with its handshake sends something: its timer begins at one."""


def cause_of_end(payload: bytes) -> str | None:
    """Why an authentic alert ends the call (RFC 5246 section 7.2), "" for a close; None: it is another warning."""
    if payload[:2] in (CLOSE_NOTIFY, b"\2\0"):
        return ""
    if len(payload) == 2 and payload[0] == FATAL:
        return f"the client sent the fatal DTLS alert {payload[1]}"
    return None


class HandshakeAlerts:
    """The alerts of one handshake. Owner: the `Session`; event loop only."""

    def __init__(self) -> None:
        self._alert: int | None = None
        self._at = 0.0

    def without_alerts(self, datagram: bytes, now: float) -> bytes:
        """The records of a datagram that belong to the handshake; may be empty."""
        kept = b""
        position = 0
        while position + HEADER <= len(datagram):
            end = position + HEADER + int.from_bytes(datagram[position + 11 : position + 13], "big")
            if datagram[position] != ALERT or datagram[position + 3 : position + 5] != b"\0\0":
                kept += datagram[position:end]
            elif end == position + HEADER + 2 and datagram[position + HEADER] == FATAL and self._alert is None:
                self._alert, self._at = datagram[end - 1], now
            position = end
        if kept:
            self._alert = None
        return kept

    def given_up(self, now: float) -> str | None:
        """Why the client has given up the handshake, if it has."""
        if self._alert is None or now - self._at < GIVEN_UP_AFTER:
            return None
        return f"the client ended the DTLS handshake with alert {self._alert}"
