"""What a client with keys of its own may send on SCTP: nothing of it costs more than a packet should."""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support.net.emulator import run_virtual, virtual_loop
from support.peers import sctp_packets as packets
from support.peers.sctp_end import End
from support.peers.sctp_packets import FIRST, LAST, UNORDERED

from antiphon.rtc.sctp import data_channels, outbound, packet
from antiphon.rtc.sctp.data_channels import ChannelError
from antiphon.rtc.sctp.inbound import Fragment, Inbound
from antiphon.rtc.sctp.pacing import MAX_WAITING

GENEROUS = 8.0
"""Seconds of CPU for what takes a fraction of one, and took minutes."""


class Attack:
    """An association of ours, and a client that was well-behaved until its channel was open."""

    def __init__(self) -> None:
        self.received: list[str | bytes] = []
        self.failures: list[str] = []
        self.replies: list[bytes] = []
        self.ours = End(
            True,
            self._reply,
            lambda label: None,
            lambda _, payload: self.received.append(payload),
            self.failures.append,
        )
        self.client = End(False, self._to_us)
        self.deaf = False
        """The client hears nothing any more."""

    def _reply(self, packet: bytes) -> None:
        self.replies.append(packet)
        if not self.deaf:
            virtual_loop().call_later(0.01, self.client.receive, packet)

    def _to_us(self, packet: bytes) -> None:
        virtual_loop().call_later(0.01, self.ours.receive, packet)

    async def open(self) -> None:
        for end in (self.ours, self.client):
            end.start(5000, 1 << 30)
        await self.client.open("oai-events")
        await asyncio.sleep(1)
        self.replies.clear()

    @property
    def tag(self) -> int:
        return self.ours.association.tag

    @property
    def next_tsn(self) -> int:
        """Of the client."""
        return self.client.next_tsn

    @property
    def acknowledged(self) -> int:
        """TSNs since the channel was open."""
        return (self.ours.association.inbound.tsn + 1 - self.next_tsn) % (1 << 32)

    def send(self, *chunks: bytes) -> None:
        self.ours.receive(packets.packet(self.tag, *chunks))

    def sacks(self) -> list[bytes]:
        return [body for reply in self.replies for kind, _, body in packets.chunks_of(reply) if kind == packets.SACK]

    async def is_well(self) -> None:
        """A message of the client's, and one of ours, still pass."""
        assert self.failures == []
        assert self.client.send("oai-events", "still here")
        async with asyncio.timeout(60):
            while "still here" not in self.received:  # noqa: ASYNC110 - looked at as a test would
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        self.client.close()
        self.ours.close()
        await asyncio.sleep(1)


def attack(main: Callable[[Attack], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        opened = Attack()
        await opened.open()
        await main(opened)
        await opened.close()

    began = time.process_time()
    run_virtual(run())
    assert time.process_time() - began < GENEROUS


# ---- packets that are none


@pytest.mark.virtual
@pytest.mark.parametrize("wrong", packets.MALFORMED)
def test_a_length_that_is_wrong_drops_the_packet_and_nothing_else(wrong: str) -> None:
    async def main(attack: Attack) -> None:
        written = packets.MALFORMED[wrong]
        for tag in {attack.tag, 0} if written[0] == packets.INIT else {attack.tag}:
            attack.ours.receive(packets.packet(tag, written))
        assert attack.replies == []
        await attack.is_well()

    attack(main)


@pytest.mark.virtual
def test_a_packet_with_another_tag_or_a_wrong_checksum_is_not_looked_at() -> None:
    async def main(attack: Attack) -> None:
        beat = packets.chunk(packets.HEARTBEAT, packets.parameter(1, b"are you there?"))
        abort = packets.chunk(packets.ABORT, b"")
        for chunk in (beat, abort):
            for tag in (0, attack.tag ^ 1):
                attack.ours.receive(packets.packet(tag, chunk))
            right = packets.packet(attack.tag, chunk)
            attack.ours.receive(right[:8] + bytes([right[8] ^ 1]) + right[9:])
            attack.ours.receive(right[:8] + bytes(4) + right[12:])
        assert attack.replies == []
        attack.send(beat)
        assert len(attack.replies) == 1
        await attack.is_well()

    attack(main)


@pytest.mark.pure
def test_packets_of_browsers_are_read() -> None:
    """INIT with all parameters of usrsctp and dcsctp, unpadded ends, bundles, chunks of extensions not agreed on."""
    offered = [
        packets.parameter(kind, value)
        for kind, value in (
            *((0x8000, b""), (0xC000, b""), (0x8001, bytes(4)), (0x8002, bytes(32)), (0x8003, b"\xc1\x80")),
            *((0x8004, b"\0\3\0\1"), (0x8008, b"\x82\xc0\x40\xc2\x80\xc1\x0f"), (0x000C, b"\0\5\0\6")),
            (0x000B, b""),
        )
    ]
    init = packets.init(packets.INIT, *offered)
    assert [chunk.kind for chunk in packet.read_packet(packets.packet(0, init), 9)] == [packets.INIT]
    pad, i_data = packets.chunk(132, bytes(40)), packets.chunk(64, bytes(20), FIRST | LAST)
    bundle = [packets.sack(1, []), packets.data(1, b"a"), pad, packets.data(2, b"bc"), packets.data(3, b"def")]
    unpadded = packets.packet(9, b"".join(bundle)[:-1])
    for written in (packets.packet(9, *bundle), unpadded):
        kinds = [chunk.kind for chunk in packet.read_packet(written, 9)]
        assert kinds == [packets.SACK, packets.DATA, packets.DATA, packets.DATA]
    after = packet.read_packet(packets.packet(9, bundle[0], i_data, bundle[1]), 9)
    assert [chunk.kind for chunk in after] == [packets.SACK], "what follows a chunk of type 0 to 127 that is unknown"


# ---- acknowledgements


@pytest.mark.virtual
def test_gap_ack_blocks_beyond_what_is_outstanding_cost_nothing() -> None:
    async def main(attack: Attack) -> None:
        attack.deaf = True
        for _ in range(3):
            assert attack.ours.send("oai-events", "x" * 1000)
        await asyncio.sleep(0.1)
        cumulative = attack.ours.association.outbound.acknowledged
        for block in ((1, 65535), (65535, 1), (2, 2), (0, 0), (60000, 65535)):
            for _ in range(20):
                attack.send(packets.sack(cumulative, [block] * 330))
        attack.send(packets.sack(cumulative, [(start, 65535) for start in range(330)], duplicates=20))
        attack.deaf = False
        await asyncio.sleep(10)
        assert not attack.ours.association.outbound.sent, "the client has what was sent"
        await attack.is_well()

    attack(main)


@pytest.mark.virtual
def test_an_acknowledgement_of_what_was_never_sent_is_ignored() -> None:
    async def main(attack: Attack) -> None:
        for ahead in (1, 2, 1000, (1 << 31) - 1):
            attack.send(packets.sack(attack.ours.next_tsn + ahead - 1, []))
        assert attack.ours.send("oai-events", "down")
        await asyncio.sleep(5)
        assert not attack.ours.association.outbound.sent
        await attack.is_well()

    attack(main)


@pytest.mark.virtual
def test_a_client_that_acknowledges_nothing_makes_nothing_grow_and_the_sender_hears_of_it() -> None:
    async def main(attack: Attack) -> None:
        attack.deaf = True
        for _ in range(data_channels.MAX_WAITING):
            assert attack.ours.send("oai-events", "x")
        with pytest.raises(ChannelError, match="client takes none"):
            attack.ours.send("oai-events", "x")
        await asyncio.sleep(1)
        assert attack.ours.association.unacknowledged <= 4100

    attack(main)


@pytest.mark.virtual
def test_a_client_that_reads_nothing_for_minutes_makes_nothing_grow_and_gets_the_latest_afterwards() -> None:
    async def main(attack: Attack) -> None:
        received: list[str] = []
        attack.client.on_message = lambda label, payload: received.append(str(payload))
        attack.deaf, refused = True, 0
        closed_window = packets.sack(attack.ours.association.outbound.acknowledged, [], window=0)
        held = []
        for _ in range(5 * 60 * 4):
            for size in (200, 16_000):
                try:
                    attack.ours.send("oai-events", "x" * size)
                except ChannelError:
                    refused += 1
            attack.send(closed_window)
            await asyncio.sleep(0.25)
            queues = attack.ours.association.outbound
            chunks = (*queues.sent, *queues.queued)
            held.append(sum(len(chunk.payload) for chunk in chunks) + queues.buffered)
        assert refused > 1000
        assert max(held) <= data_channels.MAX_BUFFERED + outbound.MAX_OUTSTANDING * 1100 + 32_000
        assert max(held[len(held) // 2 :]) <= max(held[: len(held) // 2]), "it does not grow"

    attack(main)


# ---- data


@pytest.mark.virtual
def test_every_second_number_missing_holds_no_more_than_a_window() -> None:
    async def main(attack: Attack) -> None:
        attack.deaf = True
        first, tsn = attack.next_tsn + 1, 0
        while tsn < 100_000:
            chunks = [packets.data(first + tsn + 2 * n, b"x", stream=n % 9, sequence=tsn) for n in range(20)]
            attack.send(*chunks)
            tsn += 40
            if tsn % 4000 == 0:
                await asyncio.sleep(1)
        sctp_ = attack.ours.association
        assert len(sctp_.inbound.received()) <= 8192
        assert sctp_.inbound.held <= sctp_.inbound.window or sctp_.inbound.held < 2100
        assert max(len(reply) for reply in attack.replies) < 1189
        assert struct.unpack_from("!L", attack.sacks()[-1], 4)[0] < 100_000, "the advertised window has shrunk"
        assert attack.ours.export() is not None
        attack.send(packets.forward_tsn(first + 8192 - 1))
        attack.deaf = False

    attack(main)


@pytest.mark.virtual
@pytest.mark.parametrize("ahead", [8193, 65_535, 65_536, 70_000, 1 << 20, (1 << 31) - 2])
def test_a_number_far_ahead_is_refused_and_checkpoints_go_on(ahead: int) -> None:
    async def main(attack: Attack) -> None:
        wanted: list[int] = []
        attack.ours.channels.keep_checkpoints(lambda: wanted.append(1))
        attack.send(packets.data(attack.next_tsn + ahead, b"far"))
        assert wanted
        attack.ours.channels.freeze()
        assert attack.ours.export() is not None
        attack.ours.stored()
        assert struct.unpack_from("!HH", attack.sacks()[-1], 8) == (0, 0), "neither gaps nor duplicates"

        def store_soon() -> None:
            virtual_loop().call_soon(attack.ours.channels.freeze)
            virtual_loop().call_soon(attack.ours.stored)

        attack.ours.channels.keep_checkpoints(store_soon)
        await attack.is_well()

    attack(main)


@pytest.mark.virtual
@pytest.mark.parametrize("flags", [0, UNORDERED], ids=["ordered", "unordered"])
@pytest.mark.parametrize("step", [1, 2], ids=["in order", "every second"])
def test_fragments_without_a_beginning_are_not_kept(flags: int, step: int) -> None:
    async def main(attack: Attack) -> None:
        first = attack.next_tsn
        for number in range(0, 10_000, 60):
            attack.send(*(packets.data(first + step * (number + n), b"x", flags) for n in range(60)))
            if number % 1200 == 0:
                await asyncio.sleep(1)
        assert attack.ours.association.inbound.held < (2 if step == 1 else 2100)
        assert attack.failures == []
        written = attack.ours.export()
        assert written is not None
        assert sum(len(fragments) for _, _, fragments in written["inbound"]) < 2100

    attack(main)


@pytest.mark.virtual
@pytest.mark.parametrize("size", [1, 1100])
def test_a_message_without_end_aborts_the_association_and_says_why(size: int) -> None:
    async def main(attack: Attack) -> None:
        first = attack.next_tsn
        for number in range(4000):
            attack.send(packets.data(first + number, b"x" * size, FIRST if number == 0 else 0, sequence=1))
            if number % 200 == 0:
                await asyncio.sleep(0.5)  # as many as are taken: what comes faster is lost
        assert len(attack.failures) == 1
        assert attack.ours.association.inbound.held <= 2100
        kinds = [kind for reply in attack.replies for kind, _, _ in packets.chunks_of(reply)]
        assert packets.ABORT in kinds
        with pytest.raises(ChannelError, match="is closed"):
            attack.ours.send("oai-events", "to a client without channels")
        await asyncio.sleep(1)
        with pytest.raises(ChannelError, match="aborted"):
            attack.client.send("oai-events", "it knows")

    attack(main)


@pytest.mark.virtual
def test_a_message_of_8_mib_aborts_the_association_and_one_of_256_kib_arrives() -> None:
    async def main(attack: Attack) -> None:
        assert attack.client.send("oai-events", "y" * 262_144)
        await asyncio.sleep(30)
        assert attack.received == ["y" * 262_144]
        assert attack.client.send("oai-events", "x" * (8 << 20))
        await asyncio.sleep(60)
        assert [failure for failure in attack.failures if "262144 bytes" in failure] == attack.failures != []
        assert len(attack.received) == 1
        with pytest.raises(ChannelError, match="262144"):
            attack.ours.send("oai-events", "anybody there?")
        with pytest.raises(ChannelError, match="aborted"):
            attack.client.send("oai-events", "it knows")

    attack(main)


@pytest.mark.long
@pytest.mark.virtual
def test_a_flood_of_messages_waits_and_none_is_lost() -> None:
    async def main(attack: Attack) -> None:
        sent = 0
        arrived: list[int] = []
        while sent < 4000:
            while attack.client.association.outbound.waiting:  # noqa: ASYNC110 - as a client does that has a lot to send
                await asyncio.sleep(0.01)
            for _ in range(100):
                assert attack.client.send("oai-events", str(sent))
                sent += 1
            await asyncio.sleep(0.01)
            arrived.append(len(attack.received))
        elapsed = virtual_loop().time() - 1000
        assert len(attack.received) <= 500 + 200 * elapsed
        await asyncio.sleep(60)
        assert attack.received == [str(number) for number in range(4000)]
        await attack.is_well()

    attack(main)


@pytest.mark.virtual
def test_messages_that_wait_for_their_turn_move_with_their_session() -> None:
    async def main(attack: Attack) -> None:
        first = attack.next_tsn
        for number in range(0, 900, 60):
            attack.send(
                *(packets.data(first + number + n, b"%d" % (number + n), sequence=number + n + 1) for n in range(60))
            )
        await asyncio.sleep(0.5)
        before = len(attack.received)
        assert before < 900
        written = attack.ours.export()
        assert written is not None
        attack.ours.detach()
        moved = End(True, lambda packet: None, on_message=lambda _, payload: attack.received.append(payload))
        moved.restore(written)
        moved.resume()
        await asyncio.sleep(10)
        assert attack.received == [str(number) for number in range(900)]
        moved.close()

    attack(main)


@pytest.mark.virtual
def test_a_client_that_skips_a_message_and_goes_on_is_aborted_at_a_full_window() -> None:
    async def main(attack: Attack) -> None:
        first = attack.next_tsn
        for number in range(1000):
            attack.send(packets.data(first + number, b"x" * 1000, sequence=number + 5))
            if number % 100 == 0:
                await asyncio.sleep(1)
        assert len(attack.failures) == 1
        assert "left out a message" in attack.failures[0]
        assert attack.received == []

    attack(main)


@pytest.mark.virtual
def test_messages_on_streams_that_were_never_opened_go_nowhere_and_leave_little() -> None:
    async def main(attack: Attack) -> None:
        first = attack.next_tsn
        for stream in range(0, 10_000, 40):
            attack.send(*(packets.data(first + stream + n, b"x", stream=10 + stream + n) for n in range(40)))
            if stream % 800 == 0:
                await asyncio.sleep(4)
        await asyncio.sleep(60)
        assert attack.received == []
        assert len(attack.ours.association.inbound.streams()) <= 256
        assert attack.acknowledged == 10_000

    attack(main)


@pytest.mark.virtual
def test_odd_messages_of_the_channel_protocol_are_dropped_without_a_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(attack: Attack) -> None:
        opening = struct.pack("!BBHLHH", 3, 0, 0, 0, 5, 0) + b"label"
        odd = [
            b"\x02",  # an ACK of nothing
            b"\x03",
            opening[:11],
            opening[:-2],
            struct.pack("!BBHLHH", 3, 0, 0, 0, 65535, 65535),
            struct.pack("!BBHLHH", 3, 0, 0, 0, 2, 0) + b"\xff\xfe",
            b"\xff" * 40,
        ]
        first = attack.next_tsn
        for number, payload in enumerate(odd):
            attack.send(packets.data(first + number, payload, stream=101 + 2 * number, protocol=50))
        number = len(odd)
        stream = attack.ours.channels.channels[0].stream
        attack.send(packets.data(first + number, opening, stream=stream, sequence=1, protocol=50))  # opened before
        attack.send(packets.data(first + number + 1, b"\xff\xfe", stream=stream, sequence=2))
        for more, protocol in enumerate((0, 52, 54, 1 << 31)):
            attack.send(
                packets.data(first + number + 2 + more, b"?", stream=stream, sequence=3 + more, protocol=protocol)
            )
        await asyncio.sleep(1)
        assert attack.received == ["\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"]
        assert len(attack.ours.channels.channels) == 1

    with caplog.at_level(logging.INFO):
        attack(main)
    assert caplog.records == []


@pytest.mark.virtual
def test_a_flood_of_channel_openings_leaves_a_bounded_number() -> None:
    async def main(attack: Attack) -> None:
        attack.deaf = True
        opening = struct.pack("!BBHLHH", 3, 0, 0, 0, 5, 0) + b"label"
        first = attack.next_tsn
        for number in range(0, 5000, 20):
            attack.send(
                *(
                    packets.data(first + number + n, opening, stream=101 + 2 * (number + n), protocol=50)
                    for n in range(20)
                )
            )
            if number % 200 == 0:
                await asyncio.sleep(1)
        await asyncio.sleep(30)
        assert len(attack.ours.channels.channels) <= data_channels.MAX_KNOWN
        assert len(attack.ours.labels) <= data_channels.MAX_CHANNELS

    attack(main)


@pytest.mark.virtual
def test_jumps_and_resets_without_end_leave_nothing() -> None:
    async def main(attack: Attack) -> None:
        at = attack.next_tsn
        for number in range(3000):
            at = (at + 65_535) & 0xFFFFFFFF
            reset = struct.pack("!LLL", number + 77, 0, at) + struct.pack("!HH", 1, 3)
            attack.send(
                packets.forward_tsn(at, *((stream, number) for stream in range(200))),
                packets.chunk(packets.RE_CONFIG, packets.parameter(13, reset)),
            )
            if number % 500 == 0:
                await asyncio.sleep(1)
        assert len(attack.ours.association.inbound.streams()) <= 256
        assert attack.failures == []

    attack(main)


@pytest.mark.pure
def test_chunks_that_overtake_the_reset_of_their_stream_belong_to_the_stream_after_it() -> None:
    inbound = Inbound(999)
    inbound.receive(Fragment(FIRST | LAST, 1000, 3, 0, 53, b"before"))
    inbound.receive(Fragment(FIRST, 1003, 3, 1, 53, b"second, "))
    inbound.receive(Fragment(FIRST | LAST, 1005, 3, 2, 53, b"third"))
    inbound.reset([3, 4])
    assert [number for number, _, _ in inbound.streams()] == [3]
    inbound.receive(Fragment(FIRST | LAST, 1002, 3, 0, 53, b"first"))
    inbound.receive(Fragment(LAST, 1004, 3, 1, 53, b"whole"))
    assert [message.payload for message in inbound.ready] == [b"before", b"first", b"second, whole", b"third"]
    inbound.reset([3])
    assert inbound.streams() == []


@pytest.mark.virtual
def test_a_flood_of_inits_leaves_the_association_as_it_is() -> None:
    async def main(attack: Attack) -> None:
        for number in range(5000):
            attack.ours.receive(packets.packet(0, packets.init(tag=number + 1, tsn=number)))
        assert len(attack.replies) <= 2000, "the others were not read"
        await asyncio.sleep(5)
        await attack.is_well()

    attack(main)


@pytest.mark.virtual
def test_closed_channels_make_room_for_others() -> None:
    async def main(attack: Attack) -> None:
        for number in range(3 * data_channels.MAX_CHANNELS):
            await attack.client.open(f"channel {number}")
            await asyncio.sleep(0.1)
            assert f"channel {number}" in attack.ours.labels
            assert attack.client.close_channel(f"channel {number}")
            await asyncio.sleep(1)

    attack(main)


@pytest.mark.virtual
def test_an_error_of_ours_is_kept_to_its_packet_and_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(attack: Attack) -> None:
        def fail(*_: object) -> None:
            raise struct.error("what nobody has thought of")

        monkeypatch.setattr(data_channels.complaints, "_next", float("-inf"))
        monkeypatch.setattr(attack.ours, "on_message", fail)
        first = attack.next_tsn
        for number in range(200):
            attack.send(packets.data(first + number, b"x", sequence=number + 1))
        monkeypatch.undo()

    with caplog.at_level(logging.INFO):
        attack(main)
    assert len(caplog.records) == 1


# ---- everything at once


@pytest.mark.pure
def test_a_random_association_is_as_it_was_sent_through_any_loss_and_a_small_window() -> None:
    """Messages of many sizes on many streams; chunks lost, doubled and reordered, sent again until acknowledged."""
    for seed in range(3):
        dice = random.Random(seed)
        start = (1 << 32) - 300
        inbound = Inbound(start - 1)
        chunks: dict[int, Fragment] = {}
        sent: dict[int, list[bytes]] = {}
        tsn = start
        for _ in range(120):
            stream, unordered = dice.randrange(6), dice.random() < 0.3
            number = stream + 10 * unordered
            payload = dice.randbytes(dice.choice((1, 100, 3000, 20_000, 90_000)))
            messages = sent.setdefault(number, [])
            pieces = [payload[at : at + 1100] for at in range(0, len(payload), 1100)]
            for position, piece in enumerate(pieces):
                flags = UNORDERED * unordered | FIRST * (position == 0) | LAST * (position == len(pieces) - 1)
                chunks[tsn] = Fragment(flags, tsn % (1 << 32), number, len(messages) & 0xFFFF, 53, piece)
                tsn += 1
            messages.append(payload)
        received: dict[int, list[bytes]] = {}
        base = start
        while base < tsn:
            told = {first + gap for first, last in inbound.gaps() for gap in range(last - first + 1)}
            ahead = [number for number in range(base, min(base + 900, tsn)) if number - base + 1 not in told]
            flight = [number for number in ahead if dice.random() > 0.2]
            dice.shuffle(flight)
            for number in flight:
                inbound.receive(chunks[number])
                assert inbound.window >= 0
                if dice.random() < 0.3:
                    while inbound.ready:
                        message = inbound.pop()
                        received.setdefault(message.stream, []).append(message.payload)
            if dice.random() < 0.2:  # it moves to another process
                other = Inbound(inbound.tsn)
                other.restore(inbound.received(), inbound.streams(), list(inbound.ready))
                assert (other.window, other.gaps()) == (inbound.window, inbound.gaps())
                inbound = other
            base = start + (inbound.tsn + 1 - start) % (1 << 32)
        while inbound.ready:
            message = inbound.pop()
            received.setdefault(message.stream, []).append(message.payload)
        assert {stream: sorted(messages) for stream, messages in received.items()} == {
            stream: sorted(messages) for stream, messages in sent.items()
        }
        for stream in range(6):
            assert received.get(stream) == sent.get(stream), "in order"
        assert (inbound.held, inbound.window, inbound.gaps()) == (0, 524_288, [])


@pytest.mark.virtual
def test_a_burst_of_packets_is_taken_whole_and_a_flood_in_part() -> None:
    async def main(attack: Attack) -> None:
        first = attack.next_tsn
        for number in range(MAX_WAITING):
            attack.send(packets.data(first + number, b"x", FIRST | LAST, sequence=number))
        await asyncio.sleep(2)
        assert len(attack.received) == MAX_WAITING
        for number in range(MAX_WAITING, 20 * MAX_WAITING):
            attack.send(packets.data(first + number, b"x", FIRST | LAST, sequence=number))
        await asyncio.sleep(2)
        assert MAX_WAITING < len(attack.received) < 3 * MAX_WAITING

    attack(main)
