"""Data channels by label, on an SCTP association (RFC 8831, RFC 8832). Packets and `now` in, packets and calls out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from antiphon.rtc.sctp import association_state, dcep
from antiphon.rtc.sctp.association import Association
from antiphon.rtc.sctp.events import (
    AcknowledgementDue,
    Closed,
    Established,
    Event,
    Restarted,
    StreamsClosed,
    StreamsReset,
)
from antiphon.rtc.sctp.inbound import MAX_MESSAGE, Message
from antiphon.rtc.sctp.outgoing import OutgoingMessage
from antiphon.runtime.bounded_log import BoundedLog

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

MAX_CHANNELS: Final = 16
"""Open at the same time."""
MAX_KNOWN: Final = 64
"""Channels that exist, with those being closed; a request for one more gets no answer."""
MAX_LABEL: Final = 128
"""Characters."""
MAX_BUFFERED: Final = 1 << 20
"""Bytes queued towards a slow client, on all its channels: beyond it messages are refused."""
MAX_WAITING: Final = 4096
"""Messages queued and chunks outstanding, however small."""


class ChannelError(ValueError):
    """A message that an open channel can't take: its queue is full, or the message is too long."""


class MessageTooLongError(ChannelError):
    """The client's `a=max-message-size` does not allow it."""


@dataclass(slots=True)
class Channel:
    """One channel, until both sides have closed it. Owner: `DataChannels`."""

    stream: int
    opening: dcep.Opening
    state: Literal["opening", "open", "closing"]
    """`opening`: our request is not answered yet. `closing`: no message passes any more."""
    closed_by_us: bool = False
    """Our side is closed, and the peer has confirmed it."""
    closed_by_peer: bool = False
    on_open: Callable[[], None] | None = None


class DataChannels:
    """The association of one session or client and its channels.

    Owner: the session or client, until `close` or `detach`, which calls it from one thread. It calls `send` and the
    other callables while it is called itself, and at no other time.
    """

    def __init__(
        self,
        client: bool,
        send: Callable[[bytes], None],
        on_open: Callable[[str], None],
        on_message: Callable[[str, str | bytes], None],
        on_failed: Callable[[str], None] = lambda reason: None,
        on_close: Callable[[str], None] = lambda label: None,
        association: Association | None = None,
    ) -> None:
        """`client`: we are the DTLS client, and number our channels evenly. `on_open(label)`: the peer opened one;
        `on_close(label)`: the last open one of that label closed. `on_failed` gets the reason when the association
        was aborted for what the peer sent. `association`: one with numbers that are known, for tests.
        """
        self.association = association or Association()
        self._send_packet = send
        self._on_open, self._on_message, self._on_close, self._on_failed = on_open, on_message, on_close, on_failed
        self._next_stream = 0 if client else 1
        self._channels: dict[int, Channel] = {}
        """By stream, the ones that were opened last at the end."""
        self._max_message = MAX_MESSAGE
        self._request_checkpoint: Callable[[], None] | None = None
        self._acknowledgement: list[bytes] = []
        """Of what the checkpoint that is being stored holds."""
        self._held = False
        self._failure = ""

    def start(self, remote_port: int, remote_max_message: int, now: float) -> None:
        """Start the association; both sides do (RFC 8841 section 9.3). `remote_max_message` 0: any size."""
        self._max_message = remote_max_message or 1 << 30
        self.association.start(remote_port, now)
        self._hand_out(now)

    # ---- checkpoints

    def export(self, now: float) -> dict[str, Any] | None:
        """The association and its channels as a plain value; None before it is established."""
        written = association_state.export(self.association, now)
        if written is not None:
            written["max_message"] = self._max_message
            written["channels"] = [
                [each.stream, list(each.opening), each.state, each.closed_by_us, each.closed_by_peer]
                for each in self._channels.values()
            ]
        return written

    def keep_checkpoints(self, request_checkpoint: Callable[[], None]) -> None:
        """From now on acknowledge only what is stored. `freeze` and `stored` follow each `request_checkpoint`."""
        self._request_checkpoint = request_checkpoint
        self.association.holds_acknowledgements = True

    def freeze(self) -> None:
        """The last `export` is being stored: note what to acknowledge when `stored` confirms it."""
        if self._held:
            self._held = False
            self._acknowledgement = self.association.acknowledgement()

    def reserve(self, tsn: int) -> None:
        """Chunk numbers below this one may be used: `next_tsn` and the like, which never wrap."""
        self.association.outbound.limit = tsn

    def stored(self, now: float) -> None:
        """The checkpoint that `freeze` was called for is stored: send the acknowledgement of what it holds."""
        acknowledgement, self._acknowledgement = self._acknowledgement, []
        self.association.outbound.cut()
        self.association.send_acknowledgement(acknowledgement, now)
        self._hand_out(now)

    @property
    def next_tsn(self) -> int:
        """The number of the next chunk of ours."""
        return self.association.outbound.next_tsn

    def restore(self, written: dict[str, Any], now: float, handed_over: bool = True) -> None:
        """Instead of `start`: take over what `export` wrote; `resume` follows. ValueError for another version."""
        association_state.restore(self.association, written, now)
        self._max_message = written["max_message"]
        for stream, opening, state, by_us, by_peer in written["channels"]:
            self._channels[stream] = Channel(stream, dcep.Opening(*opening), state, by_us, by_peer)
        if not handed_over:
            association_state.skip_reserved(
                self.association, [stream for stream, each in self._channels.items() if each.state != "closing"]
            )

    def resume(self, now: float) -> None:
        """Continue after `restore`."""
        self.association.resume(now)
        self._hand_out(now)

    def detach(self) -> None:
        """Free the association and send nothing: it continues in another process."""
        self.association.detach()
        self._channels.clear()

    # ---- from the network and the clock

    def receive(self, data: bytes, now: float) -> None:
        """Take one SCTP packet. A malformed one is dropped: it can only harm the client that sent it."""
        try:
            self.association.receive(data, now)
            self._hand_out(now)
        except Exception as error:  # of ours: the packet is lost, the session is not
            complaints.exception(f"an SCTP packet of {len(data)} bytes was dropped", error)

    @property
    def timeout(self) -> float | None:
        """When `poll` is to be called next."""
        return self.association.timeout

    def poll(self, now: float) -> None:
        """Timers; call it at `timeout`, or every 50 ms or so."""
        timeout = self.association.timeout
        if timeout is None or now < timeout:
            return
        try:
            self.association.poll(now)
            self._hand_out(now)
        except Exception as error:
            complaints.exception("an SCTP association failed in a timer", error)

    # ---- channels

    def create(self, label: str, on_open: Callable[[], None], now: float, **reliability: Any) -> None:
        """Open a channel from our side (the in-band way of RFC 8832). `reliability`: fields of `dcep.Opening`."""
        stream = self._next_stream
        while stream in self._channels:
            stream += 2
        opening = dcep.Opening(label, **reliability)
        self._channels[stream] = Channel(stream, opening, "opening", on_open=on_open)
        # Ordered and reliable whatever the channel is.
        self.association.send(OutgoingMessage(stream, dcep.DCEP, dcep.pack_open(opening)), now)
        self._hand_out(now)

    @property
    def open_labels(self) -> list[str]:
        """Of the channels that carry messages both ways, each once."""
        return list(dict.fromkeys(each.opening.label for each in self._channels.values() if each.state == "open"))

    @property
    def channels(self) -> list[Channel]:
        """All that exist, with those being closed. For tests and statistics; nothing may be changed in them."""
        return list(self._channels.values())

    @property
    def closed(self) -> bool:
        """The association has not begun, or ended."""
        return self.association.closed

    @property
    def max_message(self) -> int:
        """Octets of a message that the peer takes."""
        return self._max_message

    @property
    def unsent(self) -> int:
        """Octets that wait because the client takes none."""
        return self.association.unsent

    def send(self, label: str, payload: str | bytes, now: float) -> bool:
        """Queue a message; False if no such channel is open, ChannelError if it can't take this message.

        Of several open channels with this label the one that was opened last gets it.
        """
        if self._failure:
            raise ChannelError(f"data channel {label!r} is closed: {self._failure}")
        channel = self._open_channel(label)
        if channel is None:
            return False
        association = self.association
        if association.unsent > MAX_BUFFERED or association.unacknowledged >= MAX_WAITING:
            raise ChannelError(
                f"data channel {label!r}: {association.unsent} bytes in {association.unacknowledged} messages are "
                "unsent, because the client takes none: message dropped"
            )
        protocol, octets = dcep.encode(payload)
        if len(octets) > self._max_message:
            raise MessageTooLongError(
                f"data channel {label!r}: a message of {len(octets)} bytes is more than the {self._max_message} that "
                "the client's a=max-message-size allows (65536 without one)"
            )
        opening = channel.opening
        lifetime = opening.max_lifetime
        association.send(
            OutgoingMessage(
                channel.stream,
                protocol,
                octets,
                opening.ordered,
                opening.max_retransmits,
                None if lifetime is None else now + lifetime / 1000,
            ),
            now,
        )
        self._hand_out(now)
        return True

    def close_channel(self, label: str, now: float) -> bool:
        """Close the open channel that `send` would take, behind what was sent on it; False if there is none."""
        channel = self._open_channel(label)
        if channel is None:
            return False
        self._close_channel(channel, now)
        self._hand_out(now)
        return True

    def close(self, now: float) -> None:
        """Abort the association. Nothing is called for it but `send`."""
        self.association.close(now)
        self._send_packets()
        self.association.events.clear()
        self._channels.clear()

    def _open_channel(self, label: str) -> Channel | None:
        return next(
            (
                each
                for each in reversed(self._channels.values())
                if each.opening.label == label and each.state == "open"
            ),
            None,
        )

    # ---- what the association has

    def _send_packets(self) -> None:
        packets = self.association.packets
        while packets:
            self._send_packet(packets.popleft())

    def _hand_out(self, now: float) -> None:
        """Send packets and handle events. A callable may call back: then the rest is done inside of it."""
        self._send_packets()
        events = self.association.events
        while events:
            self._handle(events.popleft(), now)
            self._send_packets()

    def _handle(self, event: Event, now: float) -> None:
        match event:
            case Message():
                self._receive_message(event, now)
            case AcknowledgementDue():
                self._held = True
                self._checkpoint()
            case Established():
                self._checkpoint()
            case StreamsReset(streams=streams):
                for stream in streams:
                    self._reset_by_peer(stream, now)
            case StreamsClosed(streams=streams):
                for stream in streams:
                    self._confirmed(stream)
            case Restarted():
                self._close_all()
            case Closed(reason=reason, by_peer=by_peer):
                self._failure = reason
                self._close_all()
                if not by_peer:
                    self._on_failed(reason)

    def _checkpoint(self) -> None:
        if self._request_checkpoint is not None:
            self._request_checkpoint()

    def _receive_message(self, message: Message, now: float) -> None:
        channel = self._channels.get(message.stream)
        if message.protocol == dcep.DCEP:
            self._receive_dcep(channel, message, now)
            return
        payload = dcep.decode(message.protocol, message.payload)
        if channel is None or channel.state == "closing" or payload is None:
            return  # acknowledged and dropped: the page asks so whether its path lives
        self._acknowledged(channel)  # a message of the peer does as well
        self._on_message(channel.opening.label, payload)

    def _receive_dcep(self, channel: Channel | None, message: Message, now: float) -> None:
        kind = message.payload[0]
        if kind == dcep.ACK:
            if channel is not None:
                self._acknowledged(channel)
            return
        opening = dcep.read_open(message.payload) if kind == dcep.OPEN else None
        free = channel is None or (channel.state == "closing" and channel.closed_by_peer)
        if opening is None or not free or message.stream == 65535:
            return
        if len(self._channels) >= MAX_KNOWN and channel is None:
            return
        opened = Channel(message.stream, opening, "open")
        self._channels.pop(message.stream, None)  # it goes to the end
        admitted = self._count_open() < MAX_CHANNELS and len(opening.label) <= MAX_LABEL
        self._channels[message.stream] = opened
        self.association.send(OutgoingMessage(message.stream, dcep.DCEP, bytes((dcep.ACK,))), now)
        if admitted:
            self._on_open(opening.label)
        else:
            opened.state = "closing"
            self.association.reset(message.stream, now)

    def _count_open(self) -> int:
        return sum(each.state != "closing" for each in self._channels.values())

    def _acknowledged(self, channel: Channel) -> None:
        if channel.state == "opening":
            channel.state = "open"
            if channel.on_open is not None:
                channel.on_open()

    def _close_channel(self, channel: Channel, now: float) -> None:
        was_open, channel.state = channel.state == "open", "closing"
        self.association.reset(channel.stream, now)
        if was_open and self._open_channel(channel.opening.label) is None:
            self._on_close(channel.opening.label)

    def _reset_by_peer(self, stream: int, now: float) -> None:
        channel = self._channels.get(stream)
        if channel is None:
            return
        channel.closed_by_peer = True
        if channel.closed_by_us:
            del self._channels[stream]
        elif channel.state != "closing":
            self._close_channel(channel, now)  # both sides close a channel (RFC 8831 section 6.7)

    def _confirmed(self, stream: int) -> None:
        channel = self._channels.get(stream)
        if channel is None or channel.state != "closing":
            return  # a new channel has its number
        channel.closed_by_us = True
        if channel.closed_by_peer or not self.association.peer_resets:
            del self._channels[stream]

    def _close_all(self) -> None:
        labels = self.open_labels
        self._channels.clear()
        for label in labels:
            self._on_close(label)
