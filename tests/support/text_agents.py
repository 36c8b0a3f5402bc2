"""Text agents for tests: what they answer without a connection, and a bridge that asks them on NATS."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from support.conditions import until

from antiphon.agent import TextAgent
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.access import OPEN, REPLY_INBOXES, Access
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import (
    REPLY_PART,
    AnyReplyPart,
    ReplyAlive,
    ReplyEnd,
    ReplyError,
    ReplyRequest,
    ReplyText,
    TextAgentAnnouncement,
)

CALL = "rtc_TextAgentTextAgentText1"


def request(text: str = "", **more: Any) -> ReplyRequest:
    """One turn of a call."""
    return ReplyRequest(**{"call_id": CALL, "text": text, **more})


async def parts_of(agent: TextAgent, asked: ReplyRequest) -> list[AnyReplyPart]:
    """The whole answer."""
    async with aclosing(agent.answer(asked)) as parts:
        return [part async for part in parts]


def spoken(parts: list[AnyReplyPart]) -> str:
    """Its words."""
    return "".join(part.text for part in parts if isinstance(part, ReplyText))


def of_type(parts: list[AnyReplyPart], kind: type[Any]) -> list[Any]:
    """Its parts of one kind."""
    return [part for part in parts if isinstance(part, kind)]


@dataclass
class Asked:
    """One answer as it comes. Owned by the test."""

    subscription: Subscription | None = None
    parts: list[AnyReplyPart] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return bool(self.parts) and isinstance(self.parts[-1], ReplyEnd | ReplyError)

    @property
    def words(self) -> str:
        return spoken(self.parts)

    async def no_more(self) -> None:
        """The caller has interrupted: the bridge does not listen any more."""
        assert self.subscription is not None
        await self.subscription.unsubscribe()

    def without_alive(self) -> list[AnyReplyPart]:
        return [part for part in self.parts if not isinstance(part, ReplyAlive)]


class FakeBridge:
    """Asks on the subjects of the contract. Owned by the test."""

    def __init__(self, client: Client, agent: str) -> None:
        self._client, self._agent = client, agent
        self.announced: list[TextAgentAnnouncement] = []
        """All announcements, in their order."""

    async def watch(self) -> None:
        """Hear announcements from now on."""

        async def on_announcement(message: Msg) -> None:
            self.announced.append(messages.decode(message.data, TextAgentAnnouncement))

        await self._client.subscribe(subjects.agent_announce(self._agent), cb=on_announcement)
        await self._client.flush()

    def instances(self) -> set[str]:
        """Those that have announced themselves and not left."""
        last = {each.instance: each for each in self.announced}
        return {name for name, each in last.items() if not each.leaving}

    async def there(self, count: int = 1) -> None:
        """Return when so many instances are there."""
        await until(lambda: len(self.instances()) >= count)

    async def ask(self, asked: ReplyRequest, **headers: str) -> Asked:
        """Begin one answer."""
        data = messages.encode(asked.model_copy(update={"agent": self._agent}))
        return await self.send(data, **headers)

    async def send(self, data: bytes, **headers: str) -> Asked:
        """Ask with any bytes."""
        answer = Asked()

        async def on_part(message: Msg) -> None:
            if message.data:  # else NATS says that nobody is there
                answer.parts.append(messages.decode_any(message.data, REPLY_PART, "ReplyPart"))

        reply = f"{REPLY_INBOXES}.{self._agent}.{secrets.token_hex(8)}"
        answer.subscription = await self._client.subscribe(reply, cb=on_part)
        await self._client.publish(subjects.agent_reply(self._agent), data, reply=reply, headers=headers or None)
        return answer

    async def tell(self, asked: ReplyRequest) -> None:
        """Without a reply subject."""
        await self._client.publish(subjects.agent_reply(self._agent), messages.encode(asked))

    async def is_answered(self) -> bool:
        """Whether any instance takes requests."""
        try:
            await self._client.request(subjects.agent_reply(self._agent), b"", timeout=2)
        except nats.errors.NoRespondersError:
            return False
        return True

    async def flush(self) -> None:
        """Return when the server has all of this."""
        await self._client.flush()

    async def whole(self, asked: ReplyRequest) -> Asked:
        """One answer to its end."""
        answer = await self.ask(asked)
        await until(lambda: answer.over)
        return answer


@asynccontextmanager
async def bridge_of(nats_url: str, agent: str, access: Access = OPEN) -> AsyncIterator[FakeBridge]:
    """A bridge that watches one agent."""
    client = await connection.connect(nats_url, "bridge", access)
    bridge = FakeBridge(client, agent)
    await bridge.watch()
    try:
        yield bridge
    finally:
        await client.close()
