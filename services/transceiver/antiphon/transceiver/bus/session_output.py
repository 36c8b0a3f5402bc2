"""Where the output of one session goes: the tunnel socket, NATS, the trace. `publisher` holds the queue before NATS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.context import Context

from antiphon.runtime.metrics.call_meter import NOT_MEASURED, CallMeter
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls import turn_spans
from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.net.udp_socket import TunnelSocket

_OWNED_BY: Final = {
    names.ICE: "network",
    names.DTLS: "network",
    names.FIRST_AUDIO_IN: "client",
    names.FIRST_AUDIO_OUT: "agent",
}
"""What the time before a milestone is mostly spent on."""


class ListenerOutput:
    """The `Output` of a session that listens to another one: nothing of it goes to NATS. Owned and called likewise."""

    def __init__(self, port: TunnelSocket) -> None:
        self._port = port

    def datagram(self, path: Path, data: bytes) -> None:
        self._port.send(path.header + data, path.relay)

    def audio(self, frame: AudioFrame) -> None: ...
    def event(self, event: messages.Message) -> None: ...
    def message(self, message: messages.DataMessage) -> None: ...
    def turn(self, told: Told) -> None: ...
    def milestone(self, name: str, now: float) -> None: ...
    def first_packet(self, path: Path, now: float) -> None: ...
    def move(self, agent: str) -> None: ...


class SessionOutput:
    """The `Output` of one session, owned by it and called by it only, on the event loop.

    Spans are made per milestone of a call, never per frame.
    """

    def __init__(
        self,
        agent: str,
        session_id: str,
        port: TunnelSocket,
        publisher: Publisher,
        context: Context,
        now: float,
        may_send: Callable[[], bool] | None = None,
        meter: CallMeter = NOT_MEASURED,
        relay_name: Callable[[tuple[str, int]], str] | None = None,
        call_trace: Mapping[str, Any] | None = None,
    ) -> None:
        """`agent` has the session: its name is in the subjects. `context`: of its spans. `may_send()`: for each
        datagram; False drops it. `relay_name`: of the relay at this address. `call_trace`: as in `SessionState`."""
        self.meter = meter
        """Of this call: what its events do not say is told to it."""
        self._may_send, self._call_trace = may_send, call_trace or {}
        self._relay_name = relay_name
        self._port = port
        self._publisher = publisher
        self._session_id = session_id
        self.move(agent)
        self._context = context
        self._began_ns = time.time_ns()
        self._began = now

    def move(self, agent: str) -> None:
        """Another agent has the session. The subjects are built here, once, and not per frame.

        `audio_subject` is where the caller's frames go: lanes read it.
        """
        self.audio_subject = subjects.audio_in(agent, self._session_id)
        self._event = subjects.session_event(agent, self._session_id)
        self._data_in = subjects.data_in(agent, self._session_id)

    @property
    def port(self) -> TunnelSocket | None:
        """The socket of its datagrams; None: each has to be asked for (`may_send`)."""
        return self._port if self._may_send is None else None

    def datagram(self, path: Path, data: bytes) -> None:
        if self._may_send is None or self._may_send():
            self._port.send(path.header + data, path.relay)

    def audio(self, frame: AudioFrame) -> None:
        self._publisher.publish(self.audio_subject, pack_frame(frame))

    def event(self, event: messages.Message) -> None:
        self._publisher.publish(self._event, messages.encode(event))
        self.meter.event(event)

    def message(self, message: messages.DataMessage) -> None:
        """Publish the client's message; one too long for NATS becomes an error: JSON makes six of some characters."""
        data = messages.encode(message)
        limit = min(messages.MAX_MESSAGE_BYTES, self._publisher.max_payload)
        if len(data) <= limit:
            self._publisher.publish(self._data_in, data)
            return
        self.event(
            messages.SessionError(
                message=f"a message of the client's data channel {message.channel!r} has {len(data)} bytes as JSON, of "
                f"which at most {limit} can be passed on: it is dropped"
            )
        )

    def first_packet(self, path: Path, now: float) -> None:
        """Record a span from the offer to the client's first packet: how long its way in took, and which one it is."""
        if not spans.enabled():
            return
        relay = self._relay_name(path.relay) if self._relay_name is not None else ""
        known = {names.RELAY: relay, names.PATH: path.kind, names.OWNED_BY: "network"}
        span = spans.begin(names.FIRST_PACKET, self._context, began_ns=self._began_ns, attributes=known)
        span.end(self._unix_ns(now))

    def turn(self, told: Told) -> None:
        """Write our spans of a turn, and count it."""
        turn_spans.write(told, self._session_id, self._call_trace)
        self.meter.turn(told.turn, bool(told.stretches))

    def _unix_ns(self, now: float) -> int:
        return self._began_ns + int((now - self._began) * 1e9)

    def milestone(self, name: str, now: float) -> None:
        """Record a span, and the time, from the last milestone to this one."""
        self.meter.step(name, now - self._began)
        reached = self._unix_ns(now)
        owned_by = {names.OWNED_BY: _OWNED_BY.get(name, "service")}
        span = spans.begin(name, context=self._context, began_ns=self._began_ns, attributes=owned_by)
        span.end(reached)
        if name in (names.ICE, names.DTLS):
            self._began_ns, self._began = reached, now
