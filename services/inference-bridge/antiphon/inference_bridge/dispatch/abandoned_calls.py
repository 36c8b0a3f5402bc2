"""Calls of other agents that have died without a successor: the caller gets an apology and is hung up. The shell of
`agent_sessions.abandoned`.

Any bridge does it, for all agents that it does not serve itself. Leases are looked at once at the start, then only
when an instance of such an agent is gone, and while such leases wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.agent_sessions.abandoned import AbandonedLeases
from antiphon.runtime.nats import buckets
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import AgentBeat, Lease

log = logging.getLogger(__name__)

_SEARCH_SECONDS: Final = 2.0
_WITHIN: Final = 2.0
_AT_ONCE: Final = 8
"""Callers who get the apology at the same time; the others wait for the next search."""


class AbandonedCalls:
    """Finds them among the leases of all other agents, and ends them.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(
        self,
        client: Client,
        agent: str,
        instance: str,
        grace: float,
        apologise: Callable[[Lease], Awaitable[None]],
        serves: Callable[[str], bool],
    ) -> None:
        """`agent`: of the settings, whose beats are the clock. `serves(agent)`: we take over that agent's calls.

        `apologise(lease)`: the session is ours now; speak, hang up, return.
        """
        self._instance, self._apologise = instance, apologise
        self._leases = AbandonedLeases(agent, instance, grace, serves)
        self._js = client.jetstream(timeout=_WITHIN)
        self._suspect: set[str] = set()
        """Agents whose leases are to be searched."""
        self._search = asyncio.Event()
        self._searching: asyncio.Task[None] | None = None
        self._at_work: set[asyncio.Task[None]] = set()
        self._searched_at_start = False

    async def start(self) -> None:
        """Look for them, from the beats that come to `received`."""
        self._searching = asyncio.create_task(self._search_forever())

    def look_at(self, agent: str) -> None:
        """This bridge serves that agent no more: calls of dead processes of it are to be found again."""
        self._suspect.add(agent)
        self._search.set()

    async def close(self) -> None:
        await tasks.end(*self._at_work, *([self._searching] if self._searching else []))

    def received(self, agent: str, beat: AgentBeat, now: float) -> None:
        """A beat came, of any agent."""
        self._suspect |= self._leases.received(agent, beat, now)
        if self._suspect or (self._leases.is_warmed_up and not self._searched_at_start):
            self._search.set()

    async def _search_forever(self) -> None:
        while True:
            await self._search.wait()
            self._search.clear()
            try:
                async with asyncio.timeout(_WITHIN * 2):
                    await self._search_once()
            except (nats.errors.Error, TimeoutError, OSError) as error:
                log.debug("leases of other agents can't be looked at: %s", error or type(error).__name__)
                self._search.set()
            await asyncio.sleep(_SEARCH_SECONDS)
            if self._leases.any_waiting:
                self._search.set()

    async def _search_once(self) -> None:
        bucket = await buckets.bucket(self._js, subjects.BUCKET_LEASES)
        keys: list[tuple[str, ...]] = [
            tuple(key.split(".", 1)) for key in await buckets.keys(self._js, subjects.BUCKET_LEASES, "*.*")
        ]
        whole = not self._searched_at_start and self._leases.is_warmed_up
        searched_for, self._suspect = self._suspect, set()
        suspect = searched_for | self._leases.agents_waiting()
        found: set[tuple[str, str]] = set()
        try:
            for agent, session_id in keys:
                if self._leases.serves(agent) or not (whole or agent in suspect):
                    continue
                entry = await self._read(bucket, agent, session_id)
                if entry is None:
                    continue
                found.add((agent, session_id))
                room = len(self._at_work) < _AT_ONCE
                if self._leases.is_abandoned(entry[0]) and room and not await self._is_served(bucket, keys, entry[0]):
                    await self._take(bucket, *entry)
        except BaseException:
            self._suspect |= searched_for
            raise
        self._searched_at_start |= whole
        self._leases.keep_only(found)

    async def _is_served(self, bucket: KeyValue, keys: list[tuple[str, ...]], lease: Lease) -> bool:
        """Another agent that lives has a lease of the same session: the dead one was not the one that spoke."""
        for agent, session_id in keys:
            if session_id == lease.session_id and agent != lease.agent:
                entry = await self._read(bucket, agent, session_id)
                if entry is not None and not self._leases.is_dead(entry[0].instance):
                    return True
        return False

    @staticmethod
    async def _read(bucket: KeyValue, agent: str, session_id: str) -> tuple[Lease, int] | None:
        try:
            entry = await bucket.get(subjects.lease_key(agent, session_id))
            return messages.decode(entry.value or b"", Lease), entry.revision or 0
        except (KeyNotFoundError, MalformedError):
            return None

    async def _take(self, bucket: KeyValue, lease: Lease, revision: int) -> None:
        taken = leases.taken(lease, self._instance)
        key = subjects.lease_key(lease.agent, lease.session_id)
        self._leases.forget(lease)
        try:
            revision = await bucket.update(key, messages.encode(taken), last=revision)
        except KeyWrongLastSequenceError:
            return  # another bridge was faster, or the agent is back
        log.warning(
            "%s: agent %s is dead and has no successor, the caller gets an apology", lease.session_id, lease.agent
        )
        work = asyncio.create_task(self._end(bucket, taken, revision))
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)

    async def _end(self, bucket: KeyValue, lease: Lease, revision: int) -> None:
        try:
            await self._apologise(lease)
        except Exception:
            log.exception("%s: the caller got no apology", lease.session_id)
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await bucket.delete(subjects.lease_key(lease.agent, lease.session_id), last=revision)
