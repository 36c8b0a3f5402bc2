"""The subjects of each session on NATS: what its agent says, and what controls it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import MalformedError, audio, messages, subjects
from antiphon.transceiver.bus import nats_fast_path
from antiphon.transceiver.bus.publisher import Publisher
from antiphon.transceiver.calls.control_rpc import Refusal, answer
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.session.session import Session

MAX_EARLY: Final = 256
"""Messages of an agent kept between its claim and the session's birth; what comes above that is not taken."""
MAX_INSTANCES: Final = 64
"""Agent instances of which, per session, it is kept that they have hung up early, or accepted too late."""
Controlled = messages.Flush | messages.Pause | messages.Resume | messages.HangUp


class _Early:
    """What was said to a session that is being made: an agent may speak, and hang up, as soon as it is asked.

    Lives from before the claim until the session is born or will not be: for the time of a claim, 2.5 s.
    """

    def __init__(self) -> None:
        self.said: list[nats_fast_path.Received | Controlled] = []
        self.hung_up: dict[str, messages.HangUp] = {}
        """By instance, which may be empty. Kept apart: a hang-up is never one message too many."""

    def hear(self, message: nats_fast_path.Received) -> None:
        if len(self.said) < MAX_EARLY:
            self.said.append(message)

    def control(self, control: Controlled) -> str:
        """Keep it; says so, or `Refusal`."""
        if isinstance(control, messages.HangUp):
            if control.instance not in self.hung_up and len(self.hung_up) >= MAX_INSTANCES:
                raise Refusal(f"{MAX_INSTANCES} instances have hung up already")
            self.hung_up.setdefault(control.instance, control)
        elif len(self.said) >= MAX_EARLY:
            raise Refusal(f"{MAX_EARLY} messages wait for the session already")
        else:
            self.said.append(control)
        return "kept: the session is being made"


class SessionBus:
    """Subscriptions by session, from before its agent is asked until it is over."""

    def __init__(self, client: Client, sessions: SessionTable, publisher: Publisher) -> None:
        self._client = client
        self._sessions = sessions
        self._registry = sessions.registry
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._subscriptions: dict[str, list[Any]] = {}
        self._early: dict[str, _Early] = {}
        """Of sessions that are being made."""
        self._turned_away: dict[str, set[str]] = {}
        """By session: instances that have accepted it too late."""
        self._leaving: set[asyncio.Task[None]] = set()
        self.offered: Callable[[Msg], Awaitable[None]]
        """Takes another offer of a running session's client."""

    async def listen(self, session_id: str) -> None:
        """Subscribe before the agent is asked: what it says at once must find us listening."""

        def spoken(message: nats_fast_path.Received) -> None:
            session = self._registry.get(session_id)
            if session is not None:
                self._spoken(session, message)
            elif (early := self._early.get(session_id)) is not None:
                early.hear(message)

        async def controlled(message: Msg) -> None:
            await answer(message, lambda data: self._control(session_id, data))

        self._early[session_id] = _Early()
        subscribed = self._subscriptions[session_id] = []
        subscribed.append(await nats_fast_path.subscribe(self._client, subjects.session_out(session_id), spoken))
        subscribed.append(await self._client.subscribe(subjects.session_control(session_id), cb=controlled))
        subscribed.append(await self._client.subscribe(subjects.session_open(session_id), cb=self.offered))

    def born(self, session: Session, instance: str = "") -> None:
        """The session is registered: it gets what was said to it before, in that order.

        `instance`: which one of its agent has it, if that is known.
        """
        early = self._early.pop(session.state.session_id, None)
        for said in early.said if early else ():
            if isinstance(said, Controlled):
                session.control(said, self._loop.time())
            else:
                self._spoken(session, said)
        if early and (hang_up := self._obeyed(session.state.session_id, early, instance)):
            self._loop.call_soon(self._carry_out, session, hang_up)  # whoever makes the session finishes first

    def hung_up(self, session_id: str, instance: str) -> messages.HangUp | None:
        """The hang-up of the agent that has taken the session which is being made, if it has come already."""
        early = self._early.get(session_id)
        return self._obeyed(session_id, early, instance) if early else None

    def turned_away(self, session_id: str, instance: str) -> None:
        """This instance has accepted too late: another one has the session, and it must not end that one's call."""
        away = self._turned_away.setdefault(session_id, set()) if session_id in self._subscriptions else set()
        if len(away) < MAX_INSTANCES:
            away.add(instance)

    def _obeyed(self, session_id: str, early: _Early, instance: str) -> messages.HangUp | None:
        """`instance`: which one has the session, if it has said so."""
        away = self._turned_away.get(session_id, set())
        for hang_up in early.hung_up.values():
            if hang_up.instance not in away and (not instance or hang_up.instance in ("", instance)):
                return hang_up
        return None

    def stop_listening(self, session_id: str) -> None:
        self._early.pop(session_id, None)
        self._turned_away.pop(session_id, None)
        speech, *answering = self._subscriptions.pop(session_id, []) or [None]
        endings = [connection.stop_answering(self._client, each) for each in answering]
        if speech is not None:
            endings.append(nats_fast_path.unsubscribe(self._client, speech))
        for ending in endings:
            leaving = asyncio.create_task(_in_peace(ending))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        await tasks.end(*self._leaving)

    def _spoken(self, session: Session, message: nats_fast_path.Received) -> None:
        try:
            if message.subject.endswith(".audio.out"):
                session.speak(audio.unpack_frame(message.data), self._loop.time())
            else:
                data = messages.decode(message.data, messages.DataMessage)
                session.send_message(data.channel, data.payload())
        except MalformedError as error:
            self._publisher.publish(
                subjects.session_event(session.state.session_id),
                messages.encode(messages.SessionError(message=str(error))),
            )
        if session.ended is not None:
            self._sessions.forget(session)

    async def _control(self, session_id: str, data: bytes) -> str:
        control = messages.decode_any(data, messages.CONTROL, "Control")
        if isinstance(control, messages.HangUp) and control.instance in self._turned_away.get(session_id, ()):
            raise Refusal(f"{control.instance} was too late: another instance has session {session_id}")
        session = self._registry.get(session_id)
        if session is None and (early := self._early.get(session_id)) is not None:
            return "" if isinstance(control, messages.Probe) else early.control(control)
        if session is None or session.ended is not None:
            raise Refusal(f"session {session_id} is over")
        if not isinstance(control, messages.Probe):
            self._carry_out(session, control)
        return ""

    def _carry_out(self, session: Session, control: Controlled) -> None:
        session.control(control, self._loop.time())
        if session.ended is not None:
            self._sessions.forget(session)


async def _in_peace(ending: Coroutine[Any, Any, None]) -> None:
    """A connection that is closed, or being closed, has no subscriptions left to end."""
    with contextlib.suppress(nats.errors.Error):
        await ending
