"""aiortc's association behind bounds: which packets of a peer reach it, and how much work they may cause.

Everything received passes `packet` and `inbound`; aiortc does the handshake, sending and the channels. Nothing that a
peer sends makes it raise, take more time than a packet should, or hold more than a window.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from antiphon.rtc.sctp.aiortc_internals import Association, DataChunk, ForwardTsnChunk, RecordTransport, SackChunk
from antiphon.rtc.sctp.inbound import WINDOW, AssociationError, Fragment, Inbound
from antiphon.rtc.sctp.packet import SctpError, read_packet, trimmed_gaps
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.token_bucket import TokenBucket

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

PACKETS: Final = (500, 16)
"""Packets handled per second, and at once, per session. A hostile one costs 0.5 ms, so 16 of them delay other calls as
much as is allowed; 500 of the usual size are more than `BYTES`."""
MAX_WAITING: Final = 256
"""Packets that wait for their turn, so that a burst loses none. More are dropped unread, which a sender treats as
congestion."""
MESSAGES: Final = (200, 500)
"""Messages delivered per second, and at once. More wait, and the window closes: a reliable sender loses none."""
BYTES: Final = (524_288, 1 << 20)
"""Of these messages together."""
AT_ONCE: Final = 16
"""Messages delivered within a `PAUSE`: a packet can hold 72, and an iteration of the loop reads 64 packets."""
PAUSE: Final = 0.002
"""Seconds."""
MAX_CWND: Final = 262_144
"""Octets sent and not acknowledged: aiortc alone would let it grow without a limit."""
MAX_KNOWN: Final = 64
"""Channels that exist, with those being closed; a request for one more gets no answer."""
ABORT_AGAIN: Final = 1.0
"""Seconds: a peer that still sends so long after our ABORT has not received it, and gets another one."""

PROTOCOL_VIOLATION: Final = 13
DCEP, TEXT = 50, 51
CHANNEL_ACK, CHANNEL_OPEN = 2, 3


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine of aiortc's that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("aiortc's SCTP waited where it never did: its adapter must be looked at")


class BoundedAssociation(Association):
    """The association of one session.

    Owner: `DataChannels`, which calls `take`. Timers of its own and of aiortc call the rest, all on the event loop.
    """

    def __init__(self, transport: RecordTransport, port: int, on_failed: Callable[[str], None]) -> None:
        """`on_failed` is called once, with the reason, when the association was aborted for what the peer sent."""
        super().__init__(transport, port)
        self._on_failed = on_failed
        self._timers = asyncio.get_running_loop()
        self.inbound = Inbound(0)
        self.advertised_window = WINDOW
        self._packets, self._messages, self._bytes = (TokenBucket(*limit) for limit in (PACKETS, MESSAGES, BYTES))
        self._unread: deque[bytes] = deque()
        self._next_packet: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._passing_since, self._passed = float("-inf"), 0
        self._failed_at: float | None = None

    async def take(self, packet: bytes) -> None:
        """Handle one packet of the peer, now or in its turn."""
        now = self._timers.time()
        if self.closed and self._failed_at is None:
            return
        if not self._unread and self._packets.take(1, now):
            await self._take_now(packet, now)
        elif len(self._unread) < MAX_WAITING:
            self._unread.append(packet)
            self._take_later(now)

    def _take_later(self, now: float) -> None:
        if self._next_packet is None and self._unread:
            self._next_packet = self._timers.call_later(max(PAUSE, self._packets.wait(1, now)), self._take_waiting)

    def _take_waiting(self) -> None:
        self._next_packet = None
        now = self._timers.time()
        while self._unread and self._packets.take(1, now):
            with self.contained():
                run(self._take_now(self._unread.popleft(), now))
        self._take_later(now)

    async def _take_now(self, packet: bytes, now: float) -> None:
        try:
            chunks = read_packet(packet, self.tag)
        except SctpError as error:
            log.debug("sctp: dropped a packet of %d bytes: %s", len(packet), error)
            return
        if self._failed_at is not None:
            if now - self._failed_at >= ABORT_AGAIN:
                self._failed_at = now
                await self.abort(PROTOCOL_VIOLATION, "aborted before")
            return
        try:
            await self.receive(chunks)
        except AssociationError as error:
            await self._give_up(str(error), now)

    async def _give_up(self, reason: str, now: float) -> None:
        self._failed_at = now
        await self.abort(PROTOCOL_VIOLATION, reason)
        self.close()
        self._on_failed(reason)

    # ---- what is received

    def peer_began(self) -> None:
        self.inbound = Inbound(self.last_received_tsn or 0)

    async def data_arrived(self, chunk: DataChunk) -> None:
        if self.last_received_tsn is None:
            return  # before any INIT
        self.sack_needed = True
        self.inbound.receive(
            Fragment(chunk.flags, chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol, chunk.user_data)
        )
        await self._after_data()

    async def forwarded(self, chunk: ForwardTsnChunk) -> None:
        if self.last_received_tsn is None:
            return
        self.sack_needed = True
        self.inbound.forward(chunk.cumulative_tsn, chunk.streams)
        await self._after_data()

    async def _after_data(self) -> None:
        self.last_received_tsn = self.inbound.tsn
        if self._later is None:
            await self.deliver()
        await self.reset_streams()
        self.advertised_window = self.inbound.window

    async def deliver(self) -> None:
        """Deliver whole messages, as many as the limits allow now; the others follow later."""
        now, ready = self._timers.time(), self.inbound.ready
        if now - self._passing_since >= PAUSE:
            self._passing_since, self._passed = now, 0
        while ready and self._passed < AT_ONCE:
            size = len(ready[0].payload)
            wait = max(self._messages.wait(1, now), self._bytes.wait(size, now))
            if wait > 0:
                break
            self._messages.take(1, now)
            self._bytes.take(size, now)
            self._passed += 1
            await self.message_arrived(*self.inbound.pop())
        if ready and not self.closed:
            wait = max(self._messages.wait(1, now), self._bytes.wait(len(ready[0].payload), now))
            self._later = self._timers.call_later(max(PAUSE, wait), self._deliver_later)

    def _deliver_later(self) -> None:
        self._later = None
        if self.closed:
            return
        with self.contained():
            run(self._deliver_and_acknowledge())

    async def _deliver_and_acknowledge(self) -> None:
        await self.deliver()
        await self.reset_streams()
        # The peer may have stopped at a closed window, and a checkpoint has to hold what was delivered.
        await self.send_sack()

    async def message_arrived(self, stream: int, protocol: int, payload: bytes) -> None:
        if protocol == DCEP:
            if not self._is_sound(stream, payload):
                return
        elif protocol == TEXT:
            payload = payload.decode(errors="replace").encode()
        await super().message_arrived(stream, protocol, payload)

    def _is_sound(self, stream: int, payload: bytes) -> bool:
        """Whether aiortc can read this message of RFC 8832, and it changes something."""
        if payload[0] == CHANNEL_ACK:
            return stream in self.channels
        if payload[0] != CHANNEL_OPEN or len(payload) < 12 or stream in self.channels or stream == 65535:
            return False
        label, protocol = struct.unpack_from("!HH", payload, 8)
        try:
            payload[12 : 12 + label].decode()
            payload[12 + label : 12 + label + protocol].decode()
        except UnicodeDecodeError:
            return False
        return 12 + label + protocol <= len(payload) and len(self.channels) < MAX_KNOWN

    async def reset_streams(self) -> None:
        asked = self.reset_deferred
        if asked is None or self.inbound.ready:  # earlier messages are delivered first
            return
        await super().reset_streams()
        if self.reset_deferred is None:
            self.inbound.reset(asked["streams"])

    # ---- acknowledgements

    def acknowledgement(self) -> SackChunk:
        """What is acknowledged now (RFC 9260 section 3.3.4); each duplicate is reported once."""
        sack = SackChunk()
        sack.cumulative_tsn = self.inbound.tsn
        self.advertised_window = sack.advertised_rwnd = self.inbound.window
        sack.gaps = self.inbound.gaps()
        sack.duplicates = self.inbound.duplicates[:]
        self.inbound.duplicates.clear()
        return sack

    async def send_sack(self) -> None:
        self.sack_needed = False
        await self.send_chunk(self.acknowledgement())

    def is_possible(self, sack: SackChunk) -> bool:
        """Whether it acknowledges nothing that was not sent; only gap ack blocks of outstanding chunks stay in it."""
        modulo = 1 << 32
        unsent = self.queued[0].tsn if self.queued else self.local_tsn
        if not 0 < (unsent - sack.cumulative_tsn) % modulo < modulo >> 1:
            return False
        outstanding = (self.sent[-1].tsn - sack.cumulative_tsn) % modulo if self.sent else 0
        sack.gaps = trimmed_gaps(sack.gaps, outstanding if outstanding < modulo >> 1 else 0)
        self.congestion_window = min(self.congestion_window, MAX_CWND)
        return True

    # ---- the rest

    def on_error(self, error: Exception) -> None:
        complaints.exception("an SCTP association failed in a timer or in sending", error)

    def state_changed(self) -> None:
        if not self.closed:
            return
        for timer in (self._later, self._next_packet):
            if timer is not None:
                timer.cancel()
        self._later = self._next_packet = None
        self._unread.clear()
