"""The core of a call over WebSocket, in time of its own: audio in, speech out, what counts as played."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from support.websocket_call import CREATED, MANUAL, PART, Call, realtime_call, samples, tone

from antiphon.schemas import messages
from antiphon.schemas.audio import FrameFlag
from antiphon.signaling.websocket_calls.appended_audio import MAX_APPEND_BYTES
from antiphon.signaling.websocket_calls.input_audio import SPEED
from antiphon.signaling.websocket_calls.output_audio import AHEAD_SECONDS

pytestmark = pytest.mark.pure

# ---- what the client says --------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("size", [1, 7, 960, 961, 4800, 48000])
def test_appends_of_any_size_become_the_same_frames_of_20_ms(size: int, rate: int) -> None:
    call, audio = realtime_call(rate=rate, session=MANUAL), tone(0.11)
    for first in range(0, len(audio), size):
        call.run(call.append(audio[first : first + size]))
    call.send("input_audio_buffer.commit")
    call.run(0.3)
    frames = call.frames
    assert len(frames) == 6
    assert {len(frame.pcm) for frame in frames} == {rate // 50 * 2}
    assert [frame.sequence for frame in frames] == list(range(6))
    assert [frame.first_sample for frame in frames] == [n * rate // 50 for n in range(6)]
    whole = realtime_call(rate=rate)
    whole.append(audio)
    whole.run(0.1)
    assert samples(frames)[: rate // 10] == samples(whole.frames)[: rate // 10]


def test_a_whole_file_at_once_is_passed_on_faster_than_real_time_and_not_all_at_once() -> None:
    call = realtime_call()
    call.append(tone(10))
    call.poll()
    assert len(call.frames) < 50
    call.run(0.5)
    assert 0.4 * SPEED <= len(call.frames) / 50 <= 0.5 * SPEED + 0.6
    call.run(10 / SPEED)
    assert len([frame for frame in call.frames if not frame.flags]) == 500
    assert call.core.waiting_bytes == 0


def test_a_commit_waits_until_the_agent_has_all_audio_before_it_and_what_follows_waits_behind_it() -> None:
    call = realtime_call(session=MANUAL)
    call.append(tone(5.007))
    call.send("input_audio_buffer.commit")
    call.send("response.create")
    call.append(tone(0.1))
    call.run(5)
    kinds = [each if isinstance(each, str) else "frame" for each in call.to_agent]
    assert kinds == ["frame"] * 251 + ["input_audio_buffer.commit", "response.create"] + ["frame"] * 5


def test_without_audio_events_pass_at_once() -> None:
    call = realtime_call()
    call.send("conversation.item.create", item={})
    call.send("response.create")
    call.poll()
    assert call.to_agent == ["conversation.item.create", "response.create"]


@pytest.mark.parametrize("kind", ["response.cancel", "output_audio_buffer.clear", "conversation.item.truncate"])
def test_what_stops_the_agent_does_not_wait_behind_audio(kind: str) -> None:
    call = realtime_call()
    call.append(bytes(60 * 48000))
    call.send(kind)
    assert call.to_agent == [kind]


def test_a_clear_forgets_the_audio_since_the_last_commit_alone() -> None:
    call = realtime_call(session={"turn_detection": None})
    call.append(tone(2))
    call.send("input_audio_buffer.commit")
    call.append(bytes(60 * 48000))
    call.send("input_audio_buffer.clear")
    call.append(tone(1))
    call.run(5)
    kinds = [each if isinstance(each, str) else "frame" for each in call.to_agent]
    assert kinds[:101] == ["frame"] * 100 + ["input_audio_buffer.commit"]
    assert kinds[101:] == ["input_audio_buffer.clear"] + ["frame"] * 50


def test_silence_is_made_up_when_the_client_pauses_so_that_turns_end() -> None:
    call = realtime_call()
    for _ in range(10):
        call.append(tone(0.1))
        call.run(0.1)
    assert not [frame for frame in call.frames if frame.flags & FrameFlag.SILENCE]
    call.run(2)
    silent = [frame for frame in call.frames if frame.flags & FrameFlag.SILENCE]
    assert 75 <= len(silent) <= 100
    call.run(60)
    assert len(call.frames) < 50 + 520  # and not for ever


@pytest.mark.parametrize("chunk", [0.02, 0.1, 0.5, 1.0, 2.0])
def test_chunks_in_real_time_are_a_stream_without_silence_in_it(chunk: float) -> None:
    call = realtime_call()
    for _ in range(round(6 / chunk)):
        call.append(tone(chunk))
        call.run(chunk)
    assert not [frame for frame in call.frames if frame.flags]


def test_where_the_client_ends_the_turns_no_silence_is_added_to_its_audio() -> None:
    call = realtime_call()
    call.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    call.append(tone(0.5))
    call.run(5)
    assert len(call.frames) == 25


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"audio": "no base64!"}, "invalid_value"),
        ({"audio": "AAA"}, "invalid_value"),
        ({"audio": 7}, "invalid_type"),
        ({"audio": None}, "missing_required_parameter"),
        ({}, "missing_required_parameter"),
        ({"audio": base64.b64encode(bytes(MAX_APPEND_BYTES + 2)).decode()}, "invalid_value"),
    ],
)
def test_audio_that_can_t_be_used_is_an_error_that_names_its_event(fields: dict[str, Any], code: str) -> None:
    call = realtime_call()
    call.send("input_audio_buffer.append", event_id="mine", **fields)
    assert call.errors() == [(code, "mine")]
    call.run(1)
    assert call.frames == []


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "[]", '{"type": 3}', '"text"', "\x00", "1e999"])
def test_a_message_that_is_no_event_is_an_error_and_ends_nothing(text: str) -> None:
    call = realtime_call()
    call.core.receive(text, call.now)
    assert len(call.errors()) == 1
    assert call.core.ended is None
    assert call.to_agent == []


def test_an_event_too_long_for_the_agent_is_an_error() -> None:
    call = realtime_call()
    call.send("session.update", event_id="e", session={"instructions": "x" * 300_000})
    assert call.errors() == [("event_too_large", "e")]


def test_a_client_that_sends_events_without_end_is_read_more_slowly() -> None:
    call = realtime_call()
    waits = [call.append(b"\0\0") for _ in range(1500)]
    assert waits[0] == 0
    assert waits[-1] > 0.5


def test_events_of_20_mb_without_sense_are_read_more_slowly_too() -> None:
    call = realtime_call()
    waits = [call.core.receive("x" * 20_000_000, call.now) for _ in range(8)]
    assert waits[0] == 0
    assert waits[-1] > 0.5
    assert call.core.ended is None


# ---- formats -----------------------------------------------------------------------------------------


FORMS: list[dict[str, Any]] = [
    {"audio": {side: {"format": {"type": "audio/pcmu"}} for side in ("input", "output")}},
    {"audio": {side: {"format": {"type": "audio/pcmu", "rate": 8000}} for side in ("input", "output")}},
    {"audio": {side: {"format": "g711_ulaw"} for side in ("input", "output")}},
    {"input_audio_format": "g711_ulaw", "output_audio_format": "g711_ulaw"},
]


@pytest.mark.parametrize("session", FORMS)
def test_g711_in_all_ways_to_say_so_goes_in_and_comes_out(session: dict[str, Any]) -> None:
    call = realtime_call()
    call.send("session.update", session=session)
    call.append(bytes(8000))  # code 0 is the lowest sample
    call.agent_says(PART)
    call.speak(1)
    call.run(1.5)
    assert len([frame for frame in call.frames if not frame.flags]) == 50
    assert min(samples(call.frames)) < -30000
    assert len(call.deltas()) == 8000


def test_the_format_changes_between_two_appends_and_two_replies() -> None:
    call = realtime_call()
    call.append(tone(0.5))
    call.send("session.update", session=FORMS[3])
    call.append(b"\xff" * 4000)
    call.agent_says(PART)
    call.speak(1)
    call.run(1)
    assert len([frame for frame in call.frames if not frame.flags]) == 50
    assert len(call.deltas()) == 8000
    call.send("session.update", session={"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}})
    call.agent_says({**PART, "item_id": "item_2"})
    call.speak(1, generation=2)
    call.run(1)
    assert len(call.deltas()) == 8000 + 48000


@pytest.mark.parametrize("format", [{"type": "audio/pcm", "rate": 16000}, {"type": "audio/opus"}, "mp3", 7, None, {}])
def test_a_format_that_there_is_not_changes_nothing_here_and_is_the_agent_s_to_refuse(format: Any) -> None:
    call = realtime_call()
    call.send("session.update", session={"audio": {"input": {"format": format}}})
    call.append(tone(0.2))
    call.run(0.2)
    assert len(call.frames) == 10
    assert call.to_agent[0] == "session.update"


def test_a_format_that_a_secret_has_fixed_stays() -> None:
    call = realtime_call(session=FORMS[0], locked=("audio.input.format", "audio.output.format"))
    call.send("session.update", session={"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}})
    call.append(b"\xff" * 8000)
    call.run(0.5)
    assert len(call.frames) == 50


def test_the_session_that_the_agent_shows_has_the_formats_in_force() -> None:
    call = Call(session=FORMS[3])
    call.agent_says(CREATED)
    shown = call.of("session.created")[0]["session"]["audio"]
    assert shown["input"]["format"] == shown["output"]["format"] == {"type": "audio/pcmu"}
    response = {"id": "resp_1", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "joe"}}}
    call.agent_says({"type": "response.created", "response": response})
    output = call.of("response.created")[0]["response"]["audio"]["output"]
    assert output == {"format": {"type": "audio/pcmu"}, "voice": "joe"}


# ---- what the agent says -------------------------------------------------------------------------------


def test_speech_leaves_at_most_five_seconds_ahead_and_all_of_it() -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(12)
    began = call.now
    for _ in range(24):
        call.run(0.5)
        assert len(call.deltas()) / 48000 <= call.now - began + AHEAD_SECONDS
        assert len(call.deltas()) / 48000 >= min(12, call.now - began + AHEAD_SECONDS - 0.7)
    assert len(call.deltas()) == 12 * 48000
    assert {(each["response_id"], each["item_id"]) for each in call.of("response.output_audio.delta")} == {
        ("resp_1", "item_1")
    }


def test_the_first_speech_leaves_at_once_and_what_comes_together_leaves_together() -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(0.4)
    call.poll()
    assert [len(base64.b64decode(each["delta"])) for each in call.of("response.output_audio.delta")] == [960 * 20]


def test_the_agent_is_told_what_was_played_by_the_clock() -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(1)
    call.run(0.55)
    playouts = call.reported(messages.Playout)
    assert [each.state for each in playouts[:2]] == ["started", "playing"]
    assert playouts[-1].played_samples <= 0.57 * 24000
    call.run(1)
    last = call.reported(messages.Playout)[-1]
    assert (last.state, last.played_samples, last.queued_ms) == ("ended", 24000, 0)


def test_a_flush_says_what_was_played_and_nothing_older_leaves() -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(10)
    call.run(2)
    call.core.control(messages.Flush(generation=2), call.now)
    (flushed,) = call.reported(messages.Flushed)
    assert (flushed.generation, flushed.rate) == (1, 24000)
    assert abs(flushed.played_samples / 24000 - 2) < 0.05
    before = len(call.deltas())
    call.speak(1, generation=1)
    call.run(2)
    assert len(call.deltas()) == before
    call.agent_says({**PART, "item_id": "item_2"})
    call.speak(1, generation=2)
    call.poll()
    assert call.of("response.output_audio.delta")[-1]["item_id"] == "item_2"


@pytest.mark.parametrize(("says", "played"), [(700, 700), (0, 0), (3000, 3000), (60_000, 7000)])
def test_a_truncation_says_what_was_played_instead_of_the_clock(says: int, played: int) -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(10)
    call.run(2)
    call.send("conversation.item.truncate", item_id="item_1", content_index=0, audio_end_ms=says)
    assert call.to_agent == ["conversation.item.truncate"]
    before = len(call.deltas())
    call.run(0.2)
    call.core.control(messages.Flush(generation=2), call.now)
    (flushed,) = call.reported(messages.Flushed)
    assert abs(flushed.played_samples / 24 - played) < 150
    assert len(call.deltas()) == before


@pytest.mark.parametrize(
    "fields", [{}, {"item_id": "other", "audio_end_ms": 5}, {"item_id": "item_1", "audio_end_ms": -1}]
)
def test_a_truncation_of_another_item_or_without_sense_leaves_the_speech_alone(fields: dict[str, Any]) -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(3)
    call.run(1)
    call.send("conversation.item.truncate", **fields)
    call.run(3)
    assert len(call.deltas()) == 3 * 48000


def test_the_client_s_clear_stops_the_speech_and_an_agent_that_does_not_flush_has_ended() -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(3)
    call.run(1)
    call.send("output_audio_buffer.clear")
    sent = len(call.deltas())
    call.run(2)
    assert len(call.deltas()) == sent
    last = call.reported(messages.Playout)[-1]
    assert last.state == "ended"
    assert abs(last.played_samples / 24000 - 1) < 0.05


def test_a_pause_holds_what_has_not_left() -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(10)
    call.run(1)
    call.core.control(messages.Pause(), call.now)
    sent = len(call.deltas())
    call.run(8)
    assert len(call.deltas()) == sent
    assert "ended" not in {each.state for each in call.reported(messages.Playout)}
    call.core.control(messages.Resume(), call.now)
    call.run(10)
    assert len(call.deltas()) == 10 * 48000
    assert call.reported(messages.Playout)[-1].state == "ended"


def test_more_speech_than_30_s_is_reported_and_dropped() -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(40)
    assert call.reported(messages.PlayoutOverflow)
    call.run(60)
    assert len(call.deltas()) <= 31 * 48000


def test_speech_waits_for_the_part_that_it_belongs_to() -> None:
    call = realtime_call()
    call.speak(1)
    call.run(0.1)
    assert not call.deltas()
    call.agent_says(PART)
    call.poll()
    assert call.of("response.output_audio.delta")[0]["item_id"] == "item_1"
    assert not call.of("response.created")


def test_the_voice_of_an_agent_that_knows_no_protocol_gets_responses_of_its_own() -> None:
    call = Call()
    call.send("session.update", session={"type": "realtime"})
    call.run(2.5)
    assert [each["type"] for each in call.client] == ["session.created", "session.updated"]
    call.client.clear()
    for _ in range(2):
        call.speak(0.2)
        call.run(1)
    kinds = [each["type"] for each in call.client]
    assert kinds[:5] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.delta",
    ]
    assert kinds.count("response.done") == 2
    assert len({each["item_id"] for each in call.of("response.output_audio.delta")}) == 2
    assert all("event_id" in each for each in call.client)


def test_an_interruption_by_an_agent_that_knows_no_protocol_reaches_the_client() -> None:
    call = Call()
    call.run(2.5)
    call.speak(5)
    call.run(1)
    call.core.control(messages.Flush(generation=2), call.now)
    assert call.of("input_audio_buffer.speech_started")
    assert call.of("response.done")[0]["response"]["status"] == "cancelled"


def test_speech_at_any_rate_comes_out_in_the_client_s_format() -> None:
    for rate in (8000, 16000, 24000, 48000):
        call = realtime_call()
        call.agent_says(PART)
        call.speak(1, rate=rate)
        call.run(1)
        assert len(call.deltas()) == 48000


@pytest.mark.parametrize("own_events", [False, True])
def test_events_that_the_published_protocol_does_not_have_are_for_clients_that_ask_for_them(own_events: bool) -> None:
    call = realtime_call()
    call.core.state.own_events = own_events
    call.agent_says({"type": "antiphon.latency"})
    call.core.announce_draining(5)
    assert [each["type"] for each in call.client[1:]] == ["antiphon.latency", "antiphon.draining"] * own_events
    assert isinstance(call.events[-1], messages.Draining)


# ---- life ------------------------------------------------------------------------------------------------


def test_the_agent_sees_a_session_as_over_webrtc() -> None:
    call = Call()
    assert [each.__class__.__name__ for each in call.events] == ["Connected", "ChannelOpened"]
    call.append(tone(0.1))
    call.poll()
    assert isinstance(call.events[-1], messages.MediaStarted)
    call.run(11)
    assert len(call.reported(messages.Statistics)) == 2
    call.core.end("client_closed", call.now)
    call.core.end("internal", call.now)
    ended = call.reported(messages.Ended)
    assert [each.reason for each in ended] == ["client_closed"]
    assert ended[0].statistics is not None
    assert call.closed == ("client_closed", "")
    count = len(call.events), len(call.client)
    call.append(tone(1))
    call.speak(1)
    call.core.control(messages.Flush(generation=9), call.now)
    call.run(1)
    assert (len(call.events), len(call.client)) == count


def test_the_next_agent_gets_the_audio_at_its_rate_and_positions_go_on() -> None:
    call = realtime_call(rate=16000)
    call.append(tone(1))
    call.agent_says(PART)
    call.speak(3)
    call.run(1)
    call.core.transfer("next", messages.ClaimReply(accepted=True, input_rate=48000), call.now)
    assert call.core.state.agent == "next"
    kinds = [each.__class__.__name__ for each in call.events]
    assert kinds[-3:] == ["Transferred", "Connected", "ChannelOpened"]
    assert "Flushed" in kinds
    call.append(tone(0.5))
    call.run(0.2)
    assert call.frames[-1].rate == 48000
    assert call.frames[-1].first_sample >= 48000
    before = len(call.deltas())
    call.agent_says({**PART, "item_id": "item_9"})
    call.speak(1, generation=0)
    call.run(1)
    assert len(call.deltas()) == before + 48000


def test_a_hang_up_ends_it_with_its_cause() -> None:
    call = Call()
    call.core.control(messages.HangUp(reason="goodbye"), call.now)
    assert call.closed == ("hang_up", "goodbye")


def test_a_turn_that_its_agent_reports_gets_the_parts_of_the_call_s_owner() -> None:
    call = realtime_call()
    report = messages.ReportTurn(
        turn=messages.Turn(
            number=1, generation=1, began=call.now - 0.5, parts=messages.TurnParts(end_of_turn=400, agent=90)
        ),
        last_sample=1,
        published=call.now - 0.01,
    )
    call.core.report_turn(report, call.now)
    call.agent_says({"type": "response.created", "response": {"id": "resp_1"}})
    call.speak(0.1)
    call.run(0.5)
    (told,) = call.turns
    parts = told.turn.parts.model_dump(exclude_none=True)
    assert parts.keys() == {"end_of_turn", "agent", "publish", "playout", "send"}
    assert call.core.last_turn == told.turn
    assert call.core.turns == 1
    assert parts["publish"] == pytest.approx(10, abs=0.1)
