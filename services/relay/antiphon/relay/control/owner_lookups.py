"""Look-ups of the owners of unknown clients over NATS: the transceivers are asked, or the bucket of flows is read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.js.errors import Error as JetStreamError
from nats.js.kv import KeyValue

from antiphon.relay.control.ipc import Found
from antiphon.relay.control.worker_supervisor import MAX_QUESTIONS, Question
from antiphon.relay.core.flow_key import header_of, sockaddr_of
from antiphon.relay.core.pending_packets import PENDING_SECONDS
from antiphon.runtime.nats import buckets
from antiphon.schemas import subjects
from antiphon.schemas.addresses import Address
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import FlowFind, FlowOwner, decode, encode
from antiphon.schemas.tunnel import TCP_BIT

_BUS_ERRORS: Final = (nats.errors.Error, JetStreamError, TimeoutError, MalformedError, OSError)


class OwnerLookups:
    """Answers what workers ask: `run` until cancelled.

    Belongs to `RelayNatsClient`, which gives it each new connection; runs on the event loop of the control process.
    """

    def __init__(self, questions: asyncio.Queue[Question], in_bucket: bool) -> None:
        """`in_bucket`: owners are read from the bucket of flows, and the transceivers are not asked."""
        self._questions = questions
        self._in_bucket = in_bucket
        self._client: Client | None = None
        self._flows: KeyValue | None = None
        self._lookups: set[asyncio.Task[None]] = set()

    def set_client(self, client: Client) -> None:
        """Ask over this connection from now on."""
        self._client, self._flows = client, None

    async def run(self) -> None:
        """Look up side by side, at most `MAX_QUESTIONS` at a time; further ones are dropped."""
        while True:
            question = await self._questions.get()
            if self._client is not None and self._client.is_connected and len(self._lookups) < MAX_QUESTIONS:
                task = asyncio.create_task(self._find(self._client, question))
                self._lookups.add(task)
                task.add_done_callback(self._lookups.discard)

    async def _find(self, nats_client: Client, question: Question) -> None:
        """Reply with the client's owner; no reply if it has none."""
        client = question.client
        with contextlib.suppress(*_BUS_ERRORS):
            answer = await (self._look_up(nats_client, client) if self._in_bucket else self._ask(nats_client, client))
            owner = decode(answer, FlowOwner)
            question.reply(Found(client, owner.cluster, owner.slot, owner.epoch))

    async def _ask(self, nats_client: Client, client: int) -> bytes:
        host, port = sockaddr_of(client)
        question = FlowFind(client=str(Address(host, port)), tcp=bool(client & TCP_BIT))
        return (await nats_client.request(subjects.FLOW_FIND, encode(question), timeout=PENDING_SECONDS)).data

    async def _look_up(self, nats_client: Client, client: int) -> bytes:
        async with asyncio.timeout(PENDING_SECONDS):
            if self._flows is None:
                self._flows = await buckets.bucket(
                    nats_client.jetstream(timeout=PENDING_SECONDS), subjects.BUCKET_FLOWS
                )
            found = (await self._flows.get(subjects.flow_key(header_of(client)))).value or b""
        try:
            decode(found, FlowOwner)
        except MalformedError:  # put there by another client of NATS
            return await self._ask(nats_client, client)
        return found
