"""A caller is heard whole, and within half a second, whatever its RTP timestamps and sequence numbers are."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.peers.odd_senders import BEGIN, TOC, Heard, OddSender, listen

from antiphon.rtc.media.jitter_buffer import STARVED_AFTER

pytestmark = pytest.mark.pure

HEARD_WITHIN = 0.5
"""Seconds from a packet's arrival to its frame."""


def check(sender: OddSender, heard: Heard, exactly: float = 0.05) -> None:
    """Everything that arrived was heard once, in order, in time, and the stream is as long as the call was."""
    arrived = [packet.number for packet in sender.packets if packet.number not in sender.lost]
    assert heard.numbers == sorted(set(arrived)), "not everything that arrived was heard, once and in order"
    arrivals = {packet.number: packet.arrives for packet in reversed(sender.packets)}
    stopped = sum(end - begin for begin, end in sender.stops)
    for number, at, _ in heard.decoded:
        ends = [end for begin, end in sender.stops if begin <= arrivals[number] < end]
        assert at - max([arrivals[number], *ends]) < HEARD_WITHIN, f"packet {number} was heard late"
    first = arrivals[heard.numbers[0]]
    surplus = heard.buffer.timeline.surplus / 48000
    length = heard.ticks / 48000
    # The last silence is made up after STARVED_AFTER; a frame's time is before its arrival.
    assert length - surplus == pytest.approx(heard.end - first, abs=exactly + STARVED_AFTER), (
        "the stream's length is wrong"
    )
    assert stopped >= 0


@pytest.mark.parametrize("marker_loss", [0, 1, 3], ids=["nothing lost", "one lost", "three lost"])
@pytest.mark.parametrize("clock_runs", [False, True], ids=["frozen", "running"])
@pytest.mark.parametrize("seconds", [0.15, 1, 3, 4.5, 8, 30, 600])
def test_a_caller_is_heard_after_a_mute_whatever_its_clock_did(
    seconds: float, clock_runs: bool, marker_loss: int
) -> None:
    sender = OddSender()
    sender.speak(5)
    sender.mute(seconds, clock_runs)
    if marker_loss:
        sender.lose(marker_loss)
    sender.speak(4)
    heard = listen(sender)
    check(sender, heard, exactly=0.02)
    assert heard.between(249, 250 + marker_loss) == pytest.approx(seconds + 0.02 * (1 + marker_loss), abs=0.045)
    assert heard.buffer.timeline.surplus < 2000, "a mute was taken for a stall"


@pytest.mark.parametrize("clock_runs", [False, True], ids=["frozen", "running"])
@pytest.mark.parametrize("loss", [0.0, 0.02])
@pytest.mark.parametrize(("pauses", "mute", "speech"), [(2, 4.5, 2), (20, 1.0, 2), (40, 0.3, 0.5)])
def test_many_mutes_add_up_to_nothing(pauses: int, mute: float, speech: float, loss: float, clock_runs: bool) -> None:
    sender, chance = OddSender(), random.Random(5)
    for _ in range(pauses):
        sender.speak(speech)
        sender.mute(mute, clock_runs)
    sender.speak(2)
    sender.lost = {packet.number for packet in sender.packets[1:] if chance.random() < loss}
    heard = listen(sender)
    check(sender, heard, exactly=0.05 + 0.02 * pauses * (loss > 0))
    assert heard.buffer.timeline.surplus <= pauses * 960, "mutes were taken for stalls"


@pytest.mark.long
@pytest.mark.parametrize("rate", [0, 8000, 16000, 24000, 44100, 47500, 48048, 50000, 90000, 96000, 480000])
@pytest.mark.parametrize("ms", TOC)
def test_a_clock_of_another_rate_changes_neither_length_nor_delay(ms: float, rate: int) -> None:
    sender = OddSender()
    sender.rate, sender.ms = rate, ms
    sender.speak(6)
    sender.mute(2, clock_runs=True)
    sender.speak(3)
    sender.lose(3)
    sender.speak(3)
    check(sender, listen(sender), exactly=0.17 + ms / 1000)


JUMPS: dict[str, Callable[[OddSender], None]] = {
    "hours ahead": lambda sender: setattr(sender, "timestamp", sender.timestamp + 48000 * 7200),
    "9 s ahead": lambda sender: setattr(sender, "timestamp", sender.timestamp + 48000 * 9),
    "half a second ahead": lambda sender: setattr(sender, "timestamp", sender.timestamp + 24000),
    "half a second back": lambda sender: setattr(sender, "timestamp", sender.timestamp - 24000),
    "9 s back": lambda sender: setattr(sender, "timestamp", sender.timestamp - 48000 * 9),
    "hours back": lambda sender: setattr(sender, "timestamp", sender.timestamp - 48000 * 7200),
    "half of the range": lambda sender: setattr(sender, "timestamp", sender.timestamp + 0x80000000),
    "to zero": lambda sender: setattr(sender, "timestamp", 0),
}
NUMBERS: dict[str, Callable[[OddSender], None]] = {
    "numbers go on": lambda sender: None,
    "numbers jump a little ahead": lambda sender: setattr(sender, "sequence", sender.sequence + 300),
    "numbers jump far": lambda sender: setattr(sender, "sequence", sender.sequence + 30000),
    "numbers start a little lower": lambda sender: setattr(sender, "sequence", sender.sequence - 300),
    "another source": lambda sender: sender.change_ssrc(7, sender.timestamp),
}


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("muted", [0.0, 0.06, 0.5, 8.0])
@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_is_set_anew_is_followed(jump: str, muted: float, numbers: str) -> None:
    sender = OddSender()
    sender.speak(2)
    sender.mute(muted)
    JUMPS[jump](sender)
    NUMBERS[numbers](sender)
    sender.speak(2)
    heard = listen(sender)
    check(sender, heard, exactly=0.06 + (0.22 if "lower" in numbers else 0))


@pytest.mark.parametrize("polls_first", [False, True])
@pytest.mark.parametrize("frozen", [False, True], ids=["a clock that runs", "a clock that stands still"])
@pytest.mark.parametrize("what", ["network", "process"])
@pytest.mark.parametrize("seconds", [0.3, 2, 4.9, 5.1, 7, 9.5])
def test_what_was_said_during_a_stall_is_heard_at_its_end(
    seconds: float, what: str, frozen: bool, polls_first: bool
) -> None:
    sender = OddSender()
    sender.speak(3)
    if what == "network":
        sender.stall(seconds)
    else:
        sender.stop_receiver(seconds)
    sender.speak(seconds / 3)
    sender.mute(seconds / 3, clock_runs=not frozen)
    sender.speak(seconds / 3 + 4)
    heard = listen(sender, polls_first)
    check(sender, heard, exactly=seconds if what == "process" else 0.1)
    assert heard.buffer.timeline.surplus <= (seconds + 0.045) * 48000


def test_a_timestamp_that_catches_up_one_packet_after_a_mute_adds_no_second_pause() -> None:
    sender = OddSender()
    sender.speak(2)
    sender.mute(8)
    sender.speak(0.02)
    sender.timestamp += 8 * 48000
    sender.speak(2)
    heard = listen(sender)
    check(sender, heard, exactly=0.02)
    assert heard.between(100, 102) == pytest.approx(0.04)


@pytest.mark.parametrize("ms", TOC)
def test_packets_of_every_length_are_played_without_silence_between_them(ms: float) -> None:
    sender = OddSender()
    sender.ms = ms
    sender.speak(10)
    heard = listen(sender, after=0.0)
    check(sender, heard)
    assert heard.longest_silence == 0
    assert heard.ticks == round(len(sender.packets) * ms * 48)


def test_a_sender_of_several_packets_at_a_time_adds_nothing() -> None:
    sender = OddSender()
    sender.speak(60)
    for packet in sender.packets:
        packet.arrives = BEGIN + 0.12 * (packet.number // 6 + 1)
    heard = listen(sender, after=0.0)
    check(sender, heard, exactly=0.3)
    assert heard.ticks / 48000 == pytest.approx(60, abs=1.5)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_mix_of_odd_senders_and_bad_networks_is_heard_whole_and_in_time(data: st.DataObject) -> None:
    sender = OddSender(data.draw(st.integers(0, 65535)), data.draw(st.integers(0, 0xFFFFFFFF)))
    stalled, slack = 0.0, 0.2
    for _ in range(data.draw(st.integers(1, 6))):
        sender.ms = data.draw(st.sampled_from(list(TOC)))
        sender.rate = data.draw(st.sampled_from([48000] * 6 + [0, 8000, 24000, 44100, 96000]))
        sender.speak(data.draw(st.floats(0.02, 3)))
        slack += 0.15 + sender.ms / 1000
        match data.draw(st.integers(0, 9)):
            case 0 | 1:
                sender.mute(data.draw(st.floats(0.01, 12)), data.draw(st.booleans()))
            case 2:
                sender.timestamp += data.draw(st.integers(-0x80000000, 0x7FFFFFFF))
            case 3:
                sender.timestamp += data.draw(st.integers(-480000, 480000))
            case 4:
                sender.lose(data.draw(st.integers(1, 4)))
            case 5:
                sender.swap()
            case 6:
                sender.double()
            case 7:
                sender.change_ssrc(data.draw(st.integers(0, 65535)), data.draw(st.integers(0, 0xFFFFFFFF)))
            case 8 if stalled < 6:
                stalled += (seconds := data.draw(st.floats(0.1, 3.5)))
                sender.stall(seconds)
                sender.speak(seconds)
            case 9:
                # Lower numbers may be stragglers for the first 200 ms; fewer of them could not be told apart.
                sender.sequence += data.draw(st.integers(-60000, -100) | st.integers(0, 60000))
                sender.speak(0.4)
                slack += 0.25
    sender.speak(1)
    heard = listen(sender)
    check(sender, heard, exactly=slack)
    assert heard.buffer.timeline.surplus <= (stalled + slack) * 48000, "more was taken for late than was"
