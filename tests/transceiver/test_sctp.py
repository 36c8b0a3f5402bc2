"""Data channels: two ends and a network between them."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.net.emulator import Conditions, Link, virtual_loop
from support.peers import sctp_packets as packets
from support.peers.sctp_end import End

from antiphon.rtc.sctp import data_channels
from antiphon.rtc.sctp.data_channels import ChannelError

pytestmark = pytest.mark.virtual


class Association:
    """Two ends and a network of 1280-byte packets."""

    LIMIT = 1280 - 40 - 8 - 36 - 37  # IPv6, UDP, backbone header with tag, DTLS record

    def __init__(self, conditions: Conditions) -> None:
        self.loop = virtual_loop()
        self.links = Link(conditions, 1), Link(conditions, 2)
        self.largest = 0
        self.opened: list[str] = []
        self.received: tuple[list[str | bytes], list[str | bytes]] = ([], [])
        self.ends = self._end(0), self._end(1)
        for end in self.ends:
            end.start()

    def _end(self, side: int) -> End:
        return End(
            side == 0,
            lambda data: self._send(side, data),
            self.opened.append,
            lambda label, payload: self.received[side].append(payload),
        )

    def _send(self, side: int, data: bytes) -> None:
        self.largest = max(self.largest, len(data))
        if len(data) <= self.LIMIT:
            for at in self.links[side].arrivals(self.loop.time()):
                self.loop.call_at(at, self.ends[1 - side].receive, data)

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.mark.parametrize(
    "conditions",
    [Conditions(), Conditions(loss=0.05, jitter=0.03), Conditions(jitter=0.06, duplicate=0.3)],
    ids=["clean", "lossy", "reordered and doubled"],
)
async def test_16_kb_messages_pass_both_ways_on_a_1280_byte_path(conditions: Conditions) -> None:
    pair = Association(conditions)
    await pair.ends[0].open("oai-events")
    await asyncio.sleep(10)
    assert pair.opened == ["oai-events"]
    sent = [random.Random(number).randbytes(16_384) for number in range(10)]
    for message in sent:
        assert pair.ends[0].send("oai-events", message)
        assert pair.ends[1].send("oai-events", message)
    await asyncio.sleep(120)
    assert pair.received == (sent, sent)
    assert pair.largest <= pair.LIMIT
    pair.close()


async def test_an_init_that_comes_late_changes_nothing() -> None:
    pair = Association(Conditions())
    await pair.ends[0].open("oai-events")
    ours = pair.ends[0].association
    again = packets.init(tag=ours.tag, tsn=ours.first_tsn)
    pair.ends[1].receive(packets.packet(0, again))
    for number in range(20):
        assert pair.ends[0].send("oai-events", str(number))
        assert pair.ends[1].send("oai-events", str(number))
    await asyncio.sleep(10)
    assert pair.received == ([str(number) for number in range(20)], [str(number) for number in range(20)])
    assert not pair.ends[0].association.unacknowledged, "all of it is acknowledged"
    pair.close()


async def test_a_channel_refuses_what_it_can_t_take_and_knows_only_open_ones() -> None:
    pair = Association(Conditions())
    assert not pair.ends[0].send("oai-events", "early")
    await pair.ends[0].open("oai-events")
    with pytest.raises(ChannelError, match="max-message-size"):
        pair.ends[0].send("oai-events", "x" * 70_000)
    while pair.ends[0].channels.unsent <= data_channels.MAX_BUFFERED:
        assert pair.ends[0].send("oai-events", "x" * 60_000)
    with pytest.raises(ChannelError, match="unsent"):
        pair.ends[0].send("oai-events", "one more")
    pair.close()
    assert not pair.ends[0].send("oai-events", "late")
    await asyncio.sleep(30)


async def test_a_client_opens_a_bounded_number_of_channels() -> None:
    pair = Association(Conditions())
    for number in range(data_channels.MAX_CHANNELS + 20):
        pair.ends[0].create(f"channel {number}", lambda: None)
    await asyncio.sleep(30)
    assert len(pair.ends[1].labels) == data_channels.MAX_CHANNELS
    pair.close()


async def test_a_channel_that_is_being_closed_when_its_association_moves_is_closed_all_the_same() -> None:
    pair = Association(Conditions())
    for label in ("oai-events", "second"):
        await pair.ends[0].open(label)
    await asyncio.sleep(5)
    closing = pair.ends[1]
    for label in ("oai-events", "second"):
        assert closing.close_channel(label)
    written = closing.export()  # before the request has left
    assert written is not None
    closing.detach()
    moved = pair.ends = (pair.ends[0], pair._end(1))
    moved[1].restore(written)
    moved[1].resume()
    await asyncio.sleep(30)
    assert moved[0].channels.channels == moved[1].channels.channels == []
    pair.close()


async def test_rubbish_in_an_association_is_dropped() -> None:
    pair = Association(Conditions())
    generator = random.Random(1)
    for _ in range(500):
        pair.ends[1].receive(generator.randbytes(generator.randrange(100)))
    await pair.ends[0].open("oai-events")
    pair.close()
