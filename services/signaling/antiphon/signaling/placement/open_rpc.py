"""Asking one transceiver to open a session, and what happens to an answer that comes too late.

A transceiver that was busy for longer than signaling waits opens a session all the same. That session holds a slot and
an agent, while another transceiver has the caller. So signaling waits for the late answer in the background and hangs
the session up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError

from antiphon.runtime import tasks, telemetry
from antiphon.schemas import MalformedError
from antiphon.schemas.messages import OPEN_REPLY, Opened, decode_any

log = logging.getLogger(__name__)

LATE_SECONDS: Final = 30.0
"""Seconds after which a transceiver ends a session that no client connects to (its time for setting up)."""
MAX_LATE: Final = 256
"""Late answers that are awaited at a time. Above it the transceiver ends the session, after `LATE_SECONDS`."""


class OpenRpc:
    """Requests to open a session, in time and late.

    Owned by `Backend`, until its `stop`; called on the event loop.
    """

    def __init__(self) -> None:
        self._late: set[asyncio.Task[None]] = set()

    async def request(
        self, client: Client, subject: str, request: bytes, timeout: float, hang_up: Callable[[str], Awaitable[None]]
    ) -> Msg:
        """The transceiver's reply; nats.errors.TimeoutError after `timeout` seconds, other NATS errors as they come.

        `hang_up(session_id)` ends a session that came too late.
        """
        headers = telemetry.trace_headers() or None
        reply = asyncio.create_task(client.request(subject, request, timeout=timeout + LATE_SECONDS, headers=headers))
        try:
            await asyncio.wait({reply}, timeout=timeout)
        finally:  # also when the caller has gone away meanwhile
            if not reply.done():
                self._await_late(reply, hang_up)
        if not reply.done():
            raise NatsTimeoutError
        return reply.result()

    def _await_late(self, reply: asyncio.Task[Msg], hang_up: Callable[[str], Awaitable[None]]) -> None:
        if len(self._late) >= MAX_LATE:
            reply.cancel()
            return
        task = asyncio.create_task(_end_when_it_comes(reply, hang_up))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def stop(self) -> None:
        """Drop the late answers that are still awaited."""
        await tasks.end(*self._late)


async def _end_when_it_comes(reply: asyncio.Task[Msg], hang_up: Callable[[str], Awaitable[None]]) -> None:
    try:
        answer = decode_any((await reply).data, OPEN_REPLY, "OpenReply")
    except (NatsError, MalformedError, OSError) as error:
        log.debug("no late answer: %s", error or type(error).__name__)
        return
    if isinstance(answer, Opened):
        log.warning("session %s was opened too late for its caller and is hung up", answer.session_id)
        await hang_up(answer.session_id)
