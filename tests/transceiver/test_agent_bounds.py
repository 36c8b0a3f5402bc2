"""What an agent may ask of its session: numbers and rates beyond that are refused, and cost no other session."""

from __future__ import annotations

import pytest
from support.models.sounds import speech
from support.processes.transceiver_process import Bench, Line

from antiphon.runtime.owned_calls.agent_bounds import CONTROLS, ERRORS, MESSAGES
from antiphon.runtime.owned_calls.playout_queue import MAX_AHEAD
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame
from antiphon.schemas.messages import encode

pytestmark = pytest.mark.process


def errors(line: Line) -> list[str]:
    return [event.message for event in line.events if isinstance(event, messages.SessionError)]


async def is_played(bench: Bench, line: Line, frames: list[AudioFrame]) -> None:
    """The agent's speech is played to its end."""
    ended = line.states().count("ended")
    await bench.say(line, frames)
    await bench.until(lambda: line.states().count("ended") > ended, "the speech is played")


async def test_no_generation_silences_an_agent_for_good(bench: Bench) -> None:
    _, line = await bench.call()
    for absurd in (1 << 40, MAX_AHEAD + 1, 1 << 64, 10**400):
        reply = await bench.control(line, messages.Flush(generation=absurd))
        assert not reply.ok
        assert f"the highest that session {line.session_id} takes now is {MAX_AHEAD}" in reply.message
        assert len(reply.message) < 300
    far = speech(0.1, generation=1 << 40)
    await bench.client.publish(subjects.audio_out("echo", line.session_id), pack_frame(far[0]))
    await bench.until(lambda: any("an audio frame has generation" in text for text in errors(line)), "it is told")
    await is_played(bench, line, speech(0.2, generation=1))
    generation = 1
    for _ in range(3):  # takeovers of the agent: each may go so far, again and again
        generation += MAX_AHEAD
        assert (await bench.control(line, messages.Flush(generation=generation))).ok
    await is_played(bench, line, speech(0.2, generation=generation))
    assert line.ended is None


async def test_requests_beyond_the_rate_are_refused_and_a_hang_up_never_is(bench: Bench) -> None:
    _, line = await bench.call()
    requests = (messages.Pause(), messages.Resume(), messages.Flush(generation=0))
    refused = 0
    for number in range(CONTROLS[1] + 300):
        reply = await bench.control(line, requests[number % 3])
        refused += not reply.ok
    assert refused > 0
    assert (await bench.control(line, messages.HangUp())).ok
    await bench.until(lambda: line.ended == "hang_up", "the call ends")


async def test_messages_and_mistakes_beyond_the_rate_are_dropped_and_told_a_few_times(bench: Bench) -> None:
    _, line = await bench.call()
    _, neighbour = await bench.call()
    message = encode(messages.DataMessage.of("oai-events", "{}"))
    for _ in range(4 * MESSAGES[1]):
        await bench.client.publish(subjects.data_out("echo", line.session_id), message)
        await bench.client.publish(subjects.audio_out("echo", line.session_id), b"\xc1")
    await is_played(bench, neighbour, speech(0.2))
    assert 0 < len(errors(line)) <= 3 * ERRORS[1] + 30
    await is_played(bench, line, speech(0.2))
    assert line.ended is None
