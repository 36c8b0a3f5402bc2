"""Data channels: aiortc's SCTP behind a plain interface, on our own record layer.

Its coroutines are run to their end at once, because nothing in them waits: they only send, and our send does not block.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities

from antiphon.transceiver import sctp_state
from antiphon.transceiver.library_internals import USER_DATA, Association, RecordTransport, SackChunk

log = logging.getLogger(__name__)

MAX_MESSAGE: Final = 65536
MAX_CHANNELS: Final = 16
MAX_BUFFERED: Final = 1 << 20
"""Bytes queued towards a slow client: beyond it messages are refused."""


class ChannelError(ValueError):
    """A message that an open channel can't take: its queue is full, or the message is too long."""


class _Reserved(Association):
    """Acknowledges nothing and numbers nothing beyond what a checkpoint holds, where one is kept."""

    hold_sack: Callable[[], None] | None = None
    """Called when an acknowledgement is due that `DataChannels.stored` will send."""
    wanted: Callable[[], None] | None = None
    """Called when the association is established: from here on it is worth a checkpoint."""
    last_tsn: int | None = None
    """The first number that may not be used yet."""

    async def send_sack(self) -> None:
        if self.hold_sack is None:
            await super().send_sack()
        else:
            self.sack_needed = False
            self.hold_sack()

    def state_changed(self) -> None:
        if self.established and self.wanted is not None:
            self.wanted()

    async def flush_messages(self) -> None:
        if self.last_tsn is None:
            await super().flush_messages()
            return
        waiting = self.waiting
        while waiting and not self.queued and self._has_room(waiting[0][2]):
            self.waiting = deque([waiting.popleft()])
            await super().flush_messages()
            waiting.extendleft(reversed(self.waiting))
            if not self.established:
                break
        self.waiting = waiting
        if not waiting:
            await super().flush_messages()

    def _has_room(self, payload: bytes) -> bool:
        left = ((self.last_tsn or 0) - self.local_tsn + 0x80000000) % (1 << 32) - 0x80000000
        return left >= -(-len(payload) // USER_DATA)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("aiortc's SCTP waited where it never did: its adapter must be looked at")


def _sack_of(sctp: Association) -> SackChunk:
    """What is acknowledged now (RFC 9260 section 3.3.4)."""
    sack = SackChunk()
    sack.cumulative_tsn = sctp.last_received_tsn
    sack.advertised_rwnd = max(0, sctp.advertised_window)
    sack.duplicates = sctp.duplicates[:]
    sctp.duplicates.clear()
    received: int = sctp.last_received_tsn or 0
    for tsn in sorted((tsn - received) % (1 << 32) for tsn in sctp.misordered):
        if sack.gaps and sack.gaps[-1][1] == tsn - 1:
            sack.gaps[-1] = (sack.gaps[-1][0], tsn)
        else:
            sack.gaps.append((tsn, tsn))
    return sack


class DataChannels:
    """The association of one session and its channels, by label."""

    def __init__(
        self,
        client: bool,
        send: Callable[[bytes], None],
        on_open: Callable[[str], None],
        on_message: Callable[[str, str | bytes], None],
    ) -> None:
        self._transport = RecordTransport(client, send)
        self._on_open = on_open
        self._on_message = on_message
        self._channels: dict[str, RTCDataChannel] = {}
        self._sctp = _Reserved(self._transport, 5000)
        self._sack: SackChunk | None = None
        """Acknowledges what the checkpoint that is being stored holds."""
        self._sack_held = False
        self._sctp.on("datachannel", self._opened)

    def start(self, remote_port: int, remote_max_message: int) -> None:
        """Start the association; both sides do (RFC 8841 section 9.3)."""
        _run(self._sctp.start(RTCSctpCapabilities(remote_max_message or MAX_MESSAGE), remote_port))

    def export(self) -> dict[str, Any] | None:
        """The association as a plain value; None before it is established."""
        return sctp_state.export(self._sctp)

    def keep_checkpoints(self, wanted: Callable[[], None]) -> None:
        """From now on acknowledge only what is stored: each time that calls `wanted`, `freeze` and `stored` follow."""

        def hold() -> None:
            self._sack_held = True
            wanted()

        self._sctp.hold_sack, self._sctp.wanted = hold, wanted

    def stop_checkpoints(self) -> None:
        """Nobody stores anything: acknowledge at once, and use any number."""
        self._sctp.hold_sack = self._sctp.wanted = self._sctp.last_tsn = None
        if self._sack_held or self._sack is not None:
            self._sack_held, self._sack = False, None
            _run(self._sctp.send_sack())
        _run(self._sctp.flush_messages())

    def freeze(self) -> None:
        """`export` was written down just now: what is acknowledged when that is stored."""
        if self._sack_held:
            self._sack_held = False
            self._sack = _sack_of(self._sctp)

    def reserve(self, tsn: int) -> None:
        """Chunk numbers below this one may be used."""
        self._sctp.last_tsn = tsn % (1 << 32)

    def stored(self) -> None:
        """What was frozen is safe."""
        sack, self._sack = self._sack, None
        if sack is not None:
            _run(self._sctp.send_chunk(sack))
        if self._sctp.waiting:
            _run(self._sctp.flush_messages())

    @property
    def next_tsn(self) -> int:
        return self._sctp.local_tsn

    def restore(self, written: dict[str, Any], handed_over: bool = True) -> None:
        """Be where `export` wrote, instead of `start`; `resume` follows."""
        for channel in sctp_state.restore(self._sctp, written):
            self._channels[channel.label] = channel
            channel.on("message", lambda message, label=channel.label: self._on_message(label, message))
        if not handed_over:
            sctp_state.leave_out(self._sctp)

    def resume(self) -> None:
        """Go on after `restore`."""
        _run(self._sctp.go_on())

    def vanish(self) -> None:
        """Let go without a word: the association goes on elsewhere."""
        self._transport.state = "closed"
        self.close()

    def create(self, label: str, on_open: Callable[[], None]) -> None:
        """Open a channel from our side (the in-band way of RFC 8832)."""
        channel = RTCDataChannel(self._sctp, RTCDataChannelParameters(label=label))
        self._channels[label] = channel
        channel.on("message", lambda message: self._on_message(label, message))
        channel.on("open", on_open)

    def receive(self, data: bytes) -> None:
        """Take one SCTP packet. A malformed one is dropped: it can only hurt the client that sent it."""
        try:
            _run(self._sctp.receive(data))
        except Exception as error:  # the parser asserts and indexes; whatever it raises is the peer's mistake
            log.debug("sctp: dropped a packet of %d bytes: %r", len(data), error)

    def send(self, label: str, payload: str | bytes) -> bool:
        """Queue a message; False if no such channel is open, ChannelError if it can't take this message."""
        channel = self._channels.get(label)
        if channel is None or channel.readyState != "open":
            return False
        if channel.bufferedAmount > MAX_BUFFERED:
            raise ChannelError(f"data channel {label!r} holds {channel.bufferedAmount} bytes unsent: message dropped")
        try:
            channel.send(payload)
        except ValueError as error:  # larger than the client's a=max-message-size
            raise ChannelError(f"data channel {label!r}: {error}") from None
        return True

    def close(self) -> None:
        """Abort the association and stop its timers."""
        try:
            _run(self._sctp.stop())
        finally:
            self._transport.state = "closed"
            self._sctp.remove_all_listeners()
            self._channels.clear()

    def _opened(self, channel: RTCDataChannel) -> None:
        if len(self._channels) >= MAX_CHANNELS or len(channel.label) > 128:
            channel.close()
            return
        label = channel.label
        self._channels[label] = channel
        channel.on("message", lambda message: self._on_message(label, message))
        self._on_open(label)
