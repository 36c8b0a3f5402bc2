"""Data channels: aiortc's SCTP behind a plain interface, on our own record layer.

The one place that leans on aiortc's SCTP transport beyond its public interface: it is handed an object that
looks like its DTLS transport, and its coroutines are run to their end at once, because nothing in them
waits (they only send, and our send does not block). `tests/transceiver/test_adapters.py` is the contract.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport
from aiortc import rtcsctptransport as _aiortc

from antiphon.transceiver import sctp_state

log = logging.getLogger(__name__)

# On a path of 1280 bytes aiortc's 1200 bytes of user data per chunk stall: SCTP 28, DTLS 37, tunnel 20, UDP 28.
_aiortc.USERDATA_MAX_LENGTH = 1100

MAX_MESSAGE: Final = 65536
MAX_CHANNELS: Final = 16
MAX_BUFFERED: Final = 1 << 20
"""Bytes queued towards a slow client: beyond it messages are refused."""


class ChannelError(ValueError):
    """A message that an open channel can't take: its queue is full, or the message is too long."""


class _RecordTransport:
    """What RTCSctpTransport asks of a DTLS transport."""

    def __init__(self, client: bool, send: Callable[[bytes], None]) -> None:
        self.state = "connected"
        self._role = "client" if client else "server"
        self._send = send

    async def _send_data(self, data: bytes) -> None:
        if self.state == "connected":  # a timer may come after the end
            self._send(data)

    def _register_data_receiver(self, receiver: object) -> None:
        pass

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("aiortc's SCTP waited where it never did: its adapter must be looked at")


class DataChannels:
    """The association of one session and its channels, by label."""

    def __init__(
        self,
        client: bool,
        send: Callable[[bytes], None],
        on_open: Callable[[str], None],
        on_message: Callable[[str, str | bytes], None],
    ) -> None:
        self._transport = _RecordTransport(client, send)
        self._on_open = on_open
        self._on_message = on_message
        self._channels: dict[str, RTCDataChannel] = {}
        self._sctp = RTCSctpTransport(self._transport, 5000)  # type: ignore[arg-type]
        self._sctp.on("datachannel", self._opened)

    def start(self, remote_port: int, remote_max_message: int) -> None:
        """Start the association; both sides do (RFC 8841 section 9.3)."""
        _run(self._sctp.start(RTCSctpCapabilities(remote_max_message or MAX_MESSAGE), remote_port))

    def export(self) -> dict[str, Any] | None:
        """The association as a plain value; None before it is established."""
        return sctp_state.export(self._sctp)

    def restore(self, written: dict[str, Any]) -> None:
        """Go on where `export` wrote, instead of `start`."""
        for channel in sctp_state.restore(self._sctp, written):
            self._channels[channel.label] = channel
            channel.on("message", lambda message, label=channel.label: self._on_message(label, message))
        _run(sctp_state.resume(self._sctp))

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
            _run(self._sctp._handle_data(data))
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
