"""A call as a recorder receives it, from its first event to the summary of its owner."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg
from support.models.sounds import tone

from antiphon.cli.recordings.record import Tap
from antiphon.cli.recordings.record_writers import CallFileWriter
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame

CALL = "rtc_" + "a1" * 12
AGENT = "concierge"
BEGAN = 1_790_000_000.0
RATE = 16000
SECONDS = 3


def summary(session_id: str = CALL, **changes: object) -> messages.CallSummary:
    fields = {
        "session_id": session_id,
        "agent": AGENT,
        "instance": "7F3A",
        "state": "running",
        "began": BEGAN,
        "region": "fra",
        "cluster": 0,
        "slot": 3,
        "owner": "OWNER1",
        "relay": "relay-1",
        "path": "udp",
        "round_trip_ms": 31.5,
        "packets_lost": 12,
        "packets_received": 4988,
        "jitter_ms": 3.25,
        "lateness_ms": 1.5,
        "turns": 2,
        "last_turn": turn(2).model_dump(),
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    return messages.CallSummary.model_validate(fields | changes)


def turn(number: int, began: float = BEGAN + 1, **changes: object) -> messages.Turn:
    parts = {
        "uplink": 15.0,
        "receive": 42.0,
        "end_of_turn": 380.0,
        "stt": 65.0,
        "agent": 240.0 + 20 * number,
        "tts": 120.0,
        "publish": 2.0,
        "playout": 8.5,
        "send": 0.6,
        "relay": 0.2,
        "downlink": 15.0,
        "client": 45.0,
    }
    fields = {"number": number, "generation": number, "began": began, "parts": parts, "end": "completed"}
    return messages.Turn.model_validate(fields | changes)


def timeline(began: float = BEGAN, session: str = "hello") -> list[messages.Message]:
    """Entries as a call's owner writes them."""
    entries: list[messages.Message] = [
        messages.TimelineEvent(at=began + 0.3, name="connected", detail={"setup_ms": 212})
    ]
    for number in range(1, 13):
        at = began + 5 * number
        entries.append(
            messages.TimelineStatistics(
                at=at,
                round_trip_ms=30 + 4 * (number % 3),
                jitter_ms=2 + number % 4,
                packets_received=250 * number - 3 * (number // 4),
                packets_lost=3 * (number // 4),
                client=messages.ClientStatistics(
                    jitter_ms=4 + number % 2,
                    jitter_buffer_ms=45,
                    round_trip_ms=33,
                    packets_received=240 * number,
                    packets_lost=number // 5,
                    client="antiphon.js 1.0",
                ),
            )
        )
    for number in range(1, 7):
        at = began + 8 * number
        end = "interrupted" if number == 3 else "completed"
        tools = ["weather"] if number == 2 else []
        entries.append(messages.TimelineTurn(at=at + 4, turn=turn(number, at, end=end, tools=tools)))
        entries.append(
            messages.TimelineWords(at=at, side="caller", item=f"c{number}", text=f"{session}, question {number}?")
        )
        answer = "It is twenty past nine, and it will rain until noon."
        entries.append(
            messages.TimelineWords(at=at + 4, side="agent", item=f"a{number}", text=answer, complete=number != 3)
        )
    entries.append(messages.TimelineEvent(at=began + 31, name="moved", detail={"from": "0.1", "to": "0.3"}))
    return entries


def publish_call(tap: Tap, session_id: str = CALL, text: str = "What time is it?") -> None:
    """All messages of a short call; the caller's tone has 440 Hz, the agent's 880."""

    def take(subject: str, data: bytes, owner: bool = False) -> None:
        _done((tap.on_owner if owner else tap.on_message)(Msg(None, subject, data=data)))  # type: ignore[arg-type]

    def event(message: messages.Message) -> None:
        take(subjects.session_event(AGENT, session_id), messages.encode(message))

    def says(kind: str, **fields: object) -> None:
        message = messages.DataMessage.of(messages.EVENTS_CHANNEL, json.dumps({"type": kind, **fields}))
        take(subjects.data_out(AGENT, session_id), messages.encode(message))

    event(messages.Connected(setup_ms=120.0))
    caller, agent, size = tone(SECONDS, RATE), tone(1.0, 24000, 880), RATE // 50
    for number in range(SECONDS * 50):
        pcm = caller[number * size * 2 : (number + 1) * size * 2]
        at_ns = int((BEGAN + number * 0.02) * 1e9)
        frame = AudioFrame(number, number * size, at_ns, RATE, 0, 0, pcm)
        take(subjects.audio_in(AGENT, session_id), pack_frame(frame))
    for number in range(50):
        frame = AudioFrame(number, number * 480, 1, 24000, 0, 1, agent[number * 960 : (number + 1) * 960])
        take(subjects.audio_out(AGENT, session_id), pack_frame(frame))
    event(messages.Playout(generation=1, played_samples=24000, rate=24000, queued_ms=0, state="ended"))
    says("conversation.item.input_audio_transcription.completed", item_id="c1", transcript=text)
    says("response.output_audio_transcript.done", response_id="r1", item_id="a1", transcript="It is nine.")
    says("response.done", response={"id": "r1", "status": "completed"})
    says("response.output_audio_transcript.done", response_id="r2", item_id="a2", transcript="And it")
    says("response.done", response={"id": "r2", "status": "cancelled"})
    told = messages.TimelineTurn(at=BEGAN + 2, turn=turn(1))
    take(subjects.call_timeline(session_id), messages.encode(told), owner=True)
    kept = messages.TimelineWords(at=BEGAN, side="caller", item="c1", text="kept by the owner too")
    take(subjects.call_timeline(session_id), messages.encode(kept), owner=True)
    event(messages.Ended(reason="client_closed"))
    ended = messages.CallEnded(call=summary(session_id, state="ended"), ended=BEGAN + 3, reason="client_closed")
    take(subjects.call_ended(session_id), messages.encode(ended), owner=True)


def _done(work: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing: a loop may be running in this thread, such as that of Playwright."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def recorded_call(folder: Path, text: str = "What time is it?") -> Path:
    """The file of such a call."""
    tap = Tap(folder, CallFileWriter, ended_wait=1.0)
    publish_call(tap, text=text)
    tap.close()
    return folder / f"{CALL}.antiphon"
