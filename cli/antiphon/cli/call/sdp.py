"""The session descriptions of a call on the client's side: the offer that it makes, the answer that it gets."""

from __future__ import annotations

import secrets
from typing import Final

from antiphon.cli.errors import CallError
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.errors import MalformedError

PAYLOAD_TYPE: Final = 111
"""Opus, as browsers number it."""


def make_offer(ufrag: str, password: str, fingerprint: str, ssrc: int, data_channel: bool = True) -> str:
    """An offer of one Opus stream both ways and a data channel, by a full ICE agent with trickle ICE."""
    transport = (
        f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=ice-options:trickle\r\n"
        f"a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n"
    )
    audio = (
        f"m=audio 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n{transport}"
        f"a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:{PAYLOAD_TYPE} opus/48000/2\r\n"
        f"a=fmtp:{PAYLOAD_TYPE} minptime=10;useinbandfec=1\r\na=ssrc:{ssrc} cname:antiphon\r\n"
    )
    data = (
        f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n{transport}"
        "a=sctp-port:5000\r\na=max-message-size:65536\r\n"
    )
    bundle = "0 1" if data_channel else "0"
    return (
        f"v=0\r\no=- {secrets.randbits(60)} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {bundle}\r\n"
        f"{audio}{data if data_channel else ''}"
    )


class Answer:
    """The parts of an SDP answer that a client needs; CallError names what is missing. Owner: one `Peer`."""

    def __init__(self, sdp: str) -> None:
        lines = [line.strip() for line in sdp.splitlines()]

        def value(name: str) -> str:
            found = next((line.partition(":")[2] for line in lines if line.startswith(f"a={name}:")), None)
            if found is None:
                raise CallError(f"the server's answer has no a={name}: is this an Antiphon server?")
            return found

        self.ufrag, self.password = value("ice-ufrag"), value("ice-pwd")
        algorithm, _, fingerprint = value("fingerprint").partition(" ")
        self.fingerprints = [(algorithm.lower(), fingerprint.upper())]
        self.passive = value("setup") == "passive"
        """The server waits for our ClientHello."""
        self.candidates: list[Address] = list(
            dict.fromkeys(_udp_address(line) for line in lines if _is_udp_candidate(line))
        )
        """UDP only, in the order of the answer."""
        if not self.candidates:
            raise CallError("the server's answer offers no UDP candidate: no relay is announced")


def _is_udp_candidate(line: str) -> bool:
    words = line.split()
    return line.startswith("a=candidate:") and len(words) >= 6 and words[2].lower() == "udp"


def _udp_address(line: str) -> Address:
    host, port = line.split()[4:6]
    try:
        return parse_address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except MalformedError as error:
        raise CallError(f"the server's answer has a candidate that is none: {error}") from None
