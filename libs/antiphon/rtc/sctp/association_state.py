"""An SCTP association as a plain value, and back (RFC 9260 state, channels, data that is on its way). Sans-IO."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from aiortc import RTCDataChannel, RTCDataChannelParameters

from antiphon.rtc.sctp.aiortc_internals import (
    CHUNK_LENGTH,
    UNORDERED,
    abandoned_chunk,
    chunk_fields,
    chunk_of,
    count_as_sent,
    repeat,
)
from antiphon.rtc.sctp.association import BoundedAssociation
from antiphon.rtc.sctp.inbound import Fragment, Inbound, Message

_RECEIVED = 6
"""Fields of a chunk that make a `Fragment`."""
_NOT_SENT = (None,) * (CHUNK_LENGTH - _RECEIVED)
"""In place of the fields that only a chunk of ours has: received chunks are written in the same form."""

CHUNKS_AHEAD: Final = 1024
"""SCTP chunks, and as many messages per channel."""


def export(sctp: BoundedAssociation) -> dict[str, Any] | None:
    """The whole association as ints, bytes, lists and dicts; None before it is established."""
    if not sctp.established:
        return None
    return {
        "plain": sctp.numbers,
        "outbound": dict(sctp.outbound_sequences),
        "misordered": sctp.inbound.received(),
        "inbound": [
            [number, sequence, [[*fragment, *_NOT_SENT] for fragment in fragments]]
            for number, sequence, fragments in sctp.inbound.streams()
        ],
        "ready": [list(message) for message in sctp.inbound.ready],
        "sent": [chunk_fields(chunk) for chunk in sctp.sent],
        "queued": [chunk_fields(chunk) for chunk in sctp.queued],
        "request": sctp.reset_request,
        "resets": [sctp.reset_deferred, sctp.reset_queue[:], sorted(sctp.reset_inbound), sorted(sctp.reset_outbound)],
        "skipped": [[stream, *numbers] for stream, numbers in sctp.skipped.items()],
        "channels": [
            [c.id, c.label, c.protocol, c.ordered, c.maxPacketLifeTime, c.maxRetransmits, c.readyState]
            for c in sctp.channels.values()
        ],
        "waiting": [[c.id, protocol, data] for c, protocol, data in sctp.waiting if c.id is not None],
    }


def restore(sctp: BoundedAssociation, written: dict[str, Any]) -> list[RTCDataChannel]:
    """Turn a fresh association into the one that was written; returns its channels. `resume` follows."""
    sctp.numbers = written["plain"]
    sctp.outbound_sequences = dict(written["outbound"])
    sctp.inbound = Inbound(sctp.last_received_tsn or 0)
    sctp.inbound.restore(
        written["misordered"],
        [
            (number, sequence, [Fragment(*chunk[:_RECEIVED]) for chunk in chunks])
            for number, sequence, chunks in written["inbound"]
        ],
        [Message(*message) for message in written["ready"]],
    )
    sctp.advertised_window = sctp.inbound.window
    sctp.set_established()
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
        channels[number] = sctp.add_channel(parameters, ready)
    sctp.reset_request = written["request"]
    sctp.reset_deferred, queue, inbound, outbound = written["resets"]
    sctp.reset_queue, sctp.reset_inbound, sctp.reset_outbound = list(queue), set(inbound), set(outbound)
    sctp.skipped = {stream: (sequence, tsn) for stream, sequence, tsn in written["skipped"]}
    sctp.sent = deque(chunk_of(chunk) for chunk in written["sent"])
    sctp.queued = deque(chunk_of(chunk) for chunk in written["queued"])
    sctp.waiting = deque((channels[number], protocol, data) for number, protocol, data in written["waiting"])
    return list(channels.values())


def skip_reserved(sctp: BoundedAssociation) -> None:
    """After `restore` of an older checkpoint: skip every number that its process may have used since.

    Chunks in the checkpoint keep their numbers and are repeated: a client that has them recognises them by these. The
    numbers after them are abandoned like messages (FORWARD-TSN, RFC 3758), which also advances each channel's stream
    sequence number; aiortc repeats that until the client has acknowledged it.
    """
    modulo = 1 << 32
    for chunk in sctp.queued:
        count_as_sent(chunk)
    sctp.sent.extend(sctp.queued)
    sctp.queued.clear()
    for chunk in sctp.sent:
        repeat(chunk)
    sctp.flight_size = 0
    sctp.local_tsn = (sctp.local_tsn + CHUNKS_AHEAD) % modulo
    skipped = [(number, 0) for number in sctp.channels] or [(0, UNORDERED)]
    for position, (number, flags) in enumerate(skipped, -len(skipped)):
        sequence = (sctp.outbound_sequences.get(number, 0) + CHUNKS_AHEAD) & 0xFFFF
        if not flags:
            sctp.outbound_sequences[number] = sequence
        # One abandoned chunk is enough for all numbers before it.
        sctp.sent.append(abandoned_chunk(flags, (sctp.local_tsn + position) % modulo, number, (sequence - 1) & 0xFFFF))
    sctp.reset_sequence = (sctp.reset_sequence + 16) % modulo
    if (
        sctp.reset_request is not None
    ):  # repeat the request under a new number; channels that are closed already stay closed
        sctp.reset_queue = [*sctp.reset_request["streams"], *sctp.reset_queue]
        sctp.reset_request = None
    sctp.fast_recovery_exit, sctp.fast_recovery_transmit = None, False
    sctp.partial_bytes_acknowledged = 0
    sctp.skip_abandoned()
