"""When speech of an agent that is not ahead leaves: a frame that comes late is late itself and delays no other."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.models.sounds import speech
from support.peers.session_call import Call

from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.media.live_lead import LEAD, TOLERATED

pytestmark = pytest.mark.virtual

TURN: float = 0.006
"""How often the call's wheel is looked at here, and a little."""


class TimedCall(Call):
    """A call that notes when packets of speech left."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[tuple[float, int]] = []
        """(when, RTP timestamp in frames since the first)."""

    def speak_at(self, at: float, frame: AudioFrame) -> None:
        def speak() -> None:
            self.session.speak(frame, self.loop.time())

        self.loop.call_at(max(at, self.loop.time()), speak)

    def datagram(self, path: Path, data: bytes) -> None:
        if 127 < data[0] < 192 and not 64 <= data[1] & 0x7F < 96:
            timestamp = int.from_bytes(data[4:8], "big")
            self.left.append((self.loop.time(), timestamp))
        super().datagram(path, data)

    def lateness(self) -> list[float]:
        """Of each packet against the schedule that the first one began."""
        began, first = self.left[0]
        return [at - began - ((timestamp - first) & 0xFFFFFFFF) / 48000 for at, timestamp in self.left]


@pytest.mark.parametrize(("late_ms", "frames"), [(4, 1), (8, 1), (19, 1), (25, 1), (25, 2), (60, 3), (80, 4)])
async def test_a_frame_that_misses_its_slot_delays_no_other(late_ms: int, frames: int) -> None:
    call = TimedCall()
    await call.connect(channel=False)
    began = call.loop.time()
    for number, frame in enumerate(speech(3.0)):
        due = began + number * 0.020
        held_up = 50 <= number < 50 + frames
        at = began + 50 * 0.020 + late_ms / 1000 if held_up else due
        call.speak_at(at, frame)
    await asyncio.sleep(3.5)
    lateness = call.lateness()
    assert len(lateness) == 150
    assert all(late <= TURN for late in lateness[:50])
    for number in range(50, 50 + frames):  # each leaves when it has come, not a slot later
        assert lateness[number] <= max(0.0, late_ms / 1000 - (number - 50) * 0.020) + TURN
    assert all(late <= TURN for late in lateness[50 + frames :])
    await call.stop()


@pytest.mark.parametrize("stall_ms", [0, 95], ids=["its first frame is late", "and later all stand still for a moment"])
@pytest.mark.parametrize("late_ms", [6, 12, 19])
async def test_frames_of_a_live_agent_do_not_wait_for_long(late_ms: int, stall_ms: int) -> None:
    call = TimedCall()
    await call.connect(channel=False)
    began, chance = call.loop.time(), random.Random(late_ms)
    came = []
    for number, frame in enumerate(speech(6.0)):
        jitter = late_ms / 1000 if not number else chance.random() * 0.004
        at = began + number * 0.020 + jitter
        if 100 <= number < 105:
            at = max(at, began + 2.0 + stall_ms / 1000)
        came.append(at)
        call.speak_at(at, frame)
    await asyncio.sleep(6.5)
    assert len(call.left) == len(came)
    waited = [left - at for (left, _), at in zip(call.left, came, strict=True)]
    settled = waited[25:100] + waited[135:]
    assert max(settled) <= LEAD + TOLERATED + TURN
    assert max(waited) <= 0.020 + TURN
    await call.stop()


async def test_a_reply_that_is_ahead_keeps_its_pace() -> None:
    call = TimedCall()
    await call.connect(channel=False)
    frames, began = speech(4.0), call.loop.time()
    for number, frame in enumerate(frames):  # a tenth of a second ahead from its third frame on
        call.speak_at(began + max(0.0, number * 0.020 - (0.1 if number > 2 else 0.0)), frame)
    await asyncio.sleep(5)
    assert len(call.left) == 200
    assert all(abs(late) <= TURN for late in call.lateness())
    await call.stop()


async def test_an_agent_slower_than_speech_gets_no_burst_of_what_it_owes() -> None:
    call = TimedCall()
    await call.connect(channel=False)
    frames, began = speech(4.0), call.loop.time()
    for number, frame in enumerate(frames):  # the first hundred at three quarters of the pace, the others at once
        at = began + min(number, 100) * 0.0267
        call.speak_at(at, frame)
    await asyncio.sleep(6)
    assert len(call.left) == 200
    last_paced = call.left[100][0]
    assert sum(at < last_paced + 0.015 for at, _ in call.left[100:]) <= 7
    await call.stop()


async def test_a_reply_after_a_pause_begins_anew() -> None:
    call = TimedCall()
    await call.connect(channel=False)
    frames = speech(1.0)
    for frame in frames[:25]:
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(2)
    for frame in frames[25:]:
        call.session.speak(frame, call.loop.time())
    began = call.loop.time()
    await asyncio.sleep(1)
    assert sum(at <= began + 0.01 for at, _ in call.left[25:]) == 1  # nothing is owed over a pause
    assert max(map(abs, call.lateness())) <= 0.011
    await call.stop()
