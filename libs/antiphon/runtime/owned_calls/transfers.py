"""Gives running sessions to other agents: asks one, and moves the session when it has accepted.

The claim names the next agent and the session, and so the subjects under which the session would go on. The agent
subscribes to them and then accepts. Until then nothing has moved, and if no instance accepts, nothing does.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from antiphon.runtime import tasks, telemetry
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls.agent_claims import AgentClaims
from antiphon.runtime.owned_calls.agent_liveness import AgentLiveness
from antiphon.runtime.owned_calls.control_rpc import Refusal
from antiphon.runtime.owned_calls.owned_call import MOVED, OwnedCall
from antiphon.runtime.owned_calls.session_bus import SessionBus
from antiphon.runtime.telemetry import spans
from antiphon.schemas import messages, subjects

log = logging.getLogger(__name__)


class Transfers:
    """The transfers of a process: one at a time for each session, each bounded by the time of a claim.

    Owner: the process, for its whole life. Event loop only; each transfer is a task.
    """

    def __init__(
        self,
        bus: SessionBus,
        claims: AgentClaims,
        liveness: AgentLiveness,
        publisher: Publisher,
        store: Callable[[str], Awaitable[None]],
    ) -> None:
        """`store(session_id)` keeps a checkpoint of it as it is now, where there are any, or returns after a second."""
        self._bus = bus
        self._claims = claims
        self._liveness = liveness
        self._publisher = publisher
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, asyncio.Task[str]] = {}

    def begin(self, session: OwnedCall, agent: str, handed: messages.HandedCall | None) -> asyncio.Task[str]:
        """Ask the agent. The task returns why it does not have the call; empty: it has, or the call is over.

        `handed`: what the agent before gives along. `Refusal` where no transfer can be begun.
        """
        session_id, own = session.state.session_id, session.state.agent
        if agent == own:
            raise Refusal(f"agent {agent} has session {session_id} already: name another agent")
        if session_id in self._running:
            raise Refusal(f"a transfer of session {session_id} is going on: wait for its outcome")
        handed = handed and handed.model_copy(update={"agent": own})
        if handed and len(json.dumps(handed.items)) > messages.MAX_HANDED_BYTES:
            raise Refusal(f"the conversation that goes along has more than {messages.MAX_HANDED_BYTES} bytes: cut it")
        task = self._running[session_id] = asyncio.create_task(self._transfer(session, own, agent, handed))
        task.add_done_callback(lambda _: self._running.pop(session_id, None))
        return task

    async def close(self) -> None:
        """Give up the transfers that are going on."""
        await tasks.end(*self._running.values())

    async def _transfer(self, session: OwnedCall, before: str, agent: str, handed: messages.HandedCall | None) -> str:
        session_id = session.state.session_id
        try:
            failure = await self._ask(session, before, agent, handed)
        except BUS_ERRORS as error:
            log.warning("session %s: no transfer to %s: %r", session_id, agent, error)
            failure = "NATS does not answer: ask again"
        except Refusal as error:
            failure = str(error)
        except Exception:
            log.exception("session %s: the transfer to %s failed", session_id, agent)
            failure = "the owner of the call failed: its log says more"
        finally:
            self._bus.drop_transfer(session_id)  # nothing is left of it where the session was moved
        if failure:
            self._tell(before, session_id, messages.TransferFailed(agent=agent, message=failure))
        return failure

    async def _ask(self, session: OwnedCall, before: str, agent: str, handed: messages.HandedCall | None) -> str:
        """Why the session stays with the agent that has it; empty: it has moved, or has ended."""
        session_id = session.state.session_id
        if session.ended is not None:
            return ""
        await self._bus.prepare_transfer(session_id, agent, self.begin)
        state = session.state
        with spans.inside(telemetry.call_context(state.call_trace, session_id)):
            settings, locked = state.session_settings, state.locked_settings
            claimed = await self._claims.claim(session_id, agent, settings, locked, handed)
        if isinstance(claimed, messages.Refused):
            return claimed.message
        ended = messages.Ended(reason="internal")
        """For the agent that has accepted, where it does not get the session after all."""
        moved = False
        try:
            if session.ended is None:
                # The checkpoint first: a process that takes over after it continues with the next agent, which is
                # there. In the other order it could continue with the one before, which has been told to leave.
                session.promise(agent)
                await self._store(session_id)
            if session.ended is None:
                session.transfer(agent, claimed, self._loop.time())
                self._liveness.watch(session_id, agent, claimed.instance)
                self._bus.move(session, claimed.instance)
                moved = True
                log.info("session %s: transferred from %s to %s", session_id, before, agent)
            elif session.ended != MOVED:
                ended = messages.Ended(reason=session.ended, cause=session.cause)
            elif session.state.agent == agent:  # handed over with the promise: there it goes on with the next agent
                moved = True
                self._tell(before, session_id, messages.Transferred(agent=agent, instance=claimed.instance))
            else:
                return "another process has the call meanwhile: ask again"
        finally:
            if not moved:
                self._tell(agent, session_id, ended)
        return ""

    def _tell(self, agent: str, session_id: str, event: messages.Message) -> None:
        self._publisher.publish(subjects.session_event(agent, session_id), messages.encode(event))
