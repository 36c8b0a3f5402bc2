"""Our connectivity checks (RFC 8445 section 7.2): when one is due, which ones are outstanding, what an answer tells.

A lite agent need not check. We do, on the path that answers take, because some clients close a call in which no request
comes, because the answer measures the round trip, and because it proves the address: the 96 random bits of its
transaction id went there and nowhere else. A missing answer and an error end nothing. Sans-IO but for the random bits.
"""

from __future__ import annotations

import secrets
from typing import Final, Literal, NamedTuple

from antiphon.rtc import stun
from antiphon.runtime.token_bucket import TokenBucket

INTERVAL: Final = 5.0
"""Seconds between two checks of a path: a fifth of what RFC 7675 section 5.1 allows a consent to last."""
TRIAL_INTERVAL: Final = 0.25
"""Seconds, likewise, of an address from which media comes and no check of the client has come."""
RATE: Final = (4, 8)
"""Checks per second, and at once, however often the path changes."""
MAX_OUTSTANDING: Final = 8
"""Checks whose answers are taken; the oldest goes first."""
OUTSTANDING_SECONDS: Final = 39.5
"""An answer that takes longer is none (RFC 8489 section 6.2.1: 79 times the RTO of 500 ms)."""

Outcome = Literal["answered", "refused", "unknown"]


class Credentials(NamedTuple):
    """The client's, from its offer."""

    ufrag: str
    password: str


class _Sent(NamedTuple):
    header: bytes
    """Where it went: its answer comes from there (RFC 8445 section 7.2.5.2.1)."""
    password: bytes
    at: float


class OwnChecks:
    """Owner: the `IceLite` of the session, for its whole life; event loop only."""

    def __init__(self) -> None:
        self.round_trip_ms: float | None = None
        """By the newest answer."""
        self.refused = 0
        """Checks that the client answered with an error: 487 if it insists on a role, or any other."""
        self._due = float("inf")
        self._rate = TokenBucket(*RATE)
        self._outstanding: dict[bytes, _Sent] = {}

    def schedule(self, at: float) -> None:
        """The next one is due then."""
        self._due = at

    def is_due(self, now: float) -> bool:
        return now >= self._due and self._rate.wait(1, now) <= 0

    @staticmethod
    def length(client: Credentials, ours: str) -> int:
        """Octets of a request."""
        return 76 + (len(client.ufrag) + 1 + len(ours) + 3 & ~3)

    def make(self, header: bytes, client: Credentials, ours: str, tie_breaker: int, now: float, again: float) -> bytes:
        """The request for the client at this address; the next one is due at `again`."""
        self._due = again
        self._rate.take(1, now)
        transaction_id = secrets.token_bytes(12)
        password = client.password.encode()
        while self._outstanding:
            oldest = next(iter(self._outstanding))
            if len(self._outstanding) < MAX_OUTSTANDING and now - self._outstanding[oldest].at < OUTSTANDING_SECONDS:
                break
            del self._outstanding[oldest]
        self._outstanding[transaction_id] = _Sent(header, password, now)
        return stun.pack_binding_request(
            f"{client.ufrag}:{ours}", password, transaction_id, tie_breaker, controlled=True
        )

    def take(self, datagram: bytes, header: bytes, now: float) -> Outcome:
        """A response that came from this address: whether it answers a check of ours that went there."""
        sent = self._outstanding.get(datagram[8:20])
        if sent is None or sent.header != header or now - sent.at > OUTSTANDING_SECONDS:
            return "unknown"
        try:
            if stun.message_type(datagram) == stun.BINDING_ERROR:
                stun.unpack_binding_error(datagram)
                self.refused += 1
                del self._outstanding[datagram[8:20]]
                return "refused"
            success = stun.unpack_binding_success(datagram)
        except stun.StunError:
            return "unknown"
        if not stun.is_authentic(datagram, success, sent.password):
            return "unknown"
        del self._outstanding[datagram[8:20]]
        self.round_trip_ms = round((now - sent.at) * 1000, 2)
        return "answered"
