"""How a shadow, an agent that only listens, finds the sessions of the agent it shadows: by watching its leases.

A lease is written before a claim is accepted, while the client still waits for its answer, and deleted when the session
ends. So a shadow receives a call from its beginning, finds the calls that run already, and survives the death of the
agent it shadows. The instances of a shadow share the sessions by leases of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError

from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.nats import buckets
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import Lease

log = logging.getLogger("antiphon.agent")

_WATCH_SECONDS: Final = 20.0
"""A watch is begun anew so often: one may have ended with its NATS server, and nothing says so."""
_AGAIN_SECONDS: Final = 0.5


class Shadow:
    """Watches the leases of the agent `of`.

    Owner: the agent `name`, while it serves. Called from the event loop.
    """

    def __init__(self, client: Client, name: str, of: str) -> None:
        subjects.agent_claim(of)  # raises for a name that no subject can hold
        self._name, self._of = name, of
        self._js = client.jetstream(timeout=2)

    async def watch(self, begin: Callable[[Lease], Awaitable[None]]) -> None:
        """Call `begin` with every lease that exists or is written, with some of them several times."""
        while True:
            try:
                async with asyncio.timeout(_WATCH_SECONDS):
                    await self._watch(begin)
            except TimeoutError:
                continue
            except Exception as error:
                log.warning("agent %s: leases of %s cannot be watched: %r", self._name, self._of, error)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self, begin: Callable[[Lease], Awaitable[None]]) -> None:
        bucket = await buckets.bucket(self._js, subjects.BUCKET_LEASES, ttl=leases.LEASE_TTL)
        watcher = await bucket.watch(subjects.lease_keys(self._of), ignore_deletes=True)
        try:
            async for entry in watcher:
                if entry is None:  # all that were there have come
                    continue
                with contextlib.suppress(MalformedError):
                    await begin(messages.decode(entry.value or b"", Lease))
        finally:
            with contextlib.suppress(nats.errors.Error):
                await watcher.stop()  # type: ignore[no-untyped-call]

    async def runs(self, session_id: str) -> bool:
        """Whether the shadowed agent has this session."""
        bucket = await buckets.bucket(self._js, subjects.BUCKET_LEASES, ttl=leases.LEASE_TTL)
        try:
            await bucket.get(subjects.lease_key(self._of, session_id))
        except KeyNotFoundError:
            return False
        return True
