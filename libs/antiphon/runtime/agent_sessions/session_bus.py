"""What an agent sends for one session: speech frames, data-channel messages, control requests.

While NATS is away frames and messages are lost, as on a bad line, and requests get no answer; the call continues when
NATS is back. Control requests go one at a time, so the transceiver executes them in the order in which they were made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Protocol

import nats.errors
from nats.aio.client import Client
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from antiphon.runtime import telemetry
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, FrameFlag, pack_frame
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

HANG_UP_SECONDS: Final = 30.0
"""As long as the transceiver itself waits for a client, or for an agent that is gone. Only time with a connection to
NATS counts: when NATS comes back after minutes, calls without an agent are still to be ended."""
_ANSWER_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.2
_MAX_WITHOUT_SESSION: Final = 3
"""Times that no transceiver has the session until it counts as ended: a takeover by another one needs some 30 ms."""
_MAX_PENDING_FLUSHES: Final = 16
"""Flushes without a report that are remembered: while NATS is away none comes."""


class ControlOutcome(Enum):
    """What became of a control request."""

    DONE = auto()
    REFUSED = auto()
    """The transceiver has answered that it does not do it; the reason is in the log."""
    NO_SESSION = auto()
    """No transceiver has the session: it is over, or another one is just taking it over."""
    NO_ANSWER = auto()
    """None came in time, or NATS is away. The request may have been executed all the same."""


async def control(client: Client, agent: str, session_id: str, request: messages.Message) -> ControlOutcome:
    """Ask the transceiver that has the session of this agent. Failures are logged; nothing is raised."""
    name = type(request).__name__
    known = {names.CONTROL: name, **names.messaging(names.CONTROL_SUBJECT, "send")}
    if isinstance(request, messages.ReportTurn) or not trace.get_current_span().get_span_context().is_valid:
        return await _control(client, agent, session_id, request, name)
    context = spans.of_call(session_id)
    with spans.current(names.CONTROL_REQUEST, context, kind=SpanKind.PRODUCER, attributes=known) as span:
        outcome = await _control(client, agent, session_id, request, name)
        span.set_attribute(names.OUTCOME, outcome.name.lower())
    return outcome


async def _control(client: Client, agent: str, session_id: str, request: messages.Message, name: str) -> ControlOutcome:
    try:
        answer = await client.request(
            subjects.session_control(agent, session_id),
            messages.encode(request),
            timeout=_ANSWER_SECONDS,
            headers=telemetry.trace_headers() or None,
        )
        reply = messages.decode(answer.data, messages.ControlReply)
    except nats.errors.NoRespondersError:
        log.warning("%s: no transceiver has it: %s", session_id, name)
        return ControlOutcome.NO_SESSION
    except (nats.errors.Error, TimeoutError, MalformedError) as error:
        log.warning("%s: no answer to %s: %s", session_id, name, error or type(error).__name__)
        return ControlOutcome.NO_ANSWER
    if not reply.ok:
        log.warning("%s: %s refused: %s", session_id, name, reply.message)
        return ControlOutcome.REFUSED
    return ControlOutcome.DONE


class SpeechListener(Protocol):
    """Is told what speech a `SessionBus` sends, on the event loop; such as `antiphon.runtime.echo.PlayedSpeech`."""

    def sent(self, frame: AudioFrame) -> None:
        """A frame is published."""

    def paused(self, now_ns: int) -> None:
        """Speech is to be held. `now_ns`: Unix."""

    def resumed(self, now_ns: int) -> None:
        """Held speech is to play on. `now_ns`: Unix."""


@dataclass(eq=False)
class _PendingFlush:
    """A flush of ours of which `Flushed` did not come yet."""

    flushed: asyncio.Future[messages.Flushed] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    unanswered: bool = False
    """The request got no answer: perhaps its `Flushed` never comes."""


class SessionBus:
    """Publishes and asks on behalf of one session.

    Owner: the session, for as long as it lives; its speeches publish through it too. Called from the event loop.
    After `over` is set nothing is sent any more.
    """

    def __init__(
        self,
        client: Client,
        agent: str,
        session_id: str,
        over: asyncio.Event,
        instance: str = "",
        listener: SpeechListener | None = None,
    ) -> None:
        """`agent`: the one that the session is claimed for, whose name is in its subjects. `over` is the session's own.

        `instance`: ours, as in the answer to the claim. `listener`: is told what speech is sent.
        """
        self.agent, self.session_id = agent, session_id
        self.paused = False
        """The transceiver was asked to hold our speech."""
        self._client, self._over, self._instance, self._listener = client, over, instance, listener
        self._audio_out, self._data_out = subjects.audio_out(agent, session_id), subjects.data_out(agent, session_id)
        self._control = subjects.session_control(agent, session_id)
        self._sequence = 0
        self._one_at_a_time = asyncio.Lock()
        self._pending: deque[_PendingFlush] = deque(maxlen=_MAX_PENDING_FLUSHES)
        """In the order of the requests; when full, the oldest goes, which has had no report for longest."""

    # ---- publishing

    async def publish_frame(
        self, pcm: bytes, rate: int, first_sample: int, generation: int, flags: FrameFlag | int = 0
    ) -> None:
        """20 ms of speech: s16le mono at `rate` Hz."""
        if self._over.is_set():
            return
        frame = AudioFrame(self._sequence, first_sample, time.time_ns(), rate, int(flags), generation, pcm)
        self._sequence += 1
        if self._listener is not None:
            self._listener.sent(frame)
        await self._publish(self._audio_out, pack_frame(frame))

    async def publish_data(self, content: str | bytes, channel: str = messages.EVENTS_CHANNEL) -> None:
        """A message to the client, on one of its data channels."""
        await self.publish_message(messages.encode(messages.DataMessage.of(channel, content)))

    async def publish_message(self, data: bytes) -> None:
        """A message to the client: a `DataMessage` that is encoded already."""
        await self._publish(self._data_out, data)

    async def _publish(self, subject: str, data: bytes) -> None:
        try:
            await self._client.publish(subject, data)
        except nats.errors.Error as error:
            log.debug("%s: not sent: %s", self.session_id, error)

    async def report_turn(self, report: messages.ReportTurn) -> None:
        """Tell the call's owner what is known of a turn. Nothing waits for it, and a lost one is nothing."""
        if not self._over.is_set():
            await self._publish(self._control, messages.encode(report))

    # ---- control requests

    async def pause(self) -> bool:
        """Hold the speech at the exact sample; False if the transceiver did not."""
        self.paused = True
        if self._listener is not None:
            self._listener.paused(time.time_ns())
        return await self._request(messages.Pause()) is ControlOutcome.DONE

    async def resume(self) -> bool:
        """Play on with the next sample; False if the transceiver did not."""
        self.paused = False
        if self._listener is not None:
            self._listener.resumed(time.time_ns())
        return await self._request(messages.Resume()) is ControlOutcome.DONE

    async def flush(self, generation: int) -> ControlOutcome:
        """Silence everything below `generation`, now."""
        return await self._flush(generation, _PendingFlush())

    async def flush_and_wait(self, generation: int, seconds: float) -> messages.Flushed | None:
        """Silence everything below `generation`; returns where it was cut, None if that is not known in time."""
        pending = _PendingFlush()
        if await self._flush(generation, pending) is ControlOutcome.NO_SESSION:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await asyncio.shield(pending.flushed)
        return None

    async def _flush(self, generation: int, pending: _PendingFlush) -> ControlOutcome:
        self.paused = False
        async with self._one_at_a_time:
            if self._over.is_set():
                return ControlOutcome.NO_SESSION
            self._pending.append(pending)
            outcome = await control(self._client, self.agent, self.session_id, messages.Flush(generation=generation))
            if outcome is ControlOutcome.NO_ANSWER:
                pending.unanswered = True
            elif outcome is not ControlOutcome.DONE and pending in self._pending:
                self._pending.remove(pending)
            return outcome

    def received_flushed(self, event: messages.Flushed) -> bool:
        """The transceiver reports a flush. False: it was not ours, so another instance acts for the session."""
        while len(self._pending) > 1 and self._pending[0].unanswered:
            self._pending.popleft()
        if not self._pending:
            return False
        pending = self._pending.popleft()
        if not pending.flushed.done():
            pending.flushed.set_result(event)
        return True

    async def hang_up(self, reason: str = "hang_up") -> bool:
        """End the call. Asked again until the transceiver answers: a caller without an agent hears silence.

        False: there was no answer for `HANG_UP_SECONDS`. It may be asked before the transceiver has the session, which
        is never opened then.
        """
        request = messages.HangUp(reason=reason, instance=self._instance)
        unanswered, without_session, asked_at = 0.0, 0, time.monotonic()
        while not self._over.is_set():
            outcome = await self._request(request)
            without_session += outcome is ControlOutcome.NO_SESSION
            if outcome in (ControlOutcome.DONE, ControlOutcome.REFUSED) or without_session >= _MAX_WITHOUT_SESSION:
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_SECONDS):
                    await self._over.wait()
            now = time.monotonic()
            if self._client.is_connected:
                unanswered += now - asked_at
            asked_at = now
            if unanswered > HANG_UP_SECONDS:
                log.error("%s: could not be hung up: no transceiver answers", self.session_id)
                return False
        return True

    async def transfer(self, agent: str, handed: messages.HandedCall | None = None) -> ControlOutcome:
        """Ask for another agent; `Transferred` or `TransferFailed` says what becomes of it.

        `handed`: what it gets along with the session; None: nothing.
        """
        return await self._request(messages.Transfer(agent=agent, handed=handed))

    async def ask_person(self, summary: str) -> bool:
        """Have the operator's system told that a person should take the session; False if it could not be."""
        return await self._request(messages.AskPerson(summary=summary)) is ControlOutcome.DONE

    async def _request(self, request: messages.Message) -> ControlOutcome:
        async with self._one_at_a_time:
            if self._over.is_set():
                return ControlOutcome.DONE
            return await control(self._client, self.agent, self.session_id, request)
