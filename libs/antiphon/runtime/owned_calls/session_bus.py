"""The subjects of each session on NATS: the speech and messages of its agent, and what controls it.

A session has subjects of its own for each agent that is asked to take it: what comes under another agent's name, or
under that of an agent that had the session before, never reaches it. Signaling's requests have the subjects of the
call, which name no agent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection, nats_fast_path
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.owned_calls.agent_bounds import CONTROLS, AgentBounds
from antiphon.runtime.owned_calls.control_rpc import Refusal, answer
from antiphon.runtime.owned_calls.owned_call import Act, CallTable, OwnedCall
from antiphon.schemas import MalformedError, audio, messages, subjects

MAX_EARLY: Final = 256
"""Messages of an agent kept between its claim and the making of its session; any above that are dropped."""
MAX_INSTANCES: Final = 64
"""Agent instances of which, per session, an early hang-up, or a late acceptance, is remembered."""


class _Early:
    """Messages to a session that is being made: an agent may speak, and hang up, as soon as it is asked.

    Owner: `SessionBus`, from before the claim until the session is made or is not: for the time of a claim, 2.5 s.
    """

    def __init__(self) -> None:
        self.received: list[nats_fast_path.Received | Act] = []
        self.hung_up: dict[str, messages.HangUp] = {}
        """By instance, which may be empty. Kept apart: a hang-up is never one message too many."""

    def keep(self, message: nats_fast_path.Received) -> None:
        if len(self.received) < MAX_EARLY:
            self.received.append(message)

    def control(self, control: Act | messages.Transfer) -> str:
        """Keep it; returns the text of the answer, or raises `Refusal`."""
        if isinstance(control, messages.Transfer):
            raise Refusal("no transfer before the agent has the session: ask again")
        if isinstance(control, messages.HangUp):
            if control.instance not in self.hung_up and len(self.hung_up) >= MAX_INSTANCES:
                raise Refusal(f"{MAX_INSTANCES} instances have hung up already")
            self.hung_up.setdefault(control.instance, control)
        elif len(self.received) >= MAX_EARLY:
            raise Refusal(f"{MAX_EARLY} messages wait for the session already")
        else:
            self.received.append(control)
        return "kept: the session is being made"


@dataclass(eq=False)
class _AgentSubjects:
    """The subjects of one session under one agent's name. Filled one by one, so that an end in the middle ends all.

    Owner: the `_SessionSubjects` that it is in.
    """

    agent: str
    early: _Early | None = field(default_factory=_Early)
    """Until the agent has the session."""
    has_session: bool = False
    """What comes here is for the session: one attribute, because it is read for every frame."""
    bounds: AgentBounds = field(default_factory=AgentBounds)
    speech: Subscription | None = None
    control: Subscription | None = None


@dataclass(eq=False)
class _SessionSubjects:
    """All of one session. Owner: `SessionBus`."""

    current: _AgentSubjects
    """Of the agent that has the session, or is asked to take the new one."""
    creator: str
    """Which credential made the call: as in `OpenRequest.creator`."""
    next: _AgentSubjects | None = None
    """Of the agent that a transfer asks."""
    call: Subscription | None = None
    called: Callable[[Msg], Awaitable[None]] | None = None
    """Takes what comes to `call`, and the same from another region."""
    late: set[str] = field(default_factory=set)
    """Instances that have accepted the session too late."""


Transfer = Callable[[OwnedCall, str], str]
"""Begins a transfer of a session to an agent; returns the text of the answer, or raises `Refusal`."""


class CallHandlers(NamedTuple):
    """What the requests of signaling and of agents lead to, where the session alone can't answer them."""

    offered: Callable[[str, Msg], Awaitable[None]]
    """Another offer of the running session's client: (session id, request)."""
    transfer: Transfer


class SessionBus:
    """Subscribes to the subjects of each session, from before its agent is asked until it has ended.

    Owner: the process, for its whole life. Event loop only. A `SessionListener`.
    """

    def __init__(self, client: Client, calls: CallTable[OwnedCall], cluster: int) -> None:
        self._client = client
        self._calls = calls
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[str, _SessionSubjects] = {}
        self._unsubscribing: set[asyncio.Task[None]] = set()

    async def listen(self, session_id: str, agent: str, creator: str, handlers: CallHandlers) -> None:
        """Subscribe before the agent is asked: what it publishes at once must be received."""

        async def called(message: Msg) -> None:
            await self._called(session_id, message, handlers.offered)

        current = _AgentSubjects(agent, has_session=True)
        of_session = self._sessions[session_id] = _SessionSubjects(current, creator)
        await self._subscribe(session_id, current, handlers.transfer)
        of_session.called = called
        of_session.call = await self._client.subscribe(subjects.call_all(session_id), cb=called)

    async def listen_without_agent(self, session_id: str, creator: str, handlers: CallHandlers) -> None:
        """Subscribe to the requests of signaling only, for a session that has no agent."""

        async def called(message: Msg) -> None:
            await self._called(session_id, message, handlers.offered)

        of_session = self._sessions[session_id] = _SessionSubjects(_AgentSubjects("-", early=None), creator)
        of_session.called = called
        of_session.call = await self._client.subscribe(subjects.call_all(session_id), cb=called)

    async def called_from_elsewhere(self, message: Msg) -> None:
        """Another region's signaling asks all transceivers of the cluster: only the call's own one answers.

        So no region has to be told of each call of another one.
        """
        try:
            of_session = self._sessions.get(subjects.parse_call_subject(message.subject).session_id)
        except MalformedError:
            return
        if of_session is not None and of_session.called is not None:
            await of_session.called(message)

    async def prepare_transfer(self, session_id: str, agent: str, transfer: Transfer) -> None:
        """Subscribe under the next agent's name, before it is asked. What it publishes is kept until `move`."""
        of_session = self._sessions.get(session_id)
        if of_session is None:
            raise Refusal(f"session {session_id} is over")
        prepared = of_session.next = _AgentSubjects(agent)
        await self._subscribe(session_id, prepared, transfer)
        if of_session.next is not prepared or self._sessions.get(session_id) is not of_session:
            self._end(prepared)  # the session has ended meanwhile

    def drop_transfer(self, session_id: str) -> None:
        """The next agent does not take the session: what it has published is dropped."""
        of_session = self._sessions.get(session_id)
        if of_session is not None and of_session.next is not None:
            self._end(of_session.next)
            of_session.next = None

    def move(self, session: OwnedCall, instance: str) -> None:
        """The next agent has the session: nothing that the one before publishes reaches it from now on."""
        of_session = self._sessions.get(session.state.session_id)
        if of_session is None or of_session.next is None:
            return  # the session has ended in its last step
        prepared, of_session.next = of_session.next, None
        self._end(of_session.current)
        of_session.current = prepared
        of_session.late.discard(instance)  # it may have been late when it was asked before
        prepared.has_session = True
        self.activate(session, instance)

    async def _subscribe(self, session_id: str, named: _AgentSubjects, transfer: Transfer) -> None:
        def published(message: nats_fast_path.Received) -> None:
            session = self._calls.get(session_id) if named.has_session else None
            if session is not None:
                self._pass_on(session, named, message)
            elif named.early is not None:
                named.early.keep(message)

        async def controlled(message: Msg) -> None:
            await answer(message, lambda data: self._control(session_id, named, data, transfer))

        subject = subjects.session_out(named.agent, session_id)
        named.speech = await nats_fast_path.subscribe(self._client, subject, published)
        subject = subjects.session_control(named.agent, session_id)
        named.control = await self._client.subscribe(subject, cb=controlled)

    def activate(self, session: OwnedCall, instance: str = "") -> None:
        """The session is made, or moved: it gets what was published to it before, in that order.

        `instance`: which one of its agent has it, if that is known.
        """
        of_session = self._sessions.get(session.state.session_id)
        if of_session is None:
            return  # the session has ended in its last step
        named = of_session.current
        early, named.early = named.early, None
        for received in early.received if early else ():
            if isinstance(received, Act):
                try:
                    _check_generation(session, received)
                    session.control(received, self._loop.time())
                except Refusal as refusal:
                    self._tell(session, named, str(refusal))
            else:
                self._pass_on(session, named, received)
        if early and (hang_up := self._valid_hang_up(of_session, early, instance)):
            # Later, because the caller is in the middle of making the session.
            self._loop.call_soon(lambda: session.control(hang_up, self._loop.time()))

    def hung_up(self, session_id: str, instance: str) -> messages.HangUp | None:
        """The hang-up of the agent that has taken the session which is being made, if it has come already."""
        of_session = self._sessions.get(session_id)
        early = of_session.current.early if of_session else None
        return self._valid_hang_up(of_session, early, instance) if of_session and early else None

    def turn_away(self, session_id: str, instance: str) -> None:
        """This instance has accepted too late: another one has the session, and it must not end that one's call."""
        of_session = self._sessions.get(session_id)
        if of_session is not None and len(of_session.late) < MAX_INSTANCES:
            of_session.late.add(instance)

    def _valid_hang_up(self, of_session: _SessionSubjects, early: _Early, instance: str) -> messages.HangUp | None:
        """`instance`: which one has the session, if it has named itself."""
        for hang_up in early.hung_up.values():
            if hang_up.instance not in of_session.late and (not instance or hang_up.instance in ("", instance)):
                return hang_up
        return None

    def session_removed(self, session_id: str) -> None:
        """End the subscriptions. Also for a session that was never made."""
        of_session = self._sessions.pop(session_id, None)
        if of_session is None:
            return
        for named in (of_session.current, of_session.next):
            if named is not None:
                self._end(named)
        if of_session.call is not None:
            self._unsubscribe(connection.stop_answering(self._client, of_session.call))

    def _end(self, named: _AgentSubjects) -> None:
        """Nothing that comes under this agent's name counts any more, whether or not NATS delivers it still."""
        named.has_session, named.early = False, None
        if named.control is not None:
            self._unsubscribe(connection.stop_answering(self._client, named.control))
        if named.speech is not None:
            self._unsubscribe(nats_fast_path.unsubscribe(self._client, named.speech))

    def _unsubscribe(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_without_errors(ending))
        self._unsubscribing.add(task)
        task.add_done_callback(self._unsubscribing.discard)

    async def close(self) -> None:
        await tasks.end(*self._unsubscribing)

    def _pass_on(self, session: OwnedCall, named: _AgentSubjects, message: nats_fast_path.Received) -> None:
        now = self._loop.time()
        try:
            if message.subject.endswith(".audio.out"):
                frame = audio.unpack_frame(message.data)
                if frame.generation > session.sender.generation_limit:
                    raise MalformedError(_too_far_ahead("an audio frame", frame.generation, session))
                session.speak(frame, now)
            elif named.bounds.takes_message(len(message.data), now):
                data = messages.decode(message.data, messages.DataMessage)
                session.send_message(data.channel, data.payload())
            else:
                raise MalformedError(
                    f"agent {named.agent} sends the client of session {session.state.session_id} more messages than it "
                    "may: one is dropped"
                )
        except MalformedError as error:
            self._tell(session, named, str(error))

    def _tell(self, session: OwnedCall, named: _AgentSubjects, text: str) -> None:
        """An event `error` for the agent, as far as it has not had too many."""
        if named.bounds.tells_error(self._loop.time()):
            session.report_error(text)

    async def _control(self, session_id: str, named: _AgentSubjects, data: bytes, transfer: Transfer) -> str:
        """A request of an agent; it counts while that agent has the session, or is being asked to take it."""
        control = messages.decode_any(data, messages.CONTROL, "Control")
        self._check_late(session_id, control)
        if not isinstance(control, messages.HangUp) and not named.bounds.takes_control(self._loop.time()):
            raise Refusal(f"session {session_id} takes {CONTROLS[0]} requests a second: this one comes too soon")
        session = self._calls.get(session_id) if named.has_session else None
        if isinstance(control, messages.ReportTurn):
            if session is not None and session.ended is None:
                session.report_turn(control, self._loop.time())
            return ""
        if session is None and named.early is not None:
            return named.early.control(control)
        if not named.has_session:
            raise Refusal(f"session {session_id} is not with agent {named.agent}")
        if session is None or session.ended is not None:
            raise Refusal(f"session {session_id} is over")
        if isinstance(control, messages.Transfer):
            return transfer(session, control.agent)
        _check_generation(session, control)
        session.control(control, self._loop.time())
        return ""

    def _check_late(self, session_id: str, control: messages.Message) -> None:
        of_session = self._sessions.get(session_id)
        if of_session and isinstance(control, messages.HangUp) and control.instance in of_session.late:
            raise Refusal(f"{control.instance} was too late: another instance has session {session_id}")

    # ---- requests of signaling

    async def _called(self, session_id: str, message: Msg, offered: Callable[[str, Msg], Awaitable[None]]) -> None:
        kind = message.subject.rpartition(".")[2]
        if kind == "attach":
            with contextlib.suppress(*BUS_ERRORS):
                await message.respond(messages.encode(self._attach_reply(session_id, message.data)))
        elif kind == "open":
            await offered(session_id, message)
        elif kind == "hang_up":
            await answer(message, lambda data: self._hang_up(session_id, data))
        # `status` is answered by `CallStatusResponder`, which also knows the sessions that have ended

    def _attach_reply(self, session_id: str, data: bytes) -> messages.AttachReply:
        of_session, session = self._sessions.get(session_id), self._calls.get(session_id)
        try:
            asker = messages.decode(data, messages.Attach).creator if data else ""  # signaling before this message
        except MalformedError as error:
            return messages.AttachReply(ok=False, message=str(error))
        over = of_session is None or (session is not None and session.ended is not None)
        over = over or (session is not None and bool(session.state.listens_to))  # there is no agent to speak with
        if over or of_session is None or not messages.may_manage(asker, of_session.creator):
            return messages.AttachReply(ok=False, message=f"session {session_id} is over")
        return messages.AttachReply(ok=True, agent=of_session.current.agent, cluster=self._cluster)

    async def _hang_up(self, session_id: str, data: bytes) -> str:
        hang_up = messages.decode(data, messages.HangUp)
        of_session, session = self._sessions.get(session_id), self._calls.get(session_id)
        if of_session is not None and not messages.may_manage(hang_up.creator, of_session.creator):
            raise Refusal(f"session {session_id} is over")  # nothing is learned of a call of another creator
        if session is None and of_session is not None and of_session.current.early is not None:
            return of_session.current.early.control(hang_up)
        if session is None or session.ended is not None:
            raise Refusal(f"session {session_id} is over")
        session.control(hang_up, self._loop.time())
        return ""


def _check_generation(session: OwnedCall, control: Act) -> None:
    """`Refusal` of a flush to a generation that would silence the agent for good."""
    if isinstance(control, messages.Flush) and control.generation > session.sender.generation_limit:
        raise Refusal(_too_far_ahead("the flush", control.generation, session))


def _too_far_ahead(what: str, generation: int, session: OwnedCall) -> str:
    limit, named = session.sender.generation_limit, str(generation)[:40]
    return f"{what} has generation {named}: the highest that session {session.state.session_id} takes now is {limit}"


async def _without_errors(ending: Coroutine[Any, Any, None]) -> None:
    """A connection that is closed, or being closed, has no subscriptions left to end."""
    with contextlib.suppress(nats.errors.Error):
        await ending
