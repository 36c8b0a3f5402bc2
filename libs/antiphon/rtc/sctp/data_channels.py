"""Data channels: aiortc's SCTP behind a plain interface, on our own record layer.

aiortc's coroutines run to their end at once, because none of them waits: they only send, and our send does not block.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities

from antiphon.rtc.sctp import association_state
from antiphon.rtc.sctp.aiortc_internals import USER_DATA, RecordTransport, SackChunk
from antiphon.rtc.sctp.association import BoundedAssociation, run
from antiphon.rtc.sctp.inbound import MAX_MESSAGE
from antiphon.runtime.bounded_log import BoundedLog

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

MAX_CHANNELS: Final = 16
MAX_BUFFERED: Final = 1 << 20
"""Bytes queued towards a slow client, on all its channels: beyond it messages are refused."""
MAX_WAITING: Final = 4096
"""Messages queued, however small."""
MAX_OUTSTANDING: Final = 512
"""Chunks sent and not acknowledged; above it no further message is cut into chunks, because aiortc walks through all of
them for each acknowledgement."""


class ChannelError(ValueError):
    """A message that an open channel can't take: its queue is full, or the message is too long."""


class _ReservingAssociation(BoundedAssociation):
    """Where checkpoints are kept: acknowledges only data, and uses only chunk numbers, that a stored one covers.

    Owner: `DataChannels`, for its whole life. The owner and timers of aiortc call it, on the event loop.
    """

    _hold_sack: Callable[[], None] | None = None
    _request_checkpoint: Callable[[], None] | None = None
    _limit: int | None = None
    """The first number that may not be used yet."""

    def keep_checkpoints(self, hold_sack: Callable[[], None], request_checkpoint: Callable[[], None]) -> None:
        """From now on call `hold_sack` for an acknowledgement that is due, which `DataChannels.stored` will send, and
        `request_checkpoint` when the association is established.
        """
        self._hold_sack, self._request_checkpoint = hold_sack, request_checkpoint

    def reserve(self, tsn: int) -> None:
        """Chunk numbers below this one may be used."""
        self._limit = tsn % (1 << 32)

    async def send_sack(self) -> None:
        if self._hold_sack is None:
            await super().send_sack()
        else:
            self.sack_needed = False
            self._hold_sack()

    def state_changed(self) -> None:
        super().state_changed()
        if self.established and self._request_checkpoint is not None:
            self._request_checkpoint()

    async def flush_messages(self) -> None:
        waiting = self.waiting
        while waiting and not self.queued and len(self.sent) < MAX_OUTSTANDING and self._has_room(waiting[0][2]):
            self.waiting = deque([waiting.popleft()])
            await super().flush_messages()
            waiting.extendleft(reversed(self.waiting))
            if not self.established:
                break
        self.waiting = waiting
        if not waiting:
            await super().flush_messages()

    def _has_room(self, payload: bytes) -> bool:
        if self._limit is None:
            return True
        left = (self._limit - self.local_tsn + 0x80000000) % (1 << 32) - 0x80000000
        return left >= -(-len(payload) // USER_DATA)


class DataChannels:
    """The association of one session or client and its channels, by label.

    Owner: the session or client, until `close` or `detach`, which calls it on the event loop only. aiortc's timers run
    on that loop, too.
    """

    def __init__(
        self,
        client: bool,
        send: Callable[[bytes], None],
        on_open: Callable[[str], None],
        on_message: Callable[[str, str | bytes], None],
        on_failed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`on_failed` gets the reason when the association was aborted for what the client sent."""
        self._transport = RecordTransport(client, send)
        self._on_open = on_open
        self._on_message = on_message
        self._channels: dict[str, RTCDataChannel] = {}
        self._sctp = _ReservingAssociation(self._transport, 5000, self._failed)
        self._sack: SackChunk | None = None
        """The acknowledgement of what the checkpoint that is being stored holds."""
        self._sack_held = False
        self._sctp.on("datachannel", self._opened)
        self._on_failed = on_failed
        self._failure = ""

    def start(self, remote_port: int, remote_max_message: int) -> None:
        """Start the association; both sides do (RFC 8841 section 9.3)."""
        run(self._sctp.start(RTCSctpCapabilities(remote_max_message or MAX_MESSAGE), remote_port))

    def export(self) -> dict[str, Any] | None:
        """The association as a plain value; None before it is established."""
        return association_state.export(self._sctp)

    def keep_checkpoints(self, request_checkpoint: Callable[[], None]) -> None:
        """From now on acknowledge only what is stored. `freeze` and `stored` follow each `request_checkpoint`."""

        def hold() -> None:
            self._sack_held = True
            request_checkpoint()

        self._sctp.keep_checkpoints(hold, request_checkpoint)

    def freeze(self) -> None:
        """The last `export` is being stored: note what to acknowledge when `stored` confirms it."""
        if self._sack_held:
            self._sack_held = False
            self._sack = self._sctp.acknowledgement()

    def reserve(self, tsn: int) -> None:
        """Chunk numbers below this one may be used."""
        self._sctp.reserve(tsn)

    def stored(self) -> None:
        """The checkpoint that `freeze` was called for is stored: send the acknowledgement of what it holds."""
        sack, self._sack = self._sack, None
        if sack is not None:
            run(self._sctp.send_chunk(sack))
        if self._sctp.waiting:
            run(self._sctp.flush_messages())

    @property
    def next_tsn(self) -> int:
        return self._sctp.local_tsn

    def restore(self, written: dict[str, Any], handed_over: bool = True) -> None:
        """Instead of `start`: take over what `export` wrote; `resume` follows."""
        for channel in association_state.restore(self._sctp, written):
            self._channels[channel.label] = channel
            channel.on("message", lambda message, label=channel.label: self._on_message(label, message))
        if not handed_over:
            association_state.skip_reserved(self._sctp)

    def resume(self) -> None:
        """Continue after `restore`."""
        run(self._sctp.deliver())
        run(self._sctp.resume())

    def detach(self) -> None:
        """Free the association and send nothing: it continues in another process."""
        self._transport.state = "closed"
        self.close()

    def create(self, label: str, on_open: Callable[[], None]) -> None:
        """Open a channel from our side (the in-band way of RFC 8832)."""
        channel = RTCDataChannel(self._sctp, RTCDataChannelParameters(label=label))
        self._channels[label] = channel
        channel.on("message", lambda message: self._on_message(label, message))
        channel.on("open", on_open)

    def receive(self, data: bytes) -> None:
        """Take one SCTP packet. A malformed one is dropped: it can only harm the client that sent it."""
        try:
            run(self._sctp.take(data))
        except Exception as error:  # of aiortc or ours: the packet is lost, the session is not
            complaints.exception(f"an SCTP packet of {len(data)} bytes was dropped", error)

    @property
    def open_labels(self) -> list[str]:
        """Of the channels that carry messages both ways."""
        return [label for label, channel in self._channels.items() if channel.readyState == "open"]

    def send(self, label: str, payload: str | bytes) -> bool:
        """Queue a message; False if no such channel is open, ChannelError if it can't take this message."""
        if self._failure:
            raise ChannelError(f"data channel {label!r} is closed: {self._failure}")
        channel = self._channels.get(label)
        if channel is None or channel.readyState != "open":
            return False
        unsent = sum(each.bufferedAmount for each in self._channels.values())
        if unsent > MAX_BUFFERED or len(self._sctp.waiting) >= MAX_WAITING:
            raise ChannelError(
                f"data channel {label!r}: {unsent} bytes in {len(self._sctp.waiting)} messages are unsent, because the "
                "client takes none: message dropped"
            )
        try:
            channel.send(payload)
        except ValueError as error:  # larger than the client's a=max-message-size
            raise ChannelError(f"data channel {label!r}: {error}") from None
        return True

    def close(self) -> None:
        """Abort the association and stop its timers."""
        try:
            run(self._sctp.stop())
        finally:
            self._transport.state = "closed"
            self._sctp.remove_all_listeners()
            self._channels.clear()

    def _failed(self, reason: str) -> None:
        self._failure = reason
        self._on_failed(reason)

    def _opened(self, channel: RTCDataChannel) -> None:
        # A label whose channel is closed is free for a new channel.
        self._channels = {label: kept for label, kept in self._channels.items() if kept.readyState != "closed"}
        if len(self._channels) >= MAX_CHANNELS or len(channel.label) > 128:
            channel.close()
            return
        label = channel.label
        self._channels[label] = channel
        channel.on("message", lambda message: self._on_message(label, message))
        self._on_open(label)
