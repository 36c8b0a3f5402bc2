"""From 20 ms of samples to a datagram in its slot: encoded behind the headers, protected in place, sent with others.

The ordinary way makes the payload, the packet, the protected packet and the datagram one after the other, each a copy.
`AudioSender` decides what leaves and when, on both ways; its state is the same after either.
"""

from __future__ import annotations

import struct
from typing import Final

from antiphon.rtc.media import opus
from antiphon.rtc.media.codecs import Encoder
from antiphon.rtc.rtp.packet import HEADER_LENGTH
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.transceiver.ice.agent import IceLite
from antiphon.transceiver.net.held_datagrams import HeldDatagrams
from antiphon.transceiver.net.udp_socket import TunnelSocket
from antiphon.transceiver.session.state import RtpState

_HEADER: Final = struct.Struct("!BBHII").pack_into
_VERSION_2: Final = 0x80
_MARKER: Final = 0x80


class OutboundLane:
    """Media to one client.

    Owner: the call's `AudioSender`, to which `Lanes` gives it. Event loop only.
    """

    __slots__ = ("_held", "_ice", "_socket")

    def __init__(self, held: HeldDatagrams, socket: TunnelSocket, ice: IceLite) -> None:
        """`ice`: says where the client is."""
        self._held, self._socket, self._ice = held, socket, ice

    def send(self, srtp: Srtp, encoder: Encoder, pcm: bytes, rtp: RtpState, marker: bool) -> tuple[int, bytes] | None:
        """Encode, protect and send 20 ms: octets of the payload, and the protected packet; None: nothing was done."""
        path = self._ice.path
        if path is None or self._ice.limited or not isinstance(encoder, opus.Encoder):
            return None
        batch = self._held.open_row(self._socket)
        if batch is None:
            return None
        octets, begin, pointer = batch.octets, batch.starts[batch.count], batch.pointers[batch.count]
        address, header = batch.address(path.relay), len(path.header)
        at = begin + header
        size = encoder.encode_into(pcm, pointer + header + HEADER_LENGTH, opus.MAX_PACKET_BYTES)
        octets[begin:at] = path.header
        _HEADER(
            octets, at, _VERSION_2, rtp.payload_type | (_MARKER if marker else 0), rtp.sequence, rtp.timestamp, rtp.ssrc
        )
        length = srtp.protect_in_place(pointer + header, HEADER_LENGTH + size, rtp.sequence)
        batch.add(header + length, address)
        return size, bytes(octets[at : at + length])
