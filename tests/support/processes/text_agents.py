"""A text agent of the test's own on NATS: announces itself and answers turns, without the SDK."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.schemas import messages, subjects
from antiphon.schemas.messages.replies import ReplyEnd, ReplyRequest, ReplyText, TextAgentAnnouncement

ANNOUNCE_SECONDS = 0.2
"""More often than agents do, so that tests are quick."""


class TextAgentPeer:
    """One instance. Owned by the test; used on its event loop."""

    def __init__(self, client: Client, agent: str, instance: str = "one", answer: str = "Yes.", **says: Any) -> None:
        self._client = client
        self.announcement = TextAgentAnnouncement(agent=agent, instance=instance, **says)
        self.answer = answer
        self.asked: list[ReplyRequest] = []

    async def announce(self, **changes: Any) -> None:
        said = self.announcement.model_copy(update=changes)
        await self._client.publish(subjects.agent_announce(said.agent), messages.encode(said))

    async def run(self) -> None:
        """Until cancelled."""
        name = self.announcement.agent
        await self._client.subscribe(subjects.agent_reply(name), queue=name, cb=self._on_request)
        while True:
            await self.announce()
            await asyncio.sleep(ANNOUNCE_SECONDS)

    async def _on_request(self, message: Msg) -> None:
        self.asked.append(messages.decode(message.data, ReplyRequest))
        if message.reply:
            await self._client.publish(message.reply, messages.encode(ReplyText(number=0, text=self.answer)))
            await self._client.publish(message.reply, messages.encode(ReplyEnd(number=1)))


@asynccontextmanager
async def text_agent(client: Client, agent: str, **says: Any) -> AsyncIterator[TextAgentPeer]:
    """A text agent that is there until the end of the block, and then leaves in order."""
    peer = TextAgentPeer(client, agent, **says)
    running = asyncio.create_task(peer.run())
    try:
        yield peer
    finally:
        running.cancel()
        await asyncio.wait([running])
        with contextlib.suppress(nats.errors.Error):
            await peer.announce(leaving=True)
            await client.flush()
