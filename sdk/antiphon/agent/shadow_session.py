"""What every session has, also one that may only be listened to: its events, its audio, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Literal

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.agent.captions import typed_text
from antiphon.agent.energy_vad import EnergyVad
from antiphon.agent.event_queue import EventQueue
from antiphon.agent.events import DataReceived, Event, Lagged, SpeechStarted, SpeechStopped, TakenOver, TextTyped
from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions.session_liveness import SessionLiveness, until_silent
from antiphon.runtime.nats import connection
from antiphon.runtime.resampling import Resampler
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.audio import RATES, AudioFrame, unpack_frame
from antiphon.schemas.messages import Lease

log = logging.getLogger("antiphon.agent")

MAX_EVENTS: Final = 1000
MAX_FRAMES: Final = 250
"""Five seconds of the caller; a slower consumer sees `first_sample` jump."""
UNREAD_FRAMES: Final = 50
"""Kept until the function asks for audio: the last second."""
SILENT_SECONDS: Final = 60.0
"""Without a frame or an event for so long the transceiver is gone."""
FLUSH_SECONDS: Final = 2.0
_MAX_PENDING: Final = 500

Reason = Literal["ended", "transferred", "silent", "lost", "failed", "returned", "stopped"]


class ShadowSession:
    """A call as a listener has it; `Session` adds what a speaker does.

    It lasts until `over` is set. Use it from the agent's event loop, in any task.
    """

    def __init__(
        self,
        client: Client,
        lease: Lease,
        detect_speech: bool = True,
    ) -> None:
        self.id = lease.session_id
        """Names the call everywhere: in subjects, logs, traces and URLs."""
        self.agent = lease.agent
        """The name of our agent."""
        self.settings = lease.session
        """What the client sent as its realtime session, unread."""
        self.state: dict[str, Any] = dict(lease.state)
        """Plain JSON, yours. `save` keeps it for the instance that takes the session over."""
        self.takeovers = lease.takeovers
        """How often the session has changed hands; 0: this instance accepted its claim."""
        self.over = asyncio.Event()
        """Set when nothing more comes."""
        self.why: Reason | None = None
        """Why nothing more comes: the call has `ended`, another agent has it (`transferred`), its transceiver is
        `silent`, another instance has it (`lost`), the function has `failed` or `returned`, the agent was `stopped`.
        None while the session runs."""
        self.end: messages.Ended | None = None
        """The transceiver's last event, with the reason of the end; None if there was none."""
        self.recent_audio: list[AudioFrame] = []
        """After a takeover: the caller's last seconds, if the agent asked to keep them."""
        self.serving_agent = lease.shadow_of or lease.agent
        """The agent that has the call, ours or the one we shadow: its name is in the subjects of the session."""
        self._client, self._lease = client, lease
        self._loudness = EnergyVad() if detect_speech else None
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._liveness = SessionLiveness(time.monotonic())
        self._first_events: EventQueue[Event] | None = EventQueue(MAX_EVENTS)
        self._event_feeds = weakref.WeakSet([self._first_events])
        """Each lives as long as its iterator, the first one until it has an iterator."""
        self._first_frames: EventQueue[AudioFrame] | None = EventQueue(UNREAD_FRAMES)
        self._frame_feeds = weakref.WeakSet([self._first_frames])
        if lease.takeovers:
            self._notify(TakenOver(lease.takeovers))

    # ---- for the author

    def events(self) -> AsyncIterator[Event]:
        """All that happens, from the claim on; ends with the session. A second iterator begins with the next event."""
        feed, self._first_events = self._first_events, None
        if feed is None:
            feed = EventQueue(MAX_EVENTS)
            self._event_feeds.add(feed)
            if self.over.is_set():
                feed.close()
        return _Events(feed)

    def audio(self, rate: int | None = None) -> AsyncIterator[AudioFrame]:
        """The caller, 20 ms at a time, at `rate` Hz (the agent's `input_rate` costs nothing, another one 0.2 ms).

        A gap in the call or a consumer that is more than five seconds late shows as a jump of `first_sample`.
        """
        if rate is not None and rate not in RATES:
            raise ValueError(f"audio at {rate} Hz: expected one of {', '.join(map(str, RATES))}")
        feed, self._first_frames = self._first_frames, None
        if feed is None:
            feed = EventQueue(MAX_FRAMES)
            self._frame_feeds.add(feed)
            if self.over.is_set():
                feed.close()
        feed.limit = MAX_FRAMES
        return _Audio(feed, rate)

    def start(self, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Run something beside the function, for as long as the session at most; its exception ends the session."""
        task = asyncio.create_task(work, name=f"{self.id} {name or getattr(work, '__qualname__', 'task')}")
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    # ---- for the agent

    @property
    def lease(self) -> Lease:
        return self._lease

    @property
    def failure(self) -> asyncio.Future[None]:
        """Gets the exception of a task that was started by `start`."""
        return self._failure

    async def open(self) -> None:
        """Subscribe; when this returns nothing of the call is missed."""
        wanted: list[tuple[str, Callable[[Msg], Awaitable[None]]]] = [
            (subjects.audio_in(self.serving_agent, self.id), self._on_frame),
            (subjects.session_event(self.serving_agent, self.id), self._on_event),
            (subjects.data_in(self.serving_agent, self.id), self._on_data),
        ]
        for subject, callback in wanted:
            self._subscriptions.append(
                await self._client.subscribe(subject, cb=callback, pending_msgs_limit=_MAX_PENDING)
            )
        async with asyncio.timeout(FLUSH_SECONDS):
            await connection.flush(self._client)

    def recall(self, recent: Sequence[AudioFrame]) -> None:
        """Set `recent_audio`: of the caller's last frames those before the first one that `audio` gives."""
        first = next(iter(self._first_frames or ()), None)
        self.recent_audio = [frame for frame in recent if first is None or frame.sequence < first.sequence]

    def finish(self, why: Reason) -> None:
        """Nothing more comes: iterators end behind what still waits in them."""
        if self.why is None:
            self.why = why
            self.over.set()
            for events in list(self._event_feeds):
                events.close()
            for frames in list(self._frame_feeds):
                frames.close()

    async def close(self) -> None:
        """End all tasks of the session."""
        self.finish("stopped")
        self._closing()
        for subscription in self._subscriptions:
            with contextlib.suppress(Exception):  # the connection may be gone, and the subscription with it
                await subscription.unsubscribe()
        self._subscriptions.clear()
        await tasks.end(*self._tasks)
        if not self._failure.done():
            self._failure.cancel()
        elif not self._failure.cancelled():
            self._failure.exception()  # marks it as retrieved, or asyncio logs it again

    def _closing(self) -> None:
        """End what a speaker has begun."""

    async def watch_transceiver(self) -> None:
        """Finish the session when its transceiver has died without a successor: it sends no `Ended` then."""
        await until_silent(self._liveness, SILENT_SECONDS)
        log.warning("%s: nothing came for %.0f s", self.id, SILENT_SECONDS)
        self.finish("silent")

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)

    def _notify(self, event: Event) -> None:
        for feed in list(self._event_feeds):
            feed.put(event)

    async def _on_frame(self, msg: Msg) -> None:
        self._liveness.frame(time.monotonic())
        try:
            frame = unpack_frame(msg.data)
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        for feed in list(self._frame_feeds):
            feed.put(frame)
        event = self._loudness.push(frame) if self._loudness is not None else None
        self._received(frame, event)
        if event is not None:
            self._notify(event)

    def _received(self, frame: AudioFrame, event: SpeechStarted | SpeechStopped | None) -> None:
        """Take note of a frame of the caller, and of what loudness makes of it."""

    async def _on_event(self, msg: Msg) -> None:
        self._liveness.event(time.monotonic())
        try:
            event = messages.decode_any(msg.data, messages.SESSION_EVENT, "SessionEvent")
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        self._handle(event)
        if isinstance(event, messages.ClaimExpired):
            return
        self._notify(event)
        if isinstance(event, messages.Ended):
            self.end = event
            self.finish("ended")
        elif isinstance(event, messages.Transferred):
            self.finish("transferred")

    def _handle(self, event: messages.Message) -> None:
        """React to an event before the author gets it."""

    async def _on_data(self, msg: Msg) -> None:
        self._liveness.event(time.monotonic())
        try:
            message = messages.decode(msg.data, messages.DataMessage)
            payload = message.payload()
        except MalformedError as error:
            log.warning("%s: %s", self.id, error)
            return
        self._notify(DataReceived(message.channel, payload))
        if (text := typed_text(message.channel, payload)) is not None:
            self._notify(TextTyped(text))
            await self._typed(text)

    async def _typed(self, text: str) -> None:
        """React to a typed message behind the author's event."""


class _Events(AsyncIterator[Event]):
    """Iterator of `events`. Owner: the author's task that iterates."""

    def __init__(self, feed: EventQueue[Event]) -> None:
        self._feed = feed

    async def __anext__(self) -> Event:
        if dropped := self._feed.take_dropped():
            return Lagged(dropped)
        return await anext(self._feed)


class _Audio(AsyncIterator[AudioFrame]):
    """Iterator of `audio`. Owner: the author's task that iterates."""

    def __init__(self, feed: EventQueue[AudioFrame], rate: int | None) -> None:
        self._feed, self._rate = feed, rate
        self._resampler: Resampler | None = None
        self._source = 0

    async def __anext__(self) -> AudioFrame:
        frame, rate = await anext(self._feed), self._rate
        if rate is None or frame.rate == rate:
            return frame
        if self._resampler is None or self._source != frame.rate:
            self._resampler, self._source = Resampler(frame.rate, rate), frame.rate
        first_sample = frame.first_sample * rate // frame.rate
        return frame._replace(first_sample=first_sample, rate=rate, pcm=self._resampler.push(frame.pcm))


def as_payload(content: str | bytes | dict[str, Any] | list[Any]) -> str | bytes:
    """What goes onto a data channel: text and bytes as they are, the rest as JSON."""
    return content if isinstance(content, str | bytes) else json.dumps(content)
