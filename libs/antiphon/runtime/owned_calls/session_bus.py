"""The subjects of each session on NATS: the speech and messages of its agent, and what controls it.

A session has subjects of its own for each agent that is asked to take it: what comes under another agent's name, or
under that of an agent that had the session before, never reaches it. Signaling's requests have the subjects of the
call, which name no agent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection, nats_fast_path
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.owned_calls.agent_bounds import CONTROLS
from antiphon.runtime.owned_calls.control_rpc import Refusal, answer
from antiphon.runtime.owned_calls.owned_call import Act, CallTable, OwnedCall
from antiphon.runtime.owned_calls.session_subjects import (
    MAX_INSTANCES,
    AgentSubjects,
    EarlyMessages,
    SessionSubjects,
)
from antiphon.schemas import MalformedError, audio, messages, subjects

Transfer = Callable[[OwnedCall, str, messages.HandedCall | None], asyncio.Task[str]]
"""Begins a transfer of a session to an agent, or raises `Refusal`. The task returns why it has failed; empty: it has
not."""


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
        self._sessions: dict[str, SessionSubjects] = {}
        self._unsubscribing: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()

    async def listen(self, session_id: str, agent: str, creator: str, handlers: CallHandlers) -> None:
        """Subscribe before the agent is asked: what it publishes at once must be received."""

        async def called(message: Msg) -> None:
            await self._called(session_id, message, handlers)

        current = AgentSubjects(agent, has_session=True)
        of_session = self._sessions[session_id] = SessionSubjects(current, creator)
        await self._subscribe(session_id, current, handlers.transfer)
        of_session.called = called
        of_session.call = await self._client.subscribe(subjects.call_all(session_id), cb=called)

    async def listen_without_agent(self, session_id: str, creator: str, handlers: CallHandlers) -> None:
        """Subscribe to the requests of signaling only, for a session that has no agent."""

        async def called(message: Msg) -> None:
            await self._called(session_id, message, handlers)

        of_session = self._sessions[session_id] = SessionSubjects(AgentSubjects("-", early=None), creator)
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
        prepared = of_session.next = AgentSubjects(agent)
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

    async def _subscribe(self, session_id: str, named: AgentSubjects, transfer: Transfer) -> None:
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
            if isinstance(received, messages.AskPerson):
                session.announce(messages.PersonAsked(summary=received.summary))
            elif isinstance(received, Act):
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

    def _valid_hang_up(
        self, of_session: SessionSubjects, early: EarlyMessages, instance: str
    ) -> messages.HangUp | None:
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

    def _end(self, named: AgentSubjects) -> None:
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
        await tasks.end(*self._unsubscribing, *self._answering)

    def _pass_on(self, session: OwnedCall, named: AgentSubjects, message: nats_fast_path.Received) -> None:
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

    def _tell(self, session: OwnedCall, named: AgentSubjects, text: str) -> None:
        """An event `error` for the agent, as far as it has not had too many."""
        if named.bounds.tells_error(self._loop.time()):
            session.report_error(text)

    async def _control(self, session_id: str, named: AgentSubjects, data: bytes, transfer: Transfer) -> str:
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
            transfer(session, control.agent, control.handed)
            return f"agent {control.agent} is asked"
        if isinstance(control, messages.AskPerson):
            session.announce(messages.PersonAsked(summary=control.summary))
            return "the operator's system is told"
        _check_generation(session, control)
        session.control(control, self._loop.time())
        return ""

    def _check_late(self, session_id: str, control: messages.Message) -> None:
        of_session = self._sessions.get(session_id)
        if of_session and isinstance(control, messages.HangUp) and control.instance in of_session.late:
            raise Refusal(f"{control.instance} was too late: another instance has session {session_id}")

    # ---- requests of signaling

    async def _called(self, session_id: str, message: Msg, handlers: CallHandlers) -> None:
        offered, transfer = handlers.offered, handlers.transfer
        kind = message.subject.rpartition(".")[2]
        if kind == "attach":
            with contextlib.suppress(*BUS_ERRORS):
                await message.respond(messages.encode(self._attach_reply(session_id, message.data)))
        elif kind == "open":
            await offered(session_id, message)
        elif kind == "hang_up":
            await answer(message, lambda data: self._hang_up(session_id, data))
        elif kind == "transfer":
            answering = asyncio.create_task(
                answer(message, lambda data: self._transfer_call(session_id, data, transfer))
            )
            self._answering.add(answering)  # it takes as long as a claim: other requests of the call do not wait for it
            answering.add_done_callback(self._answering.discard)
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

    async def _transfer_call(self, session_id: str, data: bytes, transfer: Transfer) -> str:
        """The operator's system gives the call to another agent, or tells its agent that no person takes it."""
        asked = messages.decode(data, messages.TransferCall)
        of_session, session = self._sessions.get(session_id), self._calls.get(session_id)
        over = session is None or session.ended is not None or of_session is None or bool(session.state.listens_to)
        if session is None or of_session is None or over or not messages.may_manage(asked.creator, of_session.creator):
            raise Refusal(f"session {session_id} is over")
        if not asked.agent:
            session.announce(messages.TransferFailed(agent="", message=asked.refusal or "no person is there"))
            return "its agent is told"
        if failure := await transfer(session, asked.agent, messages.HandedCall(summary=asked.summary)):
            raise Refusal(failure)
        return f"agent {asked.agent} has the call"


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
