"""SRTP and SRTCP through libsrtp on scratch buffers; the indices live in `SrtpState`."""

from __future__ import annotations

from typing import Any, Final

from pylibsrtp import Policy, Session

from antiphon.transceiver import library_internals
from antiphon.transceiver.library_internals import SRTP_REPLAYED, set_rollover_counter, srtp_context
from antiphon.transceiver.state import SrtpState

PROFILES: Final[dict[str, tuple[int, int, int]]] = {
    # OpenSSL's name: libsrtp's profile, key length, salt length
    "SRTP_AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    "SRTP_AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    "SRTP_AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
}
"""In order of preference: GCM costs half of SHA1 (1.8 us against 4.8 us in C)."""

MAX_DATAGRAM: Final = 2048
MAX_STREAMS: Final = 32
"""SSRCs of one client: libsrtp keeps 1-2 KB for each, and a call has one or two."""
REPLAY_WINDOW: Final = 1024

_ffi: Final[Any] = library_internals.srtp_ffi
_buffer: Final = _ffi.new("unsigned char[]", MAX_DATAGRAM)
_view: Final = _ffi.buffer(_buffer)
_length: Final = _ffi.new("int *")
_move: Final[Any] = _ffi.memmove
_protect, _unprotect = library_internals.srtp_protect, library_internals.srtp_unprotect
_protect_rtcp, _unprotect_rtcp = library_internals.srtp_protect_rtcp, library_internals.srtp_unprotect_rtcp
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


class Srtp:
    """The engine made from a `SrtpState`. Its counters are written back into that state."""

    def __init__(self, state: SrtpState, local_ssrc: int) -> None:
        self.state = state
        self.replayed = 0
        """Packets seen twice. With NACK a retransmission that was not needed looks like one: no attack."""
        self.refused = 0
        """Packets that failed authentication, were malformed or of an SSRC too many."""
        self._streams: set[int] = set()
        profile, _, _ = PROFILES[state.profile]
        self._outbound = Session(_policy(profile, state.local_key, Policy.SSRC_SPECIFIC, local_ssrc))
        self._inbound = Session(_policy(profile, state.remote_key, Policy.SSRC_ANY_INBOUND, 0))
        self._tx = srtp_context(self._outbound)
        self._rx = srtp_context(self._inbound)
        self._resumed = False
        """The rollover counter of what we receive must be told to libsrtp until a packet proves it."""
        self._floor = state.remote_index
        """Another process had all up to here: libsrtp's own window, which does not know that, would take them again.
        -1 as soon as they are too old for it, too."""
        if state.local_index + 1 >> 16:  # of the next packet
            set_rollover_counter(self._outbound, local_ssrc, state.local_index + 1 >> 16)
        if state.remote_index >= 0:
            self._inbound.add_stream(_policy(profile, state.remote_key, Policy.SSRC_SPECIFIC, state.remote_ssrc))
            self._resumed = True
        sent, state.rtcp_index = state.rtcp_index, 0
        for _ in range(sent):  # libsrtp can't be told its SRTCP index: run it forward, 1.5 us each
            self.protect_rtcp(_BURNT + local_ssrc.to_bytes(4, "big"))

    def unprotect(self, datagram: bytes) -> bytes | None:
        """The RTP packet inside, or None if it is not authentic or was seen before."""
        size = len(datagram)
        ssrc = int.from_bytes(datagram[8:12], "big")
        if not 12 <= size <= MAX_DATAGRAM or not self._has_room(ssrc):
            self.refused += 1
            return None
        _move(_buffer, datagram, size)
        _length[0] = size
        if self._floor >= 0 and ssrc == self.state.remote_ssrc:
            sequence = datagram[2] << 8 | datagram[3]
            index = self.state.remote_index + ((sequence - self.state.remote_index + 0x8000) & 0xFFFF) - 0x8000
            if index <= self._floor:
                self.replayed += 1
                return None
            if self._resumed:
                set_rollover_counter(self._inbound, ssrc, index >> 16)
            elif self.state.remote_index > self._floor + REPLAY_WINDOW:
                self._floor = -1
        status = _unprotect(self._rx, _buffer, _length)
        if status:
            self._count(status)
            return None
        state = self.state
        self._streams.add(ssrc)
        if ssrc == state.remote_ssrc:
            self._resumed = False
        sequence = datagram[2] << 8 | datagram[3]
        if ssrc != state.remote_ssrc or state.remote_index < 0:
            state.remote_ssrc, state.remote_index = ssrc, sequence
        else:
            ahead = (sequence - state.remote_index) & 0xFFFF
            if 0 < ahead < 0x8000:
                state.remote_index += ahead
        plain: bytes = _view[0 : _length[0]]
        return plain

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

    def unprotect_rtcp(self, datagram: bytes) -> bytes | None:
        """The RTCP compound inside, or None if it is not authentic."""
        size = len(datagram)
        ssrc = int.from_bytes(datagram[4:8], "big")
        if not 8 <= size <= MAX_DATAGRAM or not self._has_room(ssrc):
            self.refused += 1
            return None
        _move(_buffer, datagram, size)
        _length[0] = size
        status = _unprotect_rtcp(self._rx, _buffer, _length)
        if status:
            self._count(status)
            return None
        self._streams.add(ssrc)
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

    def _has_room(self, ssrc: int) -> bool:
        return ssrc in self._streams or len(self._streams) < MAX_STREAMS

    def _count(self, status: int) -> None:
        if status in SRTP_REPLAYED:
            self.replayed += 1
        else:
            self.refused += 1


def _policy(profile: int, key: bytes, ssrc_type: int, ssrc: int) -> Policy:
    policy = Policy(key=key, ssrc_type=ssrc_type, ssrc_value=ssrc, srtp_profile=profile)
    policy.window_size = REPLAY_WINDOW
    policy.allow_repeat_tx = True
    return policy
