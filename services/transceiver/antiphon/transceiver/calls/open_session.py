"""Offers become sessions, or are refused: the requests on the `open` subject."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import string
import time
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from antiphon.rtc import sdp
from antiphon.rtc.codec import Codec
from antiphon.rtc.dtls.certificate import CurrentCertificate
from antiphon.rtc.sctp.inbound import MAX_MESSAGE
from antiphon.rtc.sdp.audio import sends
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
from antiphon.schemas.route_token import RouteKeyring
from antiphon.transceiver.calls.connect_estimate import ConnectEstimate
from antiphon.transceiver.calls.half_open import HalfOpenSessions
from antiphon.transceiver.calls.listeners import Listeners
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.net.endpoint import Endpoint
from antiphon.transceiver.session.session import MAX_CAUSE, Session
from antiphon.transceiver.session.state import RtpState, RtviState, SessionState
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler

log = logging.getLogger(__name__)
_ID_ALPHABET: Final = string.ascii_letters + string.digits


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
        self._keyring: RouteKeyring = settings.keyring()
        self._certificate = CurrentCertificate(self._loop.time())
        self._keeps_copies = settings.copy_cluster is not None and settings.hand_over
        self._copies_all = settings.copy_calls == "all"
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

    def _refusal(self, caller: str, now: float) -> messages.Refused | None:
        """Why no further session is taken, if so. When the process is full, a session without a check gives way."""
        if self._draining:
            return messages.Refused(code="draining", message="this transceiver is shutting down: ask another one")
        if self._half_open.has_too_many(caller, self._demux):
            return messages.Refused(
                code="full",
                message=f"this caller has {self._half_open.per_caller} calls on this transceiver to which no client "
                "has come: connect to one of them, or wait 8 s",
            )
        capacity = self._settings.capacity
        if self.taken >= capacity and (evicted := self._half_open.to_evict(self._demux, now)) is not None:
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
        opens = request.session_id is None or request.listener is not None
        if session_id is not None and request.ice is not None:
            return self._exchange_ice(session_id, request, request.ice)
        refusal = self._refusal(request.caller, now) if opens else None
        if refusal is not None:
            return refusal
        try:
            if request.session_id is not None and request.listener is not None:
                return await self._listen(request.session_id, request, sdp.read_offer(request.offer), now)
            if request.session_id is not None:
                return self._answer_again(request.session_id, request.creator, request.offer, now)
            offer = sdp.read_offer(request.offer)
        except sdp.OfferError as error:
            return messages.Refused(code=error.code, message=str(error))
        self._opening += 1  # from here to the end of this coroutine the slot is ours
        self._half_open.begin(request.caller)
        try:
            return await self._answer(request, offer, now)
        finally:
            self._half_open.end(request.caller)
            self._opening -= 1

    async def _answer(
        self, request: messages.OpenRequest, offer: sdp.Offer, now: float
    ) -> messages.Opened | messages.Refused:
        session_id = _new_session_id()
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
            session = self._make_session(session_id, request, offer, claimed, now)
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
            return messages.Opened(session_id=session_id, answer=self._written_answer(session, offer))
        except Exception:  # no client will ever use it
            session.end("internal", self._loop.time())
            raise

    async def _listen(
        self, call_id: str, request: messages.OpenRequest, offer: sdp.Offer, now: float
    ) -> messages.Opened | messages.Refused:
        """A session that gets both voices of a call of this process."""
        session_id, creator = _new_session_id(), request.listener or ""
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
            session = self._make_session(session_id, asked, offer, no_agent, now, call_id)
            made = True
            self._listeners.add(session, creator)
            answer = self._written_answer(session, offer)
            return messages.Opened(session_id=session_id, answer=answer, cluster=self._settings.cluster)
        finally:
            self._opening -= 1
            if not made:
                self._bus.session_removed(session_id)

    def _make_session(
        self,
        session_id: str,
        request: messages.OpenRequest,
        offer: sdp.Offer,
        claimed: messages.ClaimReply,
        now: float,
        listens_to: str = "",
    ) -> Session:
        certificate = self._certificate.at(now)
        call_trace = request.trace or telemetry.new_call(telemetry.trace_headers())
        copied = self._copies_all if request.copies is None else request.copies
        own = self._sessions.endpoints.for_call(copied and self._keeps_copies)
        ufrag = self._mint(own)
        state = SessionState(
            session_id=session_id,
            agent=request.agent,
            ufrags=[ufrag],
            remote_fingerprints=list(offer.fingerprints),
            input_rate=claimed.input_rate,
            rtp=RtpState(
                ssrc=secrets.randbits(31) + 1,
                codec=offer.codec.name,
                payload_type=offer.codec.payload_type,
                # Small enough that no receiver sees a wrap in its first packets (RFC 3711 section 3.3.1).
                sequence=secrets.randbits(15),
                timestamp=secrets.randbits(32),
            ),
            local_fingerprint=certificate.fingerprint,
            session_settings=request.session,
            creator=request.creator,
            locked_settings=list(request.locked),
            data_port=offer.data_port,
            data_max_message=offer.data_max_message,
            telephone=offer.telephone,
            audio_level_id=offer.audio_level_id,
            direction=offer.direction,
            listens=sends(offer.direction),
            sdp_origin=secrets.randbits(40),
            copied=copied and self._keeps_copies,
            rtvi=RtviState() if request.dialect == "rtvi" else None,
            listens_to=listens_to,
            consent_tone=0.0 if listens_to else self._settings.consent_tone_seconds(),
            remote_credentials={ufrag: (offer.ufrag, offer.password)},
            call_trace=call_trace.model_dump(),
            began_at=call_trace.began,
            owner_span=telemetry.trace_headers().get("traceparent", ""),
        )
        self._half_open.opened(session_id, request.caller, self._demux)
        session = self._sessions.make(state, certificate, offer.client, own)
        self._connecting.opened(session_id, self._loop.time())
        return session

    def _answer_again(self, session_id: str, asker: str, text: str, now: float) -> messages.Opened | messages.Refused:
        """Another offer on a running session: the direction of its audio, new ICE credentials, or both.

        Credentials stay where the offer's have stayed (RFC 8839 section 4.4.3.1.1): Firefox refuses an answer that
        restarts ICE unasked. Codec, keys and data channels stay in any case; a section that the session does not have
        is declined.
        """
        session = self._demux.get(session_id)
        foreign = session is not None and not messages.may_manage(asker, session.state.creator)
        if session is None or session.ended is not None or foreign:
            return messages.Refused(code="no_session", message=f"session {session_id} is over: place a new call")
        state = session.state
        codec = Codec(state.rtp.codec, state.rtp.payload_type)
        offer = sdp.read_offer(text, keep=codec)
        if sorted(offer.fingerprints) != sorted(state.remote_fingerprints):
            return messages.Refused(
                code="bad_offer", message="the offer has another a=fingerprint than the session: place a new call"
            )
        if offer.codec != codec:
            return messages.Refused(
                code="bad_offer",
                message=f"the session has {codec.rtpmap}, which the offer does not list: it has {offer.codec.rtpmap}",
            )
        if state.data_port is None:
            offer = offer.without_data()
        client = offer.ufrag, offer.password
        if client in (state.remote_credentials.get(ufrag) for ufrag in state.ufrags):
            session.count_answer()
        else:
            self._demux.restart_ice(session, self._mint(self._sessions.endpoints.of(session_id)), client)
        session.change_direction(offer.direction, now)
        answer = self._written_answer(session, offer)
        return messages.Opened(session_id=session_id, answer=answer, cluster=self._settings.cluster)

    def _exchange_ice(
        self, session_id: str, request: messages.OpenRequest, theirs: messages.IceCredentials
    ) -> messages.Opened | messages.Refused:
        """The client's ICE credentials without an offer: ICE restarts where they are new, and nothing else changes."""
        session = self._demux.get(session_id)
        foreign = session is not None and not messages.may_manage(request.creator, session.state.creator)
        if session is None or session.ended is not None or foreign:
            return messages.Refused(code="no_session", message=f"session {session_id} is over: place a new call")
        state = session.state
        if not {"*", state.ufrags[0]}.intersection(request.ice_sessions):
            text = f"session {session_id} has another ICE session by now: restart ICE to begin a new one"
            return messages.Refused(code="stale_ice", message=text)
        client = (theirs.ufrag, theirs.password)
        opened = messages.Opened(session_id=session_id, answer="", cluster=self._settings.cluster)
        if state.remote_credentials.get(state.ufrags[0]) == client:
            return opened  # candidates of the session that it has, which a lite agent does not need
        self._demux.restart_ice(session, self._mint(self._sessions.endpoints.of(session_id)), client)
        password = session.ice.password_of(state.ufrags[0])
        ours = messages.IceCredentials(ufrag=state.ufrags[0], password=password)
        return opened.model_copy(update={"ice": ours})

    def _mint(self, endpoint: Endpoint) -> str:
        ufrag, _ = self._keyring.mint(*endpoint.identity, time.time())
        return ufrag

    def _written_answer(self, session: Session, offer: sdp.Offer) -> str:
        state = session.state
        client = offer.ufrag, offer.password
        ufrag = next(each for each in state.ufrags if state.remote_credentials.get(each) == client)
        ours = sdp.Answer(
            ufrag=ufrag,
            password=session.ice.password_of(ufrag),
            fingerprint=state.local_fingerprint,
            ssrc=state.rtp.ssrc,
            origin=state.sdp_origin,
            version=state.sdp_version,
            max_message=MAX_MESSAGE,
        )
        return sdp.write_answer(offer._replace(client=session.dtls_client), ours)


def _new_session_id() -> str:
    return "rtc_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(24))
