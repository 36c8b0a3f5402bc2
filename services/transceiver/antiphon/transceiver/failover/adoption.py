"""Makes a session of ours from a checkpoint that another process wrote."""

from __future__ import annotations

import asyncio
import logging
import time

from opentelemetry import trace
from opentelemetry.trace import Link

from antiphon.runtime import telemetry
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls.control_rpc import Request, answer
from antiphon.runtime.owned_calls.session_bus import SessionBus
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import messages, subjects
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.failover.checkpoint_bucket import CheckpointBucket, Found
from antiphon.transceiver.failover.checkpoint_writer import CheckpointWriter
from antiphon.transceiver.failover.distribution import Load
from antiphon.transceiver.net.endpoint import Endpoint
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist
from antiphon.transceiver.net.relay_link import RelayLink

log = logging.getLogger(__name__)


class Adoption:
    """Adopts sessions: at an endpoint that this process has taken over, or at its own when another process asks.

    Owner: the process, for its whole life. Event loop only. Each session is fenced by the compare-and-swap on its
    checkpoint, so several processes may try.
    """

    def __init__(
        self,
        bucket: CheckpointBucket,
        writer: CheckpointWriter,
        sessions: SessionTable,
        bus: SessionBus,
        opener: SessionOpener,
        relays: RelayLink,
        allowlist: RelayAllowlist,
        publisher: Publisher,
        metrics: Metrics = OFF,
    ) -> None:
        self._metrics = metrics
        self._bucket = bucket
        self._writer = writer
        self._sessions = sessions
        self._bus = bus
        self._opener = opener
        self._relays = relays
        self._allowlist = allowlist
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._listening: set[str] = set()
        """Sessions that are being adopted and are not in the table yet: they need room, too."""

    @property
    def load(self) -> Load:
        """Of this process; without capacity while it drains."""
        return Load(self._opener.taken, self._opener.capacity)

    async def requested(self, request: Request) -> None:
        """Handler of the `adopt` subject."""
        await answer(request, self._adopt_as_asked)

    async def _adopt_as_asked(self, data: bytes) -> str:
        asked = messages.decode(data, messages.Adopt)
        adopted = 0
        for session_id in asked.sessions:
            key = subjects.checkpoint_key(asked.cluster, asked.slot, asked.epoch, session_id)
            found = await self._bucket.find(key)
            if found is not None:
                adopted += await self.adopt(found, self._sessions.endpoints.for_call(found.state.copied))
        return f"{adopted} adopted"

    async def adopt(self, found: Found, endpoint: Endpoint) -> bool:
        """Go on with this session at this endpoint; False if it can't be, or another process was first."""
        state = found.state
        session_id = state.session_id
        if state.dtls is None or self._sessions.demux.get(session_id) is not None or session_id in self._listening:
            return False
        if self.load.room <= len(self._listening):  # several are adopted at a time
            return False
        age, handed_over = time.time() - state.written_at, state.handed_over
        if state.path_relay is not None:
            state.path_relay = self._allowlist.as_seen(*state.path_relay)
        context = telemetry.call_context(state.call_trace, session_id)
        before = trace.get_current_span(telemetry.trace_context({"traceparent": state.owner_span})).get_span_context()
        links = [Link(before)] if before.is_valid else []
        with spans.current(names.TAKE_OVER, context=context, links=links) as span:
            span.set_attributes({names.HANDED_OVER: handed_over, names.CHECKPOINT_AGE: round(max(0.0, age) * 1000, 1)})
            state.moves += 1
            state.owner_span = telemetry.trace_headers().get("traceparent", "")
            self._listening.add(session_id)
            try:
                await self._bus.listen(session_id, state.agent, state.creator, self._opener.handlers)
            finally:
                self._listening.discard(session_id)
            session = self._sessions.make(state, None, state.dtls.client, endpoint)
            try:
                session.restore(self._loop.time())
                key = subjects.checkpoint_key(*endpoint.identity, session_id)
                stored = await self._writer.take(session, found, key)
            except ValueError as error:
                log.error("session %s can't be taken over: %s", session_id, error)
                stored = False
            if not stored:
                session.detach()
                return False
            session.resume(self._loop.time())
            self._sessions.demux.adopt(session)
            self._relays.send_client(session, endpoint)
            self._bus.activate(session)
        how = "handed_over" if handed_over else "killed" if found.revision else "other_region"
        self._metrics.add("antiphon_call_takeovers_total", how=how)
        self._metrics.observe("antiphon_call_takeover_gap_seconds", max(0.0, age), how=how)
        session.announce_taken_over(handed_over, round(max(0.0, age) * 1000, 1))
        return True
