"""SRTP and SRTCP through libsrtp on scratch buffers; the indices live in `SrtpState`.

A client may use as many SSRCs as it likes, one after the other. libsrtp knows the `MAX_STREAMS` newest. Of the others
this module remembers the highest index, so that no packet is accepted twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pylibsrtp import Policy, Session

from antiphon.rtc.rtp import libsrtp_internals
from antiphon.rtc.rtp.libsrtp_internals import SRTP_AUTH_FAILED, SRTP_REPLAYED, set_rollover_counter, srtp_context
from antiphon.rtc.rtp.srtp_state import SrtpState

PROFILES: Final[dict[str, tuple[int, int, int]]] = {
    # OpenSSL's name: libsrtp's profile, key length, salt length
    "SRTP_AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    "SRTP_AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    "SRTP_AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
}
"""In order of preference: GCM costs half of SHA1 (1.8 us against 4.8 us in C)."""

MAX_DATAGRAM: Final = 2048
MAX_STREAMS: Final = 32
"""SSRCs of one client that libsrtp knows, at 1-2 KB each; the one that was silent for longest makes room for a new
one."""
MAX_FORGOTTEN: Final = 1024
"""SSRCs of one client whose highest index is remembered after that. Packets of even older ones can be replayed."""
MAX_TRIES: Final = 100
"""Packets of unknown SSRCs, between two RTCP packets, that are tried with a rollover counter of 1. Each try makes a
stream, which costs four times as much as to refuse a forged packet."""
REPLAY_WINDOW: Final = 1024

_ffi: Final[Any] = libsrtp_internals.srtp_ffi
_buffer: Final = _ffi.new("unsigned char[]", MAX_DATAGRAM)
_view: Final = _ffi.buffer(_buffer)
_length: Final = _ffi.new("int *")
_move: Final[Any] = _ffi.memmove
_protect, _unprotect = libsrtp_internals.srtp_protect, libsrtp_internals.srtp_unprotect
_protect_rtcp, _unprotect_rtcp = libsrtp_internals.srtp_protect_rtcp, libsrtp_internals.srtp_unprotect_rtcp
_BURNT: Final = bytes([0x80, 201, 0, 1])


def key_material_length(profile: str) -> int:
    """Bytes to export from DTLS for both directions (RFC 5764 section 4.2)."""
    _, key, salt = PROFILES[profile]
    return 2 * (key + salt)


def split_key_material(profile: str, material: bytes) -> tuple[bytes, bytes]:
    """(client's, server's) master key and salt, in the order of RFC 5764 section 4.2."""
    _, key, salt = PROFILES[profile]
    salts = material[2 * key :]
    return material[:key] + salts[:salt], material[key : 2 * key] + salts[salt : 2 * salt]


@dataclass
class SrtpCounters:
    """What was not taken, since the engine was made. It outlives the engine: the last statistics of a call need it."""

    replayed: int = 0
    """Packets seen twice. With NACK a retransmission that was not needed looks like one: no attack."""
    refused: int = 0
    """Packets that failed authentication or were malformed."""


class Srtp:
    """libsrtp for one session, made from its `SrtpState`, into which it writes the indices back.

    Owner: the session, from the end of the handshake to its own end. All methods share scratch buffers: one thread
    only, the event loop's.
    """

    def __init__(self, state: SrtpState, local_ssrc: int) -> None:
        self.state = state
        self.counters = SrtpCounters()
        self._streams: dict[int, int] = {}
        """SSRC -> highest RTP index of what libsrtp knows, -1 if none; the newest SSRC is the last. For `remote_ssrc`
        the state holds the index."""
        self._floors: dict[int, int] = {}
        """SSRC -> highest index that a former stream or the previous process accepted. libsrtp's replay window starts
        empty, so this class rejects anything at or below it; the entry goes once the window has moved past it."""
        self._reports: dict[int, int] = {}
        """The highest SRTCP index of each of `_streams` that sent reports."""
        self._report_floors: dict[int, int] = {}
        self._tries = 0
        profile, _, _ = PROFILES[state.profile]
        self._profile = profile
        # The index is the last 32 bits; only the tag of an HMAC follows it (RFC 3711 section 3.4, RFC 7714 section 9).
        self._report_trailer = 14 if profile == Policy.SRTP_PROFILE_AES128_CM_SHA1_80 else 4
        self._outbound = Session(_policy(profile, state.local_key, Policy.SSRC_SPECIFIC, local_ssrc))
        self._inbound = Session(_policy(profile, state.remote_key, Policy.SSRC_ANY_INBOUND, 0))
        self._tx = srtp_context(self._outbound)
        self._rx = srtp_context(self._inbound)
        if state.local_index + 1 >> 16:  # of the next packet
            set_rollover_counter(self._outbound, local_ssrc, state.local_index + 1 >> 16)
        if state.remote_index >= 0:
            self._floors[state.remote_ssrc] = state.remote_index
        sent, state.rtcp_index = state.rtcp_index, 0
        for _ in range(sent):  # libsrtp has no call to set its SRTCP index: run it forward, 1.5 us each
            self.protect_rtcp(_BURNT + local_ssrc.to_bytes(4, "big"))

    def unprotect(self, datagram: bytes) -> tuple[bytes, bool] | None:
        """The RTP packet inside, and whether it is newer than all before it; None if not authentic or seen before.

        The first packet of a further SSRC does not count as newer: what an observer kept from us could be one.
        """
        size = len(datagram)
        if not 12 <= size <= MAX_DATAGRAM:
            self.counters.refused += 1
            return None
        ssrc = int.from_bytes(datagram[8:12], "big")
        sequence = datagram[2] << 8 | datagram[3]
        state = self.state
        if ssrc != state.remote_ssrc or self._floors or not self._streams:
            highest = self._highest(ssrc)
            index = self._unprotect_with_care(datagram, ssrc, sequence, highest)
            if index is None:
                return None
            newest = index > highest and (highest >= 0 or state.remote_index < 0)
            if ssrc != state.remote_ssrc:
                self._follow(ssrc)
            state.remote_index = max(state.remote_index, index)
        else:
            _move(_buffer, datagram, size)
            _length[0] = size
            status = _unprotect(self._rx, _buffer, _length)
            if status:
                self._count(status)
                return None
            ahead = (sequence - state.remote_index) & 0xFFFF
            newest = 0 < ahead < 0x8000
            if newest:
                state.remote_index += ahead
        plain: bytes = _view[0 : _length[0]]
        return plain, newest

    def expects(self, ssrc: int, sequence: int) -> bool:
        """This packet needs no care: `unprotect_in_place` may be called for it.

        libsrtp has received the stream, so it reckons with the right rollover counter, and the packet is above what
        another process has accepted.
        """
        return (
            ssrc == self.state.remote_ssrc
            and self._streams.get(ssrc, -1) >= 0
            and (ssrc not in self._floors or self._is_above_floor(ssrc, sequence))
        )

    def _is_above_floor(self, ssrc: int, sequence: int) -> bool:
        highest = self.state.remote_index
        return highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000 > self._floors[ssrc]

    def unprotect_in_place(self, packet: Any, size: int, sequence: int) -> int:
        """As `unprotect`, for a packet (`char *`) of an SSRC that is expected: its plain length; -1: it is refused."""
        _length[0] = size
        status = _unprotect(self._rx, packet, _length)
        if status:
            self._count(status)
            return -1
        state = self.state
        ahead = (sequence - state.remote_index) & 0xFFFF
        if ahead < 0x8000:
            state.remote_index += ahead
        if self._floors and -1 < self._floors.get(state.remote_ssrc, -1) < state.remote_index - REPLAY_WINDOW:
            del self._floors[state.remote_ssrc]
        length: int = _length[0]
        return length

    def _unprotect_with_care(self, datagram: bytes, ssrc: int, sequence: int, highest: int) -> int | None:
        """The slow path, for another SSRC than that of the last packet, or one with a floor: the packet's index."""
        floor = self._floors.get(ssrc, -1)
        known = self._streams.get(ssrc, -1) >= 0
        index = sequence if highest < 0 else highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000
        if index <= floor:
            self.counters.replayed += 1
            return None
        # For an SSRC that libsrtp has not received yet it assumes a rollover counter of 0, unless we set another.
        status = self._try(datagram, ssrc, 0 if known else index >> 16)
        if status in SRTP_AUTH_FAILED and highest < 0 and sequence < 0x8000 and self._tries < MAX_TRIES:
            self._tries += 1
            # The first packet that reached us may be one after the wrap (RFC 3711 section 3.3.1).
            index += 0x10000
            status = self._try(datagram, ssrc, 1)
        if status:
            self._count(status)
            return None
        if ssrc != self.state.remote_ssrc or not known:
            self._remember(ssrc, max(index, highest))
        if 0 <= floor < max(index, highest) - REPLAY_WINDOW:
            del self._floors[ssrc]
        return index

    def _try(self, datagram: bytes, ssrc: int, rollovers: int) -> int:
        """libsrtp's status for this packet. A stream made for a packet that is not authentic is removed again."""
        made = rollovers > 0 and ssrc not in self._streams
        if made:
            self._inbound.add_stream(_policy(self._profile, self.state.remote_key, Policy.SSRC_SPECIFIC, ssrc))
        if rollovers:
            set_rollover_counter(self._inbound, ssrc, rollovers)
        _move(_buffer, datagram, len(datagram))
        _length[0] = len(datagram)
        status: int = _unprotect(self._rx, _buffer, _length)
        if status and made:
            self._inbound.remove_stream(ssrc)
        elif status and rollovers:
            set_rollover_counter(self._inbound, ssrc, 0)
        return status

    def _highest(self, ssrc: int) -> int:
        """Index of the newest packet of this SSRC; -1 if there was none."""
        if ssrc == self.state.remote_ssrc:
            return self.state.remote_index
        return max(self._streams.get(ssrc, -1), self._floors.get(ssrc, -1))

    def _follow(self, ssrc: int) -> None:
        """This SSRC is the client's current one."""
        state = self.state
        if self._streams.get(state.remote_ssrc, -1) >= 0:
            self._remember(state.remote_ssrc, state.remote_index)
        state.remote_ssrc, state.remote_index = ssrc, self._streams[ssrc]

    def _remember(self, ssrc: int, index: int) -> None:
        """Note a packet of this SSRC; above `MAX_STREAMS` libsrtp forgets the one that was silent for longest."""
        self._streams.pop(ssrc, None)
        self._streams[ssrc] = index
        if len(self._streams) <= MAX_STREAMS:
            return
        oldest = next(each for each in self._streams if each != self.state.remote_ssrc)
        self._inbound.remove_stream(oldest)
        _keep_floor(self._floors, oldest, self._streams.pop(oldest))
        _keep_floor(self._report_floors, oldest, self._reports.pop(oldest, -1))

    def protect(self, packet: bytes) -> bytes:
        """The packet as it goes on the wire."""
        size = len(packet)
        _view[0:size] = packet
        _length[0] = size
        status = _protect(self._tx, _buffer, _length)
        if status:
            raise RuntimeError(f"libsrtp could not protect a packet of {size} bytes: status {status}")
        sequence = packet[2] << 8 | packet[3]
        self.state.local_index += (sequence - self.state.local_index) & 0xFFFF
        protected: bytes = _view[0 : _length[0]]
        return protected

    def protect_in_place(self, packet: Any, size: int, sequence: int) -> int:
        """As `protect`, for a packet (`char *`) with room for the tag behind it: the length that goes on the wire."""
        _length[0] = size
        status = _protect(self._tx, packet, _length)
        if status:
            raise RuntimeError(f"libsrtp could not protect a packet of {size} bytes: status {status}")
        self.state.local_index += (sequence - self.state.local_index) & 0xFFFF
        length: int = _length[0]
        return length

    def unprotect_rtcp(self, datagram: bytes) -> bytes | None:
        """The RTCP compound inside, or None if it is not authentic or was seen before."""
        size = len(datagram)
        if not 8 + self._report_trailer <= size <= MAX_DATAGRAM:
            self.counters.refused += 1
            return None
        ssrc = int.from_bytes(datagram[4:8], "big")
        at = size - self._report_trailer
        index = int.from_bytes(datagram[at : at + 4], "big") & 0x7FFFFFFF
        if index <= self._report_floors.get(ssrc, -1):
            self.counters.replayed += 1
            return None
        _move(_buffer, datagram, size)
        _length[0] = size
        status = _unprotect_rtcp(self._rx, _buffer, _length)
        if status:
            self._count(status)
            return None
        if ssrc not in self._streams or ssrc != self.state.remote_ssrc:
            self._remember(ssrc, self._streams.get(ssrc, -1))
        self._tries = 0
        self._reports[ssrc] = max(index, self._reports.get(ssrc, -1))
        plain: bytes = _view[0 : _length[0]]
        return plain

    def protect_rtcp(self, packet: bytes) -> bytes:
        """The compound as it goes on the wire."""
        _view[0 : len(packet)] = packet
        _length[0] = len(packet)
        status = _protect_rtcp(self._tx, _buffer, _length)
        if status:
            raise RuntimeError(f"libsrtp could not protect an RTCP packet: status {status}")
        self.state.rtcp_index += 1
        protected: bytes = _view[0 : _length[0]]
        return protected

    def _count(self, status: int) -> None:
        if status in SRTP_REPLAYED:
            self.counters.replayed += 1
        else:
            self.counters.refused += 1


def _keep_floor(floors: dict[int, int], ssrc: int, index: int) -> None:
    floors[ssrc] = max(index, floors.pop(ssrc, -1))
    if len(floors) > MAX_FORGOTTEN:
        del floors[next(iter(floors))]


def _policy(profile: int, key: bytes, ssrc_type: int, ssrc: int) -> Policy:
    policy = Policy(key=key, ssrc_type=ssrc_type, ssrc_value=ssrc, srtp_profile=profile)
    policy.window_size = REPLAY_WINDOW
    policy.allow_repeat_tx = True
    return policy
