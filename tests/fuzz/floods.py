"""What one caller floods with: each kind's packets, made before the flood, so that the flooder has time to send them.

All but `garbled` and `guesses` are authentic: made with the keys or the password of a call that is up. `fuzz.flood`
sends them.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, islice
from typing import Final

from support.peers.sctp_packets import UNORDERED, data, packet
from support.peers.transceiver_peer import CarriedPeer

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.rtc.dtls.record_layer import APPLICATION_DATA
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address

PAYLOAD_TYPE: Final = 111
SSRCS: Final = 500
"""More than the transceiver knows at a time: to libsrtp each packet is the first of its SSRC."""
RECORDS: Final = 10
"""Of one datagram."""
PULSES: Final = "-pulses"
"""At the end of a kind's name: its packets come all at once, 20 times a second."""

Datagram = tuple[bytes, bytes]
"""Tunnel header, and what the client has sent."""


class Flooder(CarriedPeer):
    """A client that knows the SSRC of our stream, and can send each packet to a list."""

    def answer_ssrc(self) -> int:
        return int(self.answer_text.split("a=ssrc:")[1].split()[0])

    def begin(self, answer: str) -> None:
        self.answer_text = answer
        super().begin(answer)

    def made_by(self, send: Callable[[], None]) -> bytes:
        """What `send` would put on the wire."""
        made: list[bytes] = []
        transmit, self.transmit = self.transmit, made.append
        send()
        self.transmit = transmit
        (datagram,) = made
        return datagram

    def keep_records_back(self) -> None:
        """Its own records would be newer than those of the flood, which were made before and are then too old."""
        transmit = self.transmit
        self.transmit = lambda datagram: None if 19 < datagram[0] < 64 else transmit(datagram)


def packets(kind: str, peer: Flooder, header: bytes, number: int) -> list[Datagram]:
    """So many packets of that kind."""
    if kind == "forged":
        return [(_forged_header(each), check) for each, check in enumerate(islice(_checks(peer), number))]
    made = KINDS[kind.removesuffix(PULSES)](peer)
    return [(header, each) for each in islice(made, number)]


def _forged_header(number: int) -> bytes:
    return tunnel.pack_header(Address(f"198.51.{number >> 8 & 0xFF}.{number & 0xFF}", 1024 + number % 60_000))


def _speech(peer: Flooder, step: int = 1) -> Iterator[bytes]:
    dice = random.Random(1)
    rubbish = [b"\xf8" + dice.randbytes(80) for _ in range(100)]
    stream = peer.rtp
    for number in count():
        stream.sequence = stream.sequence + step & 0xFFFF
        timestamp = number * 960 * step & 0xFFFFFFFF
        yield peer.protect(
            pack_rtp(PAYLOAD_TYPE, False, stream.sequence, timestamp, stream.ssrc, rubbish[number % 100])
        )


def _replayed(peer: Flooder) -> Iterator[bytes]:
    once = next(_speech(peer))
    while True:
        yield once


def _garbled(peer: Flooder) -> Iterator[bytes]:
    for each in _speech(peer):
        yield each[:-4] + bytes(4)


def _new_ssrcs(peer: Flooder) -> Iterator[bytes]:
    assert peer._srtp is not None
    keys, first = peer._srtp.state, 1_000_000
    engines = [
        Srtp(replace(keys, local_index=-1, rtcp_index=0, remote_index=-1), first + each) for each in range(SSRCS)
    ]
    for number in count():
        ssrc, sequence = number % SSRCS, number // SSRCS + 1
        rtp = pack_rtp(PAYLOAD_TYPE, False, sequence, sequence * 960, first + ssrc, b"\xf8" + bytes(80))
        yield engines[ssrc].protect(rtp)


def _nacks(peer: Flooder) -> Iterator[bytes]:
    lost = b"".join(struct.pack("!HH", base & 0xFFFF, 0xFFFF) for base in range(0, 65536, 17))[:1200]
    ssrc, media = peer.rtp.ssrc, peer.answer_ssrc()
    nack = struct.pack("!BBHII", 0x81, 205, 2 + len(lost) // 4, ssrc, media) + lost
    while True:
        yield peer.made_by(lambda: peer.send_rtcp(nack))


def _reports(peer: Flooder) -> Iterator[bytes]:
    """Compounds of sender reports with 31 blocks."""
    ssrc, media = peer.rtp.ssrc, peer.answer_ssrc()
    block = struct.pack("!IIIIII", media, 0xFF << 24, 7, 8, 9, 10)
    report = struct.pack("!BBHIQIII", 0x80 | 31, 200, 6 + 31 * 6, ssrc, 1 << 40, 5, 6, 7) + 31 * block
    while True:
        yield peer.made_by(lambda: peer.send_rtcp(report + struct.pack("!BBHI", 0x80, 201, 1, ssrc) * 20))


def _checks(peer: Flooder, password: str | None = None) -> Iterator[bytes]:
    answer = peer.answer
    while True:
        yield pack_binding_request(f"{answer.ufrag}:x", password or answer.password, use_candidate=False)


def _sctp(peer: Flooder) -> Iterator[bytes]:
    assert peer._data is not None
    association = peer._data.association
    tag, first = association.peer_tag, association.outbound.next_tsn
    for number in count():
        chunks = b"".join(data(first + number * 20 + each, b"x", UNORDERED | 3) for each in range(20))
        yield peer.made_by(lambda: peer._send_record(packet(tag, chunks)))  # noqa: B023


def _records(peer: Flooder) -> Iterator[bytes]:
    assert peer._records is not None
    while True:
        yield b"".join(peer._records.seal(APPLICATION_DATA, b"x") for _ in range(RECORDS))


KINDS: Final[dict[str, Callable[[Flooder], Iterator[bytes]]]] = {
    "opus": _speech,
    "holes": lambda peer: _speech(peer, 2),
    "replay": _replayed,
    "ssrcs": _new_ssrcs,
    "garbled": _garbled,
    "nacks": _nacks,
    "rtcp": _reports,
    "checks": _checks,
    "forged": _checks,
    "guesses": lambda peer: _checks(peer, "x" * 24),
    "sctp": _sctp,
    "records": _records,
}
"""`forged`: right checks, each with another source address."""
