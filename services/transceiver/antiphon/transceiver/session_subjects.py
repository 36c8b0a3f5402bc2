"""The subjects of each session on NATS: what its agent says, and what controls it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.schemas import MalformedError, audio, messages, subjects, tasks
from antiphon.transceiver import nats_direct
from antiphon.transceiver.control_requests import Refusal, answer
from antiphon.transceiver.outlet import Publisher
from antiphon.transceiver.session import Session
from antiphon.transceiver.sessions import Sessions

MAX_EARLY: Final = 256
"""Messages of an agent kept between its claim and the session's birth."""


class SessionSubjects:
    """Subscriptions by session, from before its agent is asked until it is over."""

    def __init__(self, client: Client, sessions: Sessions, publisher: Publisher) -> None:
        self._client = client
        self._sessions = sessions
        self._registry = sessions.registry
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._subscriptions: dict[str, list[Any]] = {}
        self._early: dict[str, list[nats_direct.Heard]] = {}
        """What agents say to sessions that are being made: an agent may speak as soon as it is asked."""
        self._leaving: set[asyncio.Task[None]] = set()
        self.offered: Callable[[Msg], Awaitable[None]]
        """Takes another offer of a running session's client."""

    async def listen(self, session_id: str) -> None:
        """Subscribe before the agent is asked: what it says at once must find us listening."""

        def spoken(message: nats_direct.Heard) -> None:
            session = self._registry.get(session_id)
            if session is not None:
                self._spoken(session, message)
            elif len(early := self._early.get(session_id, [])) < MAX_EARLY:
                early.append(message)

        async def controlled(message: Msg) -> None:
            await answer(message, lambda data: self._control(session_id, data))

        self._early[session_id] = []
        subscribed = self._subscriptions[session_id] = []
        subscribed.append(await nats_direct.subscribe(self._client, subjects.session_out(session_id), spoken))
        subscribed.append(await self._client.subscribe(subjects.session_control(session_id), cb=controlled))
        subscribed.append(await self._client.subscribe(subjects.session_open(session_id), cb=self.offered))

    def born(self, session: Session) -> None:
        """The session is registered: it gets what was said to it before."""
        for message in self._early.pop(session.state.session_id, []):
            self._spoken(session, message)

    def stop_listening(self, session_id: str) -> None:
        self._early.pop(session_id, None)
        for subscription in self._subscriptions.pop(session_id, []):
            leaving = asyncio.create_task(_unsubscribe(self._client, subscription))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        await tasks.end(*self._leaving)

    def _spoken(self, session: Session, message: nats_direct.Heard) -> None:
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
        session = self._registry.get(session_id)
        if session is None or session.ended is not None:
            raise Refusal(f"session {session_id} is over")
        session.control(control, self._loop.time())
        if session.ended is not None:
            self._sessions.forget(session)
        return ""


async def _unsubscribe(client: Client, subscription: Any) -> None:
    with contextlib.suppress(Exception):
        await nats_direct.unsubscribe(client, subscription)
