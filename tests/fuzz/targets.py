"""What is fuzzed: each reader of bytes from the network, with the one error that it may raise, and what must hold.

A target takes any bytes. Whatever leaves it as an exception is a failure. `SEEDS` gives the fuzzer a start: real
packets, so that it does not spend its time on the way to the first valid one.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from support.signaling import OFFER

from antiphon.relay import stun as relay_stun
from antiphon.relay.core import MAX_DATAGRAM, RelayCore
from antiphon.relay.flow_key import key_of_address
from antiphon.relay.tcp_worker import Connection
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.route_token import UFRAG_LENGTH, RouteKeyring
from antiphon.transceiver import rtcp, rtp, sdp
from antiphon.transceiver import stun as transceiver_stun

KEYS: Final = RouteKeyring.from_text("A:00112233445566778899aabbccddeeff")
UFRAG, TOKEN = KEYS.mint(0, 1, 1, 1_800_000_000)
OWNERS: Final = [key_of_address(Address("10.0.0.1", 5000)), key_of_address(Address("10.0.0.2", 5000))]
CLIENTS: Final = [key_of_address(Address("203.0.113.7", 4000)), key_of_address(Address("2001:db8::7", 4000))]
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
    with contextlib.suppress(MalformedError):
        read = tunnel.unpack(data)
        assert read.header + read.payload == data
        assert tunnel.pack_header(read.client, read.tcp) == read.header


def forwarded_reader(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        relay, packet = tunnel.unpack_forwarded(data)
        assert tunnel.unpack_forwarded(tunnel.pack_forwarded(relay, packet)) == (relay, packet)


def relay_decisions(data: bytes) -> None:
    """Packets from everywhere in turn: who, how long, the bytes; with time going by."""
    core = RelayCore(KEYS, 8, 1_800_000_000, asking=True)
    core.set_routes({(0, 1, 1): OWNERS[0], (0, 2, 1): OWNERS[1]}, 0)
    at, now = 0, 0.0
    while at + 3 <= len(data):
        who, length = struct.unpack_from("!BH", data, at)
        packet = data[at + 3 : at + 3 + length]
        at, now = at + 3 + length, now + (who >> 4) / 4
        if who & 4:
            to = core.from_tunnel(OWNERS[who & 1] if who & 2 else CLIENTS[0], packet, now)
            assert to is None or (who & 2 and len(packet) > 8 and core.flows.confirmed_owner(to) == OWNERS[who & 1])
        else:
            owner = core.from_client(CLIENTS[who & 1], packet, now)
            assert owner is None or (owner in OWNERS and 0 < len(packet) <= MAX_DATAGRAM)
        core.tick(now, 1_800_000_000)
        assert len(core.flows) <= 8


def ice_tcp_framing(data: bytes) -> None:
    connection = Connection(None, 0, 0.0)  # type: ignore[arg-type]  # reads no socket
    cut = data[0] if data else 0
    for part in (data[1:cut], data[max(1, cut) :]):
        frames = connection.frames(part)
        if frames is None:
            return
        assert all(0 < len(frame) <= MAX_DATAGRAM for frame in frames)
        assert len(connection.unread) <= MAX_DATAGRAM + 2


def transceiver_stun_reader(data: bytes) -> None:
    with contextlib.suppress(transceiver_stun.StunError):
        request = transceiver_stun.unpack_binding_request(data)
        transceiver_stun.is_authentic(data, request, b"password")


def rtp_reader(data: bytes) -> None:
    rtp.is_rtcp(data)
    with contextlib.suppress(rtp.RtpError):
        packet = rtp.unpack_rtp(data)
        assert len(packet.payload) <= len(data) - rtp.HEADER_LENGTH


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
    header = tunnel.pack_header(Address("203.0.113.7", 4000))

    def said(*parts: tuple[int, bytes]) -> bytes:
        return b"".join(struct.pack("!BH", who, len(packet)) + packet for who, packet in parts)

    return {
        "relay_stun": requests,
        "token": [UFRAG.encode()],
        "tunnel": [header + each for each in packets["rtp"]] + [tunnel.pack_header(Address("2001:db8::7", 4000), True)],
        "forwarded": [tunnel.pack_forwarded(Address("192.0.2.8", 41000), header + each) for each in requests],
        "relay_core": [said((0, ours[0]), (6, header + b"\1\1"), (0, packets["rtp"][0]), (7, header + b"no"))],
        "ice_tcp": [b"\x20" + len(each).to_bytes(2, "big") + each for each in requests],
        "stun": requests,
        "rtp": packets["rtp"],
        "rtcp": [struct.pack("!BBHI20x", 0x80, 200, 6, 7) + struct.pack("!BBHI24x", 0x81, 201, 7, 7)],
        "sdp": [OFFER.encode()],
    }[target]
