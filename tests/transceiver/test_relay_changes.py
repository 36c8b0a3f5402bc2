"""A load balancer sends a client's packets to another relay: what was on its way by the old one is not lost."""

from __future__ import annotations

import asyncio

import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import HEADER, RELAY, Call

from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.media.sent_packets import REPEATED

pytestmark = pytest.mark.virtual

OTHER_RELAY = ("127.0.0.1", 4001)


class BalancedCall(Call):
    """Each packet of the transceiver is noted with the relay that it was sent to. The client's come by `relay`."""

    def __init__(self) -> None:
        self.relay = RELAY
        self.media: dict[tuple[str, int], list[bytes]] = {RELAY: [], OTHER_RELAY: []}
        super().__init__(header=HEADER)

    def datagram(self, path: Path, data: bytes) -> None:
        if 127 < data[0] < 192 and not 192 <= data[1] < 224:  # RTP, and no RTCP
            self.media[path.relay].append(data)
        super().datagram(Path(self.header, RELAY), data)

    def _to_session(self, data: bytes) -> None:
        self.registry.receive(self.header + data, self.relay, self.loop.time(), 0)


async def test_the_last_packets_are_sent_again_by_the_relay_that_the_client_s_packets_come_by_now() -> None:
    call = BalancedCall()
    await call.connect()
    call.peer.speak(tone(30))
    for frame in speech(10):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(1)
    call.relay = OTHER_RELAY
    await asyncio.sleep(0.5)
    assert call.session.ice.path == Path(HEADER, OTHER_RELAY)
    assert call.media[OTHER_RELAY][:REPEATED] == call.media[RELAY][-REPEATED:]
    assert len(set(call.media[OTHER_RELAY])) == len(call.media[OTHER_RELAY]), "once each"
    await call.stop()


async def test_relays_that_take_turns_at_each_packet_cost_no_more_than_a_client_that_asks_again() -> None:
    call = BalancedCall()
    await call.connect()
    call.peer.speak(tone(30))
    for frame in speech(10):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(1)
    before = sum(map(len, call.media.values()))
    for turn in range(200):
        call.relay = (RELAY, OTHER_RELAY)[turn % 2]
        await asyncio.sleep(0.02)
    assert sum(map(len, call.media.values())) - before < 2.2 * 200
    await call.stop()
