"""Calls that outlive their transceiver: killed or ended, another process goes on with them. Real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from support.several_transceivers import Several, several_transceivers
from support.sounds import speech, tone
from support.transceiver_peer import CarriedPeer
from support.transceiver_process import Line

from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import encode


@pytest.fixture
async def several(nats_url: str) -> AsyncIterator[Several]:
    """No transceiver yet."""
    async with several_transceivers(nats_url) as running:
        yield running


async def talk_and_write(several: Several, peer: CarriedPeer, line: Line, word: str) -> None:
    """Audio and messages pass both ways."""
    said, heard, data, texts = len(line.frames), len(peer.frames), len(line.data), len(peer.texts)
    generation = max((frame.generation for frame in line.frames), default=0)
    peer.speak(tone(0.5))
    await several.say(line, speech(0.5, generation=generation))
    peer.send_text(f"up {word}")
    down = messages.DataMessage.of("oai-events", f"down {word}")
    await several.client.publish(subjects.data_out(line.session_id), encode(down))

    def loud(frames: list) -> bool:  # type: ignore[type-arg]
        return any(max(memoryview(frame.pcm).cast("h")) > 4000 for frame in frames)

    await several.until(lambda: loud(line.frames[said:]), f"the caller is heard {word}")
    await several.until(lambda: loud(peer.frames[heard:]), f"the agent is heard {word}")
    await several.until(lambda: [each.text for each in line.data[data:]] == [f"up {word}"], f"a message up {word}")
    await several.until(lambda: peer.texts[texts:] == [f"down {word}"], f"a message down {word}")


def taken_over(line: Line) -> list[messages.TakenOver]:
    return [event for event in line.events if isinstance(event, messages.TakenOver)]


async def test_a_killed_transceiver_s_call_goes_on_in_another_process(several: Several) -> None:
    first = await several.spawn()
    second = await several.spawn()
    peer, line = await several.call_on(first.slot)
    await talk_and_write(several, peer, line, "before")
    await asyncio.sleep(0.2)  # the last acknowledgements
    identity = (first.cluster, first.slot, first.epoch)
    several.processes[0].kill()
    began = time.monotonic()
    await several.until(lambda: bool(taken_over(line)), "it is told that another process has the session")
    print(f"taken over {(time.monotonic() - began) * 1000:.0f} ms after the kill")
    await several.until(lambda: several.seats[identity].holder == second.holder, "the seat is the other's")
    await talk_and_write(several, peer, line, "after")
    await talk_and_write(several, peer, line, "once more")
    assert not taken_over(line)[0].handed_over
    assert line.ended is None
    assert peer.texts == ["down before", "down after", "down once more"]
    assert [each.text for each in line.data] == ["up before", "up after", "up once more"]
    numbers = [frame.sequence for frame in line.frames]
    assert numbers == sorted(set(numbers)), "no frame's number comes twice"
    positions = [frame.first_sample for frame in line.frames]
    assert positions == sorted(set(positions))
    assert (await several.control(line, messages.HangUp())).ok
    await several.until(lambda: line.ended == "hang_up" and peer.closed.is_set(), "both are told of the end")
