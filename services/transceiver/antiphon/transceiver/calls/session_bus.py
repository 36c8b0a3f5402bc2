"""The subjects of each session on NATS: the speech and messages of its agent, and what controls it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import MalformedError, audio, messages, subjects
from antiphon.transceiver.bus import nats_fast_path
from antiphon.transceiver.bus.publisher import Publisher
from antiphon.transceiver.calls.agent_bounds import CONTROLS, AgentBounds
from antiphon.transceiver.calls.control_rpc import Refusal, answer
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.session.session import Session

MAX_EARLY: Final = 256
"""Messages of an agent kept between its claim and the making of its session; any above that are dropped."""
MAX_INSTANCES: Final = 64
"""Agent instances of which, per session, an early hang-up, or a late acceptance, is remembered."""
Controlled = messages.Flush | messages.Pause | messages.Resume | messages.HangUp


class _Early:
    """Messages to a session that is being made: an agent may speak, and hang up, as soon as it is asked.

    Owner: `SessionBus`, from before the claim until the session is made or is not: for the time of a claim, 2.5 s.
    """

    def __init__(self) -> None:
        self.received: list[nats_fast_path.Received | Controlled] = []
        self.hung_up: dict[str, messages.HangUp] = {}
        """By instance, which may be empty. Kept apart: a hang-up is never one message too many."""

    def keep(self, message: nats_fast_path.Received) -> None:
        if len(self.received) < MAX_EARLY:
            self.received.append(message)

    def control(self, control: Controlled) -> str:
        """Keep it; returns the text of the answer, or raises `Refusal`."""
        if isinstance(control, messages.HangUp):
            if control.instance not in self.hung_up and len(self.hung_up) >= MAX_INSTANCES:
                raise Refusal(f"{MAX_INSTANCES} instances have hung up already")
            self.hung_up.setdefault(control.instance, control)
        elif len(self.received) >= MAX_EARLY:
            raise Refusal(f"{MAX_EARLY} messages wait for the session already")
        else:
            self.received.append(control)
        return "kept: the session is being made"


@dataclass
class _Subscriptions:
    """Of one session. Filled one by one, so that an end in the middle of it ends those that were made."""

    speech: Subscription | None = None
    requests: list[Subscription] = field(default_factory=list)
    bounds: AgentBounds = field(default_factory=AgentBounds)


class SessionBus:
    """Subscribes to the subjects of each session, from before its agent is asked until it has ended.

    Owner: the process, for its whole life. Event loop only. A `SessionListener`.
    """

    def __init__(self, client: Client, demux: Demux, publisher: Publisher) -> None:
        self._client = client
        self._demux = demux
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._subscriptions: dict[str, _Subscriptions] = {}
        self._early: dict[str, _Early] = {}
        """Of sessions that are being made."""
        self._late: dict[str, set[str]] = {}
        """By session: instances that have accepted it too late."""
        self._unsubscribing: set[asyncio.Task[None]] = set()

    async def listen(self, session_id: str, offered: Callable[[Msg], Awaitable[None]]) -> None:
        """Subscribe before the agent is asked: what it publishes at once must be received.

        `offered` takes another offer of the running session's client.
        """

        def published(message: nats_fast_path.Received) -> None:
            session = self._demux.get(session_id)
            if session is not None:
                self._pass_on(session, message)
            elif (early := self._early.get(session_id)) is not None:
                early.keep(message)

        async def controlled(message: Msg) -> None:
            await answer(message, lambda data: self._control(session_id, data))

        self._early[session_id] = _Early()
        subscribed = self._subscriptions[session_id] = _Subscriptions()
        subscribed.speech = await nats_fast_path.subscribe(self._client, subjects.session_out(session_id), published)
        for subject, handler in (
            (subjects.session_control(session_id), controlled),
            (subjects.session_open(session_id), offered),
        ):
            subscribed.requests.append(await self._client.subscribe(subject, cb=handler))

    def activate(self, session: Session, instance: str = "") -> None:
        """The session is made: it gets what was published to it before, in that order.

        `instance`: which one of its agent has it, if that is known.
        """
        session_id = session.state.session_id
        early = self._early.pop(session_id, None)
        for received in early.received if early else ():
            if isinstance(received, Controlled):
                try:
                    _check_generation(session, received)
                    session.control(received, self._loop.time())
                except Refusal as refusal:
                    self._tell(session_id, str(refusal))
            else:
                self._pass_on(session, received)
        if early and (hang_up := self._valid_hang_up(session_id, early, instance)):
            # Later, because the caller is in the middle of making the session.
            self._loop.call_soon(lambda: session.control(hang_up, self._loop.time()))

    def hung_up(self, session_id: str, instance: str) -> messages.HangUp | None:
        """The hang-up of the agent that has taken the session which is being made, if it has come already."""
        early = self._early.get(session_id)
        return self._valid_hang_up(session_id, early, instance) if early else None

    def turn_away(self, session_id: str, instance: str) -> None:
        """This instance has accepted too late: another one has the session, and it must not end that one's call."""
        late = self._late.setdefault(session_id, set()) if session_id in self._subscriptions else set()
        if len(late) < MAX_INSTANCES:
            late.add(instance)

    def _valid_hang_up(self, session_id: str, early: _Early, instance: str) -> messages.HangUp | None:
        """`instance`: which one has the session, if it has named itself."""
        late = self._late.get(session_id, set())
        for hang_up in early.hung_up.values():
            if hang_up.instance not in late and (not instance or hang_up.instance in ("", instance)):
                return hang_up
        return None

    def session_removed(self, session_id: str) -> None:
        """End the subscriptions. Also for a session that was never made."""
        self._early.pop(session_id, None)
        self._late.pop(session_id, None)
        subscribed = self._subscriptions.pop(session_id, _Subscriptions())
        endings = [connection.stop_answering(self._client, each) for each in subscribed.requests]
        if subscribed.speech is not None:
            endings.append(nats_fast_path.unsubscribe(self._client, subscribed.speech))
        for ending in endings:
            task = asyncio.create_task(_without_errors(ending))
            self._unsubscribing.add(task)
            task.add_done_callback(self._unsubscribing.discard)

    async def close(self) -> None:
        await tasks.end(*self._unsubscribing)

    def _pass_on(self, session: Session, message: nats_fast_path.Received) -> None:
        session_id, now = session.state.session_id, self._loop.time()
        try:
            if message.subject.endswith(".audio.out"):
                frame = audio.unpack_frame(message.data)
                if frame.generation > session.sender.generation_limit:
                    raise MalformedError(_too_far_ahead("an audio frame", frame.generation, session))
                session.speak(frame, now)
            elif self._bounds(session_id).takes_message(len(message.data), now):
                data = messages.decode(message.data, messages.DataMessage)
                session.send_message(data.channel, data.payload())
            else:
                raise MalformedError(
                    f"the agent of session {session_id} sends the client more messages than are taken: one is dropped"
                )
        except MalformedError as error:
            self._tell(session_id, str(error))

    def _tell(self, session_id: str, text: str) -> None:
        """An event `error` for the agent, as far as it has not had too many."""
        if self._bounds(session_id).tells_error(self._loop.time()):
            event = messages.encode(messages.SessionError(message=text))
            self._publisher.publish(subjects.session_event(session_id), event)

    def _bounds(self, session_id: str) -> AgentBounds:
        subscribed = self._subscriptions.get(session_id)
        return subscribed.bounds if subscribed is not None else AgentBounds()

    async def _control(self, session_id: str, data: bytes) -> str:
        control = messages.decode_any(data, messages.CONTROL, "Control")
        if isinstance(control, messages.HangUp) and control.instance in self._late.get(session_id, ()):
            raise Refusal(f"{control.instance} was too late: another instance has session {session_id}")
        if not isinstance(control, messages.HangUp) and not self._bounds(session_id).takes_control(self._loop.time()):
            raise Refusal(f"session {session_id} takes {CONTROLS[0]} requests a second: this one comes too soon")
        session = self._demux.get(session_id)
        if session is None and (early := self._early.get(session_id)) is not None:
            return "" if isinstance(control, messages.Probe) else early.control(control)
        if session is None or session.ended is not None:
            raise Refusal(f"session {session_id} is over")
        if not isinstance(control, messages.Probe):
            _check_generation(session, control)
            session.control(control, self._loop.time())
        return ""


def _check_generation(session: Session, control: Controlled) -> None:
    """`Refusal` of a flush to a generation that would silence the agent for good."""
    if isinstance(control, messages.Flush) and control.generation > session.sender.generation_limit:
        raise Refusal(_too_far_ahead("the flush", control.generation, session))


def _too_far_ahead(what: str, generation: int, session: Session) -> str:
    limit, named = session.sender.generation_limit, str(generation)[:40]
    return f"{what} has generation {named}: the highest that session {session.state.session_id} takes now is {limit}"


async def _without_errors(ending: Coroutine[Any, Any, None]) -> None:
    """A connection that is closed, or being closed, has no subscriptions left to end."""
    with contextlib.suppress(nats.errors.Error):
        await ending
