"""All use of aiortc's SCTP transport beyond its public interface, under names of ours. No decisions here.

The association, chunks, and the checksum as aiortc computes it.
`tests/rtc/test_library_internals.py` is the contract: when an upgrade of the library breaks it, change this file.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpTransport
from aiortc import rtcsctptransport as _sctp
from aiortc.rtcsctptransport import (
    CHUNK_TYPES,
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    AbortChunk,
    BaseInitChunk,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    SackChunk,
    StreamResetOutgoingParam,
)
from google_crc32c import value as crc32c

from antiphon.rtc.path_mtu import MAX_USER_DATA

__all__ = [
    "FIRST",
    "LAST",
    "UNORDERED",
    "Association",
    "DataChunk",
    "ForwardTsnChunk",
    "RecordTransport",
    "SackChunk",
    "crc32c",
]

T = TypeVar("T")

# aiortc's own 1200 bytes of user data per chunk stall on a path of 1280 bytes; a multiple of 4 needs no padding.
USER_DATA: Final = min(1100, MAX_USER_DATA // 4 * 4)
_sctp.USERDATA_MAX_LENGTH = USER_DATA
FIRST: Final = SCTP_DATA_FIRST_FRAG
LAST: Final = SCTP_DATA_LAST_FRAG
UNORDERED: Final = SCTP_DATA_UNORDERED
"""Flags of a DATA chunk: it begins a message, it ends one, messages of its stream have no order."""

_NUMBERS: Final = (
    "_local_port",
    "_local_verification_tag",
    "_remote_extensions",
    "_remote_max_message_size",
    "_remote_partial_reliability",
    "_remote_port",
    "_remote_verification_tag",
    "_advertised_rwnd",
    "_inbound_streams_count",
    "_inbound_streams_max",
    "_last_received_tsn",
    "_cwnd",
    "_ssthresh",
    "_fast_recovery_exit",
    "_fast_recovery_transmit",
    "_local_tsn",
    "_last_sacked_tsn",
    "_advanced_peer_ack_tsn",
    "_outbound_streams_count",
    "_partial_bytes_acked",
    "_reconfig_request_seq",
    "_reconfig_response_seq",
    "_srtt",
    "_rttvar",
    "_rto",
    "_data_channel_id",
    "_hmac_key",
    "_flight_size",
)
_CHUNK: Final = (
    "flags",
    "tsn",
    "stream_id",
    "stream_seq",
    "protocol",
    "user_data",
    "_abandoned",
    "_acked",
    "_book_size",
    "_expiry",
    "_in_flight",
    "_max_retransmits",
    "_misses",
    "_retransmit",
    "_sent_count",
    "_sent_time",
)

CHUNK_LENGTH: Final = len(_CHUNK)
"""Of what `chunk_fields` writes."""


class RecordTransport:
    """The part of a DTLS transport that RTCSctpTransport uses. Owner: `DataChannels`, for its whole life."""

    def __init__(self, client: bool, send: Callable[[bytes], None]) -> None:
        self.state = "connected"
        """With any other value nothing is sent."""
        self._role = "client" if client else "server"
        self._send = send

    async def _send_data(self, data: bytes) -> None:
        if self.state == "connected":  # a timer may come after the end
            self._send(data)

    def _register_data_receiver(self, receiver: object) -> None:
        pass

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass


class _Theirs(Generic[T]):
    """An attribute of aiortc's under a name of ours."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> T:
        value: T = getattr(instance, self.name)
        return value

    def __set__(self, instance: object, value: T) -> None:
        setattr(instance, self.name, value)


class Association(RTCSctpTransport):
    """aiortc's association with its internals under names of ours.

    Owner: `DataChannels`. aiortc calls the methods of the first part, also where a subclass overrides them.
    """

    sent = _Theirs[deque[DataChunk]]("_sent_queue")
    queued = _Theirs[deque[DataChunk]]("_outbound_queue")
    waiting = _Theirs[deque[tuple[RTCDataChannel, int, bytes]]]("_data_channel_queue")
    """Messages that are not cut into chunks yet: channel, protocol, data."""
    channels = _Theirs[dict[int, RTCDataChannel]]("_data_channels")
    outbound_sequences = _Theirs[dict[int, int]]("_outbound_stream_seq")
    sack_needed = _Theirs[bool]("_sack_needed")
    local_tsn = _Theirs[int]("_local_tsn")
    last_received_tsn = _Theirs["int | None"]("_last_received_tsn")
    advertised_window = _Theirs[int]("_advertised_rwnd")
    congestion_window = _Theirs[int]("_cwnd")
    flight_size = _Theirs[int]("_flight_size")
    partial_bytes_acknowledged = _Theirs[int]("_partial_bytes_acked")
    fast_recovery_exit = _Theirs["int | None"]("_fast_recovery_exit")
    fast_recovery_transmit = _Theirs[bool]("_fast_recovery_transmit")
    skipped = _Theirs[dict[int, tuple[int, int]]]("_forward_tsn_streams")
    """By stream: sequence number and TSN of the last abandoned chunk whose FORWARD-TSN is not acknowledged."""
    reset_sequence = _Theirs[int]("_reconfig_request_seq")
    reset_queue = _Theirs[list[int]]("_reconfig_queue")
    """Channels to close when the peer has answered the previous request (RFC 6525)."""
    reset_inbound = _Theirs[set[int]]("_data_channel_inbound_reset")
    reset_outbound = _Theirs[set[int]]("_data_channel_outbound_reset")
    tag = _Theirs[int]("_local_verification_tag")
    """The verification tag in every packet of the peer."""

    def __init__(self, transport: RecordTransport, port: int) -> None:
        super().__init__(transport, port)  # type: ignore[arg-type]

    # -- what aiortc calls

    async def send_sack(self) -> None:
        """An acknowledgement is due."""
        await super()._send_sack()

    async def flush_messages(self) -> None:
        """Cut waiting messages into chunks and send what the window allows."""
        await super()._data_channel_flush()

    def state_changed(self) -> None:
        """`established` or `closed` may have changed."""

    def peer_began(self) -> None:
        """The peer's INIT arrived: `last_received_tsn` is the one before its first."""

    async def data_arrived(self, chunk: DataChunk) -> None:
        await super()._receive_data_chunk(chunk)

    async def forwarded(self, chunk: ForwardTsnChunk) -> None:
        await super()._receive_forward_tsn_chunk(chunk)

    def is_possible(self, sack: SackChunk) -> bool:
        """Whether an acknowledgement is handled at all; an override may change it."""
        return True

    async def message_arrived(self, stream: int, protocol: int, payload: bytes) -> None:
        """A whole message, of ours or of aiortc's own reassembly."""
        await super()._data_channel_receive(stream, protocol, payload)

    async def reset_streams(self) -> None:
        """Close the channels that the peer asked to close, if everything that it sent before has arrived."""
        await super()._reset_deferred_streams()

    def on_error(self, error: Exception) -> None:
        """A timer or a later transmission failed, outside of any call of ours."""
        raise error

    async def _receive_chunk(self, chunk: Chunk) -> None:
        kept = self._last_received_tsn, self._reconfig_response_seq, self._remote_verification_tag
        await super()._receive_chunk(chunk)
        if not isinstance(chunk, BaseInitChunk):
            return
        if kept[0] is not None and (self.established or kept[2] == chunk.initiate_tag):
            # The peer's INIT, repeated or late, must change nothing (RFC 9260 section 5.2.2). aiortc would go back to
            # its first number and wait for ever for chunks that it has received already.
            self._last_received_tsn, self._reconfig_response_seq, self._remote_verification_tag = kept
        elif self._last_received_tsn != kept[0]:
            self.peer_began()

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        await self.data_arrived(chunk)

    async def _receive_forward_tsn_chunk(self, chunk: ForwardTsnChunk) -> None:
        await self.forwarded(chunk)

    async def _receive_sack_chunk(self, chunk: SackChunk) -> None:
        if self.is_possible(chunk):
            await super()._receive_sack_chunk(chunk)

    async def _data_channel_receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        await self.message_arrived(stream_id, pp_id, data)

    async def _reset_deferred_streams(self) -> None:
        await self.reset_streams()

    async def _send_sack(self) -> None:
        await self.send_sack()

    async def _data_channel_flush(self) -> None:
        with self.contained():
            await self.flush_messages()

    # These run as tasks and timers of aiortc: without `contained` their exceptions would reach only the loop's handler.

    async def _transmit(self) -> None:
        with self.contained():
            await super()._transmit()

    async def _transmit_reconfig(self) -> None:
        with self.contained():
            await super()._transmit_reconfig()

    async def _send_chunk(self, chunk: Chunk) -> None:
        with self.contained():
            await super()._send_chunk(chunk)

    def _t1_expired(self) -> None:
        with self.contained():
            super()._t1_expired()

    def _t2_expired(self) -> None:
        with self.contained():
            super()._t2_expired()

    def _t3_expired(self) -> None:
        with self.contained():
            super()._t3_expired()

    def _reconfig_timer_expired(self) -> None:
        with self.contained():
            super()._reconfig_timer_expired()

    def _set_state(self, state: RTCSctpTransport.State) -> None:
        super()._set_state(state)
        self.state_changed()

    @contextlib.contextmanager
    def contained(self) -> Iterator[None]:
        """Passes an exception in it to `on_error`."""
        try:
            yield
        except Exception as error:
            self.on_error(error)

    # -- what we call

    @property
    def established(self) -> bool:
        return self._association_state == self.State.ESTABLISHED

    @property
    def closed(self) -> bool:
        """Not begun, or ended."""
        return self._association_state == self.State.CLOSED

    async def receive(self, chunks: Iterable[tuple[int, int, bytes]]) -> None:
        """Take the chunks (type, flags, body) of one packet, whose lengths are right."""
        for kind, flags, body in chunks:
            await self._receive_chunk(CHUNK_TYPES[kind](flags, body))
        if self._sack_needed:
            await self._send_sack()

    async def abort(self, cause: int, text: str) -> None:
        """Send an ABORT (RFC 9260 section 3.3.10)."""
        chunk = AbortChunk()
        chunk.params = [(cause, text.encode())]
        await self._send_chunk(chunk)

    def close(self) -> None:
        """End without sending anything; the channels close."""
        self._set_state(self.State.CLOSED)

    async def send_chunk(self, chunk: SackChunk) -> None:
        await self._send_chunk(chunk)

    async def resume(self) -> None:
        """Start the retransmission timers where something is outstanding, and send what the window allows."""
        if self._sent_queue and not self._t3_handle:
            self._t3_start()
        if self._reconfig_request and not self._reconfig_handle:
            self._reconfig_timer_start()
        await self.flush_messages()
        await self._transmit()
        await self._transmit_reconfig()

    def skip_abandoned(self) -> None:
        """Send FORWARD-TSN for the abandoned chunks at the head of `sent`, until it is acknowledged."""
        self._update_advanced_peer_ack_point()

    @property
    def numbers(self) -> list[Any]:
        """Every attribute that is a plain value, in the order of `_NUMBERS`."""
        return [getattr(self, name) for name in _NUMBERS]

    @numbers.setter
    def numbers(self, values: list[Any]) -> None:
        for name, value in zip(_NUMBERS, values, strict=True):
            setattr(self, name, value)

    @property
    def reset_request(self) -> dict[str, Any] | None:
        """Our request to close channels that the peer has not answered yet."""
        return vars(self._reconfig_request).copy() if self._reconfig_request else None

    @reset_request.setter
    def reset_request(self, fields: dict[str, Any] | None) -> None:
        self._reconfig_request = StreamResetOutgoingParam(**fields) if fields else None

    @property
    def reset_deferred(self) -> dict[str, Any] | None:
        """The peer's request to close channels, which waits for data that was sent before it."""
        return vars(self._reconfig_deferred).copy() if self._reconfig_deferred else None

    @reset_deferred.setter
    def reset_deferred(self, fields: dict[str, Any] | None) -> None:
        self._reconfig_deferred = StreamResetOutgoingParam(**fields) if fields else None

    def add_channel(self, parameters: RTCDataChannelParameters, ready_state: str) -> RTCDataChannel:
        """Add a channel that another process opened; nothing is sent."""
        assert parameters.id is not None
        channel = self._data_channels[parameters.id] = RTCDataChannel(self, parameters, False)
        channel._setReadyState(ready_state)
        return channel

    def set_established(self) -> None:
        """Be established without a handshake, with the peer that `numbers` name."""
        self._RTCSctpTransport__started = True
        self._RTCSctpTransport__state = "connected"
        self._association_state = self.State.ESTABLISHED


def chunk_fields(chunk: DataChunk) -> list[Any]:
    """A chunk as plain values; None for fields that a chunk gets only when it is sent."""
    return [getattr(chunk, name, None) for name in _CHUNK]


def chunk_of(fields: list[Any]) -> DataChunk:
    """The chunk that `chunk_fields` wrote."""
    chunk = DataChunk()
    for name, value in zip(_CHUNK, fields, strict=True):
        setattr(chunk, name, value)
    return chunk


def abandoned_chunk(flags: int, tsn: int, stream: int, sequence: int) -> DataChunk:
    """A chunk without data that counts as sent once, and abandoned."""
    return chunk_of([flags, tsn, stream, sequence, 0, b"", True, False, 0, None, False, None, 0, False, 1, 0.0])


def count_as_sent(chunk: DataChunk) -> None:
    """Prepare a chunk of `queued` for `sent`."""
    chunk._retransmit, chunk._sent_count, chunk._sent_time = True, 1, 0.0


def repeat(chunk: DataChunk) -> None:
    """Send it again, unless it was abandoned, and measure no round trip with it."""
    chunk._in_flight = False
    chunk._retransmit = not chunk._abandoned
    chunk._sent_count += 1
