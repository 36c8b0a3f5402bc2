"""One call over WebSocket: the client's events and audio on one side, the session's subjects on the other. Sans-IO.

Towards the agent it is what a transceiver's `Session` is: frames, messages of the channel `oai-events` and session
events go out, speech and requests come in. Towards the client it speaks the realtime protocol with audio in it. Events
and `now` in, calls of `CallOutput` out; no sockets.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from antiphon.rtc.media.consent_tone import ConsentTone
from antiphon.runtime.owned_calls import client_statistics
from antiphon.runtime.owned_calls.call_record import CallRecord
from antiphon.runtime.owned_calls.owned_call import Act, Ending
from antiphon.runtime.owned_calls.turn_latency import Network, Told, TurnLatency
from antiphon.runtime.resampling import Resampler
from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.signaling.websocket_calls.audio_format import AudioFormat, Side, as_agents_read, asked_format
from antiphon.signaling.websocket_calls.input_audio import InputAudio
from antiphon.signaling.websocket_calls.output_audio import FRAME, OutputAudio
from antiphon.signaling.websocket_calls.response_places import ResponsePlaces

Event = dict[str, Any]

MAX_EVENT_BYTES: Final = 256 * 1024
"""Of a client's event without audio, as over a data channel."""
MAX_APPEND_BYTES: Final = 15 << 20
"""Of the audio in one `input_audio_buffer.append`, as in the published protocol."""
EVENTS: Final = (500, 1000)
"""Of the client, per second and at once; further ones are read later."""
EVENT_BYTES: Final = 64 * 1024
"""A longer event counts as several: reading one of 20 MB takes 100 ms of the processor (measured)."""
PLAIN_SECONDS: Final = 2.0
"""An agent that has sent no event of the protocol after that does not speak it: some answers are made here."""
STATISTICS_SECONDS: Final = 5.0
"""Between two events `Statistics`, by which an agent sees that the call goes on."""
DELTA_FRAMES: Final = 25
"""In one `response.output_audio.delta` at most: half a second."""
MAX_CAUSE: Final = 200
OWN_EVENTS: Final = "antiphon."
"""The beginning of types that the published protocol does not have: some clients take them for errors."""

_AHEAD_OF_AUDIO: Final = ("response.cancel", "conversation.item.truncate", "output_audio_buffer.clear")
"""Events about what the agent says now: they do not wait behind audio."""
_ABOUT_AUDIO: Final = ("input_audio_buffer.commit", "input_audio_buffer.clear")


class CallOutput(Protocol):
    """Where a call's output goes. None of these may block."""

    def audio(self, frame: AudioFrame) -> None: ...
    def event(self, event: messages.Message) -> None: ...
    def message(self, message: messages.DataMessage) -> str:
        """Pass a client's event on to the agent; the text of why it is not, or empty."""

    def move(self, agent: str) -> None:
        """What follows is for another agent."""

    def turn(self, told: Told) -> None:
        """A turn is known better: its first sample was sent, or it has ended."""

    def wake(self) -> None:
        """Something of the agent has come: `poll` again soon."""

    def to_client(self, text: str) -> None: ...
    def close(self, reason: messages.EndReason, cause: str) -> None:
        """The call has ended: close the WebSocket behind what waits for it."""


@dataclass
class CallState:
    """What is known of a call from its beginning. Owner: the `WebSocketCall`."""

    session_id: str
    agent: str
    input_rate: int
    """Hz at which the agent wants the client's audio."""
    creator: str = ""
    """Which credential made the call: as in `OpenRequest.creator`."""
    session_settings: Event = field(default_factory=dict)
    locked_settings: list[str] = field(default_factory=list)
    """Those that the client may not change, as in the claim."""
    model: str = ""
    """As the client has named it."""
    own_events: bool = False
    """The client takes events that are not of the published protocol (`antiphon.latency`)."""
    listens_to: str = ""
    """Empty: each of these calls has an agent."""
    call_trace: dict[str, Any] = field(default_factory=dict)
    """Root span of the call, as `messages.CallTrace`; empty: it is not traced."""
    began_at: float = 0.0
    """Unix time of the request."""


class WebSocketCall:
    """A call from its agent's acceptance to its end: an `OwnedCall`.

    Owner: the `CallTable`, which forgets it once `ended` is set. The connection's tasks and the bus of the session call
    it, on the event loop only.
    """

    def __init__(
        self,
        state: CallState,
        output: CallOutput,
        now: float,
        on_end: Callable[[WebSocketCall], None],
        record: CallRecord | None = None,
        count_report: Callable[[messages.ClientStatistics, messages.ClientStatistics | None], None] | None = None,
        unix_offset: float = 0.0,
        consent_tone: float = 0.0,
    ) -> None:
        """`on_end(call)` is called once, as the last step of `end`. `record`: the call's, for operators.
        `count_report(digest, the one before)`: for metrics. `unix_offset`: Unix time less the time that `now` counts,
        in seconds. `consent_tone`: seconds between two tones; 0: none.
        """
        self.reports = client_statistics.ClientReports()
        """The digests of its client's statistics."""
        self._record, self._count_report = record, count_report
        self.state = state
        self.ended: Ending | None = None
        self.cause = ""
        self._output, self._on_end = output, on_end
        self._opened_at = self._polled_at = now
        self._next_statistics = now + STATISTICS_SECONDS
        self._events = TokenBucket(*EVENTS)
        self._formats: dict[Side, AudioFormat] = {"input": AudioFormat.PCM, "output": AudioFormat.PCM}
        self._input = InputAudio(state.input_rate)
        self.sender = OutputAudio(self._speech_event)
        self.turns = 0
        """That agents have reported."""
        self.last_turn: messages.Turn | None = None
        """The client's last digest."""
        self._turn_latency = TurnLatency(self._turn_known, self._network, now, unix_offset)
        self._places = ResponsePlaces(self._emit)
        self._tone = ConsentTone(consent_tone) if consent_tone else None
        self._encoder: tuple[int, AudioFormat, Callable[[bytes], bytes]] | None = None
        self._media_started = False
        self._plain = False
        """The agent does not speak the realtime protocol."""
        self._updates: list[Event] = []
        """Updates of the session that a plain agent does not answer."""
        self._adopt(state.session_settings, locked=())

    def begin(self, now: float) -> None:
        """The WebSocket is open: tell the agent."""
        if self.ended is not None:
            return
        setup_ms = (now - self._opened_at) * 1000
        self._output.event(messages.Connected(setup_ms=setup_ms))
        self._output.event(messages.ChannelOpened(channel=messages.EVENTS_CHANNEL))

    @property
    def waiting_bytes(self) -> int:
        """Of the client's audio, not passed on yet."""
        return self._input.waiting_bytes

    @property
    def spoke(self) -> bool:
        """Speech of an agent has left for the client."""
        return self.sender.frames_sent > 0

    # ---- from the client ---------------------------------------------------------------------------

    def receive(self, text: str, now: float) -> float:
        """One message of the client; returns the seconds after which the next one is to be read."""
        if self.ended is not None:
            return 0.0
        cost = 1 + len(text) // EVENT_BYTES
        wait = self._events.wait(cost, now)
        self._events.spend(cost)
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            self._error("the message is no JSON", "invalid_json")
            return wait
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            self._error("the message is no object with a text as its type", "invalid_event", "type", event)
            return wait
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            self._append(event)
        elif kind == client_statistics.TYPE:
            self._take_report(event, len(text), now)
        elif len(text) > MAX_EVENT_BYTES:
            self._error(f"an event without audio holds at most {MAX_EVENT_BYTES} bytes", "event_too_large", None, event)
        else:
            self._event(kind, event, text, now)
        return wait

    def refuse_binary(self) -> None:
        """A binary message, which the protocol does not have."""
        self._error("binary messages are not taken: send audio as base64 in input_audio_buffer.append", "invalid_event")

    def _take_report(self, event: Event, size: int, now: float) -> None:
        """The digest of the client's statistics: it is for operators, not for agents."""
        before = self.reports.last
        taken = self.reports.take_event(event, size, now)
        if isinstance(taken, messages.ClientStatistics):
            if self._record is not None:
                self._record.client_statistics(taken)
            if self._count_report is not None:
                self._count_report(taken, before)

    def _append(self, event: Event) -> None:
        audio = event.get("audio")
        if not isinstance(audio, str):
            code = "missing_required_parameter" if audio is None else "invalid_type"
            self._error("audio is missing: base64 of the session's input format", code, "audio", event)
            return
        try:
            octets = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            self._error("audio is no base64", "invalid_value", "audio", event)
            return
        if len(octets) > MAX_APPEND_BYTES:
            text = f"audio holds {len(octets)} bytes, at most {MAX_APPEND_BYTES} are taken: send it in parts"
            self._error(text, "invalid_value", "audio", event)
            return
        self._input.append(octets, self._formats["input"])

    def _event(self, kind: str, event: Event, text: str, now: float) -> None:
        session = event.get("session")
        if kind == "session.update" and isinstance(session, dict):
            self._adopt(session, self.state.locked_settings)
            event = {**event, "session": as_agents_read(session)}
            text = _dumped(event)
        elif kind == "conversation.item.truncate":
            self._truncated(event, now)
        elif kind == "output_audio_buffer.clear" or (kind == "response.cancel" and self._plain):
            self.sender.cut(now)
        elif kind == "input_audio_buffer.clear":
            self._input.clear()
        if self._plain:
            self._answer(kind, event)
        elif kind == "session.update" and len(self._updates) < 8:
            self._updates.append(event)
        if kind in _AHEAD_OF_AUDIO:
            self._pass_on(text)
        else:
            self._input.put(text, settles=kind in _ABOUT_AUDIO)

    def _truncated(self, event: Event, now: float) -> None:
        """The client says how much of an item it has played: of the one that plays, that counts, not the clock."""
        played_ms = event.get("audio_end_ms")
        first_sample = self._places.first_sample(str(event.get("item_id")))
        if first_sample is not None and type(played_ms) is int and 0 <= played_ms < 1 << 31:
            self.sender.cut(now, played_ms, first_sample)

    def _adopt(self, session: Event, locked: list[str] | tuple[str, ...]) -> None:
        """Formats and turn detection that a session names, but for what a secret has fixed."""
        for side in ("input", "output"):
            fixed = (f"audio.{side}.format", f"{side}_audio_format")
            wanted = asked_format(session, side)
            if wanted is not None and not any(path.startswith(fixed) for path in locked):
                self._formats[side] = wanted
        audio = session.get("audio")
        given = audio.get("input") if isinstance(audio, dict) else None
        for part in (session, given):
            if isinstance(part, dict) and "turn_detection" in part:
                self._input.fills = part["turn_detection"] is not None

    def _pass_on(self, text: str) -> None:
        if refused := self._output.message(messages.DataMessage.of(messages.EVENTS_CHANNEL, text)):
            self._error(refused, "event_too_large")

    # ---- for an agent that does not speak the protocol -------------------------------------------------

    def _answer(self, kind: str, event: Event) -> None:
        """What a client waits for, in place of the agent's answer."""
        if kind == "session.update":
            self._emit("session.updated", {"session": self._session()})
        elif kind == "conversation.item.truncate":
            self._emit(
                "conversation.item.truncated",
                {name: event.get(name) for name in ("item_id", "content_index", "audio_end_ms")},
            )
        elif kind == "input_audio_buffer.clear":
            self._emit("input_audio_buffer.cleared", {})

    def _become_plain(self) -> None:
        self._plain = True
        self._emit("session.created", {"session": self._session()})
        for event in self._updates:
            self._answer("session.update", event)
        self._updates.clear()

    def _session(self) -> Event:
        sides = {side: {"format": chosen.shown()} for side, chosen in self._formats.items()}
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.state.session_id,
            "model": self.state.model or self.state.agent,
            "output_modalities": ["audio"],
            "audio": sides,
        }

    # ---- from the agent ----------------------------------------------------------------------------

    def send_message(self, channel: str, payload: str | bytes) -> None:
        """Send to the client. It has the channel `oai-events` alone: messages for others are dropped."""
        if self.ended is not None or channel != messages.EVENTS_CHANNEL or not isinstance(payload, str):
            return
        try:
            event = json.loads(payload)
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            self._places.agent_sent(event)
            if self._record is not None:
                self._record.to_client(payload, self._polled_at)
            self._output.wake()  # speech may have waited for it
            self._plain = False
            self._updates.clear()
            if event["type"].startswith(OWN_EVENTS) and not self.state.own_events:
                return
            if event["type"] in ("session.created", "session.updated") and isinstance(event.get("session"), dict):
                payload = self._with_formats(event)
            elif self._formats["output"] is not AudioFormat.PCM and isinstance(event.get("response"), dict):
                payload = self._with_output_format(event)
        self._output.to_client(payload)

    def _with_formats(self, event: Event) -> str:
        """The agent knows nothing of formats: it shows the default ones."""
        session: Event = event["session"]
        audio = session.get("audio")
        if not isinstance(audio, dict):
            return _dumped(event)
        shown = dict(audio)
        for side, chosen in self._formats.items():
            if isinstance(audio.get(side), dict):
                shown[side] = {**audio[side], "format": chosen.shown()}
        detected = audio.get("input")
        if isinstance(detected, dict) and "turn_detection" in detected:
            self._input.fills = detected["turn_detection"] is not None
        return _dumped({**event, "session": {**session, "audio": shown}})

    def _with_output_format(self, event: Event) -> str:
        response: Event = event["response"]
        audio = response.get("audio")
        output = audio.get("output") if isinstance(audio, dict) else None
        if isinstance(audio, dict) and isinstance(output, dict) and "format" in output:
            shown = {**audio, "output": {**output, "format": self._formats["output"].shown()}}
            event = {**event, "response": {**response, "audio": shown}}
        return _dumped(event)

    def speak(self, frame: AudioFrame, now: float) -> None:
        """Queue a frame of speech; `poll` sends it."""
        if self.ended is None:
            self.sender.offer(frame)
            self._turn_latency.offered(frame, now)
            self._output.wake()

    def report_error(self, text: str) -> None:
        """Publish that something the agent sent could not be used."""
        self._output.event(messages.SessionError(message=text))

    def control(self, control: Act, now: float) -> None:
        """Carry out a request of the agent or of signaling; nothing happens after the end."""
        if self.ended is not None:
            return
        self._output.wake()
        match control:
            case messages.Flush(generation=generation):
                spoken = self.sender.playing is not None
                self.sender.flush(generation, now)
                if self._plain and spoken:
                    # Clients drop what they have not played yet when the caller begins to speak, and by nothing else.
                    about = {"audio_start_ms": self._input.frames * 20, "item_id": f"item_{secrets.token_hex(10)}"}
                    self._emit("input_audio_buffer.speech_started", about)
                self._places.ended("cancelled")
            case messages.Pause():
                self.sender.pause(now)
            case messages.Resume():
                self.sender.resume()
            case messages.HangUp(reason=cause):
                self.end("hang_up", now, cause)

    def report_turn(self, report: messages.ReportTurn, now: float) -> None:
        """The agent tells what it knows of a turn's latency: for operators, and nothing of the call changes."""
        if self.ended is None and report.turn.generation <= self.sender.generation_limit:
            self._turn_latency.reported(report, now)

    def _turn_known(self, told: Told) -> None:
        self.turns, self.last_turn = self._turn_latency.turns, told.turn
        self._output.turn(told)

    def _network(self) -> Network:
        """A WebSocket tells of no round trip; a client that measures it does."""
        client = self.reports.last
        if client is None:
            return Network()
        return Network(client.round_trip_ms, client.jitter_buffer_ms)

    def announce(self, event: messages.SessionEvent) -> None:
        """Publish an event that changes nothing of the call."""
        if self.ended is None:
            self._output.event(event)

    def promise(self, agent: str) -> None:
        """This agent has accepted, and gets the session next."""

    def transfer(self, agent: str, taken: messages.ClaimReply, now: float) -> None:
        """Another agent has accepted: all that follows is for it, and the last event for the one before says so."""
        self.sender.change_agent(now)
        self._turn_latency.change_agent()
        self._places.ended("cancelled")
        self._output.event(messages.Transferred(agent=agent, instance=taken.instance))
        self.state.agent, self.state.input_rate = agent, taken.input_rate
        self._output.move(agent)
        self._input.change_rate(taken.input_rate)
        self.begin(now)

    def announce_draining(self, seconds: float) -> None:
        """Notify agent and client that this call will end within `seconds`."""
        if self.ended is None:
            self._output.event(messages.Draining(seconds=seconds))
            if self.state.own_events:
                self._emit(f"{OWN_EVENTS}draining", {"seconds": seconds})

    # ---- time --------------------------------------------------------------------------------------

    def poll(self, now: float, unix_ns: int) -> None:
        """Pass on what is due, in both directions."""
        if self.ended is not None:
            return
        self._polled_at = now
        for piece in self._input.poll(now, unix_ns):
            if isinstance(piece, str):
                self._pass_on(piece)
                continue
            if not self._media_started:
                self._media_started = True
                self._output.event(messages.MediaStarted(setup_ms=(now - self._opened_at) * 1000))
            self._output.audio(piece)
        while frames := self.sender.poll(now, self._may_leave):
            self._send_speech(frames)
            if self._turn_latency.waits:
                last = frames[-1]
                self._turn_latency.leaves(last.generation, last.first_sample + len(last.pcm) // 2, now)
        if not self._places.speaks_protocol and not self._plain and now >= self._opened_at + PLAIN_SECONDS:
            self._become_plain()
        if now >= self._next_statistics:
            self._next_statistics = now + STATISTICS_SECONDS
            self._output.event(self.statistics())

    def next_at(self, now: float) -> float:
        """When `poll` has something to do."""
        plain_at = self._opened_at + PLAIN_SECONDS
        waits = math.inf if self._places.speaks_protocol or self._plain else plain_at
        return min(self._input.next_at(now), self.sender.next_at(now), waits, self._next_statistics)

    def statistics(self) -> messages.Statistics:
        """The call's counters so far: frames, where a call over WebRTC has packets."""
        return messages.Statistics(
            packets_received=self._input.frames,
            packets_lost=0,
            packets_late=0,
            frames_concealed=0,
            packets_sent=self.sender.frames_sent,
            jitter_ms=0.0,
        )

    def end(self, reason: messages.EndReason, now: float, cause: str = "") -> None:
        """Close towards client and agent. Later calls do nothing."""
        if self.ended is not None:
            return
        self.ended, self.cause = reason, cause[:MAX_CAUSE]
        self._output.event(messages.Ended(reason=reason, cause=self.cause, statistics=self.statistics()))
        self._output.close(reason, self.cause)
        self._on_end(self)

    # ---- inside ------------------------------------------------------------------------------------

    def _may_leave(self, generation: int, now: float) -> bool:
        return self._places.may_leave(generation, now, self.sender.sent_samples)

    def _send_speech(self, frames: list[AudioFrame]) -> None:
        place, rate, format = self._places.place(), frames[0].rate, self._formats["output"]
        frames = self._with_tone(frames)
        for first in range(0, len(frames), DELTA_FRAMES):
            pcm = b"".join(frame.pcm for frame in frames[first : first + DELTA_FRAMES])
            delta = base64.b64encode(format.encode(self._resampled(pcm, rate, format))).decode()
            self._emit("response.output_audio.delta", {**place.fields, "delta": delta})
        if frames[-1].flags & FrameFlag.END_OF_UTTERANCE:
            self._places.last_frame_left()

    def _with_tone(self, frames: list[AudioFrame]) -> list[AudioFrame]:
        """The consent tone over speech. In silence the protocol has no place for it: a tone that is due waits."""
        if (tone := self._tone) is None:
            return frames
        at, out = self.sender.played_until - FRAME * len(frames) - self._opened_at, []
        for number, frame in enumerate(frames):
            if not tone.sounds:
                tone.begin_if_due(at + FRAME * number)
            out.append(frame._replace(pcm=tone.over(frame.pcm, frame.rate)) if tone.sounds else frame)
        return out

    def _resampled(self, pcm: bytes, rate: int, format: AudioFormat) -> bytes:
        if rate == format.rate:
            return pcm
        if self._encoder is None or self._encoder[:2] != (rate, format):
            self._encoder = rate, format, Resampler(rate, format.rate).push
        return self._encoder[2](pcm)

    def _speech_event(self, event: messages.Message) -> None:
        self._output.event(event)
        if isinstance(event, messages.Playout) and event.state == "ended":
            self._places.ended()

    def _emit(self, kind: str, fields: Event) -> None:
        event = {"type": kind, "event_id": f"event_{secrets.token_hex(8)}", **fields}
        self._output.to_client(_dumped(event))

    def _error(self, text: str, code: str, param: str | None = None, event: Any = None) -> None:
        event_id = event.get("event_id") if isinstance(event, dict) else None
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": text,
            "param": param,
            "event_id": event_id if isinstance(event_id, str) and len(event_id) <= 512 else None,
        }
        self._emit("error", {"error": error})


def _dumped(event: Event) -> str:
    text = json.dumps(event, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only JSON's escapes can hold
        return json.dumps(event)
    return text
