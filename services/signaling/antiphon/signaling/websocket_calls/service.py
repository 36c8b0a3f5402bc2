"""Calls over WebSocket on NATS: a connection with a role of its own, and the components that an owner of calls has.

The role `websocket` may publish and subscribe what a transceiver does for its sessions, and nothing else of it. A
process that dies ends its calls: nothing of them is kept elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.rtc.media.consent_tone import seconds_between
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.bounded_log import OncePerChange
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.metrics.call_meter import CallMeter, usage_key
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.nats.server_url import without_password
from antiphon.runtime.owned_calls import client_statistics
from antiphon.runtime.owned_calls.agent_claims import AgentClaims
from antiphon.runtime.owned_calls.agent_liveness import AgentLiveness
from antiphon.runtime.owned_calls.call_listing import CallListing
from antiphon.runtime.owned_calls.call_record import CallRecord
from antiphon.runtime.owned_calls.record_outbox import RecordOutbox
from antiphon.runtime.owned_calls.session_bus import CallHandlers, SessionBus
from antiphon.runtime.owned_calls.transfers import Transfers
from antiphon.runtime.telemetry import call_trace as traces
from antiphon.runtime.telemetry import names
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.placement import no_agent_error
from antiphon.signaling.settings import Settings
from antiphon.signaling.websocket_calls.call import MAX_CAUSE, WebSocketCall
from antiphon.signaling.websocket_calls.call_state import CallState
from antiphon.signaling.websocket_calls.call_summary import summary_of
from antiphon.signaling.websocket_calls.call_table import CallTable
from antiphon.signaling.websocket_calls.connection import BusOutput

log = logging.getLogger(__name__)
complaints: Final = OncePerChange(log)

_ID_ALPHABET: Final = string.ascii_letters + string.digits


@dataclass(frozen=True)
class _Parts:
    """What stands on one connection to NATS."""

    client: Client
    publisher: Publisher
    outbox: RecordOutbox
    bus: SessionBus
    claims: AgentClaims
    liveness: AgentLiveness
    transfers: Transfers
    listing: CallListing[WebSocketCall]


class WantedCall(NamedTuple):
    """What a request asks for. A value."""

    agent: str
    session: dict[str, Any]
    """Settings for the agent; what the caller's secret fixes is in them."""
    model: str = ""
    """As the client names it; shown where the agent shows none."""
    own_events: bool = False
    """As in `CallState`."""


class OpenedCall:
    """A call whose agent has accepted, and whose WebSocket is still to be accepted. Made by `WebSocketCalls.open`."""

    def __init__(self, call: WebSocketCall, output: BusOutput, activate: Callable[[], None]) -> None:
        self.call, self.output = call, output
        self.activate = activate
        """Delivers what the agent has sent already; call it when the WebSocket is open."""


class WebSocketCalls:
    """The calls over WebSocket of this process.

    Made by `__main__`, from `start` to the end of the process; handlers call it on the event loop.
    """

    def __init__(self, settings: Settings, metrics: Metrics = OFF, process_id: Callable[[], str] = str) -> None:
        """`process_id()`: of this process in the services register; empty before it is there."""
        self._settings = settings
        self._metrics = metrics
        self._process_id = process_id
        self._table: CallTable | None = None
        self._parts: _Parts | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._opening = 0
        self._draining = False
        self._one_ended = asyncio.Event()

    @property
    def served(self) -> bool:
        """The settings have room and a credential for such calls."""
        settings = self._settings
        has_credential = settings.websocket_nats_credentials is not None or settings.nats_credentials is None
        return settings.websocket_calls > 0 and has_credential

    @property
    def taken(self) -> int:
        """Calls that run or are being opened."""
        return (len(self._table) if self._table is not None else 0) + self._opening

    @property
    def draining(self) -> bool:
        """No more calls are taken, for good."""
        return self._draining

    @property
    def capacity(self) -> int:
        """Calls at most; 0 while none are taken."""
        return self._settings.websocket_calls if self.served and not self._draining else 0

    @property
    def messages_dropped(self) -> int:
        """As `Publisher.dropped`."""
        return self._parts.publisher.dropped if self._parts is not None else 0

    def start(self) -> None:
        """Begin to connect to NATS, for as long as it takes."""
        if self.served:
            self._table = CallTable(asyncio.get_running_loop().time)
            self._tasks.append(asyncio.create_task(self._keep_connecting()))

    def drain(self) -> None:
        """Take no more calls, and tell those that run."""
        self._draining = True
        for call in self._table or ():
            call.announce_draining(self._settings.websocket_drain_seconds)

    async def drained(self) -> None:
        """Return when the last call has ended, or its time is over: then end all."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.websocket_drain_seconds):
                while self._table:
                    self._one_ended.clear()
                    await self._one_ended.wait()
        for call in self._table or ():
            call.end("draining", loop.time())

    async def stop(self) -> None:
        """End all calls and the connection."""
        for call in self._table or ():
            call.end("draining", asyncio.get_running_loop().time())
        await tasks.end(*self._tasks)
        if (parts := self._parts) is not None:
            await parts.transfers.close()
            await parts.listing.close()
            parts.outbox.close()
            await parts.publisher.drain()
            await parts.bus.close()
            await parts.client.close()

    # ---- opening -----------------------------------------------------------------------------------

    def check_room(self) -> None:
        """`ApiError` 503 if no call can be taken now. Costs nothing: called before anything is counted."""
        self._room()

    def _room(self) -> tuple[_Parts, CallTable]:
        limit = self._settings.websocket_calls
        if not self.served:
            what = "ANTIPHON_WEBSOCKET_CALLS is 0" if limit == 0 else "ANTIPHON_WEBSOCKET_NATS_CREDENTIALS is not set"
            raise unavailable("websocket_not_served", f"no calls over WebSocket are taken here: {what}", 60)
        if self._draining:
            raise unavailable("draining", "this server is shutting down: call again", 1)
        if self._parts is None or self._table is None or not self._parts.client.is_connected:
            raise unavailable("nats_down", "signaling has no connection to NATS for calls over WebSocket")
        if self.taken >= limit:
            raise unavailable("overloaded", f"all {limit} calls over WebSocket of this process are taken", 2)
        return self._parts, self._table

    async def open(
        self, backend: Backend, caller: Caller, wanted: WantedCall, call_trace: messages.CallTrace
    ) -> OpenedCall:
        """Claim the agent; `ApiError` if there is no call. `call_trace`: its root span."""
        parts, table = self._room()
        self._opening += 1
        try:
            return await self._open(parts, table, backend, caller, wanted, call_trace)
        finally:
            self._opening -= 1

    async def _open(
        self,
        parts: _Parts,
        table: CallTable,
        backend: Backend,
        caller: Caller,
        wanted: WantedCall,
        call_trace: messages.CallTrace,
    ) -> OpenedCall:
        agent, session = wanted.agent, wanted.session
        loop = asyncio.get_running_loop()
        session_id = "rtc_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(24))
        began = loop.time()
        ended: messages.Ended | None = None
        """Published to an agent that has accepted, where no call is made after all."""
        try:
            await parts.bus.listen(session_id, agent, caller.creator, CallHandlers(_no_offers, parts.transfers.begin))
            claimed = await parts.claims.claim(session_id, agent, session, caller.locked)
            if isinstance(claimed, messages.Refused):
                raise await no_agent_error(backend, agent, claimed)
            ended = messages.Ended(reason="internal")
            if self._draining:
                ended = messages.Ended(reason="draining")
                raise unavailable("draining", "this server is shutting down: call again", 1)
            if (hung_up := parts.bus.hung_up(session_id, claimed.instance)) is not None:
                ended = messages.Ended(reason="hang_up", cause=hung_up.reason[:MAX_CAUSE])
                text = f"agent {agent!r} ended the call at once ({ended.cause or 'no reason given'})"
                raise ApiError(502, "agent_ended", text, param="agent")
        except BUS_ERRORS as error:
            self._not_made(parts, agent, session_id, ended)
            log.warning("no call over WebSocket: %s", error or type(error).__name__)
            raise unavailable("nats_down", "signaling could not reach an agent over NATS") from None
        except BaseException:
            self._not_made(parts, agent, session_id, ended)
            raise
        state = CallState(
            session_id,
            agent,
            claimed.input_rate,
            caller.creator,
            session,
            list(caller.locked),
            wanted.model or agent,
            wanted.own_events,
            began_at=call_trace.began,
            call_trace=call_trace.model_dump(),
        )
        unix_offset = time.time() - loop.time()
        meter = CallMeter(self._metrics, "websocket", caller.creator, call_trace.parent, call_trace.began)
        meter.started()
        meter.step("open", loop.time() - began)
        self._metrics.add("antiphon_usage_calls_total", key=usage_key(caller.creator))
        record = CallRecord(
            session_id,
            parts.outbox,
            lambda: self._summary(session_id),
            unix_offset,
            self._settings.timeline_words,
        )
        output = BusOutput(session_id, agent, parts.publisher, meter, record, state.call_trace)
        count_report = partial(client_statistics.count, self._metrics)
        tone = seconds_between(self._settings.consent_tone)
        call = WebSocketCall(state, output, began, self._ended, record, count_report, unix_offset, tone)
        table.add(call)
        traces.know(session_id, call_trace)
        parts.liveness.watch(session_id, agent, claimed.instance)
        return OpenedCall(call, output, lambda: parts.bus.activate(call, claimed.instance))

    def _not_made(self, parts: _Parts, agent: str, session_id: str, ended: messages.Ended | None) -> None:
        if ended is not None:
            parts.publisher.publish(subjects.session_event(agent, session_id), messages.encode(ended))
        parts.bus.session_removed(session_id)

    def _summary(self, session_id: str) -> messages.CallSummary | None:
        call = self._table.get(session_id) if self._table is not None else None
        if call is None or self._parts is None:
            return None
        return summary_of(call, self._as_owner(), self._parts.liveness.instance_of)

    def _ended(self, call: WebSocketCall) -> None:
        assert self._table is not None
        assert self._parts is not None
        self._table.remove(call)
        state = call.state
        known: dict[str, str | bool] = {names.CONNECTED: True, names.AGENT_NAME: state.agent}
        telemetry.end_call(state.call_trace, state.session_id, call.ended or "", call.cause, attributes=known)
        traces.forget(state.session_id)
        self._one_ended.set()
        self._parts.bus.session_removed(call.state.session_id)
        self._parts.liveness.session_removed(call.state.session_id)

    # ---- NATS --------------------------------------------------------------------------------------

    async def _keep_connecting(self) -> None:
        while True:
            try:
                return await self._connect()
            except (OSError, ValueError, nats.errors.Error) as error:
                url = without_password(self._settings.nats_url)
                text = f"calls over WebSocket can't join NATS at {url}: {error or type(error).__name__}"
                complaints.say(text, level=logging.ERROR)
                await asyncio.sleep(1)

    async def _connect(self) -> None:
        settings, table = self._settings, self._table
        assert table is not None
        client = await connection.connect(settings.nats_url, "signaling-websocket", settings.websocket_access())
        try:
            publisher = Publisher(client)
            bus = SessionBus(client, table, settings.cluster)
            liveness = AgentLiveness(client, table, settings.agent_lost_seconds or 30.0)
            claims = AgentClaims(client, publisher.publish, bus.turn_away, self._metrics)
            transfers = Transfers(bus, claims, liveness, publisher, _store_nothing)
            outbox = RecordOutbox(client, publisher)
            listing = CallListing(
                table, publisher, self._as_owner, lambda call, owner: summary_of(call, owner, liveness.instance_of)
            )
            parts = _Parts(client, publisher, outbox, bus, claims, liveness, transfers, listing)
            await client.subscribe(subjects.CALLS_LIST, cb=listing.requested)
            await client.subscribe(subjects.ANY_CALL_STATUS, cb=self._asked_for_status)
            await client.subscribe(subjects.cluster_calls(settings.cluster), cb=self._called_from_elsewhere)
            await connection.require_allowed(client)
        except BaseException:
            with contextlib.suppress(nats.errors.Error):
                await client.close()
            raise
        self._parts = parts
        if settings.agent_lost_seconds:
            self._tasks.append(asyncio.create_task(liveness.run()))
        log.info("up to %d calls over WebSocket are taken", settings.websocket_calls)

    def _as_owner(self) -> messages.CallList:
        return messages.CallList(owner=self._process_id(), region=self._settings.region)

    async def _asked_for_status(self, message: Msg) -> None:
        """Gives no answer if the call is none of ours: another owner may know it, and the first answer counts."""
        try:
            session_id = subjects.parse_call_subject(message.subject).session_id
        except MalformedError:
            return
        found = self._table.status(session_id) if self._table is not None else None
        if found is not None and message.reply and self._parts is not None:
            self._parts.publisher.publish(message.reply, messages.encode(found))

    async def _called_from_elsewhere(self, message: Msg) -> None:
        if message.subject.endswith(".status"):
            await self._asked_for_status(message)
        elif self._parts is not None:
            await self._parts.bus.called_from_elsewhere(message)


async def _no_offers(session_id: str, message: Msg) -> None:
    """A call over WebSocket has no ICE to restart."""
    refused = messages.Refused(code="bad_offer", message=f"call {session_id} is one over WebSocket: it takes no offer")
    with contextlib.suppress(*BUS_ERRORS):
        await message.respond(messages.encode(refused))


async def _store_nothing(session_id: str) -> None:
    """No other process takes such a call over."""
