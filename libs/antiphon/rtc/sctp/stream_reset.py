"""Closing of data channels: reset of outgoing streams both ways (RFC 6525, RFC 8831 section 6.7). Sans-IO.

The requests of one association and what the peer asked. The association sends what is returned here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from antiphon.rtc.sctp.outbound import Outbound
from antiphon.rtc.sctp.packet import (
    ADD_OUTGOING,
    RE_CONFIG,
    RESET_OUTGOING,
    RESET_RESPONSE,
    pack_chunk,
    pack_parameter,
)

NOTHING_TO_DO, PERFORMED, DENIED, BAD_SEQUENCE, IN_PROGRESS = 0, 1, 2, 5, 6
"""Results of a request (RFC 6525 section 4.4)."""
MAX_ATTEMPTS: Final = 30
"""Of one request. A peer that answers none of them has no reset: its streams count as closed."""


@dataclass(slots=True)
class PeerRequest:
    """A request of the peer to reset its outgoing streams, which waits for data that was sent before it."""

    sequence: int
    tsn: int
    streams: list[int]
    """None listed: all."""


@dataclass(slots=True)
class StreamReset:
    """Owner: the association; it is a plain value, except that `expires_at` is of this process's clock."""

    next_sequence: int
    """Of our next request."""
    peer_sequence: int
    """Of the peer's last request."""
    peer_result: int = NOTHING_TO_DO
    deferred: PeerRequest | None = None
    wanted: list[int] = field(default_factory=list)
    """Streams of ours to reset as soon as nothing of them is outstanding."""
    requested: list[int] = field(default_factory=list)
    """Those of the request that the peer has not answered."""
    sequence: int = 0
    """Of that request."""
    attempts: int = 0
    expires_at: float | None = None

    # ---- ours

    def want(self, stream: int) -> None:
        if not self.is_pending(stream):
            self.wanted.append(stream)

    def is_pending(self, stream: int) -> bool:
        """Its messages have to wait: they count from 0 after the reset."""
        return stream in self.wanted or stream in self.requested

    def begin(self, outbound: Outbound, now: float) -> bytes | None:
        """A request for the streams that are ready, if none is on its way."""
        if not self.wanted or self.requested:
            return None
        self.requested, self.attempts = self.take_ready(outbound), 0
        if not self.requested:
            return None
        self._renumber()
        return self.repeat(outbound, now)

    def take_ready(self, outbound: Outbound) -> list[int]:
        """Those of `wanted` of which nothing is outstanding; they are no longer in it."""
        outstanding = outbound.streams()
        ready = [stream for stream in self.wanted if stream not in outstanding]
        self.wanted = [stream for stream in self.wanted if stream in outstanding]
        return ready

    def _renumber(self) -> None:
        self.sequence, self.next_sequence = self.next_sequence, (self.next_sequence + 1) & 0xFFFFFFFF

    def repeat(self, outbound: Outbound, now: float) -> bytes:
        """Once more: it, or its answer, was lost."""
        self.attempts += 1
        self.expires_at = now + outbound.congestion.rto
        head = struct.pack("!LLL", self.sequence, self.peer_sequence, (outbound.next_tsn - 1) & 0xFFFFFFFF)
        streams = struct.pack(f"!{len(self.requested)}H", *self.requested)
        return pack_chunk(RE_CONFIG, pack_parameter(RESET_OUTGOING, head + streams))

    def expired(self, outbound: Outbound, now: float) -> bytes | None:
        """The timer ran out; None: the peer answers never, and `done` is to be called."""
        self.expires_at = None
        return self.repeat(outbound, now) if self.attempts < MAX_ATTEMPTS else None

    def answered(self, body: bytes, outbound: Outbound, now: float) -> list[int]:
        """Take a response of the peer; returns the streams that are reset now."""
        sequence, result = struct.unpack_from("!LL", body)
        if not self.requested or sequence != self.sequence:
            return []
        if result in (IN_PROGRESS, BAD_SEQUENCE) and self.attempts < MAX_ATTEMPTS:
            # Under a new number: some peers answer a repeated one as they did before, and a process that had the
            # association before may have used this one.
            self._renumber()
            self.expires_at = now + outbound.congestion.rto
            return []
        return self.done(outbound)

    def done(self, outbound: Outbound) -> list[int]:
        streams, self.requested = self.requested, []
        self.expires_at = None
        outbound.reset(streams)
        return streams

    # ---- the peer's

    def asked(self, kind: int, body: bytes) -> bytes | None:
        """Take a request of the peer; its answer, or None where it is now in `deferred`."""
        (sequence,) = struct.unpack_from("!L", body)
        if sequence == self.peer_sequence:
            return None if self.deferred is not None else self._pack_result(sequence, self.peer_result)
        if (sequence - self.peer_sequence) & 0xFFFFFFFF >= 0x80000000:
            return self._pack_result(sequence, BAD_SEQUENCE)
        # Numbers may be left out: those that another process has answered since it wrote a checkpoint.
        self.peer_sequence, self.deferred = sequence, None
        if kind == RESET_OUTGOING:
            (tsn,) = struct.unpack_from("!L", body, 8)
            streams = list(struct.unpack_from(f"!{(len(body) - 12) // 2}H", body, 12))
            self.deferred = PeerRequest(sequence, tsn, streams)
            return None
        # More streams of the peer cost nothing: as many as there can be were granted with the INIT.
        self.peer_result = PERFORMED if kind == ADD_OUTGOING else DENIED
        return self._pack_result(sequence, self.peer_result)

    def settle(self, is_complete: bool) -> bytes:
        """Answer the request in `deferred`; `is_complete`: all that was sent before it has arrived."""
        assert self.deferred is not None
        sequence = self.deferred.sequence
        self.peer_result = PERFORMED if is_complete else IN_PROGRESS
        if is_complete:
            self.deferred = None
        return self._pack_result(sequence, self.peer_result)

    @staticmethod
    def _pack_result(sequence: int, result: int) -> bytes:
        return pack_chunk(RE_CONFIG, pack_parameter(RESET_RESPONSE, struct.pack("!LL", sequence, result)))
