"""A prepared call whose client has come: its entry is taken out of the bucket, and its session made."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from antiphon.runtime import tasks, telemetry
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.metrics.call_meter import usage_key
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import subjects
from antiphon.transceiver.calls.new_sessions import NewSessions
from antiphon.transceiver.calls.open_session import SessionOpener, TakenOut
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.prepared.bucket import PreparedBucket
from antiphon.transceiver.prepared.entry import PreparedCall, PreparedCrypto
from antiphon.transceiver.prepared.first_checks import ComingClient, FirstChecks
from antiphon.transceiver.prepared.waiting_calls import WaitingCalls
from antiphon.transceiver.session.session import Session

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

AGENT_WITHIN: Final = 0.4
"""Seconds from the first check in which the agent has to accept. Clients place an ordinary call 0.5 s after the button
was pressed; a session that comes later would be a second one."""


class TakeOut:
    """Owner: the process, for its whole life; `run` is a task of its own. Event loop only.

    Each client is a task: an agent that answers slowly holds up nobody else's. `FirstChecks` bounds them.
    """

    def __init__(
        self,
        checks: FirstChecks,
        waiting: WaitingCalls,
        crypto: PreparedCrypto,
        bucket: PreparedBucket,
        new_sessions: NewSessions,
        opener: SessionOpener,
        demux: Demux,
        publisher: Publisher,
        metrics: Metrics = OFF,
    ) -> None:
        self._checks = checks
        self._waiting = waiting
        self._crypto = crypto
        self._bucket = bucket
        self._new = new_sessions
        self._opener = opener
        self._demux = demux
        self._publisher = publisher
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._making: set[asyncio.Task[None]] = set()
        self._unconnected: list[Session] = []
        """Made of prepared calls of which a use counts, and not connected yet. Bounded by the sessions there are."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            task = asyncio.create_task(self._make(await self._checks.next()))
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    async def close(self) -> None:
        """Drop the calls that are being made."""
        await tasks.end(*self._making)

    def poll(self) -> None:
        """Mark the calls that were used, for signaling, which counts the uses of their credentials. Every 50 ms."""
        if not self._unconnected:
            return
        for session in self._unconnected:
            if session.got_through:
                key = subjects.prepared_mark(session.state.session_id)
                self._publisher.publish(f"$KV.{subjects.BUCKET_LIMITS}.{key}", b"used")
        self._unconnected = [each for each in self._unconnected if not each.got_through and each.ended is None]

    async def _make(self, coming: ComingClient) -> None:
        try:
            made = await self._opened(coming)
        except BUS_ERRORS as error:
            complaints.warning(f"a prepared call can't be made: {error or type(error).__name__}")
            made = False
        except Exception:
            log.exception("prepared call %s could not be made", coming.call.session_id)
            made = False
        finally:
            self._checks.done(coming)
        self._metrics.add("antiphon_call_prepared_total", result="used" if made else "refused")
        for check in coming.checks if made else ():
            self._demux.receive(check.packet, check.relay, self._loop.time(), time.time_ns())

    async def _opened(self, coming: ComingClient) -> bool:
        began, found = self._loop.time(), list[PreparedCall]()

        async def take_out() -> TakenOut | None:
            call = await self._taken_out(coming)
            if call is None:
                return None
            found.append(call)
            known = call.request.trace
            client = {"traceparent": known.client} if known is not None and known.client else {}
            request = call.request.model_copy(update={"trace": telemetry.new_call(client)})
            return TakenOut(call.terms, request, call.offer)

        began_ns = time.time_ns()
        opened = await self._opener.open_prepared(coming.call.caller, take_out, AGENT_WITHIN)
        if isinstance(opened, Session):
            self._metrics.observe("antiphon_call_setup_seconds", self._loop.time() - began, step="open")
            self._metrics.add("antiphon_usage_calls_total", key=usage_key(opened.state.creator))
            _write_span(opened, found[0], began_ns)
            if found[0].request.prepare:
                self._unconnected.append(opened)
            return True
        if opened is not None:  # each check of its client leads here while the process is full
            log.debug("prepared call %s is not made: %s: %s", coming.call.session_id, opened.code, opened.message)
        return False

    async def _taken_out(self, coming: ComingClient) -> PreparedCall | None:
        """Its entry, which nobody else gets; None: it was replaced or has expired, or can't be kept any more."""
        call = coming.call
        sealed = await self._bucket.take(call.key, call.revision)
        self._waiting.remove(coming.ufrag)
        if sealed is None:
            return None
        try:
            found = self._crypto.open(call.key, sealed)
        except ValueError as error:
            log.warning("prepared call %s can't be read: %s", call.session_id, error)
            return None
        if found.terms.ufrag != coming.ufrag or not self._new.holds(found.terms, found.request, self._loop.time()):
            return None
        return found


def _write_span(session: Session, call: PreparedCall, began_ns: int) -> None:
    """From the first check to the session: a child of the call's root span, which begins with it as well."""
    state = session.state
    context = telemetry.call_context(state.call_trace, state.session_id)
    links = []
    if call.request.trace is not None:
        prepared = trace.get_current_span(telemetry.call_context(call.request.trace)).get_span_context()
        links = [Link(prepared)] if prepared.is_valid else []
    span = spans.begin(names.OPEN, context, kind=SpanKind.CONSUMER, began_ns=began_ns, links=links)
    span.set_attribute(names.PREPARED, True)
    span.end()
