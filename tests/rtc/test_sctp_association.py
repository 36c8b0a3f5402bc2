"""Two associations of ours on a path that loses, doubles and reorders, in a time that only the test moves."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.peers import sctp_packets as packets
from support.peers.sctp_network import SctpNetwork, plain

from antiphon.rtc.sctp.acknowledgement import ACK_DELAY
from antiphon.rtc.sctp.association import Association
from antiphon.rtc.sctp.association_state import restore
from antiphon.rtc.sctp.congestion import MAX_CWND
from antiphon.rtc.sctp.data_channels import ChannelError, MessageTooLongError

pytestmark = pytest.mark.pure


# ---- the beginning


def test_inits_that_cross_make_one_association_in_two_round_trips() -> None:
    pair = SctpNetwork(delay=0.05)
    took = pair.until(lambda: all(end.association.established for end in pair.ends))
    assert took <= 0.2 + 0.02
    assert (pair.ends[0].association.peer_tag, pair.ends[1].association.peer_tag) == (8, 7)


@pytest.mark.parametrize("side", [0, 1])
def test_one_init_is_enough(side: int) -> None:
    """The other side's are lost all: a peer that only waits."""
    pair = SctpNetwork()
    pair.drop = lambda sender, packet: sender == side and packet[12] == packets.INIT
    pair.open("oai-events")
    assert pair.log[1] == ["open oai-events"]


@pytest.mark.parametrize("lost", range(8))
@pytest.mark.parametrize("side", [0, 1])
def test_each_packet_of_the_beginning_may_be_lost_and_costs_half_a_second_at_most(lost: int, side: int) -> None:
    pair = SctpNetwork()
    left = [lost]

    def drop(sender: int, packet: bytes) -> bool:
        left[0] -= sender == side
        return sender == side and left[0] == 0

    pair.drop = drop
    opened: list[bool] = []
    pair.ends[0].create("oai-events", lambda: opened.append(True), pair.now)
    assert pair.until(lambda: bool(opened)) < 0.7


def test_a_channel_opens_within_ten_seconds_at_forty_percent_loss_in_95_of_100_calls() -> None:
    late = 0
    for seed in range(100):
        pair = SctpNetwork(seed, loss=0.4, delay=0.05)
        began = pair.now
        pair.open("oai-events")
        late += pair.now - began > 10
    assert late <= 5


def test_a_peer_that_begins_anew_gets_a_new_association_and_its_old_channels_are_closed() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.ends[0] = pair.end(0)  # without a word
    pair.ends[0].start(5000, 65536, pair.now)
    pair.open("oai-events")
    assert pair.log[1] == ["open oai-events", "closed oai-events", "open oai-events"]
    assert pair.send(1, "oai-events", "hello again")
    pair.run(1)
    assert pair.received[0] == [("oai-events", "hello again")]


def test_a_cookie_that_is_not_ours_or_is_repeated_changes_nothing() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    cookies = [packet for packet in pair.sent[0] if packet[12] == packets.COOKIE_ECHO]
    assert cookies
    forged = packets.packet(pair.ends[1].association.tag, packets.chunk(10, bytes(56)))
    for packet in (*cookies, forged, *cookies):
        pair.ends[1].receive(packet, pair.now)
    assert pair.send(0, "oai-events", "still here")
    pair.run(1)
    assert pair.received[1] == [("oai-events", "still here")]
    assert pair.log[1] == ["open oai-events"]


# ---- data


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1 << 30),
    loss=st.sampled_from((0.0, 0.02, 0.2)),
    jitter=st.sampled_from((0.0, 0.05)),
    duplicate=st.sampled_from((0.0, 0.3)),
    sizes=st.lists(st.sampled_from((0, 1, 300, 1100, 1101, 5000, 40_000)), min_size=1, max_size=12),
    moves=st.booleans(),
)
def test_ordered_messages_arrive_once_whole_and_in_order_on_any_path(
    seed: int, loss: float, jitter: float, duplicate: float, sizes: list[int], moves: bool
) -> None:
    pair = SctpNetwork(seed, loss, jitter, duplicate)
    for label in ("oai-events", "other"):
        pair.open(label)
    dice = random.Random(seed)
    sent: tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]] = ([], [])
    for number, size in enumerate(sizes):
        for side in (0, 1):
            label = dice.choice(("oai-events", "other"))
            message = dice.randbytes(size)
            assert pair.send(side, label, message)
            sent[1 - side].append((label, message))
        if dice.random() < 0.3:
            pair.run(dice.random() / 5)
        if moves and number % 4 == 3:
            assert plain(pair.ends[1].export(pair.now))
            pair.move(1)
    pair.until(lambda: pair.settled, 120)
    pair.run(1)
    for side in (0, 1):
        for label in ("oai-events", "other"):
            assert [each for each in pair.received[side] if each[0] == label] == [
                each for each in sent[side] if each[0] == label
            ]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1 << 30),
    limit=st.sampled_from(({"max_retransmits": 0}, {"max_retransmits": 2}, {"max_lifetime": 300})),
    ordered=st.booleans(),
)
def test_a_message_of_an_unreliable_channel_arrives_whole_or_not_at_all(
    seed: int, limit: dict[str, int], ordered: bool
) -> None:
    pair = SctpNetwork(seed, loss=0.2, jitter=0.01)
    pair.open("loose", ordered=ordered, **limit)
    pair.open("oai-events")
    sent = [bytes((number,)) * size for number, size in enumerate((1, 5000, 20, 30_000, 7, 1101) * 5)]
    for message in sent:
        pair.send(0, "loose", message)
        pair.run(0.05)
    pair.send(0, "oai-events", "the end")
    pair.until(lambda: pair.settled, 120)
    pair.run(1)
    arrived = [payload for label, payload in pair.received[1] if label == "loose"]
    assert set(arrived) <= set(sent)
    assert len(arrived) == len(set(arrived))
    if ordered:
        assert arrived == [message for message in sent if message in arrived]
    assert ("oai-events", "the end") in pair.received[1]
    assert pair.ends[1].association.inbound.held == 0


def test_without_loss_an_unreliable_channel_loses_nothing() -> None:
    pair = SctpNetwork()
    pair.open("loose", ordered=False, max_retransmits=0)
    sent = [("loose", str(number) * 3000) for number in range(8)]
    for label, message in sent:
        pair.send(0, label, message)
    pair.run(5)
    assert pair.received[1] == sent


def test_a_lost_packet_in_a_stream_of_them_is_repeated_before_any_timer() -> None:
    pair = SctpNetwork(delay=0.01)
    pair.open("oai-events")
    pair.run(1)
    seen = [0]

    def drop(side: int, packet: bytes) -> bool:
        seen[0] += side == 0 and packet[12] == packets.DATA
        return side == 0 and seen[0] == 3 and packet[12] == packets.DATA

    pair.drop = drop
    pair.send(0, "oai-events", b"x" * 9000)
    assert pair.until(lambda: bool(pair.received[1])) < 0.2


def test_the_window_of_congestion_grows_with_use_and_is_bounded() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    for _ in range(40):
        pair.send(0, "oai-events", b"x" * 200_000)
        pair.run(1)
    outbound = pair.ends[0].association.outbound
    assert 30_000 < outbound.congestion.cwnd <= MAX_CWND
    assert len(pair.received[1]) > 15


def test_a_closed_window_is_asked_about_until_it_opens() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.run(1)
    ours, tag = pair.ends[0].association, pair.ends[0].association.tag
    pair.drop = lambda side, packet: True
    closed = packets.packet(tag, packets.sack(ours.outbound.acknowledged, [], window=0))
    pair.ends[0].receive(closed, pair.now)
    del pair.sent[0][:]
    pair.send(0, "oai-events", b"x" * 5000)
    for _ in range(20):
        pair.run(1)
        pair.ends[0].receive(closed, pair.now)
    probes = [each for each in pair.sent[0] if each[12] == packets.DATA]
    assert 8 <= len(probes) <= 50, "one chunk at a time, by a timer"
    assert len({each[12:] for each in probes}) == 1
    pair.drop = lambda side, packet: False
    pair.until(lambda: bool(pair.received[1]), 5)


def test_a_path_that_was_dead_for_a_minute_is_used_within_two_seconds_of_its_return() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.drop = lambda side, packet: True
    pair.send(0, "oai-events", "patience")
    pair.run(60)
    pair.drop = lambda side, packet: False
    assert pair.until(lambda: bool(pair.received[1])) <= 2.1


def test_every_second_packet_of_a_stream_and_a_single_one_at_once_are_acknowledged() -> None:
    pair = SctpNetwork(delay=0.001)
    pair.open("oai-events")
    pair.run(1)
    before = len(pair.sent[1])
    pair.send(0, "oai-events", "one")
    pair.run(0.01)
    assert len(pair.sent[1]) == before + 1, "some clients ask so whether their path lives"
    pair.run(1)
    before = len(pair.sent[1])
    for number in range(100):
        pair.send(0, "oai-events", str(number))
        pair.run(0.002)
    assert len(pair.sent[1]) - before < 60


def test_a_message_on_a_stream_that_was_never_opened_is_acknowledged_and_dropped() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.run(1)
    tag, tsn = pair.ends[1].association.tag, pair.ends[0].next_tsn
    pair.ends[1].receive(packets.packet(tag, packets.data(tsn, b"\0", stream=99, protocol=53)), pair.now)
    kinds = [(kind, body[:4]) for kind, _, body in packets.chunks_of(pair.sent[1][-1])]
    assert kinds == [(packets.SACK, struct.pack("!L", tsn % (1 << 32)))]
    assert pair.received[1] == []


@pytest.mark.parametrize("payload", ["", b"", "x", b"x", "\N{SNOWMAN}" * 10_000])
def test_texts_and_bytes_of_any_length_arrive_as_they_were_sent(payload: str | bytes) -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    assert pair.send(0, "oai-events", payload)
    assert pair.send(1, "oai-events", payload)
    pair.run(2)
    assert pair.received == ([("oai-events", payload)], [("oai-events", payload)])


@pytest.mark.parametrize("limit", [16_384, 65_536])
def test_a_message_of_just_the_size_that_the_peer_takes_passes_and_one_byte_more_is_refused(limit: int) -> None:
    pair = SctpNetwork(max_message=limit)
    pair.open("oai-events")
    assert pair.send(1, "oai-events", "x" * limit)
    with pytest.raises(MessageTooLongError, match=f"{limit + 1} bytes"):
        pair.send(1, "oai-events", "x" * (limit + 1))
    with pytest.raises(MessageTooLongError):
        pair.send(1, "oai-events", "\N{SNOWMAN}" * (limit // 2))  # counted in bytes
    pair.run(5)
    assert len(pair.received[0]) == 1


# ---- channels


def test_a_17th_channel_opens_after_16_were_closed_and_each_close_is_told() -> None:
    pair = SctpNetwork()
    for number in range(16):
        pair.open(f"channel {number}")
    pair.open("one too many")
    pair.run(1)
    assert "open one too many" not in pair.log[1]
    for number in range(16):
        pair.close_channel(0, f"channel {number}")
    pair.run(1)
    assert pair.log[1][16:] == [f"closed channel {number}" for number in range(16)]
    pair.open("oai-events")
    assert pair.ends[1].open_labels == ["oai-events"]
    assert [each.opening.label for each in pair.ends[1].channels] == ["oai-events"]


def test_of_two_channels_with_one_label_the_first_goes_on_when_the_second_closes() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.open("oai-events")
    pair.close_channel(0, "oai-events")
    pair.run(1)
    assert pair.log[1] == ["open oai-events"] * 2
    assert pair.send(1, "oai-events", "to the first")
    pair.run(1)
    assert pair.received[0] == [("oai-events", "to the first")]
    pair.close_channel(0, "oai-events")
    pair.run(1)
    assert pair.log[1][2:] == ["closed oai-events"]
    assert not pair.send(1, "oai-events", "to nobody")


@pytest.mark.parametrize("loss", [0.0, 0.3])
@pytest.mark.parametrize("side", [0, 1])
def test_a_channel_is_closed_and_reopened_again_and_again(loss: float, side: int) -> None:
    pair = SctpNetwork(3, loss, 0.02)
    for number in range(12):
        pair.open("oai-events")
        assert pair.send(1, "oai-events", f"down {number}")
        assert pair.send(0, "oai-events", f"up {number}")
        pair.until(lambda: len(pair.received[0]) == len(pair.received[1]) == number + 1)  # noqa: B023
        pair.close_channel(side, "oai-events")
        if number % 2:
            pair.run(1)
    assert [payload for _, payload in pair.received[0]] == [f"down {number}" for number in range(12)]
    pair.until(lambda: not pair.ends[0].channels and not pair.ends[1].channels)


def test_a_number_that_is_used_again_at_once_is_a_new_channel_with_new_numbers() -> None:
    """The peer sends its reset and the next OPEN in one packet, before our side of the old channel is closed."""
    pair = SctpNetwork()
    pair.open("first")
    pair.send(1, "first", "down")
    pair.run(1)
    tag, peer = pair.ends[1].association.tag, pair.ends[0].association
    del pair.sent[1][:]
    tsn = pair.ends[0].next_tsn
    reset = struct.pack("!LLLH", peer.resets.next_sequence, 0, (tsn - 1) % (1 << 32), 0)
    opening = struct.pack("!BBHLHH", 3, 0, 0, 0, 6, 0) + b"second"
    pair.ends[1].receive(
        packets.packet(
            tag,
            packets.chunk(packets.RE_CONFIG, packets.parameter(13, reset)),
            packets.data(tsn, opening, stream=0, sequence=0, protocol=50),
        ),
        pair.now,
    )
    assert pair.log[1] == ["open first", "closed first", "open second"]
    assert pair.send(1, "second", "hello")
    chunks = [chunk for packet in pair.sent[1] for chunk in packets.chunks_of(packet)]
    assert packets.DATA not in [kind for kind, _, _ in chunks], "the new channel's messages wait for the reset"
    ours = pair.ends[1].association
    done = struct.pack("!LL", ours.resets.sequence, 1)
    pair.ends[1].receive(packets.packet(tag, packets.chunk(packets.RE_CONFIG, packets.parameter(16, done))), pair.now)
    chunks = [chunk for packet in pair.sent[1] for chunk in packets.chunks_of(packet)]
    assert [struct.unpack("!H", body[6:8])[0] for kind, _, body in chunks if kind == packets.DATA] == [0, 1]


def test_a_peer_without_resets_can_still_be_sent_to_after_a_close() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.ends[1].association.peer_resets = False
    pair.close_channel(1, "oai-events")
    pair.run(1)
    assert pair.ends[1].channels == []
    pair.open("next")
    assert pair.send(1, "next", "hello")


# ---- the end


def test_a_shutdown_is_answered_when_everything_is_acknowledged() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.run(1)
    ours, peer = pair.ends[1].association, pair.ends[0].association
    pair.drop = lambda side, packet: side == 1 and packet[12] == packets.DATA
    pair.send(1, "oai-events", "on its way")
    shutdown = packets.chunk(packets.SHUTDOWN, struct.pack("!L", peer.inbound.tsn))
    pair.ends[1].receive(packets.packet(ours.tag, shutdown), pair.now)
    assert not ours.closed
    pair.drop = lambda side, packet: False
    pair.until(lambda: pair.log[1][-1] == "closed oai-events", 5)
    assert packets.chunks_of(pair.sent[1][-1])[-1][0] in (packets.SHUTDOWN_ACK, packets.SACK)
    pair.run(1)
    assert ours.closed
    with pytest.raises(ChannelError, match="shut"):
        pair.send(1, "oai-events", "too late")


@pytest.mark.parametrize("reflected", [False, True])
def test_an_abort_closes_the_channels(reflected: bool) -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    ours = pair.ends[1].association
    tag = ours.peer_tag if reflected else ours.tag
    pair.ends[1].receive(packets.packet(tag, packets.chunk(packets.ABORT, b"", int(reflected))), pair.now)
    assert pair.log[1] == ["open oai-events", "closed oai-events"]
    with pytest.raises(ChannelError, match="aborted"):
        pair.send(1, "oai-events", "too late")


def test_an_end_that_is_closed_sends_an_abort_and_nothing_more() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.send(0, "oai-events", "x" * 50_000)
    pair.ends[0].close(pair.now)
    assert [kind for kind, _, _ in packets.chunks_of(pair.sent[0][-1])] == [packets.ABORT]
    before = len(pair.sent[0])
    pair.run(10)
    assert len(pair.sent[0]) == before
    assert pair.log[1][-1] == "closed oai-events"
    assert pair.ends[0].timeout is None
    assert pair.ends[1].timeout is None


# ---- another process goes on


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_an_older_checkpoint_goes_on_without_anything_twice(loss: float) -> None:
    pair = SctpNetwork(5, loss)
    pair.open("oai-events")
    pair.until(lambda: pair.settled)
    for number in range(5):
        pair.send(1, "oai-events", f"before {number}")
    written = pair.ends[1].export(pair.now)
    assert written is not None
    pair.run(3)
    for number in range(30):
        pair.send(1, "oai-events", f"unknown to the next {number}")
    pair.run(3)
    pair.move(1, written)
    for number in range(5):
        assert pair.send(1, "oai-events", f"after {number}")
    pair.until(lambda: pair.settled)
    texts = [payload for _, payload in pair.received[0]]
    assert texts[:5] == [f"before {number}" for number in range(5)]
    assert texts[-5:] == [f"after {number}" for number in range(5)]
    assert len(texts) == len(set(texts))
    pair.close_channel(1, "oai-events")
    pair.until(lambda: not pair.ends[0].channels)


def test_the_state_of_another_version_is_refused_by_name() -> None:
    written: dict[str, object] = {"plain": [], "outbound": {}}
    with pytest.raises(ValueError, match=r"version 1: this process reads version 2"):
        restore(Association(), written, 0.0)


def test_nothing_that_waits_for_its_turn_keeps_an_idle_association_awake() -> None:
    pair = SctpNetwork()
    pair.open("oai-events")
    pair.run(5)
    assert [end.timeout for end in pair.ends] == [None, None]
    assert ACK_DELAY <= 0.2
