"""Claims as they come to a bridge: answered here, or passed on to a process of the same agent with more room."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sized
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.micro.request import Request
from nats.micro.service import Service
from opentelemetry.trace import SpanKind

from antiphon.inference_bridge.dispatch.peers import Peers
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.agent_sessions.admission import Admission, read_claim
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.nats import connection
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)
_PASS_ON_WITHIN: Final = 0.25
"""Seconds of the half second that a claim has; then there is time left to take it ourselves."""


class Claims:
    """Answers the claims for one agent.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(
        self,
        client: Client,
        agent: str,
        capacity: int,
        instance: str,
        calls: Sized,
        admission: Admission,
        accept: Callable[[messages.Claim], Awaitable[bool]],
        metrics: Metrics = OFF,
    ) -> None:
        """`instance`: our name among the processes of this agent. `capacity`, `calls`: of this process.

        `accept(claim)`: be ready for its session; False if another instance has it.
        """
        self._client, self._agent, self._capacity, self._instance = client, agent, capacity, instance
        self._calls, self._admission, self._accept = calls, admission, accept
        self._peers = Peers(instance)
        self._passed_on = 0
        self._metrics = metrics
        self._passing: set[asyncio.Task[None]] = set()

    async def serve(self, service: Service) -> None:
        """Claims may come: to any process of the agent, and to this one from another that passes them on."""
        await service.add_endpoint(
            name="claim", subject=subjects.agent_claim(self._agent), handler=self._claim, queue_group=self._agent
        )
        own = subjects.agent_claim_of(self._agent, self._instance)
        await service.add_endpoint(
            name="claim-passed-on", subject=own, handler=self._take, queue_group=connection.NO_GROUP
        )

    def figures(self) -> dict[str, Any]:
        """How claims went: what the register's statistics show."""
        return {**self._admission.figures(), "claims_passed_on": self._passed_on}

    async def close(self) -> None:
        """Give up the claims that are being passed on."""
        await tasks.end(*self._passing)

    def received(self, beat: messages.AgentBeat, now: float) -> None:
        """A beat of this agent came, perhaps our own: it tells which other processes there are."""
        self._peers.received(beat, now)

    async def _claim(self, request: Request) -> None:
        """Answer a claim, or pass it on to a process that has more room."""
        capacity = 0 if self._admission.room <= 0 else self._capacity
        other = self._peers.better(len(self._calls), capacity, time.monotonic())
        if other is None:
            await self._take(request)
            return
        # requests come one by one, and another process may need its time
        passing = asyncio.create_task(self._pass_on(request, other))
        self._passing.add(passing)
        passing.add_done_callback(self._passing.discard)

    async def _pass_on(self, request: Request, other: str) -> None:
        self._passed_on += 1
        self._metrics.add("antiphon_call_claims_total", result="passed_on")
        subject = subjects.agent_claim_of(self._agent, other)
        try:
            answer = await self._client.request(
                subject, request.data, timeout=_PASS_ON_WITHIN, headers=dict(request.headers or {}) or None
            )
        except (nats.errors.Error, TimeoutError) as error:
            log.warning("claim: %s does not take it: %s", other, error or type(error).__name__)
            await self._take(request)
        else:
            await request.respond(answer.data)

    async def _take(self, request: Request) -> None:
        """Answer a claim: the session is subscribed before it is accepted."""
        started = time.perf_counter()
        try:
            claim = read_claim(request.data, self._agent)
        except MalformedError as error:
            await request.respond(self._admission.reply(str(error)))
            return
        context = spans.of_call(claim.session_id, telemetry.trace_context(request.headers))
        known = {names.AGENT_NAME: self._agent, **names.messaging(names.CLAIM_SUBJECT, "process")}
        with spans.current(names.CLAIM, context, kind=SpanKind.CONSUMER, attributes=known) as span:
            refusal = self._admission.refusal(claim, time.time())
            retry_after = self._admission.retry_after if refusal else 0
            if not refusal and not await self._accept(claim):
                refusal = self._admission.lost(claim.session_id)
            await request.respond(self._admission.reply(refusal, retry_after))
            took_ms = (time.perf_counter() - started) * 1000
            span.set_attribute(names.CLAIM_MS, round(took_ms, 2))
            if not refusal:
                self._admission.accepted(claim.session_id, took_ms)
                self._metrics.observe("antiphon_call_claim_seconds", took_ms / 1000)
            self._metrics.add("antiphon_call_claims_total", result="refused" if refusal else "accepted")
