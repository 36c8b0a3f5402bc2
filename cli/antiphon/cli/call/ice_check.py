"""A client's connectivity checks: requests, the check of responses, and one request as a test of the path.

Only the session's transceiver can send a success response with a correct MESSAGE-INTEGRITY, because no other component
on the path has the ICE password. RFC 8489 (STUN) and RFC 8445 section 7.1 (its use by ICE).
"""

from __future__ import annotations

import binascii
import hmac
import secrets
import socket
import struct
import time
from typing import Final

from antiphon.cli.call.sdp import Answer
from antiphon.rtc import stun
from antiphon.schemas.addresses import Address

PRIORITY: Final = 0x0024
ICE_CONTROLLING: Final = 0x802A
HOST_PRIORITY: Final = 0x6E0001FF
RETRANSMIT_S: Final = 0.25


def pack_binding_request(username: str, password: str, use_candidate: bool) -> bytes:
    """A connectivity check of a controlling agent (RFC 8445 section 7.1)."""
    transaction_id = secrets.token_bytes(12)
    name = username.encode()
    body = struct.pack("!HH", stun.USERNAME, len(name)) + name + bytes(-len(name) % 4)
    body += struct.pack("!HHI", PRIORITY, 4, HOST_PRIORITY)
    body += struct.pack("!HHQ", ICE_CONTROLLING, 8, secrets.randbits(64))
    if use_candidate:
        body += struct.pack("!HH", stun.USE_CANDIDATE, 0)
    # Both checks cover a header whose length already counts them (RFC 8489 sections 14.5 and 14.7).
    header = struct.pack("!HHI", stun.BINDING_REQUEST, len(body) + 24, stun.MAGIC_COOKIE) + transaction_id
    body += struct.pack("!HH", stun.MESSAGE_INTEGRITY, 20) + hmac.digest(password.encode(), header + body, "sha1")
    message = struct.pack("!HHI", stun.BINDING_REQUEST, len(body) + 8, stun.MAGIC_COOKIE) + transaction_id + body
    fingerprint = binascii.crc32(message) ^ stun.FINGERPRINT_XOR
    return message + struct.pack("!HHI", stun.FINGERPRINT, 4, fingerprint)


def is_authentic_success(datagram: bytes, password: str) -> bool:
    """Whether this is a binding success response whose MESSAGE-INTEGRITY is made with our peer's password."""
    if len(datagram) < stun.HEADER_LENGTH or datagram[:2] != struct.pack("!H", stun.BINDING_SUCCESS):
        return False
    position = stun.HEADER_LENGTH
    while position + 4 <= len(datagram):
        attribute, size = struct.unpack_from("!HH", datagram, position)
        if attribute == stun.MESSAGE_INTEGRITY and size == 20 and position + 24 <= len(datagram):
            covered = datagram[:2] + struct.pack("!H", position + 4) + datagram[4:position]
            expected = hmac.digest(password.encode(), covered, "sha1")
            return hmac.compare_digest(expected, datagram[position + 4 : position + 24])
        position += 4 + size + (-size & 3)
    return False


def answer_to(datagram: bytes, ufrag: str, password: str, server: Address) -> bytes | None:
    """The response to a check of the server's, which came from this address; None if it is none with our password."""
    try:
        request = stun.unpack_binding_request(datagram)
    except stun.StunError:
        return None
    if request.local_ufrag != ufrag or not stun.is_authentic(datagram, request, password.encode()):
        return None
    return stun.pack_binding_success(request.transaction_id, server, password.encode())


def reach(answer: Answer, candidate: Address, local_ufrag: str, timeout: float = 3.0) -> float | None:
    """Round trip to the session by way of this candidate in ms; None when no authentic answer comes in time."""
    family = socket.AF_INET6 if ":" in candidate.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(RETRANSMIT_S)
        udp.connect(candidate)
        request = pack_binding_request(f"{answer.ufrag}:{local_ufrag}", answer.password, use_candidate=False)
        begun = time.monotonic()
        while time.monotonic() - begun < timeout:
            sent = time.monotonic()
            try:
                udp.send(request)
                while time.monotonic() - begun < timeout:  # ignore answers to earlier requests
                    reply = udp.recv(2048)
                    if reply[8:20] == request[8:20] and is_authentic_success(reply, answer.password):
                        return (time.monotonic() - sent) * 1000
            except TimeoutError:
                continue
            except ConnectionRefusedError:  # the port is closed: the relay may be restarting
                time.sleep(RETRANSMIT_S)
    return None
