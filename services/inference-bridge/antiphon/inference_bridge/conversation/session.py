"""One call: its subscriptions, its tasks, its end. The shell around turns, responses and the protocol.

audio.in -> VadPipeline -> Transcriptions -> core -> ResponseTasks -> ResponsePlayback -> audio.out
data.in -> ClientMessages -> ClientCommands -> core, settings
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.client_mcp import McpUsingAgent
from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.conversation.client_commands import ClientCommands
from antiphon.inference_bridge.conversation.client_mcp import ClientMcp
from antiphon.inference_bridge.conversation.client_messages import ClientMessages
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.event_output import EventOutput
from antiphon.inference_bridge.conversation.first_state import first_state
from antiphon.inference_bridge.conversation.runner import ConversationRunner
from antiphon.inference_bridge.conversation.services import Services
from antiphon.inference_bridge.conversation.snapshot_schedule import SnapshotSchedule
from antiphon.inference_bridge.conversation.turn_spans import TurnSpans
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, bounded, settings_json
from antiphon.inference_bridge.input.vad_pipeline import MAX_FRAMES, VadPipeline
from antiphon.inference_bridge.models.voice_activity import VoiceActivityStream
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.caller_keys import key_of
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.inference_bridge.realtime_protocol.locked_settings import LockedSettings
from antiphon.inference_bridge.realtime_protocol.mcp_tools import without_secrets
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings, first_settings
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
_MAX_PENDING: Final = 1000
"""Messages per subscription that wait for the event loop: 20 s of frames, or more events than a client may send at
once; later ones are dropped by the client of NATS."""
_MAX_PENDING_BYTES: Final = 8 * 1024 * 1024


class Session:
    """One call of this process: made for an accepted claim, or for the lease of a call that another process has left.

    Owner: the bridge. It lives from `start` until `ended` is set, by the call's end or by the bridge, which then calls
    `close`. Called from the event loop.
    """

    def __init__(
        self,
        lease: messages.Lease,
        profile: AgentProfile,
        wishes: SessionSettings,
        services: Services,
        stream: VoiceActivityStream,
        snapshot: ConversationSnapshot | None = None,
        receives_audio: bool = True,
    ) -> None:
        """`profile`: of the call's agent. `wishes`: what is in force where the client names nothing.

        `snapshot`: what the holder before has kept. `receives_audio`: False where only an apology is spoken.
        """
        self._receives_audio = receives_audio
        self.id = lease.session_id
        self.ended = asyncio.Event()
        """Nothing more comes, or the call is another process's."""
        self._is_over = False
        """The call has ended, or another agent has it: no other process of this one goes on."""
        self._services, self._profile, self._context = services, profile, telemetry.trace_context(lease.trace)
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
        self._snapshots = SnapshotSchedule(self._save)
        self._settings_written: tuple[SessionSettings, JsonObject] | None = None
        """The settings in force as a snapshot keeps them: they seldom change, and may be large."""
        self._early: list[AudioFrame] | None = [] if snapshot else None
        """Frames that wait for older ones that NATS remembers; 5 s at most."""
        settings, refused = first_settings(lease.session, services.support, lease.locked, wishes)
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
        self._mcp = ClientMcp(
            self.id, self._realtime, services.support.mcp_hosts, self._spawn, not self._locked.hides_tools
        )
        agent = self._agent()
        if snapshot.agent is not None:
            agent.restore(snapshot.agent)
        self._turn_spans = TurnSpans(self._context, self.id, lease.agent, services.model_names)
        self._conversation = ConversationRunner(
            first_state(snapshot, profile, lease.started_at),
            self._bus,
            self._realtime,
            agent,
            self._agent,
            services.speech,
            settings,
            services.support,
            profile.instructions,
            services.patience_ms if profile.patience_ms is None else profile.patience_ms,
            leases.first_generation(lease.takeovers),
            self._vad,
            services.end_of_turn,
            self._spawn,
            self._turn_spans,
            self._changed,
            self._hang_up,
            self._events_sent,
            profile,
            without_secrets(lease.session),
        )
        commands = ClientCommands(
            self._conversation, self._realtime, self._apply_settings, self._locked, services.support
        )
        self._messages = ClientMessages(
            self.id,
            commands,
            self._realtime,
            self._vad,
            lambda: self._events.is_full,
            self._changed,
            lambda why: self._spawn(self._bus.hang_up(why)),
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
        if self._session_created:
            self._mcp.apply(self._conversation.settings.tools)

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
        await self._events_sent()
        await self._bus.hang_up(reason)

    async def _events_sent(self) -> None:
        await self._events.drained(_LAST_EVENTS_SECONDS)

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
        await self._mcp.close()
        await tasks.end(*(task for task in self._tasks if task is not asyncio.current_task()))
        over, self._is_over = self._is_over, False
        self._conversation.close(goes_on=not over)

    def _agent(self) -> Agent:
        """Another agent for this call."""
        agent = self._profile.make(self.id)
        return McpUsingAgent(agent, self._mcp) if self._services.support.mcp_hosts.hosts else agent

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
        self._end()

    def _end(self) -> None:
        """The call is over, at least for this agent."""
        self._is_over = True
        self.ended.set()

    def _changed(self) -> None:
        """Keep a snapshot for the process that may have to continue the call."""
        if not self._handed_over:
            self._snapshots.changed()

    def _save(self) -> None:
        core = self._conversation.core
        answering = core.answering
        self._services.save(
            self._bus.agent,
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
                    self._services.verify(self._bus.agent, self.id)
            case messages.ClaimExpired(instance=self._services.instance):
                log.warning("%s: was taken too late, dropped", self.id)
                self.ended.set()
            case messages.Transferred():
                log.info("%s: is with agent %s now", self.id, event.agent)
                self._end()
            case messages.TransferFailed():
                self._conversation.transfer_failed(event.agent, event.message)
            case messages.Ended():
                log.info("%s: ended (%s)", self.id, event.reason)
                self._end()

    def _press(self, key: str | None) -> None:
        """The caller has pressed a key; None: a telephone event that is no key."""
        if key is not None:
            self._conversation.press_key(key)

    async def _on_data(self, msg: Msg) -> None:
        self._liveness.event(time.monotonic())
        await self._messages.received(msg.data)

    def _apply_settings(self) -> None:
        settings = self._conversation.settings.turn_settings(self._services.turn_settings)
        self._conversation.transcriptions.change_detection(settings)
        self._realtime.session("session.updated", self._shown())
        self._mcp.apply(self._conversation.settings.tools)

    def _shown(self) -> JsonObject:
        services = self._services
        shown = self._conversation.settings.shown(self.id, self._model, services.turn_settings, services.support)
        shown["instructions"] = shown["instructions"] or self._profile.instructions
        return self._locked.shown(shown)

    # ---- the beginning -----------------------------------------------------------------------------

    def _announce_session(self) -> None:
        """The client can receive events now: its first one is `session.created`."""
        if not self._session_created:
            self._session_created = True
            self._realtime.session("session.created", self._shown())
            self._realtime.errors(self._refused)
            self._mcp.apply(self._conversation.settings.tools)

    def _connect(self) -> None:
        """Media flows: the caller can be greeted."""
        if not self._is_connected:
            self._is_connected = True
            self._announce_session()
            self._conversation.feed(events.Connected())
