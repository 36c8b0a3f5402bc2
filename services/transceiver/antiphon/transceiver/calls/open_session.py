"""Offers become sessions, or are refused: the requests on the `open` subject."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from antiphon.rtc import sdp
from antiphon.runtime import telemetry
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls.agent_claims import AgentClaims
from antiphon.runtime.owned_calls.agent_liveness import AgentLiveness
from antiphon.runtime.owned_calls.control_rpc import TracedRequest
from antiphon.runtime.owned_calls.session_bus import CallHandlers, SessionBus
from antiphon.runtime.owned_calls.transfers import Transfers
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.calls.connect_estimate import ConnectEstimate
from antiphon.transceiver.calls.further_offers import FurtherOffers
from antiphon.transceiver.calls.half_open import HalfOpenSessions
from antiphon.transceiver.calls.listeners import Listeners
from antiphon.transceiver.calls.new_sessions import NewSessions, Terms, new_session_id
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.session.session import MAX_CAUSE, Session
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler

log = logging.getLogger(__name__)


class Preparations(Protocol):
    """Calls that are answered and not made yet: `prepared.Preparations`."""

    async def prepare(
        self, request: messages.OpenRequest, offer: sdp.Offer, now: float
    ) -> messages.Opened | messages.Refused:
        """Answer the offer; its client's first check makes the session."""

    async def withdraw(self, session_id: str, request: messages.OpenRequest) -> messages.Opened | messages.Refused:
        """That one shall not be used any more."""


LATE: Final = "late"
"""Cause of the end that an agent is told which has accepted too late."""


class TakenOut(NamedTuple):
    """A prepared call whose client has come. A value."""

    terms: Terms
    request: messages.OpenRequest
    offer: sdp.Offer


class SessionOpener:
    """Answers offers within the capacity of the process.

    Owner: the process, for its whole life. Event loop only; each offer is a task of its own.
    """

    def __init__(
        self,
        settings: Settings,
        sessions: SessionTable,
        bus: SessionBus,
        claims: AgentClaims,
        liveness: AgentLiveness,
        transfers: Transfers,
        publisher: Publisher,
        scheduler: Scheduler,
        listeners: Listeners,
        new_sessions: NewSessions,
        preparations: Preparations,
        metrics: Metrics = OFF,
    ) -> None:
        self._metrics = metrics
        self._settings = settings
        self._sessions = sessions
        self._demux = sessions.demux
        self._bus = bus
        self._claims = claims
        self._liveness = liveness
        self._publisher = publisher
        self._listeners = listeners
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._new = new_sessions
        self._further = FurtherOffers(sessions, new_sessions, settings.cluster)
        self._preparations = preparations
        self._draining = False
        self.handlers = CallHandlers(self._requested_again, transfers.begin)
        """Of the requests for running sessions."""
        self._requests: set[asyncio.Task[None]] = set()
        self._half_open = HalfOpenSessions(settings.capacity)
        self._connecting = ConnectEstimate(settings.connect_within, self._loop.time())
        self._opening = 0
        """Slots reserved by offers that are being answered."""

    @property
    def draining(self) -> bool:
        """No more sessions are taken, for good."""
        return self._draining

    @property
    def capacity(self) -> int:
        """Sessions that this process takes at most; 0 while it drains."""
        return 0 if self._draining else self._settings.capacity

    def drain(self) -> None:
        """Take no more sessions."""
        self._draining = True

    @property
    def taken(self) -> int:
        """Slots of the capacity that are in use or reserved."""
        return len(self._demux) + self._opening

    @property
    def announced(self) -> int:
        """As `taken`; one less where the process is full and a session without a check would give way to a call."""
        taken = self.taken
        if taken < self._settings.capacity or self._half_open.to_evict(self._demux, self._loop.time()) is None:
            return taken
        return self._settings.capacity - 1

    @property
    def connect_ms(self) -> float:
        """How long the client of one more call would wait for its connection."""
        wait, now = self._scheduler.handshake_wait(), self._loop.time()
        return self._connecting.seconds(self._demux.get, self._opening, wait, now) * 1000

    async def requested(self, request: TracedRequest) -> None:
        """Handler of the `open` subject of this transceiver."""
        self._start(request, None)

    async def _requested_again(self, session_id: str, request: TracedRequest) -> None:
        """Another offer for a running session, on the subject of that call."""
        self._start(request, session_id)

    def _start(self, request: TracedRequest, session_id: str | None) -> None:
        # One task each: an agent that answers slowly must not hold up the offers for other agents. A task
        # takes its slot, or refuses, before it waits for anything, so capacity bounds those that wait.
        task = asyncio.create_task(self._serve(request, session_id))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    def close(self) -> None:
        """Drop the offers that are being answered."""
        for request in tuple(self._requests):
            request.cancel()

    async def _serve(self, request: TracedRequest, session_id: str | None) -> None:
        """`session_id`: the call on whose subject the request came; None: it is one for a new call."""
        context, links = telemetry.trace_context(request.headers), []
        session = self._demux.get(session_id) if session_id is not None else None
        if session is not None and not session.state.listens_to:
            asked = trace.get_current_span(context).get_span_context()
            links = [Link(asked)] if asked.is_valid else []
            context = telemetry.call_context(session.state.call_trace, session.state.session_id)
        known = names.messaging(names.OPEN_SUBJECT, "process")
        with spans.current(names.OPEN, context, kind=SpanKind.CONSUMER, links=links, attributes=known) as span:
            started = self._loop.time()
            try:
                reply: messages.Opened | messages.Refused = await self._open(request.data, session_id, started)
            except MalformedError as error:
                reply = messages.Refused(code="bad_offer", message=str(error))
            except Exception:
                log.exception("an offer could not be answered")
                reply = messages.Refused(code="internal", message="the transceiver failed to answer: see its log")
            span.set_attribute("antiphon.open", reply.type if isinstance(reply, messages.Opened) else reply.code)
            if isinstance(reply, messages.Opened):
                spans.name_call(span, reply.session_id)
                self._metrics.observe("antiphon_call_setup_seconds", self._loop.time() - started, step="open")
            else:
                self._metrics.add("antiphon_call_refused_total", code=reply.code)
            try:
                await request.respond(messages.encode(reply))
            except BUS_ERRORS as error:
                # No client will ever use it: the session ends by its setup timeout, or by a retry's hang-up.
                log.warning("an offer's answer could not be sent: %r", error)

    def _refusal(self, caller: str, now: float, prepares: bool = False) -> messages.Refused | None:
        """Why no further session is taken, if so. When the process is full, a session without a check gives way.

        `prepares`: the offer takes no slot now, and none gives way to it.
        """
        if self._draining:
            return messages.Refused(code="draining", message="this transceiver is shutting down: ask another one")
        if self._half_open.has_too_many(caller, self._demux):
            return messages.Refused(
                code="full",
                message=f"this caller has {self._half_open.per_caller} calls on this transceiver to which no client "
                "has come: connect to one of them, or wait 8 s",
            )
        capacity = self._settings.capacity
        evicted = None
        if self.taken >= capacity and not prepares:
            evicted = self._half_open.to_evict(self._demux, now)
        if evicted is not None:
            log.info("session %s has had no client so far: it gives way to a new call", evicted.state.session_id)
            evicted.end("setup_timeout", now)
        if self.taken >= capacity:
            return messages.Refused(code="full", message=f"all {capacity} sessions of this transceiver are taken")
        # A tenth of the last 5 s: one stop (some clients joining at once) is no reason to send callers away.
        late = self._scheduler.lateness(0.9) * 1000
        if late > self._settings.max_lateness_ms:
            return messages.Refused(code="full", message=f"this transceiver is {late:.0f} ms late: it takes no more")
        wait = self._connecting.refuses(self._demux.get, self._opening, self._scheduler.handshake_wait(), now)
        if wait:
            return messages.Refused(
                code="full",
                message=f"so many clients connect right now that one more would wait {wait:.1f} s, above "
                f"{self._connecting.within:g} s (ANTIPHON_CONNECT_WITHIN)",
                retry_after=math.ceil(wait),
            )
        return None

    async def _open(self, data: bytes, session_id: str | None, now: float) -> messages.Opened | messages.Refused:
        request = messages.decode(data, messages.OpenRequest)
        if request.session_id != session_id:
            came = f"the subject of call {session_id}" if session_id else "the subject for new calls"
            text = f"an offer for {request.session_id or 'a new call'} came on {came}: use the subject of its own"
            return messages.Refused(code="no_session", message=text)
        if request.withdraw is not None:
            return await self._preparations.withdraw(request.withdraw, request)
        opens = request.session_id is None or request.listener is not None
        if session_id is not None and request.ice is not None:
            return self._further.exchange_ice(session_id, request, request.ice)
        refusal = self._refusal(request.caller, now, request.prepare is not None) if opens else None
        if refusal is not None:
            return refusal
        try:
            if request.session_id is not None and request.listener is not None:
                return await self._listen(request.session_id, request, sdp.read_offer(request.offer), now)
            if request.session_id is not None:
                return self._further.answer(request.session_id, request.creator, request.offer, now)
            offer = sdp.read_offer(request.offer)
        except sdp.OfferError as error:
            return messages.Refused(code=error.code, message=str(error))
        if request.prepare is not None:
            return await self._preparations.prepare(request, offer, now)
        with self._reserved(request.caller):
            return await self._answer(request, offer, now)

    @contextmanager
    def _reserved(self, caller: str) -> Iterator[None]:
        """For the length of the block a slot is ours."""
        self._opening += 1
        self._half_open.begin(caller)
        try:
            yield
        finally:
            self._half_open.end(caller)
            self._opening -= 1

    async def open_prepared(
        self, caller: str, take_out: Callable[[], Awaitable[TakenOut | None]], within: float
    ) -> Session | messages.Refused | None:
        """The client of a prepared call has come: its session, or why there is none. None: it was not to be taken out.

        `within`: seconds in which its agent has to accept: later its client is not there any more.
        """
        now = self._loop.time()
        refusal = self._refusal(caller, now)
        if refusal is not None:
            return refusal
        with self._reserved(caller):
            taken = await take_out()
            if taken is None:
                return None
            terms, request, offer = taken
            return await self._begin(terms.session_id, request, offer, now, terms, now + within)

    async def _answer(
        self, request: messages.OpenRequest, offer: sdp.Offer, now: float
    ) -> messages.Opened | messages.Refused:
        session = await self._begin(new_session_id(), request, offer, now)
        if isinstance(session, messages.Refused):
            return session
        try:
            answer = self._new.answer(session, offer)
            return messages.Opened(session_id=session.state.session_id, answer=answer)
        except Exception:  # no client will ever use it
            session.end("internal", self._loop.time())
            raise

    async def _begin(
        self,
        session_id: str,
        request: messages.OpenRequest,
        offer: sdp.Offer,
        now: float,
        terms: Terms | None = None,
        until: float = math.inf,
    ) -> Session | messages.Refused:
        """Ask an agent, and make the session. `terms`: of an answer that its client has already; else new ones.

        `until`: when the agent has to have accepted.
        """
        ended: messages.Ended | None = None
        """Published to an agent that has accepted, where no session is made after all."""
        made = False
        try:
            await self._bus.listen(session_id, request.agent, request.creator, self.handlers)
            claimed = await self._claims.claim(session_id, request.agent, request.session, request.locked)
            if isinstance(claimed, messages.Refused):
                return claimed
            ended = messages.Ended(reason="internal")
            if self._draining:
                ended = messages.Ended(reason="draining")
                return messages.Refused(code="draining", message="this transceiver is shutting down: ask another one")
            hung_up = self._bus.hung_up(session_id, claimed.instance)
            if hung_up is not None:
                ended = messages.Ended(reason="hang_up", cause=hung_up.reason[:MAX_CAUSE])
                text = f"agent {request.agent!r} ended the call at once ({ended.cause or 'no reason given'})"
                return messages.Refused(code="agent_ended", message=text)
            if self._loop.time() > until:
                ended = messages.Ended(reason="hang_up", cause=LATE)
                text = f"agent {request.agent!r} accepted too late for a prepared call"
                return messages.Refused(code="no_agent", message=text)
            terms = terms or self._new.terms(session_id, request, now)
            if not self._new.holds(terms, request, now):
                return messages.Refused(code="draining", message="this transceiver has another slot by now: call again")
            session = self._made(terms, request, offer, claimed, now)
            made = True  # from here on the session itself tells of its end
        finally:
            if not made:
                if ended is not None:
                    subject = subjects.session_event(request.agent, session_id)
                    self._publisher.publish(subject, messages.encode(ended))
                self._bus.session_removed(session_id)
        try:
            self._liveness.watch(session_id, request.agent, claimed.instance)
            self._bus.activate(session, claimed.instance)
        except Exception:  # no client will ever use it
            session.end("internal", self._loop.time())
            raise
        return session

    def _made(
        self,
        terms: Terms,
        request: messages.OpenRequest,
        offer: sdp.Offer,
        claimed: messages.ClaimReply,
        now: float,
        listens_to: str = "",
    ) -> Session:
        self._half_open.opened(terms.session_id, request.caller, self._demux)
        session = self._new.make(terms, request, offer, claimed, now, listens_to)
        self._connecting.opened(terms.session_id, self._loop.time())
        return session

    async def _listen(
        self, call_id: str, request: messages.OpenRequest, offer: sdp.Offer, now: float
    ) -> messages.Opened | messages.Refused:
        """A session that gets both voices of a call of this process."""
        session_id, creator = new_session_id(), request.listener or ""
        made = False
        self._opening += 1
        try:
            await self._bus.listen_without_agent(session_id, creator, self.handlers)
            refusal = self._listeners.refusal(call_id, request.creator)
            if refusal is not None:
                return refusal
            if offer.direction == "recvonly":
                return messages.Refused(code="bad_offer", message="a listener's audio has to be recvonly, not sendonly")
            offer = offer._replace(direction="sendonly")
            asked = request.model_copy(update={"agent": "-", "creator": creator, "copies": False, "session": {}})
            no_agent = messages.ClaimReply(accepted=True)
            terms = self._new.terms(session_id, asked, now)
            session = self._made(terms, asked, offer, no_agent, now, call_id)
            made = True
            self._listeners.add(session, creator)
            answer = self._new.answer(session, offer)
            return messages.Opened(session_id=session_id, answer=answer, cluster=self._settings.cluster)
        finally:
            self._opening -= 1
            if not made:
                self._bus.session_removed(session_id)
