"""Answers what became of a call: during it, and for a while after its end."""

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg

from antiphon.runtime.nats.publisher import Publisher
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.session.endings import status


class CallStatusResponder:
    """Handler of call status requests. Owner: the process, for its whole life. Event loop only."""

    def __init__(self, sessions: SessionTable, publisher: Publisher) -> None:
        self._sessions = sessions
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()

    async def requested(self, message: Msg) -> None:
        """Gives no answer if the call is none of ours: another transceiver may know it, and the first answer counts."""
        try:
            session_id = subjects.parse_call_subject(message.subject).session_id
        except MalformedError:
            return
        session = self._sessions.demux.get(session_id)
        found = status(session) if session else self._sessions.endings.get(session_id, self._loop.time())
        if found is not None and message.reply:
            self._publisher.publish(message.reply, messages.encode(found))
