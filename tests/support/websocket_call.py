"""The core of a call over WebSocket on a clock of the test's, with all that comes out of it."""

from __future__ import annotations

import base64
import json
import math
from array import array
from typing import Any

from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.signaling.websocket_calls.call import WebSocketCall
from antiphon.signaling.websocket_calls.call_state import CallState

PART = {
    "type": "response.content_part.added",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "part": {"type": "audio", "transcript": ""},
}
MANUAL = {"audio": {"input": {"turn_detection": None}}}
CREATED = {"type": "session.created", "session": {"audio": {"input": {"format": {}}, "output": {"format": {}}}}}


class Call:
    """A call, its clock, and all that has come out of it."""

    def __init__(
        self,
        rate: int = 16000,
        session: dict[str, Any] | None = None,
        locked: tuple[str, ...] = (),
        consent_tone: float = 0.0,
    ) -> None:
        self.now = 100.0
        self.frames: list[AudioFrame] = []
        self.to_agent: list[AudioFrame | str] = []
        """Frames and events of the client, in their order."""
        self.events: list[messages.Message] = []
        self.client: list[dict[str, Any]] = []
        self.closed: tuple[str, str] | None = None
        state = CallState("rtc_1", "agent", rate, session_settings=session or {}, locked_settings=list(locked))
        self.turns: list[Told] = []
        self.core = WebSocketCall(state, self, self.now, lambda call: None, consent_tone=consent_tone)
        self.core.begin(self.now)

    def audio(self, frame: AudioFrame) -> None:
        self.frames.append(frame)
        self.to_agent.append(frame)

    def event(self, event: messages.Message) -> None:
        self.events.append(event)

    def message(self, message: messages.DataMessage) -> str:
        assert message.text is not None
        self.to_agent.append(json.loads(message.text)["type"])
        return ""

    def move(self, agent: str) -> None: ...
    def wake(self) -> None: ...
    def turn(self, told: Told) -> None:
        self.turns.append(told)

    def to_client(self, text: str) -> None:
        self.client.append(json.loads(text))

    def close(self, reason: str, cause: str) -> None:
        self.closed = reason, cause

    # ---- what happens

    def poll(self) -> None:
        self.core.poll(self.now, int(self.now * 1e9))

    def run(self, seconds: float) -> None:
        """Let the time pass, as the connection's task does."""
        until = self.now + seconds
        while True:
            self.poll()
            due = max(self.core.next_at(self.now), self.now + 0.001)
            if due > until:
                break
            self.now = due
        self.now = until

    def send(self, kind: str, **fields: Any) -> float:
        return self.core.receive(json.dumps({"type": kind, **fields}), self.now)

    def append(self, audio: bytes) -> float:
        return self.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    def agent_says(self, event: dict[str, Any]) -> None:
        self.core.send_message("oai-events", json.dumps(event))

    def speak(self, seconds: float, generation: int = 1, ends: bool = True, rate: int = 24000) -> None:
        count = round(seconds * 50)
        for number in range(count):
            flags = FrameFlag.END_OF_UTTERANCE if ends and number == count - 1 else 0
            pcm = array("h", [1000] * (rate // 50)).tobytes()
            self.core.speak(AudioFrame(number, number * rate // 50, 0, rate, int(flags), generation, pcm), self.now)

    # ---- what has come out

    def deltas(self) -> bytes:
        return b"".join(base64.b64decode(each["delta"]) for each in self.of("response.output_audio.delta"))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.client if each["type"] == kind]

    def reported(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind)]

    def errors(self) -> list[tuple[str, str | None]]:
        return [(each["error"]["code"], each["error"]["event_id"]) for each in self.of("error")]


def realtime_call(**options: Any) -> Call:
    """With an agent that speaks the realtime protocol."""
    call = Call(**options)
    call.agent_says(CREATED)
    return call


def tone(seconds: float, rate: int = 24000) -> bytes:
    return array(
        "h", (round(8000 * math.sin(440 * math.tau * n / rate)) for n in range(round(seconds * rate)))
    ).tobytes()


def samples(frames: list[AudioFrame]) -> array[int]:
    return array("h", b"".join(frame.pcm for frame in frames))
