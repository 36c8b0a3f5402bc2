"""An SCTP association as a plain value, and back (RFC 9260 state, data that is on its way, resets). Sans-IO.

Times are written as seconds from `now`: another machine's clock begins elsewhere.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from antiphon.rtc.sctp.association import Association
from antiphon.rtc.sctp.congestion import CongestionControl
from antiphon.rtc.sctp.inbound import Fragment, Inbound, Message
from antiphon.rtc.sctp.outbound import Outbound
from antiphon.rtc.sctp.outgoing import OutgoingChunk, OutgoingMessage
from antiphon.rtc.sctp.stream_reset import PeerRequest, StreamReset

ASSOCIATION_VERSION: Final = 2
"""1 was aiortc's association: it had no number in it."""
CHUNKS_AHEAD: Final = 1024
"""SCTP chunks, and as many messages per channel, that may be used before the next checkpoint is stored."""


def export(association: Association, now: float) -> dict[str, Any] | None:
    """The whole association as ints, floats, bytes, lists and dicts; None before it is established."""
    if not association.established:
        return None
    inbound, outbound, resets = association.inbound, association.outbound, association.resets
    deferred, path = resets.deferred, outbound.congestion
    return {
        "version": ASSOCIATION_VERSION,
        "numbers": [
            *(association.port, association.remote_port, association.tag, association.peer_tag),
            *(association.first_tsn, association.cookie_key, association.peer_resets),
        ],
        "received": [inbound.tsn, inbound.received()],
        "inbound": [
            [number, sequence, [list(fragment) for fragment in fragments]]
            for number, sequence, fragments in inbound.streams()
        ],
        "ready": [list(message) for message in inbound.ready],
        "sending": [
            *(outbound.next_tsn, outbound.acknowledged, outbound.forwarded, outbound.partially_reliable),
            *(outbound.peer_window, path.cwnd, path.ssthresh, path.srtt, path.rttvar, path.rto),
        ],
        "sequences": dict(outbound.sequences),
        "sent": [_chunk(chunk, now) for chunk in outbound.sent],
        "queued": [_chunk(chunk, now) for chunk in outbound.queued],
        "waiting": [_message(message, now) for message in (*outbound.waiting, *association.held)],
        "resets": [resets.next_sequence, resets.peer_sequence, resets.peer_result, resets.sequence, resets.attempts],
        "resetting": [resets.wanted[:], resets.requested[:]],
        "deferred": deferred and [deferred.sequence, deferred.tsn, deferred.streams],
    }


def restore(association: Association, written: dict[str, Any], now: float) -> None:
    """Turn a fresh association into the one that was written; `resume` follows. ValueError for another version."""
    version = written.get("version", 1)
    if version != ASSOCIATION_VERSION:
        raise ValueError(
            f"the data channels were written in version {version}: this process reads version {ASSOCIATION_VERSION}"
        )
    association.port, association.remote_port, association.tag, association.peer_tag, *more = written["numbers"]
    association.first_tsn, association.cookie_key, association.peer_resets = more
    tsn, beyond = written["received"]
    association.inbound = Inbound(tsn)
    streams = [
        (number, sequence, [Fragment(*each) for each in fragments])
        for number, sequence, fragments in written["inbound"]
    ]
    association.inbound.restore(beyond, streams, [Message(*message) for message in written["ready"]])
    association.outbound = outbound = Outbound(0)
    outbound.next_tsn, outbound.acknowledged, outbound.forwarded, outbound.partially_reliable, *more = written[
        "sending"
    ]
    outbound.peer_window, *path = more
    outbound.congestion = CongestionControl(*path)
    outbound.sequences = dict(written["sequences"])
    outbound.sent = [_chunk_of(fields, now) for fields in written["sent"]]
    outbound.queued = deque(_chunk_of(fields, now) for fields in written["queued"])
    next_sequence, peer_sequence, peer_result, sequence, attempts = written["resets"]
    wanted, requested = written["resetting"]
    association.resets = StreamReset(
        next_sequence,
        peer_sequence,
        peer_result,
        written["deferred"] and PeerRequest(*written["deferred"]),
        list(wanted),
        list(requested),
        sequence,
        attempts,
    )
    association.state = "established"
    waiting = [_message_of(fields, now) for fields in written["waiting"]]
    association.held = [message for message in waiting if association.resets.is_pending(message.stream)]
    for message in waiting:
        if not association.resets.is_pending(message.stream):
            outbound.waiting.append(message)
            outbound.buffered += len(message.payload)


def skip_reserved(association: Association, streams: list[int]) -> None:
    """After `restore` of an older checkpoint: skip every number that its process may have used since.

    Chunks in the checkpoint keep their numbers and are repeated: a client that has them recognises them by these. The
    numbers after them are abandoned like messages (FORWARD-TSN, RFC 3758), which also advances the sequence number of
    each open stream.
    """
    association.outbound.skip(CHUNKS_AHEAD, [each for each in streams if not association.resets.is_pending(each)])


def _chunk(chunk: OutgoingChunk, now: float) -> list[Any]:
    return [
        *(chunk.flags, chunk.tsn, chunk.stream, chunk.sequence, chunk.protocol, chunk.payload),
        *(chunk.max_retransmits, _left(chunk.expires_at, now), chunk.abandoned, chunk.sends),
    ]


def _chunk_of(fields: list[Any], now: float) -> OutgoingChunk:
    flags, tsn, stream, sequence, protocol, payload, retransmits, left, abandoned, sends = fields
    until = _until(left, now)
    chunk = OutgoingChunk(flags, tsn, stream, sequence, protocol, payload, retransmits, until, abandoned)
    chunk.sends = sends
    return chunk


def _message(message: OutgoingMessage, now: float) -> list[Any]:
    return [
        *(message.stream, message.protocol, message.payload, message.ordered),
        *(message.max_retransmits, _left(message.expires_at, now)),
    ]


def _message_of(fields: list[Any], now: float) -> OutgoingMessage:
    stream, protocol, payload, ordered, retransmits, left = fields
    return OutgoingMessage(stream, protocol, payload, ordered, retransmits, _until(left, now))


def _left(expires_at: float | None, now: float) -> float | None:
    return None if expires_at is None else expires_at - now


def _until(left: float | None, now: float) -> float | None:
    return None if left is None else now + left
