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

from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError

from antiphon.runtime.agent_sessions.lease_crypto import LeaseCrypto, SealedLeaseError
from antiphon.runtime.nats import buckets
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import Lease

log = logging.getLogger("antiphon.agent")

_WATCH_SECONDS: Final = 20.0
"""A watch is begun anew so often: one may have ended with its NATS server, and nothing says so."""
_AGAIN_SECONDS: Final = 0.5
_MAX_REFUSED: Final = 1000


class Shadow:
    """Watches the leases of the agent `of`.

    Owner: the agent `name`, while it serves. Called from the event loop.
    """

    def __init__(self, client: Client, name: str, of: str, crypto: LeaseCrypto | None = None) -> None:
        """`crypto`: opens the leases of `of` where they are sealed."""
        subjects.agent_claim(of)  # raises for a name that no subject can hold
        self._name, self._of, self._crypto = name, of, crypto
        self._refused: set[str] = set()
        """Leases that can't be opened, named once each in the log."""
        self._client = client
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
        keys = subjects.lease_keys(self._of)
        async with buckets.watched(self._client, subjects.BUCKET_LEASES, keys) as written:
            async for entry in written:
                with contextlib.suppress(MalformedError):
                    lease = messages.decode(entry.value, Lease)
                    if lease.agent == self._of and (opened := self._opened(lease)) is not None:
                        await begin(opened)

    def _opened(self, lease: Lease) -> Lease | None:
        try:
            if self._crypto is not None:
                return self._crypto.open(lease)
            if lease.sealed:
                raise SealedLeaseError("it is encrypted, and ANTIPHON_LEASE_KEY_FILE is not set here")
        except SealedLeaseError as error:
            if len(self._refused) < _MAX_REFUSED and lease.session_id not in self._refused:
                self._refused.add(lease.session_id)
                log.error("agent %s: lease of %s is refused: %s", self._name, lease.session_id, error)
            return None
        return lease

    async def runs(self, session_id: str) -> bool:
        """Whether the shadowed agent has this session."""
        key = subjects.lease_key(self._of, session_id)
        try:
            await (await buckets.bucket(self._js, subjects.BUCKET_LEASES, key)).get(key)
        except KeyNotFoundError:
            return False
        return True
