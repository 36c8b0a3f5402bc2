"""Ends sessions whose agent is gone for good, so that no caller listens to silence for ever.

The sign of life is the services register: every agent answers its PING by the library it uses, whether it speaks,
listens or only waits, and one whose loop hangs does not. An agent's process is known by the `instance` of its claim,
where the register shows it (metadata `instance`), or by the lease of the session, which may name another one by now.
Otherwise its name counts: while any process of that name answers, the session is left alone. An agent that was never
seen in the register is not watched.

Rounds in which NATS answered us are counted, not seconds: while NATS is away, or we are stopped, no agent is missed,
and after that every agent has all the rounds to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client
from nats.js.errors import BucketNotFoundError, KeyNotFoundError

from antiphon.runtime.nats import buckets, service_discovery
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.owned_calls.owned_call import CallTable, OwnedCall
from antiphon.schemas import MalformedError, messages, subjects

log = logging.getLogger(__name__)

ROUNDS: Final = 6
"""Rounds of PING in a row that an agent may leave unanswered."""
ANSWER_SECONDS: Final = 1.0
"""For the answers of a round."""
MIN_SECONDS: Final = 0.2
"""Between two rounds, also when there are agents that were not seen yet."""
MAX_KNOWN: Final = 65_536
"""Instances and agents that are remembered; above it the ones unseen for longest are forgotten: not watched."""
NOTICE_SECONDS: Final = 0.25
"""For the notice to reach the client before its data channel is closed."""


@dataclass(frozen=True)
class Served:
    """The agent, and which instance of it, that has to be alive for a session. A value."""

    agent: str
    instance: str
    """Empty: not known."""


class LivenessTable:
    """In which round each agent and each instance answered last. Pure.

    Owner: `AgentLiveness`.
    """

    def __init__(self, rounds: int = ROUNDS) -> None:
        self._rounds = rounds
        self._round = 0
        self._seen: dict[tuple[str, str], int] = {}
        """("agent", name) or ("instance", name) -> the last round in which it answered."""

    def called(self, answers: Iterable[dict[str, str]], extra: bool = False) -> None:
        """A round has ended: the metadata of each answer. In an `extra` round no agent counts as missing."""
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
    """Watches the agents of this process's sessions, and ends the sessions of an agent that is gone.

    Owner: the process, for its whole life. Event loop only; `run` is a task of its own. A `SessionListener`.
    """

    def __init__(self, client: Client, calls: CallTable[OwnedCall], seconds: float) -> None:
        """`seconds` without a sign of life until a session ends."""
        self._client = client
        self._calls = calls
        self._every = seconds / ROUNDS
        self._table = LivenessTable()
        self._served: dict[str, Served] = {}
        self._unseen = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def watch(self, session_id: str, agent: str, instance: str) -> None:
        """An agent has taken a session."""
        served = self._served[session_id] = Served(agent, instance)
        if not self._table.knows(served):
            self._unseen.set()  # to be seen before it dies

    def instance_of(self, session_id: str) -> str:
        """Which instance of its agent has the session, as far as it is known; else empty."""
        served = self._served.get(session_id)
        return served.instance if served is not None else ""

    def session_removed(self, session_id: str) -> None:
        self._served.pop(session_id, None)

    async def run(self) -> None:
        """Until cancelled."""
        due = self._loop.time() + self._every
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._unseen.wait()
            extra = self._loop.time() < due
            if not extra:
                due = self._loop.time() + self._every
            self._unseen.clear()
            with contextlib.suppress(*BUS_ERRORS):
                await self._round(extra)  # without sessions too: an agent that dies in its first second was seen then
            await asyncio.sleep(MIN_SECONDS)

    async def _round(self, extra: bool) -> None:
        within = min(ANSWER_SECONDS, self._every)
        async with asyncio.timeout(within + 2):
            answers = await service_discovery.instances(self._client, service_discovery.AGENT_SERVICE, within)
            await self._client.flush()  # fails while NATS is away: no agent is missed then
        self._table.called(answers, extra)
        for session in self._calls:
            state = session.state
            if state.listens_to:
                continue  # it has no agent
            served = self._served.get(state.session_id)
            if served is None:  # it came from another process
                served = Served(state.agent, await self._lease_holder(state.agent, state.session_id))
                if session.ended is None:
                    self._served[state.session_id] = served
            if session.ended is None and self._table.is_gone(served):
                await self._look_again(session, served)

    async def _look_again(self, session: OwnedCall, served: Served) -> None:
        """The agent does not answer any more. Another instance may have taken the session over."""
        session_id = session.state.session_id
        holder = await self._lease_holder(served.agent, session_id)
        if session.ended is not None or self._served.get(session_id) is not served:
            return  # it has ended, or another agent has it now
        if holder not in ("", served.instance):
            self._served[session_id] = Served(served.agent, holder)  # looked at in the next round
            return
        log.error("session %s: its agent %s is gone, no other instance has taken over", session_id, served.agent)
        self._end(session)

    def _end(self, session: OwnedCall) -> None:
        """Tell the client why, as far as it can be told, and end the call."""
        notice = {
            "type": "error",
            "event_id": f"event_{secrets.token_hex(8)}",
            "error": {
                "type": "server_error",
                "code": "agent_lost",
                "message": f"the agent {session.state.agent} of this call is gone: call again",
                "param": None,
            },
        }
        session.send_message(messages.EVENTS_CHANNEL, json.dumps(notice))
        self._loop.call_later(NOTICE_SECONDS, lambda: session.end("agent_lost", self._loop.time()))

    async def _lease_holder(self, agent: str, session_id: str) -> str:
        """The instance in the session's lease; empty without one."""
        js = self._client.jetstream(timeout=ANSWER_SECONDS)
        entry: Any
        try:
            bucket = await buckets.bucket(js, subjects.BUCKET_LEASES)
            entry = await bucket.get(subjects.lease_key(agent, session_id))
            return messages.decode(entry.value or b"", messages.Lease).instance
        except (BucketNotFoundError, KeyNotFoundError, MalformedError):
            return ""
