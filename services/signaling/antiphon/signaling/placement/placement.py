"""Finding a transceiver for an offer: ask the announced ones in their order until one opens a session.

The order begins near the client; `asking_order` says when the next cluster is asked instead of the next transceiver.

Also the two other requests to the transceiver of a call: restart ICE, hang up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple, Protocol

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from opentelemetry.trace import SpanKind, Status, StatusCode

from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import MalformedError, subjects
from antiphon.schemas.messages import (
    ANY_CREATOR,
    OPEN_REPLY,
    CallTrace,
    ControlReply,
    HangUp,
    Opened,
    OpenRequest,
    Refused,
    TransceiverAnnouncement,
    TransferCall,
    decode,
    decode_any,
    encode,
)
from antiphon.signaling.http.errors import DEFAULT_RETRY, ApiError, unavailable
from antiphon.signaling.placement.asking_order import AskingOrder
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.directory import race
from antiphon.signaling.placement.ranking import ClientPlace
from antiphon.signaling.placement.sdp import AnswerError, with_candidates

log = logging.getLogger(__name__)
OPEN_TIMEOUT: Final = 3.0
"""Seconds for one transceiver's answer while there are others to ask. It waits up to 2.5 s itself, for an agent."""
PLACEMENT_TIMEOUT: Final = 6.0
"""Seconds for all of them, and so for the last one: a caller does not wait longer for a dial tone."""
CONTROL_TIMEOUT: Final = 1.0
TRANSFER_TIMEOUT: Final = 5.0
"""Seconds for a transfer: a claim takes 2.5 s at most, the checkpoint of the session one more."""

_OFFER_REFUSALS: Final = ("bad_offer", "no_audio", "no_opus")


class Placed(NamedTuple):
    """A call that exists. A value, made for one HTTP answer."""

    session_id: str
    """The call's name."""
    answer: str
    """With the relays in it."""
    region: str = ""
    """Where its cluster is; empty: that has no name."""
    ingress: str = ""
    """The region of the relay that the answer names first."""
    second_ingress: str = ""
    """That of the relay it names second; empty: there is none, or its region has no name."""
    waited: float = 0.0
    """Seconds for which signaling waited for transceivers."""
    cluster: int = 0
    slot: int = 0
    """The transceiver that has answered a new offer."""


class CallOptions(NamedTuple):
    """What a request says of how its call is to be placed. A value, made for one request."""

    place: ClientPlace
    race: bool = False
    """The client's checks shall decide between the relays."""
    copies: bool | None = None
    """`OpenRequest.copies`."""
    dialect: Literal["realtime", "rtvi"] = "realtime"
    """`OpenRequest.dialect`."""


class CreatedBy(Protocol):
    """The caller, as the transceiver gets to know it: what `OpenRequest` has of these names."""

    @property
    def creator(self) -> str: ...
    @property
    def counted_as(self) -> str: ...
    @property
    def locked(self) -> list[str]: ...


async def place(
    backend: Backend,
    offer: str,
    agent: str,
    session: dict[str, Any],
    caller: CreatedBy,
    options: CallOptions,
    call_trace: CallTrace | None = None,
    prepare: str | None = None,
) -> Placed:
    """Open a session for this offer, or raise the `ApiError` that its client gets. `call_trace`: its root span.

    `prepare`: as in `OpenRequest`; set, the offer is answered and no session made.
    """
    now = time.monotonic()
    client = backend.connection("no call can be placed right now")
    if not backend.directory.relays(now):
        raise unavailable("no_relay", "no relay is announced: there is no way for media to reach this server")
    asked = AskingOrder(backend.directory.transceivers(now, options.place))
    if not asked:
        raise unavailable("no_transceiver", "no transceiver with room is announced: all are full, draining or gone")
    request = encode(
        OpenRequest(
            offer=offer,
            agent=agent,
            session=session,
            locked=caller.locked,
            creator=caller.creator,
            caller=caller.counted_as,
            copies=options.copies,
            dialect=options.dialect,
            trace=call_trace,
            prepare=prepare,
        )
    )
    prepares = prepare is not None
    refusals: list[str] = []
    no_agent = Refused(code="no_agent", message="")
    retry_after = DEFAULT_RETRY
    waited = 0.0
    while (transceiver := asked.next()) is not None:
        left = now + PLACEMENT_TIMEOUT - time.monotonic()
        if left <= 0:
            break
        patience = min(OPEN_TIMEOUT, left) if asked else left
        began = time.monotonic()
        reply = await _open(backend, client, transceiver, request, patience, prepares)
        waited += time.monotonic() - began
        if isinstance(reply, Opened):
            if not prepares:
                backend.directory.took_a_call(transceiver, time.monotonic(), reply.session_id)
            placed = await _placed(backend, transceiver, reply, options, prepares)
            return placed._replace(waited=waited, cluster=transceiver.cluster, slot=transceiver.slot)
        if isinstance(reply, Refused):
            if reply.code in _OFFER_REFUSALS:
                raise ApiError(400, reply.code, reply.message, param="sdp")
            if reply.code == "no_agent":
                no_agent = reply
            retry_after = max(retry_after, reply.retry_after)
            if reply.code == "not_prepared":
                raise unavailable("not_prepared", reply.message)
            if reply.code == "agent_ended":
                raise ApiError(502, "agent_ended", reply.message, param="agent")
        outcome = reply.code if isinstance(reply, Refused) else reply
        refusals.append(outcome)
        asked.failed(transceiver, outcome)
    if asked.no_agent_anywhere:
        raise await no_agent_error(backend, agent, no_agent)
    text = f"no transceiver took the call ({', '.join(sorted(set(refusals)))}): try again soon"
    raise unavailable("overloaded", text, retry_after)


async def restart_ice(backend: Backend, session_id: str, offer: str, asker: str, options: CallOptions) -> Placed:
    """Another offer of a running call's client: new ICE credentials, everything else stays. `ApiError` otherwise.

    `asker`: as `messages.may_manage` takes it. The call's transceiver refuses another one as if there were no call. It
    may be in any region: the relays of the answer are those that reach its cluster.
    """
    request = OpenRequest(offer=offer, session_id=session_id, creator=asker)
    return await _ask_call(backend, session_id, request, options, "try again, or place a new call")


async def listen(
    backend: Backend,
    session_id: str,
    offer: str,
    asker: str,
    caller: CreatedBy,
    options: CallOptions,
    call_trace: CallTrace | None = None,
) -> Placed:
    """A listener to a running call, at that call's transceiver: a session of its own. `ApiError` otherwise.

    `asker`: as of `restart_ice`. `caller`: in whose name the listener's session is made. `call_trace`: its
    root span, another one than the call's.
    """
    request = OpenRequest(
        offer=offer,
        session_id=session_id,
        creator=asker,
        listener=caller.creator,
        caller=caller.counted_as,
        trace=call_trace,
    )
    return await _ask_call(backend, session_id, request, options, "try again")


async def _ask_call(
    backend: Backend, session_id: str, request: OpenRequest, options: CallOptions, way_out: str
) -> Placed:
    """Another offer for the transceiver of a running call."""
    backend.connection("the call can't be reached")
    if not backend.directory.relays(time.monotonic()):
        raise unavailable("no_relay", "no relay is announced: there is no way for media to reach this server")
    with api_errors_for(session_id, way_out):
        message = await backend.ask_owner("open", session_id, encode(request), CONTROL_TIMEOUT)
        reply = decode_any(message.data, OPEN_REPLY, "OpenReply")
    if isinstance(reply, Refused):
        if reply.code in _OFFER_REFUSALS:
            raise ApiError(400, reply.code, reply.message, param="sdp")
        if reply.code == "no_session":
            raise no_call(session_id)
        raise unavailable(
            "overloaded",
            f"the call's transceiver did not take the offer: {reply.message}",
            max(DEFAULT_RETRY, reply.retry_after),
        )
    try:
        placed = _with_relays(backend, reply, reply.cluster, options)
    except AnswerError as error:
        log.error("another answer for call %s is not passed on: %s", session_id, error)
        raise ApiError(502, "bad_answer", "the transceiver's answer can't be passed on; its log says more") from None
    if placed is None:
        raise unavailable("no_relay", "no relay is announced that reaches the call's cluster: its old path stays")
    return placed


def _with_relays(backend: Backend, opened: Opened, cluster: int | None, options: CallOptions) -> Placed | None:
    """The call with the relays that reach its cluster; None without any. `AnswerError` for the transceiver's fault."""
    now = time.monotonic()
    relays = backend.directory.relay_offers(opened.session_id, now, options.place, cluster)
    if not relays:
        return None
    answer = with_candidates(opened.answer, relays, race(options.place, relays, options.race))
    region = "" if cluster is None else backend.directory.region_map(now).cluster_site(cluster).region
    second_ingress = relays[1].site.region if len(relays) > 1 else ""
    return Placed(opened.session_id, answer, region, relays[0].site.region, second_ingress)


async def no_agent_error(backend: Backend, agent: str, refused: Refused) -> ApiError:
    """404 that names the agents that are there; 503 when the agent is there but did not take the call."""
    why = refused.message
    if refused.retry_after:  # it is there: it has said so itself
        return unavailable("agent_busy", f"agent {agent!r} has too much to do: {why}", refused.retry_after)
    names = sorted((await backend.services()).agents)
    if agent in names:
        return unavailable("agent_busy", f"agent {agent!r} is there but did not take the call: {why}")
    others = f"these are: {', '.join(names)}" if names else "no agent is"
    return ApiError(404, "no_agent", f"agent {agent!r} is not there to take the call; {others}", param="agent")


async def _open(
    backend: Backend,
    client: Client,
    transceiver: TransceiverAnnouncement,
    request: bytes,
    timeout: float,
    prepares: bool = False,
) -> Opened | Refused | str:
    """One transceiver's reply, or why there is none: `gone`, `silent` or `broken`."""
    where = subjects.slot_key(transceiver.cluster, transceiver.slot)

    async def end_late_session(session_id: str) -> None:
        if not prepares:  # a prepared call that nobody was told of ends by itself
            await _end_unused(backend, session_id, "late")

    known = {names.SLOT: where, **names.messaging(names.OPEN_SUBJECT, "send")}
    with spans.current(names.PLACE, kind=SpanKind.PRODUCER, attributes=known) as span:
        try:
            subject = subjects.transceiver_open(transceiver.cluster, transceiver.slot)
            message = await backend.open_rpc.request(client, subject, request, timeout, end_late_session)
            reply = decode_any(message.data, OPEN_REPLY, "OpenReply")
        except (NatsError, MalformedError) as error:
            outcome = "broken"
            if isinstance(error, NoRespondersError):
                outcome = "gone"
            elif isinstance(error, NatsTimeoutError):
                outcome = "silent"
            log.warning("transceiver %s is %s: %s", where, outcome, error or type(error).__name__)
            backend.directory.forget(transceiver)
            span.set_status(Status(StatusCode.ERROR, outcome))
            return outcome
        if isinstance(reply, Refused):
            log.info("transceiver %s refused a call: %s: %s", where, reply.code, reply.message)
            span.set_attribute(names.REFUSED, reply.code)
        else:
            spans.name_call(span, reply.session_id)
        return reply


async def _placed(
    backend: Backend, transceiver: TransceiverAnnouncement, opened: Opened, options: CallOptions, prepares: bool
) -> Placed:
    async def end_unused(reason: str) -> None:
        if not prepares:
            await _end_unused(backend, opened.session_id, reason)

    try:
        placed = _with_relays(backend, opened, transceiver.cluster, options)
    except AnswerError as error:
        where = subjects.slot_key(transceiver.cluster, transceiver.slot)
        log.error("the answer of transceiver %s is not passed on: %s", where, error)
        await end_unused("bad_answer")
        raise ApiError(502, "bad_answer", "the transceiver's answer can't be passed on; its log says more") from None
    if placed is None:
        await end_unused("no_relay")
        raise unavailable("no_relay", "the last relay went away while the call was being placed")
    return placed


async def _end_unused(backend: Backend, session_id: str, reason: str) -> None:
    """End a session whose client gets no answer. A failure is logged only."""
    try:
        await hang_up(backend, session_id, reason, ANY_CREATOR)
    except ApiError as failure:
        log.warning("session %s could not be ended: %s", session_id, failure)


async def hang_up(backend: Backend, session_id: str, reason: str, asker: str) -> None:
    """End a session; `ApiError` 404 when no transceiver has it, 504 when its transceiver does not answer.

    `asker`: as `messages.may_manage` takes it. The call's transceiver refuses another one as if there were no call.
    """
    with api_errors_for(session_id, "it ends by itself if that one is dead"):
        request = encode(HangUp(reason=reason, creator=asker))
        message = await backend.ask_owner("hang_up", session_id, request, CONTROL_TIMEOUT)
        reply = decode(message.data, ControlReply)
    if not reply.ok:
        raise no_call(session_id)
    backend.directory.call_ended(session_id, time.monotonic())


async def transfer(backend: Backend, session_id: str, wanted: TransferCall) -> str:
    """Give a call to another agent, or tell its agent that no person takes it; returns what was done.

    `ApiError` 404 when no transceiver has it, 409 when the other agent does not take it.
    """
    with api_errors_for(session_id, "ask again"):
        message = await backend.ask_owner("transfer", session_id, encode(wanted), TRANSFER_TIMEOUT)
        reply = decode(message.data, ControlReply)
    if not reply.ok and reply.message.endswith("is over"):
        raise no_call(session_id)
    if not reply.ok:
        raise ApiError(409, "not_transferred", f"call {session_id} stays where it is: {reply.message}")
    return reply.message


@contextmanager
def api_errors_for(session_id: str, way_out: str) -> Iterator[None]:
    """Makes an `ApiError` of what a request to the transceiver of a call raises. `way_out`: for one that is silent."""
    try:
        yield
    except NoRespondersError:
        raise no_call(session_id) from None
    except NatsTimeoutError:
        text = f"the transceiver of call {session_id} does not answer: {way_out}"
        raise ApiError(504, "transceiver_silent", text) from None
    except (NatsError, MalformedError) as error:
        log.warning("asking the transceiver of call %s: %s", session_id, error or type(error).__name__)
        raise unavailable("nats_down", "signaling could not reach the call's transceiver over NATS") from None


def no_call(session_id: str) -> ApiError:
    """404 for a call that no transceiver has."""
    return ApiError(404, "no_call", f"there is no call {session_id!r:.80}: it has ended, or never was", param="call_id")
