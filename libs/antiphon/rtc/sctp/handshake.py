"""How an association begins: INIT, INIT-ACK, and the cookie in which a side that was asked keeps no state. Sans-IO.

RFC 9260 section 5. Both sides of a WebRTC call send an INIT (RFC 8841 section 9.3), so these cross as a rule.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final, NamedTuple

from antiphon.rtc.sctp.inbound import WINDOW
from antiphon.rtc.sctp.packet import (
    EXTENSIONS,
    FORWARD_TSN,
    FORWARD_TSN_SUPPORTED,
    INIT,
    INIT_ACK,
    RE_CONFIG,
    STATE_COOKIE,
    pack_init,
    pack_parameter,
    read_parameters,
)

STREAMS: Final = 65535
"""Both ways: which of them exist is the data channels' business."""
MAX_COOKIE: Final = 1000
"""Octets of a peer's cookie: it has to fit into a packet of ours."""

_PARAMETERS: Final = [
    pack_parameter(FORWARD_TSN_SUPPORTED, b""),
    pack_parameter(EXTENSIONS, bytes((RE_CONFIG, FORWARD_TSN))),
]
_COOKIE: Final = struct.Struct("!LLLBBLLLL")
_MAC: Final = 16


class Init(NamedTuple):
    """What a peer says of itself in an INIT or INIT-ACK."""

    tag: int
    window: int
    tsn: int
    forwards: bool
    """It understands FORWARD-TSN."""
    resets: bool
    """It understands RE-CONFIG."""


class Cookie(NamedTuple):
    """What an INIT-ACK of ours agreed on; it comes back with COOKIE-ECHO."""

    peer: Init
    tag: int
    """Ours."""
    tsn: int
    tie_tag: int = 0
    tie_peer_tag: int = 0
    """The tags of the association that existed then; 0 if there was none (section 5.2.2)."""


def pack_our_init(tag: int, tsn: int, cookie: bytes | None = None) -> bytes:
    """An INIT, or with a cookie an INIT-ACK."""
    parameters = _PARAMETERS if cookie is None else [pack_parameter(STATE_COOKIE, cookie), *_PARAMETERS]
    return pack_init(INIT if cookie is None else INIT_ACK, tag, WINDOW, STREAMS, tsn, parameters)


def read_init(body: bytes) -> tuple[Init, bytes]:
    """An INIT or INIT-ACK whose lengths are right, and its cookie; empty without one."""
    tag, window, _, _, tsn = struct.unpack_from("!LLHHL", body)
    forwards = resets = False
    cookie = b""
    for kind, value in read_parameters(body[16:]):
        if kind == FORWARD_TSN_SUPPORTED:
            forwards = True
        elif kind == EXTENSIONS:
            resets = resets or RE_CONFIG in value
            forwards = forwards or FORWARD_TSN in value
        elif kind == STATE_COOKIE and len(value) <= MAX_COOKIE:
            cookie = value
    return Init(tag, window, tsn, forwards, resets), cookie


def seal_cookie(key: bytes, cookie: Cookie) -> bytes:
    """It has no time stamp: only who has the call's DTLS keys can send it again, and then it changes nothing."""
    peer = cookie.peer
    packed = _COOKIE.pack(
        peer.tag,
        peer.window,
        peer.tsn,
        peer.forwards,
        peer.resets,
        cookie.tag,
        cookie.tsn,
        cookie.tie_tag,
        cookie.tie_peer_tag,
    )
    return _mac(key, packed) + packed


def open_cookie(key: bytes, sealed: bytes) -> Cookie | None:
    """None for one that is not ours."""
    packed = sealed[_MAC:]
    if len(packed) != _COOKIE.size or not hmac.compare_digest(sealed[:_MAC], _mac(key, packed)):
        return None
    tag, window, tsn, forwards, resets, *ours = _COOKIE.unpack(packed)
    return Cookie(Init(tag, window, tsn, bool(forwards), bool(resets)), *ours)


def _mac(key: bytes, packed: bytes) -> bytes:
    return hashlib.blake2s(packed, key=key, digest_size=_MAC).digest()
