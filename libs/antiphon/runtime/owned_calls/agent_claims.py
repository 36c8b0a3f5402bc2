"""Asks agents to take a session: one instance is asked, and when it is slow the next, until one accepts.

The first acceptance counts, whichever of the asked instances gives it. NATS picks the first one (a queue group). It
cannot know that a process hangs, so the next ones are found by the services register, where only those answer that are
alive, and asked by name. So is an instance that has left the group for being late, when there is no other: late is
better than not at all. An acceptance that comes too late is answered as well: `ClaimExpired`, so that no slot leaks.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind

from antiphon.runtime import telemetry
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.nats import service_discovery
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import MalformedError, messages, subjects

log = logging.getLogger(__name__)

ASK_SECONDS: Final = 0.5
"""For one instance to answer; then the next is asked."""
CLAIM_SECONDS: Final = 2.5
"""For all of them together: signaling waits 3 s for the whole session, when it has others to ask."""
FIND_SECONDS: Final = 0.2
"""For the register to name one that is alive."""
MAX_REMEMBERED: Final = 1024
"""Claims whose late acceptances are still answered; the oldest are forgotten: agents then go by the deadline."""
MEASURED: Final = 1000
"""Claims whose time is kept for the statistics."""


class Accepted(NamedTuple):
    """An instance takes the session."""

    reply: messages.ClaimReply


class Declined(NamedTuple):
    """An instance does not take it, or answers what cannot be read."""

    instance: str
    """Empty: it has not named itself."""
    message: str
    retry_after: int = 0
    """As in `ClaimReply`."""


class NoResponders(NamedTuple):
    """NATS knows of no subscriber."""


class TimedOut(NamedTuple):
    """No answer has come in time."""


ClaimOutcome = Accepted | Declined | NoResponders | TimedOut
"""What becomes of asking one instance."""


class _Asked:
    """One claim, while it is open and for some time afterwards. Owner: `AgentClaims`."""

    def __init__(self, session_id: str, agent: str) -> None:
        self.session_id = session_id
        self.agent = agent
        self.answers: asyncio.Queue[Accepted | Declined | NoResponders] = asyncio.Queue(64)
        self.open = True
        self.placed = False
        """An instance has accepted in time: the session is its own, unless the claim fails after all."""
        self.instance = ""
        """Its name, if it has named itself."""


class AgentClaims:
    """The claims of a process.

    Owner: the process, for its whole life. Event loop only; each `claim` is awaited by the task of one offer.
    """

    def __init__(
        self,
        client: Client,
        publish: Callable[[str, bytes], None],
        turn_away: Callable[[str, str], None],
        metrics: Metrics = OFF,
    ) -> None:
        """`publish(subject, data)` sends without waiting.

        `turn_away(session_id, instance)`: that one has accepted too late, and may not control the session.
        """
        self._client, self._publish, self._turn_away = client, publish, turn_away
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._inbox = client.new_inbox()
        self._listening: asyncio.Task[Any] | None = None
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._took_ms: deque[float] = deque(maxlen=MEASURED)
        self._claims = self._refused = self._asked_again = self._late = 0

    def statistics(self) -> dict[str, Any]:
        """How claims went, for the statistics of the services register."""
        took = sorted(self._took_ms)
        return {
            "claims": self._claims,
            "claims_refused": self._refused,
            "claims_asked_again": self._asked_again,
            "claims_accepted_late": self._late,
            "claim_ms_p50": took[len(took) // 2] if took else None,
            "claim_ms_p95": took[len(took) * 95 // 100] if took else None,
        }

    async def claim(
        self,
        session_id: str,
        agent: str,
        session: dict[str, Any],
        locked: Sequence[str] = (),
        handed: messages.HandedCall | None = None,
    ) -> messages.ClaimReply | messages.Refused:
        """Find an agent for the session; it is ready when this returns. At most `CLAIM_SECONDS`.

        `locked`: settings in `session` that the client may not change. `handed`: what the agent before gives along.
        """
        began = self._loop.time()
        token = secrets.token_hex(8)
        asked = self._asked[token] = _Asked(session_id, agent)
        while len(self._asked) > MAX_REMEMBERED:
            self._asked.popitem(last=False)
        claim = messages.Claim(
            session_id=session_id,
            agent=agent,
            session=session,
            locked=list(locked),
            expires_at=time.time() + CLAIM_SECONDS,
            handed=handed,
        )
        known = {names.AGENT_NAME: agent, **names.messaging(names.CLAIM_SUBJECT, "send")}
        context = spans.of_call(session_id)
        try:
            with spans.current(names.CLAIM, context, kind=SpanKind.PRODUCER, attributes=known) as span:
                await self._listen()
                outcome = await self._ask_around(asked, f"{self._inbox}.{token}", claim, began + CLAIM_SECONDS)
                if isinstance(outcome, messages.Refused):
                    span.set_attribute(names.REFUSED, outcome.code)
        except BUS_ERRORS as error:
            log.warning("session %s: no agent can be asked: %s", session_id, error or type(error).__name__)
            outcome = _refused(agent, "cannot be asked: NATS does not answer")
        except BaseException:  # we are stopped
            asked.placed = False
            self._publish_end(agent, session_id)
            raise
        finally:
            asked.open = False
        if isinstance(outcome, messages.Refused):
            self._refused += 1
            self._metrics.add("antiphon_call_claims_total", result="refused")
            asked.placed = False
            self._publish_end(agent, session_id)
            return outcome
        self._claims += 1
        self._metrics.add("antiphon_call_claims_total", result="accepted")
        self._metrics.observe("antiphon_call_claim_seconds", self._loop.time() - began)
        self._took_ms.append(round((self._loop.time() - began) * 1000, 2))
        return outcome

    def _publish_end(self, agent: str, session_id: str) -> None:
        """An instance that has accepted after all, or is about to, holds a slot for a session that it will not get.

        Under the name of the agent that was asked: where a transfer fails, the agent that has the session gets nothing.
        """
        ended = messages.Ended(reason="setup_timeout")
        self._publish(subjects.session_event(agent, session_id), messages.encode(ended))

    async def _ask_around(
        self, asked: _Asked, reply_to: str, claim: messages.Claim, deadline: float
    ) -> messages.ClaimReply | messages.Refused:
        agent, data = claim.agent, messages.encode(claim)
        declined: Declined | None = None
        tried: set[str] = set()
        asked_by_name = ""
        """The instance that is asked by name; empty: the one that the queue group picks."""
        group_is_empty = False
        while True:
            subject = subjects.agent_claim_of(agent, asked_by_name) if asked_by_name else subjects.agent_claim(agent)
            headers = telemetry.trace_headers() or None
            await self._client.publish(subject, data, reply=reply_to, headers=headers)
            match await self._outcome(asked, asked_by_name, min(deadline, self._loop.time() + ASK_SECONDS)):
                case Accepted(reply):
                    return reply
                case Declined(instance) as declined:
                    tried.add(instance)
                case NoResponders():
                    group_is_empty = group_is_empty or not asked_by_name
                case TimedOut():
                    log.warning(
                        "session %s: agent %s does not answer the claim in time",
                        claim.session_id,
                        asked_by_name or agent,
                    )
            tried.add(asked_by_name)
            if self._loop.time() >= deadline:
                break
            asked_by_name = await self._next(agent, tried, deadline)
            if not asked_by_name and group_is_empty and len(tried) == 1:
                return _refused(agent, "does not answer: start it, or name another")
            if not asked_by_name and (declined is not None or group_is_empty or self._loop.time() >= deadline):
                break
            self._asked_again += 1
        while not asked.answers.empty():  # came while we gave up
            last = asked.answers.get_nowait()
            if isinstance(last, Accepted):
                return last.reply
        if declined is not None:
            refused = _refused(agent, f"declined: {declined.message or 'no reason given'}")
            return refused.model_copy(update={"retry_after": declined.retry_after})
        return _refused(agent, f"is there but has not answered within {CLAIM_SECONDS} s")

    async def _next(self, agent: str, tried: set[str], deadline: float) -> str:
        """An instance that is alive and was not asked yet; empty: none is known by name."""

        def fits(each: dict[str, str]) -> bool:
            return each.get("agent") == agent and each.get("instance", "") not in tried

        wait = min(FIND_SECONDS, deadline - self._loop.time())
        found = await service_discovery.instances(
            self._client, service_discovery.AGENT_SERVICE, wait, enough=lambda found: any(map(fits, found))
        )
        return next((each["instance"] for each in found if fits(each)), "")

    async def _outcome(self, asked: _Asked, asked_by_name: str, until: float) -> ClaimOutcome:
        """What comes next: an acceptance of any instance, or what becomes of the one that was asked."""
        try:
            async with asyncio.timeout_at(until):
                while True:
                    outcome = await asked.answers.get()
                    late = isinstance(outcome, Declined) and asked_by_name and outcome.instance != asked_by_name
                    if not late:  # a refusal of an instance that was asked earlier decides nothing
                        return outcome
        except TimeoutError:
            return TimedOut()

    # ---- answers

    async def _listen(self) -> None:
        """One subscription for all claims, made with the first."""
        if self._listening is None:
            subscribing = self._client.subscribe(f"{self._inbox}.*", cb=self._answered)
            self._listening = asyncio.create_task(subscribing)
        try:
            await asyncio.shield(self._listening)
        except BUS_ERRORS:
            self._listening = None  # the next claim tries again
            raise

    async def _answered(self, message: Msg) -> None:
        asked = self._asked.get(message.subject.rpartition(".")[2])
        if asked is None:
            return
        outcome = _read(message)
        if asked.open and not asked.answers.full():
            asked.answers.put_nowait(outcome)
            if isinstance(outcome, Accepted):
                asked.open = False  # the first one has it, also before the task that waits for it has run
                asked.placed, asked.instance = True, outcome.reply.instance
        elif isinstance(outcome, Accepted):
            self._too_late(asked, outcome.reply.instance)

    def _too_late(self, asked: _Asked, instance: str) -> None:
        # A transfer that failed may be asked for again: then the same agent has two claims of one session.
        of = asked.session_id, asked.agent
        same = [each for each in self._asked.values() if (each.session_id, each.agent) == of]
        if any(each.placed and each.instance == instance for each in same):
            return  # it was slow, was asked twice, and has the session
        self._late += 1
        self._metrics.add("antiphon_call_claims_total", result="late")
        log.warning("session %s: %s accepts too late", asked.session_id, instance or "an agent")
        if instance:
            self._turn_away(asked.session_id, instance)
            expired = messages.encode(messages.ClaimExpired(instance=instance))
            self._publish(subjects.session_event(asked.agent, asked.session_id), expired)
        if not any(each.placed or each.open for each in same):
            self._publish_end(asked.agent, asked.session_id)


def _read(message: Msg) -> Accepted | Declined | NoResponders:
    if not message.data and (message.headers or {}).get("Status") == "503":
        return NoResponders()
    try:
        reply = messages.decode(message.data, messages.ClaimReply)
    except MalformedError as error:
        return Declined("", f"it answers unreadably: {error}")
    return Accepted(reply) if reply.accepted else Declined(reply.instance, reply.message, reply.retry_after)


def _refused(agent: str, why: str) -> messages.Refused:
    return messages.Refused(code="no_agent", message=f"agent {agent!r} {why}")
