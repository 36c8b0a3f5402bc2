"""What the page shows of a conversation: both transcripts, times, losses; and typing instead of speaking."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from support.browsers.page import CONVERSATION, connect, holds, state

pytestmark = pytest.mark.process


def test_both_sides_are_written_down_as_they_speak(ready: Page) -> None:
    connect(ready)
    ready.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    expect(ready.get_by_role("listitem")).to_have_text(
        ["YouCould you book me a table for Friday?", "ConciergeGladly. On Friday there is room at seven"]
    )
    expect(ready.get_by_role("status")).to_have_text("The agent is speaking. You can interrupt.")
    done = {"type": "response.output_audio_transcript.done", "item_id": "a1", "transcript": "At seven or at nine?"}
    ready.evaluate("events => fakePeer.say(...events)", [done, {"type": "output_audio_buffer.stopped"}])
    expect(ready.get_by_role("listitem").nth(1)).to_contain_text("At seven or at nine?")
    expect(ready.locator("#announcer")).to_have_text("Concierge: At seven or at nine?")
    assert state(ready) == "listening"
    assert [(item["role"], item["text"]) for item in ready.evaluate("antiphon.transcripts")] == [
        ("user", "Could you book me a table for Friday?"),
        ("assistant", "At seven or at nine?"),
    ]


def test_an_interrupted_answer_is_marked(ready: Page) -> None:
    connect(ready)
    ready.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    cancelled = {"type": "response.done", "response": {"status": "cancelled", "output": [{"id": "a1"}]}}
    ready.evaluate("events => fakePeer.say(...events)", [{"type": "output_audio_buffer.cleared"}, cancelled])
    expect(ready.locator("li.interrupted")).to_have_count(1)
    assert state(ready) == "listening"


def test_typing_takes_the_place_of_speech_and_interrupts(ready: Page) -> None:
    expect(ready.get_by_label("Type instead of speaking")).to_be_disabled()
    connect(ready)
    ready.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    ready.get_by_label("Type instead of speaking").fill("What time is it?")
    ready.keyboard.press("Enter")
    sent = ready.evaluate("fakePeer.channel.sent")
    assert [event["type"] for event in sent] == [
        "response.cancel",
        "output_audio_buffer.clear",
        "conversation.item.create",
        "response.create",
    ]
    assert sent[2]["item"]["content"] == [{"type": "input_text", "text": "What time is it?"}]
    expect(ready.get_by_label("Type instead of speaking")).to_have_value("")
    echoed = {
        "type": "conversation.item.added",
        "item": {
            "id": "server_1",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "What time is it?"}],
        },
    }
    ready.evaluate("event => fakePeer.say(event)", echoed)
    expect(ready.get_by_text("What time is it?")).to_have_count(1)


def test_text_from_the_other_side_is_text_and_never_markup(ready: Page) -> None:
    connect(ready)
    text = "<img src=x onerror=alert(1)><b>bold</b>"
    said = {"type": "response.output_audio_transcript.done", "item_id": "a1", "transcript": text}
    ready.evaluate("events => fakePeer.say(...events)", [{"type": "nonsense"}, said])
    expect(ready.get_by_role("listitem")).to_have_text(f"Concierge{text}")
    ready.evaluate("fakePeer.channel.dispatchEvent(new MessageEvent('message', {data: 'no json'}))")
    assert state(ready) == "listening"


def test_the_answer_time_runs_from_the_end_of_speech_to_the_first_sound(ready: Page) -> None:
    script = """async () => {
      const {AnswerClock} = await import('/static/levels.js');
      const clock = new AnswerClock(), took = [];
      for (let now = 0; now < 8000; now += 20) {
        const voice = (now > 1000 && now < 2000) || (now > 5000 && now < 6000);
        const agent = (now >= 2600 && now < 4000) || now >= 6900;
        const answer = clock.feed(now, voice ? 0.1 : 0.001, agent ? 0.05 : 0);
        if (answer !== null) took.push(answer);
      }
      return took;
    }"""
    assert ready.evaluate(script) == [620, 920]


def test_where_the_server_spent_its_time_is_shown(ready: Page) -> None:
    connect(ready)
    event = {
        "type": "antiphon.latency",
        "end_of_speech_to_first_audio_ms": 512.4,
        "end_of_turn_ms": 210.0,
        "stt_wait_ms": 90.2,
        "agent_ms": 5.0,
        "tts_first_ms": 120.0,
    }
    ready.evaluate("event => fakePeer.say(event)", event)
    expect(ready.locator("#latency")).to_contain_text(
        "took 512 ms: end of turn 210, understanding 90, answer 5, voice 120."
    )


def test_measured_times_and_losses_are_shown(ready: Page) -> None:
    connect(ready)
    ready.evaluate(
        """fakePeer.numbers = {
          in: {type: 'inbound-rtp', kind: 'audio', packetsReceived: 990, packetsLost: 10},
          out: {type: 'remote-inbound-rtp', kind: 'audio', packetsLost: 3},
          pair: {type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.042},
        }"""
    )
    expect(ready.locator("#lost")).to_have_text("1.0 %, 3 at the server")
    expect(ready.locator("#round-trip")).to_have_text("42 ms")
    ready.evaluate("fakePeer.volume.value = 0.5")  # the fake microphone beeps, then the agent sounds
    holds(ready, "antiphon.state === 'speaking'")
    ready.evaluate("fakePeer.volume.value = 0")
    holds(ready, "antiphon.state === 'listening'")


def test_both_sides_can_be_recorded_on_one_clock(ready: Page) -> None:
    connect(ready)
    ready.evaluate("fakePeer.volume.value = 0.5")
    ready.evaluate("async () => { await antiphon.recorder.start(); await new Promise(r => setTimeout(r, 700)); }")
    loudest = ready.evaluate(
        """async () => {
          const wav = Uint8Array.from(atob(await antiphon.recorder.stop()), c => c.charCodeAt(0));
          const audio = await new OfflineAudioContext(2, 1, 48000).decodeAudioData(wav.buffer);
          return [0, 1].map(side => Math.max(...audio.getChannelData(side)));
        }"""
    )
    assert loudest[1] > 0.3
    assert ready.evaluate("antiphon.recorder.stop()") is None
