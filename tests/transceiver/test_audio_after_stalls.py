"""After a mute with a clock that stands still, and after a stall of a process, both sides hear each other again."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import Call, StartCall, loudness

from antiphon.rtc.media import opus
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.rtc.rtp.rtcp import pack_report
from antiphon.schemas.audio import AudioFrame, FrameFlag

pytestmark = pytest.mark.virtual

LOUD = 4000


class Device:
    """A call's client that sends packets of its own making: its RTP clock stands still while it is muted."""

    def __init__(self, call: Call, marks: bool, reports: bool, loss: float) -> None:
        self.call, self.marks, self.reports, self.loss = call, marks, reports, loss
        self.rtp = call.peer.rtp
        self.lost = 0
        self._chance = random.Random(3)
        encoder, pcm = opus.Encoder(48000), tone(2.0, 48000)
        self._sounds = [encoder.encode(pcm[at : at + 1920]) for at in range(0, len(pcm), 1920)]
        call.peer.unplug_microphone()
        self._began = call.loop.time()

    async def speak(self, seconds: float) -> None:
        begin = self.call.loop.time()
        for number in range(round(seconds * 50)):
            packet = pack_rtp(
                111,
                self.marks and not number,
                self.rtp.sequence & 0xFFFF,
                self.rtp.timestamp & 0xFFFFFFFF,
                self.rtp.ssrc,
                self._sounds[number % 100],
            )
            self.rtp.sequence, self.rtp.timestamp = self.rtp.sequence + 1, self.rtp.timestamp + 960
            protected = self.call.peer.protect(packet)
            if self._chance.random() < self.loss:
                self.lost += 1
            else:
                self.call.peer.transmit(protected)
            await asyncio.sleep(begin + 0.02 * (number + 1) - self.call.loop.time())

    async def mute(self, seconds: float) -> None:
        until = self.call.loop.time() + seconds
        while (left := until - self.call.loop.time()) > 0.0001:
            if self.reports:
                now = self.call.loop.time()
                runs_on = round((now - self._began) * 48000) & 0xFFFFFFFF
                report = pack_report(self.rtp.ssrc, 1.8e9 + now, runs_on, 1, 1, b"device", None)
                self.call.peer.send_rtcp(report)
            await asyncio.sleep(min(1.0, left))


def real(frames: list[AudioFrame]) -> int:
    """Loud frames that were neither concealed nor made up."""
    kept = [frame for frame in frames if not frame.flags & (FrameFlag.SILENCE | FrameFlag.CONCEALED)]
    return sum(level > LOUD for level in loudness(kept))


SCHEDULES = {
    "8 s": [(5.0, 8.0), (4.0, 0.0)],
    "30 s": [(5.0, 30.0), (4.0, 0.0)],
    "two of 4.5 s": [(5.0, 4.5), (2.0, 4.5), (4.0, 0.0)],
    "push to talk": [*[(1.0, 1.0)] * 20, (2.0, 0.0)],
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("marks", "reports", "loss"),
    [(False, False, 0.0), (True, True, 0.0), (False, True, 0.02)],
    ids=["neither mark nor reports", "marks and reports", "2 % loss"],
)
@pytest.mark.parametrize("schedule", SCHEDULES)
async def test_a_caller_whose_clock_stood_still_over_a_mute_loses_no_word(
    start_call: StartCall, schedule: str, marks: bool, reports: bool, loss: float
) -> None:
    call = await start_call(channel=False)
    await asyncio.sleep(0.5)
    device = Device(call, marks, reports, loss)
    call.heard.clear()
    begin, spoken = call.loop.time(), 0.0
    for number, (speaks, pauses) in enumerate(SCHEDULES[schedule]):
        before = len(call.heard)
        at = call.loop.time()
        await device.speak(0.5)
        assert real(call.heard[before:]) >= 20, f"the caller was not heard within 500 ms of {at - begin:.1f} s"
        await device.speak(speaks - 0.5)
        spoken += speaks
        # On the bus the mute is as long as it was.
        await device.mute(pauses)
        assert len(call.heard) == pytest.approx((call.loop.time() - begin) * 50, abs=6 + 2 * number)
    await asyncio.sleep(0.2)
    # The first frame after a pause is weak.
    assert real(call.heard) >= spoken * 50 - device.lost - 2 * len(SCHEDULES[schedule])
    assert [frame.sequence for frame in call.heard] == list(
        range(call.heard[0].sequence, call.heard[0].sequence + len(call.heard))
    )
    first = call.heard[0].first_sample
    assert [frame.first_sample for frame in call.heard] == [first + 320 * n for n in range(len(call.heard))]


@pytest.mark.parametrize("seconds", [2.0, 7.0])
async def test_both_sides_hear_each_other_after_the_transceiver_stood_still(
    start_call: StartCall, seconds: float
) -> None:
    call = await start_call(channel=False)
    call.peer.speak(tone(40.0))
    for frame in speech(29.0):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(3)
    call.stop_process()
    await asyncio.sleep(seconds)
    heard, played = len(call.heard), len(call.peer.frames)
    call.continue_process()
    await asyncio.sleep(0.5)
    assert real(call.heard[heard:]) >= (seconds + 0.3) * 50, "what was said meanwhile"
    assert real(call.peer.frames[played:]) >= 20, "the agent is heard again"
    played = len(call.peer.frames)
    await asyncio.sleep(5)
    assert real(call.peer.frames[played:]) >= 245
    assert len(call.peer.frames) - played == pytest.approx(250, abs=3)
    assert call.peer.receiver.packets_late == 0


async def test_both_sides_hear_all_of_each_other_after_the_network_stood_still(start_call: StartCall) -> None:
    call = await start_call(channel=False)
    call.peer.speak(tone(40.0))
    for frame in speech(29.0):
        call.session.speak(frame, call.loop.time())
    await asyncio.sleep(3)
    call.uplink.stalls = call.downlink.stalls = [(call.loop.time(), call.loop.time() + 7)]
    await asyncio.sleep(6.9)
    heard, played = len(call.heard), len(call.peer.frames)
    await asyncio.sleep(0.6)
    assert real(call.heard[heard:]) >= 7.3 * 50
    assert real(call.peer.frames[played:]) >= 7.3 * 50
