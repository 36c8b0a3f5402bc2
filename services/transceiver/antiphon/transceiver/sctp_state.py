"""An SCTP association of aiortc as a plain value, and back (RFC 9260 state, channels, what is on its way).

Like `sctp`, this leans on aiortc's private names; `tests/transceiver/test_adapters.py` is the contract.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpTransport
from aiortc.rtcsctptransport import SCTP_DATA_UNORDERED, DataChunk, InboundStream, StreamResetOutgoingParam

from antiphon.transceiver.state import CHUNKS_AHEAD

_PLAIN: Final = (
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
)
_SENT_CHUNK: Final = (
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


def export(sctp: RTCSctpTransport) -> dict[str, Any] | None:
    """Everything that the association is, as ints, bytes, lists and dicts; None before it is established."""
    if sctp._association_state != sctp.State.ESTABLISHED:
        return None
    request = sctp._reconfig_request
    return {
        "plain": [getattr(sctp, name) for name in _PLAIN],
        "outbound": dict(sctp._outbound_stream_seq),
        "misordered": sorted(sctp._sack_misordered),
        "inbound": [
            [number, stream.sequence_number, [_write(chunk) for chunk in stream.reassembly]]
            for number, stream in sctp._inbound_streams.items()
        ],
        "sent": [_write(chunk) for chunk in sctp._sent_queue],
        "queued": [_write(chunk) for chunk in sctp._outbound_queue],
        "request": vars(request).copy() if request else None,
        "channels": [
            [c.id, c.label, c.protocol, c.ordered, c.maxPacketLifeTime, c.maxRetransmits, c.readyState]
            for c in sctp._data_channels.values()
        ],
        "waiting": [[c.id, protocol, data] for c, protocol, data in sctp._data_channel_queue if c.id is not None],
    }


def restore(sctp: RTCSctpTransport, written: dict[str, Any]) -> list[RTCDataChannel]:
    """Turn a fresh transport into the one that was written; returns its channels. Call `resume` afterwards."""
    for name, value in zip(_PLAIN, written["plain"], strict=True):
        setattr(sctp, name, value)
    sctp._outbound_stream_seq = dict(written["outbound"])
    sctp._sack_misordered = set(written["misordered"])
    for number, sequence, chunks in written["inbound"]:
        stream = sctp._inbound_streams[number] = InboundStream()
        stream.sequence_number = sequence
        stream.reassembly = [_read(chunk) for chunk in chunks]
    sctp._RTCSctpTransport__started = True  # type: ignore[attr-defined]
    sctp._RTCSctpTransport__state = "connected"  # type: ignore[attr-defined]
    sctp._association_state = sctp.State.ESTABLISHED
    channels = {}
    for number, label, protocol, ordered, lifetime, retransmits, ready in written["channels"]:
        parameters = RTCDataChannelParameters(
            label=label,
            protocol=protocol,
            ordered=ordered,
            maxPacketLifeTime=lifetime,
            maxRetransmits=retransmits,
            id=number,
        )
        channels[number] = sctp._data_channels[number] = RTCDataChannel(sctp, parameters, False)
        channels[number]._setReadyState(ready)
    if written["request"]:
        sctp._reconfig_request = StreamResetOutgoingParam(**written["request"])
    sctp._sent_queue = deque(_read(chunk) for chunk in written["sent"])
    sctp._outbound_queue = deque(_read(chunk) for chunk in written["queued"])
    sctp._data_channel_queue = deque(
        (channels[number], protocol, data) for number, protocol, data in written["waiting"]
    )
    return list(channels.values())


def leave_out(sctp: RTCSctpTransport) -> None:
    """After `restore` of what a process wrote some time before it died: use nothing that it may have used since.

    Chunks that it wrote down keep their numbers and are repeated: a client that has them knows them by these. The
    numbers after them are given up as if messages had been abandoned (FORWARD-TSN, RFC 3758), which also moves
    each channel's stream sequence number; aiortc repeats that until the client has acknowledged it.
    """
    modulo = 1 << 32
    for chunk in sctp._outbound_queue:
        chunk._retransmit, chunk._sent_count, chunk._sent_time = True, 1, 0.0
    sctp._sent_queue.extend(sctp._outbound_queue)
    sctp._outbound_queue.clear()
    for chunk in sctp._sent_queue:
        chunk._in_flight = False
        chunk._retransmit = not chunk._abandoned
        chunk._sent_count += 1  # no round trip is measured by it
    sctp._flight_size = 0
    sctp._local_tsn = (sctp._local_tsn + CHUNKS_AHEAD) % modulo
    skipped = [(number, 0) for number in sctp._data_channels] or [(0, SCTP_DATA_UNORDERED)]
    for position, (number, flags) in enumerate(skipped, -len(skipped)):
        sequence = (sctp._outbound_stream_seq.get(number, 0) + CHUNKS_AHEAD) & 0xFFFF
        if not flags:
            sctp._outbound_stream_seq[number] = sequence
        # An abandoned chunk that stands for all before it.
        fields = [flags, (sctp._local_tsn + position) % modulo, number, (sequence - 1) & 0xFFFF, 0, b""]
        sctp._sent_queue.append(_read([*fields, True, False, 0, None, False, None, 0, False, 1, 0.0]))
    sctp._reconfig_request_seq = (sctp._reconfig_request_seq + 16) % modulo
    sctp._reconfig_request = None
    sctp._fast_recovery_exit, sctp._fast_recovery_transmit = None, False
    sctp._partial_bytes_acked = 0
    sctp._update_advanced_peer_ack_point()


async def resume(sctp: RTCSctpTransport) -> None:
    """Go on sending; what was not acknowledged is repeated when its time is over."""
    if sctp._sent_queue and not sctp._t3_handle:
        sctp._t3_start()
    await sctp._data_channel_flush()
    await sctp._transmit()


def _write(chunk: DataChunk) -> list[Any]:
    return [getattr(chunk, name, None) for name in (*_CHUNK, *_SENT_CHUNK)]


def _read(fields: list[Any]) -> DataChunk:
    chunk = DataChunk()
    for name, value in zip((*_CHUNK, *_SENT_CHUNK), fields, strict=True):
        setattr(chunk, name, value)
    return chunk
