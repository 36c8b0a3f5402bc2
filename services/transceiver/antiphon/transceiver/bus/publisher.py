"""Where a session's output goes: the tunnel socket, NATS, the trace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Final

import nats.errors
from nats.aio.client import Client
from opentelemetry import trace

from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame
from antiphon.transceiver.bus import nats_fast_path
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.net.udp_socket import TunnelSocket

log = logging.getLogger(__name__)
tracer = trace.get_tracer("antiphon.transceiver")

MAX_WAITING: Final = 4096
"""Messages between two turns of the loop; beyond it the oldest is dropped: late audio is worthless."""


class Publisher:
    """Publishes in order from synchronous code: all messages of a turn of the loop leave in one write.

    `Client.publish` from a task costs about 31 us a message when paced: most of it is wakeups.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[str, bytes]] = []
        self._held = False
        self.dropped = 0
        """Messages not sent because NATS was away or too slow."""

    @property
    def max_payload(self) -> int:
        """Bytes of a message that NATS takes."""
        return self._client.max_payload

    def publish(self, subject: str, payload: bytes) -> None:
        """Send at the end of this turn of the loop; never waits."""
        if not self._waiting and not self._held:
            self._loop.call_soon(self._send)
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            del self._waiting[0]
        self._waiting.append((subject, payload))

    def hold(self) -> None:
        """Until `release` follows in the same turn: a batch is being worked on that ends by itself.

        Saves the turn of the loop that the end of a turn would otherwise be waited for by: two of five.
        """
        self._held = True

    def release(self) -> None:
        """Send what the batch had to say."""
        self._held = False
        self._send()

    async def drain(self) -> None:
        """Send what waits, and wait until the server has it."""
        with contextlib.suppress(nats.errors.Error, OSError):
            self._send()
            await self._client.flush(1)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        limit = self._client.max_payload
        fitting = waiting
        if max(len(payload) for _, payload in waiting) > limit:
            fitting = [message for message in waiting if len(message[1]) <= limit]
            self.dropped += len(waiting) - len(fitting)
        try:
            sent = nats_fast_path.publish_all(self._client, fitting)
        except Exception as error:  # whatever breaks a connection, the next turn tries again
            log.debug("%d messages were dropped: %r", len(fitting), error)
            sent = False
        if not sent:
            self.dropped += len(fitting)


class SessionOutput:
    """One session's `Outlet`. Spans are made per milestone of a call, never per frame."""

    def __init__(
        self, session_id: str, port: TunnelSocket, publisher: Publisher, parent: trace.Span, now: float
    ) -> None:
        self._port = port
        self._publisher = publisher
        self._audio_in = subjects.audio_in(session_id)
        self._event = subjects.session_event(session_id)
        self._data_in = subjects.data_in(session_id)
        self._context = trace.set_span_in_context(parent)
        self._session_id = session_id
        self._began_ns = time.time_ns()
        self._began = now

    def datagram(self, path: Path, data: bytes) -> None:
        self._port.send(path.header + data, path.relay)

    def audio(self, frame: AudioFrame) -> None:
        self._publisher.publish(self._audio_in, pack_frame(frame))

    def event(self, event: messages.Message) -> None:
        self._publisher.publish(self._event, messages.encode(event))

    def message(self, message: messages.DataMessage) -> None:
        """One that NATS or its reader would refuse is told of as an error: JSON writes some characters as six."""
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

    def milestone(self, name: str, now: float) -> None:
        """A span from the milestone before to this one."""
        reached = self._began_ns + int((now - self._began) * 1e9)
        span = tracer.start_span(name, context=self._context, start_time=self._began_ns)
        span.set_attribute("antiphon.session", self._session_id)
        span.end(reached)
        if name in ("ice", "dtls"):
            self._began_ns, self._began = reached, now
