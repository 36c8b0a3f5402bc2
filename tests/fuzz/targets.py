"""What is fuzzed: each reader of bytes from the network, with the one error that it may raise, and what must hold.

A target takes any bytes. Whatever leaves it as an exception is a failure. `SEEDS` gives the fuzzer a start: real
packets, so that it does not spend its time on the way to the first valid one.
"""

from __future__ import annotations

import contextlib
import copy
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from support.peers import sctp_packets
from support.processes.signaling import OFFER

from antiphon.relay.core import stun as relay_stun
from antiphon.relay.core.outgoing import MAX_DATAGRAM
from antiphon.relay.dataplane.rfc4571 import FrameReader, FrameTooLongError
from antiphon.rtc import sdp
from antiphon.rtc import stun as transceiver_stun
from antiphon.rtc.rtp import packet as rtp_packet
from antiphon.rtc.rtp import rtcp
from antiphon.rtc.sctp import packet as sctp_packet
from antiphon.rtc.sctp.association import Association
from antiphon.rtc.sctp.congestion import MAX_CWND, MAX_PACKET
from antiphon.rtc.sctp.data_channels import MAX_WAITING, DataChannels
from antiphon.rtc.sctp.inbound import WINDOW
from antiphon.schemas import backbone, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.backbone import Hello, Route
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.route_token import UFRAG_LENGTH
from antiphon.transceiver.session import rtvi
from antiphon.transceiver.session.state import RtviState
from fuzz.fuzzed_relay import (
    CLIENT,
    EVENT,
    HELLOS,
    INGRESS,
    KEYS,
    MOVES,
    NOW,
    OTHER_CLUSTER,
    OTHER_INGRESS,
    OTHER_RELAY,
    PLAIN,
    TABLES,
    TAGGED,
    TRANSCEIVER,
    FuzzedRelay,
)

UFRAG, TOKEN = KEYS.mint(0, 1, 1, NOW)
UFRAG_ELSEWHERE, _ = KEYS.mint(OTHER_CLUSTER, 2, 1, NOW)
CLIENT_TAG: Final = 1
"""Stands in the packets of the client that `association` plays."""


def established() -> dict[str, Any]:
    """An association with one channel, as `association_state` writes it; tags and TSNs always the same."""
    ends: list[DataChannels] = []
    wire: list[tuple[int, bytes]] = []

    def to(side: int) -> Callable[[bytes], None]:
        return lambda packet: wire.append((side, packet))

    numbers = (Association(CLIENT_TAG, 5000), Association(2, 999))
    ends.extend(
        DataChannels(side == 0, to(1 - side), lambda _: None, lambda *_: None, association=numbers[side])
        for side in (0, 1)
    )
    for end in ends:
        end.association.cookie_key = bytes(16)
        end.start(5000, 0, 0.0)
    ends[1].create("oai-events", lambda: None, 0.0)
    for step in range(100):
        for side, packet in (*wire,):
            del wire[0]
            ends[side].receive(packet, step / 10)
        for end in ends:
            end.poll(step / 10)
    written = ends[0].export(10.0)
    assert written is not None
    return written


ESTABLISHED: Final = established()
WELL_FORMED: Final = [
    sctp_packets.data(1000, b"hello", sequence=1),
    sctp_packets.data(1002, b"a gap", sequence=3) + sctp_packets.data(1001, b"first", sctp_packets.FIRST, sequence=2),
    sctp_packets.data(1003, b"begin", sctp_packets.FIRST | sctp_packets.UNORDERED)
    + sctp_packets.data(1004, b"end", sctp_packets.LAST | sctp_packets.UNORDERED),
    sctp_packets.sack(5000, [(1, 1), (3, 5)], 2),
    sctp_packets.forward_tsn(1010, (1, 4)),
    sctp_packets.chunk(sctp_packets.RE_CONFIG, sctp_packets.parameter(13, struct.pack("!LLLH", 77, 0, 1010, 1))),
    sctp_packets.chunk(sctp_packets.RE_CONFIG, sctp_packets.parameter(16, struct.pack("!LL", 5000, 1))),
    sctp_packets.chunk(sctp_packets.RE_CONFIG, sctp_packets.parameter(17, struct.pack("!LHH", 78, 9, 0))),
    sctp_packets.data(1011, struct.pack("!BBHLHH", 3, 0, 0, 0, 3, 0) + b"new", stream=3, protocol=50),
    sctp_packets.data(1012, b"\2", stream=3, protocol=50),
    sctp_packets.chunk(sctp_packets.HEARTBEAT, sctp_packets.parameter(1, b"12345678")),
    sctp_packets.init(),
    sctp_packets.chunk(sctp_packets.COOKIE_ECHO, bytes(24)),
    sctp_packets.chunk(sctp_packets.ERROR, sctp_packets.parameter(3, bytes(4))),
    sctp_packets.chunk(sctp_packets.SHUTDOWN, struct.pack("!L", 5000)),
    sctp_packets.chunk(sctp_packets.ABORT, b""),
]
PACKETS: Final = Path(__file__).parents[1] / "relay" / "packets"


def relay_stun_reader(data: bytes) -> None:
    if relay_stun.is_binding_request(data):
        ufrag = relay_stun.addressed_ufrag(memoryview(data))
        assert ufrag is None or (len(ufrag) == UFRAG_LENGTH and ufrag + b":" in data)
    relay_stun.addressed_ufrag(data)


def token_opener(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        token = KEYS.open(data)
        assert KEYS.seal(token) == data.decode()
    with contextlib.suppress(MalformedError):
        KEYS.open(data.decode("latin-1"))


def tunnel_reader(data: bytes) -> None:
    """Headers of both: between relay and transceiver, and between relays."""
    backbone_reader(data)
    with contextlib.suppress(MalformedError):
        read = tunnel.unpack(data)
        assert read.header + read.payload == data
        header = read.header
        if header[1] & tunnel.BACKBONE_BIT >> 8:
            header = header[:1] + bytes((header[1] & ~(tunnel.BACKBONE_BIT >> 8),)) + header[2 : -tunnel.ROUTE_BYTES]
        assert tunnel.pack_header(read.client, read.tcp) == header


def forwarded_reader(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        relay, packet = tunnel.unpack_forwarded(data)
        assert tunnel.unpack_forwarded(tunnel.pack_forwarded(relay, packet)) == (relay, packet)


def backbone_reader(data: bytes) -> None:
    """Packets and hellos between relays, with a tag and without, as another relay may send them."""
    for keys in (PLAIN, TAGGED):
        with contextlib.suppress(MalformedError):
            header, datagram = keys.open(data)
            assert keys.seal(header, datagram) == data
            assert backbone.route_of(header).ingress
        with contextlib.suppress(MalformedError):
            assert keys.seal_hello(keys.open_hello(data)) == data


def relay_decisions(data: bytes) -> None:
    """Packets from everywhere in turn: the relay's settings, then who, how long, the bytes; with time going by."""
    relay = FuzzedRelay(data[0] if data else 0)
    at = 1
    while at + 3 <= len(data):
        who, length = struct.unpack_from("!BH", data, at)
        relay.take(who, data[at + 3 : at + 3 + length])
        at += 3 + length


def ice_tcp_framing(data: bytes) -> None:
    reader = FrameReader(MAX_DATAGRAM)
    cut = data[0] if data else 0
    for part in (data[1:cut], data[max(1, cut) :]):
        try:
            frames = reader.receive(part)
        except FrameTooLongError:
            return
        assert all(0 < len(frame) <= MAX_DATAGRAM for frame in frames)
        assert len(reader.unread) <= MAX_DATAGRAM + 2


def transceiver_stun_reader(data: bytes) -> None:
    with contextlib.suppress(transceiver_stun.StunError):
        request = transceiver_stun.unpack_binding_request(data)
        transceiver_stun.is_authentic(data, request, b"password")


def rtp_reader(data: bytes) -> None:
    rtp_packet.is_rtcp(data)
    with contextlib.suppress(rtp_packet.RtpError):
        packet = rtp_packet.unpack_rtp(data)
        assert len(packet.payload) <= len(data) - rtp_packet.HEADER_LENGTH


def rtcp_reader(data: bytes) -> None:
    with contextlib.suppress(rtcp.RtcpError):
        compound = rtcp.unpack_compound(data)
        assert len(compound.nacked) <= rtcp.MAX_NACKED
        for block in compound.reports:
            rtcp.round_trip(block, 1.8e9)


def sdp_reader(data: bytes) -> None:
    with contextlib.suppress(sdp.OfferError):
        offer = sdp.read_offer(data.decode(errors="replace"))
        answer = sdp.write_answer(offer, sdp.Answer(UFRAG, "p" * 24, "AB:" * 31 + "AB", 1, 1))
        assert "a=candidate:" not in answer


def sctp_association(data: bytes) -> None:
    """Chunks of a client, packet by packet (a length before each), to an association that is established."""
    failures: list[str] = []
    sent: list[bytes] = []
    ours = DataChannels(True, sent.append, lambda _: None, lambda *_: None, failures.append)
    ours.restore(copy.deepcopy(ESTABLISHED), NOW)
    ours.resume(NOW)
    association = ours.association
    ours.send("oai-events", "something to acknowledge", NOW)
    ours.send("oai-events", "x" * 30_000, NOW)
    at, now = 0, float(NOW)
    while at + 2 <= len(data):
        (length,) = struct.unpack_from("!H", data, at)
        chunks = data[at + 2 : at + 2 + length]
        at, now = at + 2 + length, now + 0.02
        tag = 0 if chunks[:1] == b"\1" else CLIENT_TAG
        before = len(sent)
        # Not by `ours.receive`, which keeps errors to itself.
        association.receive(sctp_packets.packet(tag, chunks), now)
        ours.poll(now)
        ours._hand_out(now)
        assert len(sent) - before < 30
        assert 0 <= association.inbound.window <= WINDOW
        assert 0 <= association.outbound.flight <= MAX_CWND + MAX_PACKET
        assert association.unacknowledged <= MAX_WAITING
    written = ours.export(now)
    if written is not None:
        other = DataChannels(True, lambda _: None, lambda _: None, lambda *_: None)
        other.restore(written, now)
        assert other.association.inbound.window == association.inbound.window
        other.detach()
    for _ in range(100):  # timers: retransmission, and messages that wait
        now += 0.05
        association.poll(now)
        ours._hand_out(now)
    assert all(len(packet) <= MAX_PACKET for packet in sent)
    assert len(failures) <= 1
    ours.close(now)


def sctp_reader(data: bytes) -> None:
    for packet in (data, sctp_packets.packet(CLIENT_TAG, data[12:])):
        with contextlib.suppress(MalformedError):
            chunks = sctp_packet.read_packet(packet, CLIENT_TAG)
            assert len(chunks) <= sctp_packet.MAX_CHUNKS
            assert sum(len(chunk.body) + 4 for chunk in chunks) <= len(packet) - 12


def rtvi_reader(data: bytes) -> None:
    """A message of a client, as binary and as text, and the same as an event of an agent."""
    state = RtviState()
    texts: list[str | bytes] = [data, data.decode("utf-8", "replace")]
    for payload in texts:
        read = rtvi.from_client(state, payload)
        for text in (*read.events, *read.replies, *read.errors):
            json.loads(text)
    for text in rtvi.to_client(state, data.decode("utf-8", "replace"), NOW):
        json.loads(text.encode("ascii"))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "relay_stun": relay_stun_reader,
    "token": token_opener,
    "tunnel": tunnel_reader,
    "forwarded": forwarded_reader,
    "relay_core": relay_decisions,
    "ice_tcp": ice_tcp_framing,
    "stun": transceiver_stun_reader,
    "rtp": rtp_reader,
    "rtcp": rtcp_reader,
    "sdp": sdp_reader,
    "sctp_packet": sctp_reader,
    "sctp": sctp_association,
    "rtvi": rtvi_reader,
}


def seeds(target: str) -> list[bytes]:
    """What the fuzzer begins with."""
    captured = [json.loads(path.read_text())["packets"] for path in sorted(PACKETS.glob("*.json"))]
    packets = {
        kind: [bytes.fromhex(text) for each in captured for text in each[kind]]
        for kind in ("binding_request", "dtls_handshake", "rtp", "rtcp")
    }
    requests = packets["binding_request"]
    ours = [request.replace(relay_stun.addressed_ufrag(request) or b"", UFRAG.encode()) for request in requests]
    elsewhere = [request.replace(UFRAG.encode(), UFRAG_ELSEWHERE.encode()) for request in ours]
    client = Address("203.0.113.7", 4000)
    header = tunnel.pack_header(client)
    in_from, down = (
        backbone.pack_header(client, Route(ingress, slot, 1, 0)) for ingress, slot in ((OTHER_INGRESS, 1), (INGRESS, 2))
    )
    hello = Hello(backbone.HELLO, OTHER_INGRESS, True, b"01234567")

    def said(settings: int, *parts: tuple[int, int, bytes]) -> bytes:
        """(where from, its number there, packet) each, a quarter of a second after the one before."""
        records = (struct.pack("!BH", 16 | where << 2 | who, len(packet)) + packet for where, who, packet in parts)
        return b"".join((bytes((settings,)), *records))

    one_hop = (
        (CLIENT, 0, ours[0]),
        (TRANSCEIVER, 2, header + b"\1\1"),
        (CLIENT, 0, packets["rtp"][0]),
        (TRANSCEIVER, 3, header + b"no"),
    )
    as_ingress = (
        (EVENT, HELLOS, b"\x0f"),
        (CLIENT, 0, elsewhere[0]),
        (OTHER_RELAY, 0, b"\0" + down + b"\1\1"),
        (CLIENT, 0, packets["rtp"][0]),
        (OTHER_RELAY, 0, b"\0" + down),
        (EVENT, MOVES, bytes((OTHER_CLUSTER, 2, 1, 0, 1, 1))),
        (CLIENT, 0, packets["rtp"][0]),
        (EVENT, TABLES, b"\1"),
        (CLIENT, 0, packets["rtp"][0]),
    )
    as_cluster = (
        (OTHER_RELAY, 0, b"\0" + PLAIN.seal_hello(hello)),
        (OTHER_RELAY, 0, b"\0" + in_from + packets["rtp"][0]),
        (TRANSCEIVER, 2, in_from + b"\1\1"),
        (TRANSCEIVER, 2, in_from),
        (TRANSCEIVER, 2, down + b"\1\1"),
    )

    return {
        "relay_stun": requests,
        "token": [UFRAG.encode()],
        "tunnel": [
            *(header + each for each in packets["rtp"]),
            tunnel.pack_header(Address("2001:db8::7", 4000), True),
            *(written for keys in (PLAIN, TAGGED) for written in (keys.seal(in_from, b"\1\1"), keys.seal_hello(hello))),
        ],
        "forwarded": [tunnel.pack_forwarded(Address("192.0.2.8", 41000), header + each) for each in requests],
        "relay_core": [said(settings, *each) for settings in (0, 1) for each in (one_hop, as_ingress, as_cluster)],
        "ice_tcp": [b"\x20" + len(each).to_bytes(2, "big") + each for each in requests],
        "stun": requests,
        "rtp": packets["rtp"],
        "rtcp": [struct.pack("!BBHI20x", 0x80, 200, 6, 7) + struct.pack("!BBHI24x", 0x81, 201, 7, 7)],
        "sdp": [OFFER.encode()],
        "sctp_packet": [bytes(12) + written for written in sctp_packets.MALFORMED.values()],
        "sctp": [
            *(struct.pack("!H", len(written)) + written for written in sctp_packets.MALFORMED.values()),
            b"".join(struct.pack("!H", len(written)) + written for written in WELL_FORMED),
        ],
        "rtvi": [
            b'{"label":"rtvi-ai","type":"client-ready","id":"1","data":{"version":"2.1.0"}}',
            b'{"label":"rtvi-ai","type":"send-text","id":"1","data":{"content":"Hi","options":{}}}',
            b'{"label":"rtvi-ai","type":"dtmf","id":"1","data":{"buttons":["1","#"]}}',
            b'{"type":"response.output_audio_transcript.delta","item_id":"i","delta":"One. Two."}',
        ],
    }[target]
