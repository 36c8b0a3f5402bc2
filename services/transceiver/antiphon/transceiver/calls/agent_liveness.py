"""Sessions whose agent is gone for good: found out, so that no caller listens to silence for ever.

The sign of life is the services register: every agent answers its PING by the library it uses, whether it speaks,
listens or only waits, and one whose loop hangs does not. An agent's process is known by the `instance` of its claim,
where the register shows it (metadata `instance`), or by the lease of the session, which may name another one by now.
Otherwise its name counts: while anybody of that name answers, the session is left alone. An agent that was never seen
in the register is not watched.

What is counted is rounds in which NATS answered us, not seconds: while NATS is away, or we are stopped, nobody is
missed, and after that every agent has all the rounds to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.js.errors import BucketNotFoundError, KeyNotFoundError

from antiphon.runtime.nats import service_discovery
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.session.session import Session

log = logging.getLogger(__name__)

ROUNDS: Final = 6
"""Calls of the roll that an agent may miss."""
ANSWER_SECONDS: Final = 1.0
"""For the answers of a round."""
MIN_SECONDS: Final = 0.2
"""Between two calls, also when agents come that were not seen yet."""
MAX_KNOWN: Final = 65_536
"""Instances and agents that are remembered; above it the ones unseen for longest are forgotten: not watched."""


@dataclass(frozen=True)
class Served:
    """Who is to be alive for a session."""

    agent: str
    instance: str
    """Empty: not known."""


class LivenessTable:
    """Who was seen when, in rounds. Pure."""

    def __init__(self, rounds: int = ROUNDS) -> None:
        self._rounds = rounds
        self._round = 0
        self._seen: dict[tuple[str, str], int] = {}
        """("agent", name) or ("instance", name) -> the last round in which it answered."""

    def called(self, answers: Iterable[dict[str, str]], extra: bool = False) -> None:
        """A round is over: the metadata of those who answered. In an `extra` one nobody is missed."""
        self._round += not extra
        for metadata in answers:
            for kind in ("agent", "instance"):
                if name := metadata.get(kind, ""):
                    self._seen.pop((kind, name), None)
                    self._seen[kind, name] = self._round
        while len(self._seen) > MAX_KNOWN:
            del self._seen[next(iter(self._seen))]

    def knows(self, served: Served) -> bool:
        """It has answered before."""
        return ("instance" if served.instance else "agent", served.instance or served.agent) in self._seen

    def is_gone(self, served: Served) -> bool:
        """It answered once, and has missed all of the last rounds."""
        key = ("instance", served.instance) if ("instance", served.instance) in self._seen else ("agent", served.agent)
        seen = self._seen.get(key)
        return seen is not None and self._round - seen >= self._rounds


class AgentLiveness:
    """Of one process."""

    def __init__(self, client: Client, sessions: SessionTable, seconds: float, end: Callable[[Session], None]) -> None:
        """`seconds` without a sign of life until `end` is called for a session."""
        self._client, self._sessions, self._end = client, sessions, end
        self._every = seconds / ROUNDS
        self._roll = LivenessTable()
        self._served: dict[str, Served] = {}
        self._stranger = asyncio.Event()

    def served(self, session_id: str, agent: str, instance: str) -> None:
        """An agent has taken a session."""
        served = self._served[session_id] = Served(agent, instance)
        if not self._roll.knows(served):
            self._stranger.set()  # to be seen before it dies

    def forget(self, session_id: str) -> None:
        self._served.pop(session_id, None)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._every
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._stranger.wait()
            extra = loop.time() < due
            if not extra:
                due = loop.time() + self._every
            self._stranger.clear()
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                await self._call(extra)  # without sessions too: who dies in its first second was seen before
            await asyncio.sleep(MIN_SECONDS)

    async def _call(self, extra: bool) -> None:
        within = min(ANSWER_SECONDS, self._every)
        async with asyncio.timeout(within + 2):
            answers = await service_discovery.instances(self._client, service_discovery.AGENT_SERVICE, within)
            await self._client.flush()  # else NATS is away: nobody is missed
        self._roll.called(answers, extra)
        for session_id in [each for each in self._served if self._sessions.registry.get(each) is None]:
            del self._served[session_id]
        for session in self._sessions.registry:
            state = session.state
            served = self._served.get(state.session_id)
            if served is None:  # it came from another process
                holder = await self._holder(state.agent, state.session_id)
                served = self._served[state.session_id] = Served(state.agent, holder)
            if session.ended is None and self._roll.is_gone(served):
                await self._look_again(session, served)

    async def _look_again(self, session: Session, served: Served) -> None:
        """Its agent does not answer any more. Another one may have taken it over."""
        session_id = session.state.session_id
        holder = await self._holder(served.agent, session_id)
        if holder not in ("", served.instance):
            self._served[session_id] = Served(served.agent, holder)  # looked at in the next round
        elif session.ended is None:
            log.error("session %s: its agent %s is gone, nobody has taken over", session_id, served.agent)
            self._end(session)

    async def _holder(self, agent: str, session_id: str) -> str:
        """The instance in the session's lease; empty without one."""
        js = self._client.jetstream(timeout=ANSWER_SECONDS)
        entry: Any
        try:
            bucket = await js.key_value(subjects.BUCKET_LEASES)
            entry = await bucket.get(subjects.lease_key(agent, session_id))
            return messages.decode(entry.value or b"", messages.Lease).instance
        except (BucketNotFoundError, KeyNotFoundError, MalformedError):
            return ""
