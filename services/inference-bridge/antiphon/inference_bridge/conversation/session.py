"""One call: its subscriptions, its tasks, its end. The shell around listening, talking and the protocol.

audio.in -> ear -> listening -> talk -> reply -> audio.out
data.in and side channel -> commands -> talk, listening, settings
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from opentelemetry import trace
from opentelemetry.context import Context

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.conversation.client_commands import ClientCommands
from antiphon.inference_bridge.conversation.response_playback import Speech
from antiphon.inference_bridge.conversation.responses import Responses
from antiphon.inference_bridge.conversation.session_bus import SessionBus
from antiphon.inference_bridge.conversation.turn import Turn
from antiphon.inference_bridge.conversation.turn_handling import TurnHandling
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, bounded, settings_json
from antiphon.inference_bridge.input.vad_pipeline import MAX_FRAMES, VadPipeline
from antiphon.inference_bridge.models.smart_turn import EndOfTurn
from antiphon.inference_bridge.models.voice_activity import VoiceActivityStream
from antiphon.inference_bridge.realtime_protocol.client_events import read_client_event
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import first_settings
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import RATE
from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions.playout_retransmission import CallerClock
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, unpack_frame
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

BACK_AGAIN: Final = "Sorry, I was gone for a moment."
GIVE_UP: Final = (
    "I am sorry, I have technical trouble and cannot go on with this call. Please call again later. Goodbye."
)
_MAX_OUTBOX: Final = 2000
_MAX_PENDING: Final = 500
"""Messages per subscription that wait for the event loop: 10 s of frames; later ones are dropped by the client."""


@dataclass(frozen=True)
class Services:
    """What a session uses of its process."""

    client: Client
    speech: Speech
    vad_executor: ThreadPoolExecutor
    turn_settings: TurnSettings
    """Where the client asks for nothing else."""
    greeting: str
    instructions: str
    voice: str
    idle: float
    """Seconds without any frame or event after which a session is dropped: its transceiver is gone."""
    save: Callable[[str, JsonObject], None]
    """Keeps what another process needs to go on with a session."""
    doubt: Callable[[str], None]
    """Somebody else seems to act for a session."""
    instance: str
    """Our name among the processes of this agent."""
    end_of_turn: EndOfTurn | None = None
    """Judges by the voice whether a turn is over, where the operator wants that."""


class Session:
    """Made for an accepted claim, or for one that another process has left. It lives until `ended` is set."""

    def __init__(
        self,
        claim: messages.Claim,
        agent: Agent,
        services: Services,
        stream: VoiceActivityStream,
        context: Context,
        record: ConversationSnapshot | None = None,
        era: int = 0,
        first_generation: int = 0,
        deaf: bool = False,
    ) -> None:
        """`record`, `era`: what the holder before wrote, and how many there were. `deaf`: the caller is not heard."""
        self._deaf = deaf
        self.id = claim.session_id
        self.ended = asyncio.Event()
        self._services, self._context = services, context
        self._line = SessionBus(services.client, claim.session_id)
        self._outbox: asyncio.Queue[JsonObject] = asyncio.Queue(_MAX_OUTBOX)
        self._model = claim.agent
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last_sign = time.monotonic()
        self._caller_clock = CallerClock()
        self._handed_over = False
        self._early: list[AudioFrame] | None = [] if record else None
        """Frames that wait for older ones that NATS remembers; 5 s at most."""
        settings, trouble = first_settings(claim.session)
        if trouble:
            log.warning("%s: a setting of the offer is ignored: %s", self.id, trouble)
        record = record or ConversationSnapshot()
        settings = record.session_settings() or settings
        self._record = record
        self._met, self._greeted = record.met, record.greeted
        self._realtime = Realtime(self._emit, era, record.items)
        self._ear = VadPipeline(stream, services.vad_executor, settings.turn_settings(services.turn_settings))
        self._talk = Responses(
            self._line,
            self._realtime,
            agent,
            services.speech,
            settings,
            services.instructions,
            first_generation,
            self._spawn,
            self._span,
            self._changed,
            lambda: self._ear.turns.speaking,
            record.carried,
        )
        if record.agent is not None:
            agent.restore(record.agent)
        self._listening = TurnHandling(
            self._ear, self._talk, self._realtime, services.speech.stt, self._spawn, services.end_of_turn
        )
        self._commands = ClientCommands(self._talk, self._listening, self._realtime, self._apply_settings)

    # ---- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Subscribe; when this returns, nothing of the call is missed."""
        for subject, callback in (
            (subjects.audio_in(self.id), self._on_frame),
            (subjects.session_event(self.id), self._on_event),
            (subjects.data_in(self.id), self._on_data),
        ):
            self._subscriptions.append(
                await self._services.client.subscribe(subject, cb=callback, pending_msgs_limit=_MAX_PENDING)
            )
        await connection.flush(self._services.client)
        self._spawn(self._ear.listen(self._listening))
        self._spawn(self._send_events())
        self._spawn(self._watch())

    def go_on(self, recent: Sequence[AudioFrame], hopeless: bool) -> None:
        """After the holder before was silenced: hear what nobody has heard, and answer what was not answered.

        `recent`: the last seconds of the caller. `hopeless`: this call costs one process after the other.
        """
        early, self._early = self._early or [], None
        heard_until = self._record.heard_until
        for frame in (*recent, *early):
            if frame.rate == RATE and frame.first_sample >= heard_until:
                self._ear.push(frame)
                heard_until = frame.first_sample + 1
        if hopeless:
            self._spawn(self._give_up())
        elif self._record.answering is not None:
            text = self._record.answering
            turn = Turn(self._span("turn"), asked_by_client=not text)
            turn.transcription = self._spawn(_already(text))
            turn.preamble = "" if self._record.handed_over else BACK_AGAIN
            self._talk.begin(turn)

    async def _give_up(self) -> None:
        self._talk.speak(GIVE_UP, "give_up")
        task = self._talk.turn.task if self._talk.turn else None
        if task:
            await asyncio.wait([task])
        await self._line.hang_up("agent_lost")

    def hand_over(self) -> None:
        """Another process is to go on: say no more, and write down how things stand."""
        self._handed_over = True
        self._changed(handed_over=True)

    async def close(self) -> None:
        """End all that runs for this call. Safe to call twice."""
        self.ended.set()
        for subscription in self._subscriptions:
            with contextlib.suppress(Exception):  # the connection may be gone: so is the subscription
                await subscription.unsubscribe()
        self._subscriptions.clear()
        self._listening.drop_speculation()
        await tasks.end(*(task for task in self._tasks if task is not asyncio.current_task()))
        if self._talk.turn:
            self._talk.turn.span.end()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s: %s", self.id, error, exc_info=error)

    def _span(self, name: str, start_ns: int | None = None) -> trace.Span:
        return tracer.start_span(name, context=self._context, start_time=start_ns)

    async def _watch(self) -> None:
        while (left := self._last_sign + self._services.idle - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)
        log.warning("%s: nothing came for %.0f s, dropped", self.id, self._services.idle)
        self.ended.set()

    async def _send_events(self) -> None:
        while True:
            await self._line.event(await self._outbox.get())

    def _emit(self, event: JsonObject) -> None:
        if self._outbox.full():
            log.warning("%s: %d events wait for NATS, the oldest is dropped", self.id, _MAX_OUTBOX)
            self._outbox.get_nowait()
        self._outbox.put_nowait(event)

    def _changed(self, handed_over: bool = False) -> None:
        """Write down how things stand, for whoever has to go on."""
        if self._handed_over and not handed_over:
            return
        talk = self._talk
        turn = talk.turn
        self._services.save(
            self.id,
            bounded(
                ConversationSnapshot(
                    items=self._realtime.conversation.items,
                    settings=settings_json(talk.settings),
                    agent=turn.agent_before if turn and turn.asked else talk.agent.saved(),
                    carried=talk.carried,
                    met=self._met,
                    greeted=self._greeted and not (turn and turn.fixed),
                    answering=turn.text if turn and turn.asked else None,
                    heard_until=self._ear.consumed_until,
                    handed_over=handed_over,
                )
            ),
        )

    # ---- what comes in -----------------------------------------------------------------------------

    async def _on_frame(self, msg: Msg) -> None:
        self._last_sign = time.monotonic()
        self._caller_clock.frame(self._last_sign)
        if self._deaf:
            return
        try:
            frame = unpack_frame(msg.data)
            if frame.rate != RATE:
                raise MalformedError(f"audio frame at {frame.rate} Hz: the claim asked for {RATE}")
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        self._meet()
        self._greet()
        if self._early is None:
            self._ear.push(frame)
        elif len(self._early) < MAX_FRAMES:
            self._early.append(frame)

    async def _on_event(self, msg: Msg) -> None:
        self._last_sign = time.monotonic()
        try:
            event = messages.decode_any(msg.data, messages.SESSION_EVENT, "SessionEvent")
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        match event:
            case messages.Connected() | messages.ChannelOpened(channel=messages.EVENTS_CHANNEL):
                self._meet()
            case messages.MediaStarted():
                self._meet()
                self._greet()
            case messages.Playout():
                self._talk.playout(event)
            case messages.TakenOver(handed_over=False):
                self._talk.transceiver_lost(self._caller_clock.stopped_at(self._last_sign))
            case messages.Flushed():
                if self._line.flushes:
                    self._line.flushes -= 1
                    self._talk.flushed(event)
                else:
                    self._services.doubt(self.id)
            case messages.ClaimExpired(instance=self._services.instance):
                log.warning("%s: was taken too late, dropped", self.id)
                self.ended.set()
            case messages.Ended():
                log.info("%s: ended (%s)", self.id, event.reason)
                self.ended.set()

    async def _on_data(self, msg: Msg) -> None:
        self._last_sign = time.monotonic()
        try:
            message = messages.decode(msg.data, messages.DataMessage)
            if message.channel != messages.EVENTS_CHANNEL:
                return
            self._commands.apply(read_client_event(message.payload()))
            self._changed()
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
        except ClientError as error:
            self._realtime.error(error)

    def _apply_settings(self) -> None:
        self._listening.change_detection(self._talk.settings.turn_settings(self._services.turn_settings))
        self._realtime.session("session.updated", self._shown())

    def _shown(self) -> JsonObject:
        services = self._services
        shown = self._talk.settings.shown(self.id, self._model, services.voice, services.turn_settings)
        shown["instructions"] = shown["instructions"] or services.instructions
        return shown

    # ---- the beginning -----------------------------------------------------------------------------

    def _meet(self) -> None:
        """Somebody can receive events now."""
        if not self._met:
            self._met = True
            self._realtime.session("session.created", self._shown())

    def _greet(self) -> None:
        if self._greeted:
            return
        self._greeted = True
        if self._services.greeting and self._talk.turn is None:
            self._talk.speak(self._services.greeting, "greeting")


async def _already(text: str) -> str:
    """Text that needs no transcription."""
    return text
