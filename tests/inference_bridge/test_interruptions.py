"""What makes the agent stop, what does not, and when a turn ends: a real bridge process, a caller in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nats.aio.client import Client
from support.models.sounds import cough, keyboard, music
from support.processes.bridge import Samples, Speak, StartBridge, agent_is_there

from antiphon.inference_bridge.turns.backchannel import is_backchannel
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = [pytest.mark.process, pytest.mark.models]

TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
ROOM: dict[str, Callable[[], Samples]] = {"keyboard": keyboard, "cough": cough, "music": music}
LONG = "Help! What can you do?"


def transcript(done: dict[str, Any]) -> str:
    return str(done["response"]["output"][0]["content"][0]["transcript"])


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * 16000), dtype=np.int16)


def vad(**settings: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"audio": {"input": {"turn_detection": settings or None}}}}


async def test_a_sound_without_words_holds_the_speech_and_it_goes_on_at_the_very_sample(
    quiet_bridge: Client, speak: Speak
) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.say(await asyncio.to_thread(speak, LONG))
        await call.until(lambda: len(call.played) > 24000 * 2)
        await call.say(await asyncio.to_thread(speak, "Ah."))
        await call.until(lambda: len(call.resume_times) > 0, timeout=40)
        assert len(call.pause_times) == 1
        done = await call.wait_for("response.done", timeout=40)
        assert done["response"]["status"] == "completed"
        assert not call.flushes
        assert call.of_type("antiphon.false_interruption")
        sent = b"".join(frame.pcm for frame in call.frames)
        assert bytes(call.played) == sent, "not a sample was lost or said twice"


@pytest.mark.parametrize(
    "sound",
    [
        "cough",
        "Mhm.",
        *(pytest.param(each, marks=pytest.mark.nightly) for each in ("keyboard", "music", "Uh-huh.", "Mm-hmm.")),
    ],
)
async def test_noises_of_a_room_cost_no_sample_and_words_after_them_still_interrupt(
    quiet_bridge: Client, speak: Speak, sound: str
) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.say(await asyncio.to_thread(speak, LONG))
        await call.until(lambda: len(call.played) > 24000)
        await call.play(ROOM[sound]() if sound in ROOM else speak(sound))
        await call.quiet(1)
        transcripts = [event["transcript"] for event in call.of_type(TRANSCRIBED)[1:]]
        if sound not in ROOM and not all(is_backchannel(text, False) for text in transcripts):
            # a hum has no spelling: where the recogniser writes words ("Ah, hello."), to stop for them is right
            await call.until(lambda: len(call.flushes) == 1)
            return
        assert not call.flushes, transcripts
        await call.until(lambda: len(call.resume_times) == len(call.pause_times), timeout=40)
        held = len(call.played)
        await call.until(lambda: len(call.played) > held + 24000)
        assert not call.flushes
        sent = b"".join(frame.pcm for frame in call.frames)
        assert sent.startswith(bytes(call.played)), "it goes on at the very sample"
        assert len(call.of_type("response.created")) == 1

        await call.say(await asyncio.to_thread(speak, "Stop, what time is it right now?"))
        cancelled = await call.wait_for("response.done", timeout=40)
        assert cancelled["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert len(call.flushes) == 1


async def test_a_sign_of_listening_does_not_interrupt(quiet_bridge: Client, speak: Speak) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.say(await asyncio.to_thread(speak, LONG))
        await call.until(lambda: len(call.played) > 24000)
        await call.say(await asyncio.to_thread(speak, "Okay."))
        await call.wait_for(TRANSCRIBED, 2, timeout=40)
        done = await call.wait_for("response.done", timeout=40)
        assert done["response"]["status"] == "completed", [e["transcript"] for e in call.of_type(TRANSCRIBED)]
        assert len(call.of_type("response.created")) == 1, "an okay gets no answer"
        assert not call.flushes


async def test_from_the_onset_of_speech_to_the_order_of_silence_is_below_a_quarter_of_a_second(
    quiet_bridge: Client, speak: Speak
) -> None:
    """At the transceiver; what the client's own buffer holds comes on top. A busy machine may need a second try."""
    waits: list[float] = []
    for _ in range(3):
        async with FakeTransceiver(quiet_bridge, "concierge") as call:
            await call.say(await asyncio.to_thread(speak, LONG))
            await call.until(lambda call=call: len(call.played) > 24000)  # type: ignore[misc]
            await call.say(await asyncio.to_thread(speak, "Stop talking now please."))
            await call.until(lambda call=call: bool(call.pause_times))  # type: ignore[misc]
            waits.append(call.pause_times[0] - call.speech_begin)
            if waits[-1] < 0.25:
                break
    assert min(waits) < 0.25


async def test_where_callers_may_not_interrupt_they_are_answered_afterwards(quiet_bridge: Client, speak: Speak) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.send(vad(type="server_vad", interrupt_response=False))
        await call.wait_for("session.updated")
        await call.say(await asyncio.to_thread(speak, LONG))
        await call.until(lambda: len(call.played) > 24000)
        await call.say(await asyncio.to_thread(speak, "What time is it right now?"))
        first = await call.wait_for("response.done", timeout=40)
        assert first["response"]["status"] == "completed"
        assert "it is" in transcript(await call.wait_for("response.done", 2, timeout=40))
        assert not call.pause_times
        assert not call.flushes


async def test_without_turn_detection_the_client_says_when_it_is_over(quiet_bridge: Client, speak: Speak) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.send(vad())
        updated = await call.wait_for("session.updated")
        assert updated["session"]["audio"]["input"]["turn_detection"] is None
        await call.send({"type": "input_audio_buffer.clear"})
        await call.wait_for("input_audio_buffer.cleared")
        await call.send({"type": "input_audio_buffer.commit", "event_id": "too_soon"})
        assert (await call.wait_for("error"))["error"]["code"] == "input_audio_buffer_commit_empty"
        await call.say(await asyncio.to_thread(speak, "What have I booked?"))
        await call.quiet(0.3)
        assert not call.of_type("input_audio_buffer.speech_started")
        await call.send({"type": "input_audio_buffer.commit"})
        committed = await call.wait_for("input_audio_buffer.committed")
        await call.wait_for(TRANSCRIBED)
        assert not call.of_type("response.created"), "the client has not asked for an answer"
        await call.send({"type": "response.create"})
        assert "no appointment" in transcript(await call.wait_for("response.done", timeout=40)).lower()
        assert committed["item_id"] == call.of_type("conversation.item.added")[0]["item"]["id"]


async def test_a_turn_may_be_transcribed_without_being_answered(quiet_bridge: Client, speak: Speak) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.send(vad(type="server_vad", create_response=False))
        await call.wait_for("session.updated")
        await call.say(await asyncio.to_thread(speak, "What time is it?"))
        await call.wait_for(TRANSCRIBED)
        assert not call.of_type("response.created")
        await call.send({"type": "response.create", "response": {"output_modalities": ["text"]}})
        done = await call.wait_for("response.done")
        assert "it is" in done["response"]["output"][0]["content"][0]["text"]
        assert not call.frames


async def test_semantic_detection_waits_for_the_end_of_a_sentence(quiet_bridge: Client, speak: Speak) -> None:
    begin, rest = speak("Please cancel my appointment and"), speak("then tell me what time it is.")
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.send(vad(type="semantic_vad", eagerness="medium"))
        await call.wait_for("session.updated")
        await call.say(begin)
        await call.quiet(1.5)
        assert not call.of_type("input_audio_buffer.committed"), [e["transcript"] for e in call.of_type(TRANSCRIBED)]
        await call.say(rest)
        await call.wait_for("response.done", timeout=60)
        (transcribed,) = call.of_type(TRANSCRIBED)
        assert "cancel" in transcribed["transcript"]
        assert "time" in transcribed["transcript"]


async def test_a_number_in_groups_with_pauses_of_a_second_is_one_turn(
    start_bridge: StartBridge, bus_client: Client, speak: Speak
) -> None:
    start_bridge(greeting="none", turn_silence_ms="")
    await agent_is_there(bus_client, "concierge")
    parts = (speak("My number is five five five,"), speak("zero one,"), speak("two three."))
    async with FakeTransceiver(bus_client, "concierge") as call:
        await call.say(np.concatenate((parts[0], silence(0.9), parts[1], silence(1.2), parts[2])))
        assert not call.of_type("response.created"), "it was answered in the middle"
        await call.wait_for("response.created")
        assert len(call.of_type("input_audio_buffer.committed")) == 1
