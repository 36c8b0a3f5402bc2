"""What comes by a lane is what comes the ordinary way: frames, datagrams, events, state, whatever the packets are."""

from __future__ import annotations

import random
from array import array
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pylibsrtp
import pytest
from support.models.sounds import speech
from support.peers.session_call import HEADER, Call
from support.peers.twins import Twin

from antiphon.rtc.media import opus
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.rtc.rtp.srtp import PROFILES
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address
from antiphon.transceiver.session.state import SessionState

pytestmark = pytest.mark.virtual

SOUND_RATE = 16000
OURS = ("", 0)
"""The relay of the call."""
EVENTS = b"\xbe\xde\x00\x01\x10\x85\x00\x00"
"""A header extension with an audio level under number 1."""


class Arrival(NamedTuple):
    at: float
    packet: bytes
    relay: tuple[str, int] = OURS


def noise(chance: random.Random, rate: int, ms: int) -> bytes:
    return array("h", (chance.randint(-9000, 9000) for _ in range(rate * ms // 1000))).tobytes()


class Caller:
    """Makes a client's packets of all kinds, from its keys."""

    def __init__(self, state: SessionState, chance: random.Random, header: bytes) -> None:
        self._header = header
        assert state.srtp is not None
        profile, _, _ = PROFILES[state.srtp.profile]
        policy = pylibsrtp.Policy(
            key=state.srtp.remote_key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile
        )
        policy.allow_repeat_tx = True
        self._srtp = pylibsrtp.Session(policy)
        self._chance = chance
        self._encoder = opus.Encoder(SOUND_RATE)
        self._payload_type = state.rtp.payload_type
        self._telephone = state.telephone[0] if state.telephone else 101
        self.ssrc, self.sequence, self.timestamp = 77, 65000, 0xFFFF0000

    def packet(self, payload: bytes | None = None, kind: int | None = None, extended: bool = False) -> bytes:
        """The next one, protected."""
        payload = self._encoder.encode(noise(self._chance, SOUND_RATE, 20)) if payload is None else payload
        kind = self._payload_type if kind is None else kind
        marker = self._chance.random() < 0.05
        plain = pack_rtp(kind, marker, self.sequence, self.timestamp, self.ssrc, payload)
        if extended:
            plain = bytes([plain[0] | 0x10]) + plain[1:12] + EVENTS + plain[12:]
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + 960) & 0xFFFFFFFF
        return self._header + self._srtp.protect(plain)

    def restart(self, same_source: bool) -> None:
        """Numbers its packets anew."""
        self.ssrc += not same_source
        ahead = self._chance.randrange(2, 20_000)  # with the same keys no number may come again
        self.sequence, self.timestamp = (self.sequence + ahead) & 0xFFFF, self._chance.randrange(1 << 32)

    def talk(self, seconds: float) -> Iterator[Arrival]:
        """From 0 on: mostly the next packet every 20 ms, among others whatever a client or an attacker may send."""
        chance, at = self._chance, 0.0
        while at < seconds:
            at += 0.020
            late = chance.random() * 0.004
            match chance.randrange(160):
                case 0:  # lost
                    self.packet()
                case 1:
                    twice = self.packet()
                    yield Arrival(at, twice)
                    yield Arrival(at + chance.choice((0.001, 0.070)), twice)
                case 2:  # overtaken by the next one
                    first, second = self.packet(), self.packet()
                    yield Arrival(at, second)
                    yield Arrival(at + chance.choice((0.002, 0.090)), first)
                case 3:  # a pause in discontinuous transmission
                    pause = chance.choice((0.040, 0.400, 1.5))
                    self.timestamp = (self.timestamp + round(pause * 48000)) & 0xFFFFFFFF
                    at += pause
                case 4:  # a mute whose timestamps stop
                    at += 0.3
                case 5:
                    self.restart(same_source=chance.random() < 0.5)
                case 6:  # a key of the telephone
                    yield Arrival(at, self.packet(b"\x05\x8a\x03\xc0", self._telephone))
                case 7:  # forged
                    whole = self.packet()
                    yield Arrival(at, whole[:-1] + bytes([whole[-1] ^ 1]))
                    yield Arrival(at + 0.001, whole)
                case 8:  # rubbish that is authentic
                    yield Arrival(at, self.packet(chance.choice((b"", b"\xff", b"\xfb\xff\xff", bytes(3)))))
                case 9:  # packets of another length
                    for _ in range(2):
                        yield Arrival(
                            at, self.packet(self._encoder.encode(noise(chance, SOUND_RATE, 20))[:1] + b"\x00")
                        )
                case 10:  # too short to be anything
                    yield Arrival(at, self._header + bytes([0x80, self._payload_type]) + bytes(chance.randrange(14)))
                case 11:  # the same client at another address, and by another relay
                    elsewhere = tunnel.pack_header(Address("192.0.2.9", 9))
                    yield Arrival(at, elsewhere + self.packet()[len(self._header) :])
                case _:
                    yield Arrival(at + late, self.packet(extended=chance.random() < 0.3))


async def connected() -> bytes:
    """A call's state after its handshake, as its process hands it over."""

    def with_levels(offer: str) -> str:
        return offer + "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"

    call = Call(extra=with_levels)
    await call.connect(channel=False)
    call.peer.unplug_microphone()
    written = call.session.export(call.loop.time())
    call.session.detach()
    await call.stop()
    return written


ROUTE = bytes([0, 3, 0, 0, 0, 7, 0, 0])
"""The way back to the ingress of another place."""
HEADERS = {
    "ipv4": HEADER,
    "ipv6": tunnel.pack_header(Address("2001:db8::7", 4000)),
    "ipv4 by another place": bytes([HEADER[0], HEADER[1] | 0x40]) + HEADER[2:] + ROUTE,
    "ipv6 and TCP by another place": bytes([10, 0xC0]) + tunnel.pack_header(Address("2001:db8::7", 4000))[2:] + ROUTE,
}


@pytest.fixture
async def twins(client: str) -> AsyncIterator[tuple[Twin, Twin]]:
    """One whose media goes the ordinary way, and one with lanes."""
    made = Twin(False, HEADERS[client]), Twin(True, HEADERS[client])
    yield made
    for twin in made:
        twin.close()


@pytest.mark.parametrize(
    ("seed", "client"),
    [
        (0, "ipv4"),
        (1, "ipv4"),
        (2, "ipv4"),
        (3, "ipv6"),
        (4, "ipv4 by another place"),
        (5, "ipv6 and TCP by another place"),
    ],
)
async def test_the_same_packets_make_the_same_frames_datagrams_events_and_state_both_ways(
    seed: int, twins: tuple[Twin, Twin]
) -> None:
    chance = random.Random(seed)
    written = await connected()
    state = SessionState.from_bytes(written)
    caller = Caller(state, chance, twins[0].header)
    arriving = sorted(caller.talk(24.0))
    speaking = [(at * 0.02 + chance.random() * 0.015, frame) for at, frame in enumerate(speech(12.0))]
    taken_over = chance.uniform(12, 16)
    for twin in twins:
        now = began = 1000.0
        twin.begin(written, now)
        packets, frames, moved, before = list(arriving), list(speaking), False, 0
        while now < began + 25:
            now += 0.005
            while packets and began + packets[0].at <= now:
                _, packet, relay = packets.pop(0)
                twin.arrives(packet, relay, now)
            while frames and began + frames[0][0] <= now:
                twin.session.speak(frames.pop(0)[1], now)
            twin.visit(now)
            if not moved and now > began + taken_over:  # another process takes over in the middle
                moved, before = True, twin.by_lane
                twin.begin(twin.hand_over(now), now)
        twin.session.receiver.export(now)
        twin.session.sender.export(now, with_speech=True)
    ordinary, laned = twins
    assert laned.frames == ordinary.frames
    assert laned.datagrams == ordinary.datagrams
    assert laned.events == ordinary.events
    assert laned.told() == ordinary.told()
    assert laned.session.statistics() == ordinary.session.statistics()
    assert laned.by_lane > 200  # the others are not in order
    assert laned.by_lane > before + 100  # behind the takeover, where packets before it must not count again
    assert not ordinary.by_lane
