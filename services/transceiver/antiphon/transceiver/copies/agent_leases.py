"""The lease of a call's agent goes along with its copy, so that an agent of the other region goes on with the talk."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.runtime.nats import buckets
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects

log = logging.getLogger(__name__)

READ_WITHIN: Final = 0.3
"""Seconds; the copy goes without the lease after that."""
WRITE_WITHIN: Final = 1.0
MAX_BYTES: Final = 64 << 10
"""Of a lease in a copy; one holds 32 KiB of an agent's state at most."""


class AgentLeases:
    """Owner: the process, for its whole life. Event loop only; several calls may be on their way at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._bucket: KeyValue | None = None

    async def read(self, agent: str, session_id: str) -> str:
        """The lease as it is in our region's bucket; empty if there is none, or it can't be read now."""
        try:
            async with asyncio.timeout(READ_WITHIN):
                value = (await (await self._open()).get(subjects.lease_key(agent, session_id))).value or b""
        except (KeyNotFoundError, *BUS_ERRORS):
            return ""
        return value.decode(errors="replace") if len(value) <= MAX_BYTES else ""

    async def free(self, text: str, agent: str, session_id: str) -> None:
        """Write the lease that came with a copy, as if its holder had left: the next instance takes the call.

        Nothing is written over: an agent of this region may have the call already.
        """
        if not text:
            return
        try:
            lease = messages.decode(text.encode(), messages.Lease)
            if (lease.agent, lease.session_id) != (agent, session_id):
                raise MalformedError(f"it is of {lease.agent}.{lease.session_id}")
            data = messages.encode(lease.model_copy(update={"instance": ""}))
            async with asyncio.timeout(WRITE_WITHIN):
                await (await self._open()).create(subjects.lease_key(agent, session_id), data)
        except KeyWrongLastSequenceError:
            log.info("call %s: an agent has its lease here already", session_id)
        except (MalformedError, *BUS_ERRORS) as error:
            log.warning("call %s: its agent's lease is not written here: %r", session_id, error)

    async def wake(self, agent: str, session_id: str) -> None:
        """Instances look for free leases when one of their name leaves. That of the lost region leaves this one never,
        so it is told for it."""
        try:
            beat = messages.AgentBeat(instance=f"lost-{session_id}", leaving=True)
            await self._client.publish(subjects.agent_beat(agent), messages.encode(beat))
        except BUS_ERRORS as error:
            log.warning("call %s: no agent is told of it: %r", session_id, error)

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await buckets.bucket(self._client.jetstream(), subjects.BUCKET_LEASES)
        return self._bucket
