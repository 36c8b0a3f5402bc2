"""What owners of calls write for operators, as it is published."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import TIMELINE_ENTRY, decode


class CallRecords:
    """Of all calls, from `start` on."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Any]] = {}
        """By session id."""
        self.ended: list[messages.CallEnded] = []
        self.webhooks: list[messages.Webhook] = []

    async def start(self, client: Client) -> CallRecords:
        await client.subscribe(subjects.ANY_CALL_TIMELINE, cb=self._entry)
        await client.subscribe(subjects.ANY_CALL_ENDED, cb=self._ended)
        await client.subscribe(subjects.ANY_WEBHOOK, cb=self._webhook)
        await client.flush()
        return self

    def names(self, session_id: str) -> list[str]:
        """Of a time line, without statistics."""
        entries = self.entries.get(session_id, [])
        return [getattr(each, "name", each.type) for each in entries if each.type != "statistics"]

    async def _entry(self, message: Msg) -> None:
        self.entries.setdefault(message.subject.rpartition(".")[2], []).append(
            TIMELINE_ENTRY.validate_json(message.data)
        )

    async def _ended(self, message: Msg) -> None:
        self.ended.append(decode(message.data, messages.CallEnded))

    async def _webhook(self, message: Msg) -> None:
        self.webhooks.append(decode(message.data, messages.Webhook))
