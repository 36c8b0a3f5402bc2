"""One call: its subscriptions, its tasks, its end. The shell around turns, responses and the protocol.

audio.in -> VadPipeline -> Transcriptions -> core -> ResponseTasks -> ResponsePlayback -> audio.out
data.in -> ClientCommands -> core, settings
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.conversation.client_commands import ClientCommands
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.state import State, Words
from antiphon.inference_bridge.conversation.event_budget import (
    BURST,
    BYTE_BURST,
    BYTE_RATE,
    PATIENCE_SECONDS,
    EventBudget,
    Verdict,
)
from antiphon.inference_bridge.conversation.event_budget import (
    RATE as EVENT_RATE,
)
from antiphon.inference_bridge.conversation.event_output import EventOutput
from antiphon.inference_bridge.conversation.response_playback import Speech
from antiphon.inference_bridge.conversation.runner import ConversationRunner
from antiphon.inference_bridge.conversation.snapshot_schedule import SnapshotSchedule
from antiphon.inference_bridge.conversation.turn_spans import ModelNames, TurnSpans
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, bounded, settings_json
from antiphon.inference_bridge.input.vad_pipeline import MAX_FRAMES, VadPipeline
from antiphon.inference_bridge.models.smart_turn import EndOfTurn
from antiphon.inference_bridge.models.voice_activity import VoiceActivityStream
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.caller_keys import key_of
from antiphon.inference_bridge.realtime_protocol.client_events import BufferClear, BufferCommit, read_client_event
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.locked_settings import LockedSettings
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings, first_settings
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import RATE
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.runtime.agent_sessions.session_liveness import SessionLiveness, until_silent
from antiphon.runtime.echo.canceller import EchoCanceller
from antiphon.runtime.echo.played_speech import PlayedSpeech
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, unpack_frame
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)
_LAST_EVENTS_SECONDS: Final = 1.0
"""For which a hang-up waits for the events before it."""
CAUGHT_UP_SECONDS: Final = 2.0
"""For the audio before a commit to be judged."""
_MAX_PENDING: Final = 1000
"""Messages per subscription that wait for the event loop: 20 s of frames, or more events than a client may send at
once; later ones are dropped by the client of NATS."""
_MAX_PENDING_BYTES: Final = 8 * 1024 * 1024
_DROPPED_AT_ONCE: Final = 50
"""Events that are dropped before other calls get the event loop; one that is carried out lets them have it at once."""
TOO_MANY_EVENTS: Final = "too_many_events"
"""Why a call ended whose client sent events without end: `cause` of its `Ended`."""


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
    support: SpeechSupport
    """Languages and voices that a session may ask for."""
    idle: float
    """Seconds without any frame or event after which a session is dropped: its transceiver is gone."""
    save: Callable[[str, JsonObject], None]
    """Keeps what another process needs to continue a session."""
    verify: Callable[[str], None]
    """Another instance seems to act for a session: see whether its lease is still ours."""
    instance: str
    """Our name among the processes of this agent."""
    make_agent: Callable[[], Agent]
    """Another agent like the call's own, for responses out of band."""
    is_scripted: bool = False
    """The agents are scripted: they do not greet because a client's text asks for it."""
    patience_ms: int = 0
    """Time after which a caller whose answer is late gets a spoken sign; 0: never."""
    end_of_turn: EndOfTurn | None = None
    """Judges by the voice whether a turn is over, where the operator wants that."""
    cancels_echo: bool = True
    """The agent's own voice is taken out of the caller's audio."""
    model_names: ModelNames = field(default_factory=ModelNames)
    """For spans."""
    has_room: Callable[[], bool] = lambda: False
    """A transcription could begin at once."""


class Session:
    """One call of this process: made for an accepted claim, or for the lease of a call that another process has left.

    Owner: the bridge. It lives from `start` until `ended` is set, by the call's end or by the bridge, which then calls
    `close`. Called from the event loop.
    """

    def __init__(
        self,
        lease: messages.Lease,
        agent: Agent,
        services: Services,
        stream: VoiceActivityStream,
        snapshot: ConversationSnapshot | None = None,
        receives_audio: bool = True,
    ) -> None:
        """`snapshot`: what the holder before has kept. `receives_audio`: False where only an apology is spoken."""
        self._receives_audio = receives_audio
        self.id = lease.session_id
        self.ended = asyncio.Event()
        """Nothing more comes, or the call is another process's."""
        self._services, self._context = services, telemetry.trace_context(lease.trace)
        self._played = PlayedSpeech()
        self._bus = SessionBus(
            services.client, lease.agent, self.id, self.ended, services.instance, listener=self._played
        )
        self._events = EventOutput(
            self._bus.publish_message, lambda: connection.unsent(services.client), time.monotonic, self.id
        )
        self._model = lease.agent
        self._locked = LockedSettings(lease.locked)
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._liveness = SessionLiveness(time.monotonic())
        self._handed_over = False
        self._budget = EventBudget(time.monotonic())
        self._snapshots = SnapshotSchedule(self._save)
        self._settings_written: tuple[SessionSettings, JsonObject] | None = None
        """The settings in force as a snapshot keeps them: they seldom change, and may be large."""
        self._early: list[AudioFrame] | None = [] if snapshot else None
        """Frames that wait for older ones that NATS remembers; 5 s at most."""
        settings, refused = first_settings(lease.session, services.support, lease.locked)
        for error in refused:
            log.warning("%s: a setting of the offer is not in force: %s", self.id, error)
        self._refused = [error for error in refused if self._locked.may_see(error)]
        """What of the offer the client is told to be without effect."""
        snapshot = snapshot or ConversationSnapshot()
        kept = snapshot.session_settings()
        settings = kept.supported_by(services.support) if kept else settings
        self._snapshot = snapshot
        self._session_created = snapshot.session_created
        self._is_connected = False
        self._realtime = Realtime(self._events.put, lease.takeovers, snapshot.items)
        echo = EchoCanceller(self._played) if services.cancels_echo else None
        turn_settings = settings.turn_settings(services.turn_settings)
        self._vad = VadPipeline(stream, services.vad_executor, turn_settings, services.has_room, echo)
        if snapshot.agent is not None:
            agent.restore(snapshot.agent)
        self._turn_spans = TurnSpans(self._context, self.id, lease.agent, services.model_names)
        self._conversation = ConversationRunner(
            _state_of(snapshot, services),
            self._bus,
            self._realtime,
            agent,
            services.make_agent,
            services.speech,
            settings,
            services.support,
            services.instructions,
            services.patience_ms,
            leases.first_generation(lease.takeovers),
            self._vad,
            services.end_of_turn,
            self._spawn,
            self._turn_spans,
            self._changed,
            self._hang_up,
            lease.session,
        )
        self._commands = ClientCommands(
            self._conversation, self._realtime, self._apply_settings, self._locked, services.support
        )

    # ---- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Subscribe; when this returns, nothing of the call is missed."""
        for subject, callback in (
            (subjects.audio_in(self._bus.agent, self.id), self._on_frame),
            (subjects.session_event(self._bus.agent, self.id), self._on_event),
            (subjects.data_in(self._bus.agent, self.id), self._on_data),
        ):
            self._subscriptions.append(
                await self._services.client.subscribe(
                    subject,
                    cb=callback,
                    pending_msgs_limit=_MAX_PENDING,
                    pending_bytes_limit=_MAX_PENDING_BYTES,
                )
            )
        await connection.flush(self._services.client)
        self._spawn(self._vad.listen(self._conversation.transcriptions))
        self._spawn(self._events.run())
        self._spawn(self._watch())

    @property
    def bus(self) -> SessionBus:
        """What a takeover fences through."""
        return self._bus

    def continue_call(self, recent: Sequence[AudioFrame], give_up: bool) -> None:
        """After the holder before was fenced: process what the caller said since, and answer what was not answered.

        `recent`: the last seconds of the caller. `give_up`: apologise and hang up instead.
        """
        early, self._early = self._early or [], None
        received_until = self._snapshot.received_until
        for frame in (*recent, *early):
            if frame.rate == RATE and frame.first_sample >= received_until:
                self._vad.push(frame)
                received_until = frame.first_sample + 1
        language = self._conversation.settings.language or self._services.support.language
        if give_up:
            self._conversation.feed(events.Say(phrase("give_up", language), hang_up="agent_lost"))
        elif self._snapshot.answering is not None:
            preamble = "" if self._snapshot.handed_over else phrase("back_again", language)
            self._conversation.feed(events.Continue(self._snapshot.answering, preamble))

    async def _hang_up(self, reason: str) -> None:
        """End the call behind the last event for its client, such as the transcript of a goodbye."""
        await self._events.drained(_LAST_EVENTS_SECONDS)
        await self._bus.hang_up(reason)

    def hand_over(self) -> None:
        """Another process is to continue the call: keep the last snapshot, and change it no more."""
        self._handed_over = True
        self._snapshots.close()
        self._save()

    async def close(self) -> None:
        """End all that runs for this call. Safe to call twice."""
        self.ended.set()
        for subscription in self._subscriptions:
            with contextlib.suppress(Exception):  # the connection may be gone: so is the subscription
                await subscription.unsubscribe()
        self._subscriptions.clear()
        self._snapshots.close()
        await tasks.end(*(task for task in self._tasks if task is not asyncio.current_task()))
        self._conversation.close()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s: %s", self.id, error, exc_info=error)

    async def _watch(self) -> None:
        await until_silent(self._liveness, self._services.idle)
        log.warning("%s: nothing came for %.0f s, dropped", self.id, self._services.idle)
        self.ended.set()

    def _changed(self) -> None:
        """Keep a snapshot for the process that may have to continue the call."""
        if not self._handed_over:
            self._snapshots.changed()

    def _save(self) -> None:
        core = self._conversation.core
        answering = core.answering
        self._services.save(
            self.id,
            bounded(
                ConversationSnapshot(
                    items=self._realtime.conversation.items,
                    settings=self._written_settings(),
                    agent=self._conversation.responses.saved_agent(answering),
                    carried=core.carried,
                    keys=core.state.keys,
                    session_created=self._session_created,
                    greeted=not core.greeting_is_due,
                    answering=answering.text if answering else None,
                    received_until=self._vad.consumed_until,
                    handed_over=self._handed_over,
                )
            ),
        )

    def _written_settings(self) -> JsonObject:
        settings = self._conversation.settings
        if self._settings_written is None or self._settings_written[0] is not settings:
            self._settings_written = settings, settings_json(settings)
        return self._settings_written[1]

    # ---- what comes in -----------------------------------------------------------------------------

    async def _on_frame(self, msg: Msg) -> None:
        self._liveness.frame(time.monotonic())
        if not self._receives_audio:
            return
        try:
            frame = unpack_frame(msg.data)
            if frame.rate != RATE:
                raise MalformedError(f"audio frame at {frame.rate} Hz: the claim asked for {RATE}")
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        self._connect()
        if self._early is None:
            self._vad.push(frame)
        elif len(self._early) < MAX_FRAMES:
            self._early.append(frame)

    async def _on_event(self, msg: Msg) -> None:
        self._liveness.event(time.monotonic())
        try:
            event = messages.decode_any(msg.data, messages.SESSION_EVENT, "SessionEvent")
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        match event:
            case messages.ChannelOpened(channel=messages.EVENTS_CHANNEL):
                self._announce_session()
            case messages.Connected():
                self._announce_session()
                self._conversation.feed(events.Connected(sends_audio=False))
            case messages.MediaStarted():
                self._connect()
            case messages.Statistics():
                self._turn_spans.statistics(event.round_trip_ms)
            case messages.Playout():
                self._played.playout(event, time.time_ns())
                self._conversation.responses.playout(event)
            case messages.TelephoneEvent():
                self._press(key_of(event.event))
            case messages.TakenOver(handed_over=False):
                stopped_at = self._liveness.frames_stopped_at(time.monotonic())
                self._conversation.feed(events.TransceiverLost(stopped_at))
            case messages.Flushed():
                self._played.flushed(event)
                if not self._bus.received_flushed(event):
                    self._services.verify(self.id)
            case messages.ClaimExpired(instance=self._services.instance):
                log.warning("%s: was taken too late, dropped", self.id)
                self.ended.set()
            case messages.Transferred():
                log.info("%s: is with agent %s now", self.id, event.agent)
                self.ended.set()
            case messages.TransferFailed():
                self._conversation.transfer_failed(event.agent, event.message)
            case messages.Ended():
                log.info("%s: ended (%s)", self.id, event.reason)
                self.ended.set()

    def _press(self, key: str | None) -> None:
        """The caller has pressed a key; None: a telephone event that is no key."""
        if key is not None:
            self._conversation.press_key(key)

    async def _on_data(self, msg: Msg) -> None:
        now, size = time.monotonic(), len(msg.data)
        self._liveness.event(now)
        verdict = self._budget.spend(size, now, self._events.is_full)
        if verdict is not Verdict.TAKE:
            self._refuse(verdict)
            if self._budget.dropped % _DROPPED_AT_ONCE == 0:
                await asyncio.sleep(0)
            return
        try:
            message = messages.decode(msg.data, messages.DataMessage)
            if message.channel != messages.EVENTS_CHANNEL:
                self._budget.give_back(size)
                return
            event = read_client_event(message.payload())
            if isinstance(event, BufferCommit | BufferClear):
                await self._vad.caught_up(CAUGHT_UP_SECONDS)
            self._commands.apply(event)
            self._changed()
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
        except ClientError as error:
            self._realtime.error(error)
        await asyncio.sleep(0)  # the client of NATS gives us all that waits without a pause

    def _refuse(self, verdict: Verdict) -> None:
        """An event above the budget: it is dropped."""
        dropped = self._budget.dropped
        if verdict is Verdict.REPORT:
            log.warning("%s: its client sends too many events, %d are dropped so far", self.id, dropped)
            text = (
                f"too many events, {dropped} of this call are dropped so far: at most {EVENT_RATE:.0f} events and"
                f" {BYTE_RATE / 1024:.0f} KiB a second are taken after a burst of {BURST} events or"
                f" {BYTE_BURST / 1024**2:.0f} MiB, and none while too many answers wait to be sent. Send fewer, or the"
                f" call is ended after {PATIENCE_SECONDS:.0f} s"
            )
            self._realtime.error(ClientError(text, "rate_limit_exceeded"))
        elif verdict is Verdict.END:
            log.warning("%s: its client does not stop sending events, %d were dropped: ended", self.id, dropped)
            text = f"too many events: {dropped} were dropped, and the call ends"
            self._realtime.error(ClientError(text, "rate_limit_exceeded"))
            self._spawn(self._bus.hang_up(TOO_MANY_EVENTS))

    def _apply_settings(self) -> None:
        settings = self._conversation.settings.turn_settings(self._services.turn_settings)
        self._conversation.transcriptions.change_detection(settings)
        self._realtime.session("session.updated", self._shown())

    def _shown(self) -> JsonObject:
        services = self._services
        shown = self._conversation.settings.shown(self.id, self._model, services.turn_settings, services.support)
        shown["instructions"] = shown["instructions"] or services.instructions
        return self._locked.shown(shown)

    # ---- the beginning -----------------------------------------------------------------------------

    def _announce_session(self) -> None:
        """The client can receive events now: its first one is `session.created`."""
        if not self._session_created:
            self._session_created = True
            self._realtime.session("session.created", self._shown())
            self._realtime.errors(self._refused)

    def _connect(self) -> None:
        """Media flows: the caller can be greeted."""
        if not self._is_connected:
            self._is_connected = True
            self._announce_session()
            self._conversation.feed(events.Connected())


def _state_of(snapshot: ConversationSnapshot, services: Services) -> State:
    """What the core knows at the beginning of a call, or of one that another process has left."""
    state = State(
        greeting=services.greeting,
        greeted=snapshot.greeted,
        scripted=services.is_scripted,
        idle_since=time.monotonic(),
        keys=snapshot.keys,
        key_at=time.monotonic(),
    )
    if snapshot.carried:
        state.waiting.append(Words(state.new_id(), snapshot.carried, carried=True))
    outputs = {item.get("call_id") for item in snapshot.items if item.get("type") == "function_call_output"}
    for item in snapshot.items:
        if item.get("type") == "function_call" and item.get("call_id") not in outputs:
            state.pending_calls[str(item.get("call_id"))] = time.monotonic()
    return state
