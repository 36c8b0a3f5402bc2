"""One call: hears turns, asks the agent, speaks, and is interrupted. The shell around the pure parts.

At most one reply is under way. A turn's task waits for the transcription, asks the agent and speaks; when the
caller talks over it, the task is cancelled, the transceiver flushed, and a closing task finds out
what was heard. If nothing was, the caller had merely paused: the agent forgets that turn, and its text
is put in front of the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from opentelemetry import trace
from opentelemetry.context import Context

from antiphon.inference_bridge.agents import Agent, ReplyPart
from antiphon.inference_bridge.ear import Ear
from antiphon.inference_bridge.hearing.transcriber import Transcriber
from antiphon.inference_bridge.hearing.turns import (
    MaybeDone,
    Resumed,
    SpeechDropped,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
    TurnSettings,
    Utterance,
)
from antiphon.inference_bridge.hearing.voice_activity import RATE, VoiceActivityStream
from antiphon.inference_bridge.line import EVENTS_CHANNEL, Line
from antiphon.inference_bridge.realtime import ClientError, JsonObject, Realtime, read_client_event, typed_text
from antiphon.inference_bridge.reply import Reply, Speech
from antiphon.inference_bridge.turn import Turn, already, say
from antiphon.inference_bridge.workers import Job, Urgency
from antiphon.schemas import bus, messages, subjects, tasks
from antiphon.schemas.audio import unpack_frame
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

NOT_HEARD: Final = "Sorry, could you say that again?"
TROUBLE: Final = "Sorry, something went wrong on my side. Could you say that again?"
_MAX_OUTBOX: Final = 2000
_MAX_PENDING: Final = 500
"""Messages per subscription that wait for the event loop: 10 s of frames; later ones are dropped by the client."""

Reason = Literal["turn_detected", "client_cancelled"]


@dataclass(frozen=True)
class Services:
    """What a session uses of its process."""

    client: Client
    transcriber: Transcriber
    speech: Speech
    vad_executor: ThreadPoolExecutor
    turn_settings: TurnSettings
    greeting: str
    idle: float
    """Seconds without any frame or event after which a session is dropped: its transceiver is gone."""


class Session:
    """Made for an accepted claim. `start`, then it lives until `ended` is set."""

    def __init__(
        self, claim: messages.Claim, agent: Agent, services: Services, stream: VoiceActivityStream, context: Context
    ) -> None:
        self.id = claim.session_id
        self.ended = asyncio.Event()
        self._services, self._agent, self._context = services, agent, context
        self._line = Line(services.client, claim.session_id)
        self._outbox: asyncio.Queue[JsonObject] = asyncio.Queue(_MAX_OUTBOX)
        self._realtime = Realtime(claim.session_id, claim.agent, self._emit)
        self._ear = Ear(stream, services.vad_executor, services.turn_settings, self._on_turn_event)
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last_sign = time.monotonic()
        self._met = False
        self._greeted = False
        self._generation = 0
        self._speaking_item = ""
        self._interrupting = False
        self._speculation: tuple[Job[str], Utterance] | None = None
        self._turn: Turn | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed_turn: Turn | None = None
        """The turn that was interrupted last: a `Flushed` is about it."""
        self._carried = ""
        """What was said and never answered, because the caller went on."""
        self._typed: list[str] = []

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
        await bus.flush(self._services.client)
        self._spawn(self._ear.listen())
        self._spawn(self._send_events())
        self._spawn(self._watch())

    async def close(self) -> None:
        """End all that runs for this call. Safe to call twice."""
        self.ended.set()
        for subscription in self._subscriptions:
            with contextlib.suppress(Exception):  # the connection may be gone: so is the subscription
                await subscription.unsubscribe()
        self._subscriptions.clear()
        self._forget_speculation()
        await tasks.end(*(task for task in self._tasks if task is not asyncio.current_task()))
        if self._turn:
            self._turn.span.end()

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

    # ---- what comes in -----------------------------------------------------------------------------

    async def _on_frame(self, msg: Msg) -> None:
        self._last_sign = time.monotonic()
        try:
            frame = unpack_frame(msg.data)
            if frame.rate != RATE:
                raise MalformedError(f"audio frame at {frame.rate} Hz: the claim asked for {RATE}")
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        self._meet()
        self._greet()
        self._ear.push(frame)

    async def _on_event(self, msg: Msg) -> None:
        self._last_sign = time.monotonic()
        try:
            event = messages.decode_any(msg.data, messages.SESSION_EVENT, "SessionEvent")
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        match event:
            case messages.Connected() | messages.ChannelOpened(channel="oai-events"):
                self._meet()
            case messages.MediaStarted():
                self._meet()
                self._greet()
            case messages.Playout() if self._turn and self._turn.reply:
                self._turn.reply.playout(event)
            case messages.Flushed():
                self._flushed(event)
            case messages.Ended():
                log.info("%s: ended (%s)", self.id, event.reason)
                self.ended.set()

    async def _on_data(self, msg: Msg) -> None:
        self._last_sign = time.monotonic()
        event: JsonObject = {}
        try:
            message = messages.decode(msg.data, messages.DataMessage)
            if message.channel != EVENTS_CHANNEL:
                return
            event = read_client_event(message.payload())
            self._client_event(event)
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
        except ClientError as error:
            self._realtime.error(error, event.get("event_id"))

    def _client_event(self, event: JsonObject) -> None:
        match event["type"]:
            case "session.update":
                self._realtime.session_update(event.get("session"))
            case "conversation.item.create":
                item = event.get("item")
                text = typed_text(item)
                assert isinstance(item, dict)
                self._realtime.typed(item, text)
                self._typed = [*self._typed, text][-20:]
            case "conversation.item.retrieve":
                self._realtime.retrieve(event.get("item_id"))
            case "conversation.item.truncate":
                pass  # an interruption has truncated it already, to what was really played
            case "response.create":
                if not self._typed:
                    raise ClientError("there is no new message to answer: create one by conversation.item.create first")
                text, self._typed = " ".join(self._typed), []
                self._interrupt("turn_detected")
                self._begin(Turn(self._span("turn"), self._spawn(already(text))))
            case "response.cancel" | "output_audio_buffer.clear":
                self._interrupt("client_cancelled")
            case other:
                raise ClientError(f"{other!r:.60} is not supported here", "unsupported_event", "type")

    # ---- turns -------------------------------------------------------------------------------------

    def _meet(self) -> None:
        """Somebody can receive events now."""
        if not self._met:
            self._met = True
            self._realtime.session_created()

    def _greet(self) -> None:
        if self._greeted:
            return
        self._greeted = True
        if self._services.greeting and self._turn is None:
            self._begin(Turn(self._span("greeting")))

    def _on_turn_event(self, event: TurnEvent) -> None:
        match event:
            case SpeechStarted(first_sample):
                self._interrupting = self._interrupt("turn_detected")
                self._speaking_item = self._realtime.speech_started(first_sample * 1000 // RATE)
            case MaybeDone(utterance):
                work = partial(self._services.transcriber.transcribe, utterance.pcm)
                self._speculation = self._services.speech.workers.submit(work, Urgency.MAYBE), utterance
            case Resumed():
                self._forget_speculation()
            case SpeechDropped(speech_end):
                self._forget_speculation()
                self._realtime.speech_stopped(self._speaking_item, speech_end * 1000 // RATE)
            case TurnEnded(utterance):
                self._turn_ended(utterance)

    def _forget_speculation(self) -> None:
        if self._speculation:
            self._speculation[0].cancel()
            self._speculation = None

    def _turn_ended(self, utterance: Utterance) -> None:
        job = self._transcription(utterance)
        item_id = self._speaking_item
        speech_end_ns = self._ear.captured_ns(utterance.speech_end)
        turn = Turn(
            self._span("turn", speech_end_ns),
            item_id=item_id,
            speech_end_ns=speech_end_ns,
            ended_ns=time.time_ns(),
            interrupts=self._interrupting,
        )
        self._realtime.speech_stopped(item_id, utterance.speech_end * 1000 // RATE)
        self._realtime.committed(item_id)
        turn.hearing = self._spawn(self._hear(turn, job, len(utterance.pcm) / 2 / RATE))
        self._begin(turn)

    def _transcription(self, utterance: Utterance) -> Job[str]:
        """The one that was begun in the silence, if it was of this utterance; else a new one."""
        if self._speculation and self._speculation[1] is utterance:
            job, self._speculation = self._speculation[0], None
            job.promote(Urgency.NOW)
            return job
        self._forget_speculation()
        work = partial(self._services.transcriber.transcribe, utterance.pcm)
        return self._services.speech.workers.submit(work, Urgency.NOW)

    async def _hear(self, turn: Turn, job: Job[str], seconds: float) -> str:
        """The text of a turn; empty if there is none. Not cancelled by an interruption: words are never lost."""
        assert turn.item_id is not None
        try:
            text = await job
        except Exception as error:
            log.warning("%s: not transcribed: %s", self.id, error)
            self._realtime.transcription_failed(turn.item_id, str(error))
            turn.interrupts = True  # the caller is owed an answer, if only that we did not hear
            return ""
        turn.heard_ns, turn.stt_ms = time.time_ns(), job.work_ms
        self._realtime.transcribed(turn.item_id, text, seconds)
        return text

    def _begin(self, turn: Turn) -> None:
        if self._turn:  # possible only when a greeting races with the first turn
            self._interrupt("turn_detected")
        self._turn = turn
        turn.task = self._spawn(self._answer(turn))

    async def _answer(self, turn: Turn) -> None:
        """From what was said to the last sample of the reply."""
        try:
            if self._closing:
                await asyncio.shield(self._closing)
            parts = await self._parts(turn)
            if parts is None:
                return
            self._generation += 1
            turn.reply = Reply(
                self._line, self._realtime, self._services.speech, self._generation, partial(self._first_audio, turn)
            )
            await turn.reply.run(parts)
            if turn.reply.failed:
                turn.reply.response.done("failed", "", 0)
            else:
                turn.reply.response.done("completed", turn.reply.text, 0)
            self._tell_agent(turn, turn.reply.text)
            if turn.reply.hang_up:
                await self._line.hang_up("agent")
        finally:
            if self._turn is turn:  # else it was interrupted, and is closed elsewhere
                self._turn = None
                turn.span.end()

    async def _parts(self, turn: Turn) -> AsyncGenerator[ReplyPart, None] | None:
        """What to say; None for nothing."""
        if turn.hearing is None:
            return say(self._services.greeting)
        text = await asyncio.shield(turn.hearing)
        if not text and not self._carried:
            return say(NOT_HEARD) if turn.interrupts else None
        turn.text = f"{self._carried} {text}".strip()
        self._carried = ""
        turn.asked = True
        turn.span.set_attribute("antiphon.heard_characters", len(turn.text))
        return self._guarded(self._agent.reply(turn.text, datetime.now().astimezone()))

    async def _guarded(self, parts: AsyncGenerator[ReplyPart, None]) -> AsyncGenerator[ReplyPart, None]:
        """An agent that raises is not the end of the call."""
        try:
            async with contextlib.aclosing(parts):
                async for part in parts:
                    yield part
        except Exception:
            log.exception("%s: the agent failed", self.id)
            yield f" {TROUBLE}"

    def _tell_agent(self, turn: Turn, heard: str) -> None:
        if turn.asked:
            self._agent.heard(heard)
        elif turn.hearing is None:
            self._agent.greeted(heard)

    # ---- interruption --------------------------------------------------------------------------------

    def _interrupt(self, reason: Reason) -> bool:
        """Stop what is being said or prepared; True if there was something."""
        turn, self._turn = self._turn, None
        if turn is None or turn.task is None:
            return False
        turn.task.cancel()
        before, self._closed_turn = self._closing, turn
        self._closing = self._spawn(self._close_turn(turn, reason, before))
        return True

    async def _close_turn(self, turn: Turn, reason: Reason, before: asyncio.Task[None] | None) -> None:
        assert turn.task is not None
        if before:
            await before
        await asyncio.wait([turn.task])
        heard, heard_ms = "", 0
        if turn.reply:
            heard, heard_ms = await turn.reply.interrupted()
            turn.reply.response.done("cancelled", heard, heard_ms, reason)
        self._tell_agent(turn, heard)
        if not heard and turn.hearing and reason == "turn_detected":
            said = turn.text if turn.asked else await turn.hearing
            self._carried = f"{self._carried} {said}".strip()
        turn.span.set_attribute("antiphon.interrupted", True)
        turn.span.end()

    def _flushed(self, event: messages.Flushed) -> None:
        turn = self._closed_turn
        if turn and turn.reply:
            turn.reply.flushed(event)

    # ---- measurement ---------------------------------------------------------------------------------

    def _span(self, name: str, start_ns: int | None = None) -> trace.Span:
        return tracer.start_span(name, context=self._context, start_time=start_ns)

    def _first_audio(self, turn: Turn) -> None:
        """The first frame of a reply was published: say how long the caller waited, and for what."""
        assert turn.reply is not None
        latency = turn.latency_ms()
        if not latency:
            return
        for name, value in latency.items():
            turn.span.set_attribute(f"antiphon.{name}", value)
        self._realtime.emit("antiphon.latency", item_id=turn.item_id, response_id=turn.reply.response.id, **latency)
