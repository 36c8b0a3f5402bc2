"""One call over WebSocket: the client's events and audio on one side, the session's subjects on the other. Sans-IO.

Towards the agent it is what a transceiver's `Session` is: frames, messages of the channel `oai-events` and session
events go out, speech and requests come in. Towards the client it speaks the realtime protocol with audio in it. Events
and `now` in, calls of `CallOutput` out; no sockets.
"""

from __future__ import annotations

import base64
import json
import math
import secrets
from collections.abc import Callable
from typing import Any, Final

from antiphon.rtc.media.consent_tone import ConsentTone
from antiphon.runtime.owned_calls import client_statistics
from antiphon.runtime.owned_calls.call_record import CallRecord
from antiphon.runtime.owned_calls.owned_call import Act, Ending
from antiphon.runtime.owned_calls.turn_latency import Network, Told, TurnLatency
from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.signaling.websocket_calls.appended_audio import AppendError, appended_audio
from antiphon.signaling.websocket_calls.audio_format import as_agents_read
from antiphon.signaling.websocket_calls.call_state import CallOutput, CallState
from antiphon.signaling.websocket_calls.input_audio import InputAudio
from antiphon.signaling.websocket_calls.output_audio import FRAME, OutputAudio
from antiphon.signaling.websocket_calls.plain_agent import PLAIN_SECONDS, PlainAgent
from antiphon.signaling.websocket_calls.response_places import ResponsePlaces
from antiphon.signaling.websocket_calls.session_audio import SessionAudio, detects_turns

Event = dict[str, Any]

MAX_EVENT_BYTES: Final = 256 * 1024
"""Of a client's event without audio, as over a data channel."""
EVENTS: Final = (500, 1000)
"""Of the client, per second and at once; further ones are read later."""
EVENT_BYTES: Final = 64 * 1024
"""A longer event counts as several: reading one of 20 MB takes 100 ms of the processor (measured)."""
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
        self._audio = SessionAudio()
        self._input = InputAudio(state.input_rate)
        self.sender = OutputAudio(self._speech_event)
        self.turns = 0
        """That agents have reported."""
        self.last_turn: messages.Turn | None = None
        """The client's last digest."""
        self._turn_latency = TurnLatency(self._turn_known, self._network, now, unix_offset)
        self._places = ResponsePlaces(self._emit)
        self._tone = ConsentTone(consent_tone) if consent_tone else None
        self._plain = PlainAgent(self._emit, self._session)
        self._media_started = False
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
        try:
            self._input.append(appended_audio(event), self._audio.input)
        except AppendError as error:
            self._error(str(error), error.code, "audio", event)

    def _event(self, kind: str, event: Event, text: str, now: float) -> None:
        session = event.get("session")
        if kind == "session.update" and isinstance(session, dict):
            self._adopt(session, self.state.locked_settings)
            event = {**event, "session": as_agents_read(session)}
            text = _dumped(event)
        elif kind == "conversation.item.truncate":
            self._truncated(event, now)
        elif kind == "output_audio_buffer.clear" or (kind == "response.cancel" and self._plain.is_plain):
            self.sender.cut(now)
        elif kind == "input_audio_buffer.clear":
            self._input.clear()
        self._plain.client_sent(kind, event)
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
        self._audio.adopt(session, locked)
        self._follow_detection(session)

    def _follow_detection(self, session: Event) -> None:
        detects = detects_turns(session)
        if detects is not None:
            self._input.fill_pauses(detects)

    def _pass_on(self, text: str) -> None:
        if refused := self._output.message(messages.DataMessage.of(messages.EVENTS_CHANNEL, text)):
            self._error(refused, "event_too_large")

    def _session(self) -> Event:
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.state.session_id,
            "model": self.state.model or self.state.agent,
            "output_modalities": ["audio"],
            "audio": self._audio.parts(),
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
            self._plain.speaks_protocol()
            if event["type"].startswith(OWN_EVENTS) and not self.state.own_events:
                return
            shown = self._audio.shown(event)
            if shown is not None:
                payload = _dumped(shown)
                if event["type"] in ("session.created", "session.updated") and isinstance(shown.get("session"), dict):
                    self._follow_detection({"audio": shown["session"].get("audio")})
        self._output.to_client(payload)

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
                if self._plain.is_plain and spoken:
                    self._plain.speech_began(self._input.frames * 20)
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
        if not self._places.speaks_protocol and not self._plain.is_plain and now >= self._opened_at + PLAIN_SECONDS:
            self._plain.stays_silent()
        if now >= self._next_statistics:
            self._next_statistics = now + STATISTICS_SECONDS
            self._output.event(self.statistics())

    def next_at(self, now: float) -> float:
        """When `poll` has something to do."""
        plain_at = self._opened_at + PLAIN_SECONDS
        waits = math.inf if self._places.speaks_protocol or self._plain.is_plain else plain_at
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
        place, rate = self._places.place(), frames[0].rate
        frames = self._with_tone(frames)
        for first in range(0, len(frames), DELTA_FRAMES):
            pcm = b"".join(frame.pcm for frame in frames[first : first + DELTA_FRAMES])
            delta = base64.b64encode(self._audio.encode(pcm, rate)).decode()
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
