"""One WebSocket of a call: the shell around `WebSocketCall`, with its three tasks and what waits for its client.

Reading stops while more audio waits than `MAX_WAITING_AUDIO`: TCP makes the client wait then. What waits for a client
that does not read is bounded by `MAX_UNREAD_BYTES`; beyond it the call ends, because a gap would go unnoticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from antiphon.runtime import tasks
from antiphon.runtime.metrics.call_meter import NOT_MEASURED, CallMeter
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls import turn_spans
from antiphon.runtime.owned_calls.call_record import CallRecord
from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame
from antiphon.signaling.websocket_calls.call import WebSocketCall

log = logging.getLogger(__name__)

MAX_WAITING_AUDIO: Final = 4 << 20
"""Bytes: 87 s of PCM, 9 minutes of G.711. One append may be larger."""
MAX_UNREAD_BYTES: Final = 4 << 20
"""Audio leaves 5 s ahead of real time: a client that reads as it plays leaves 0.4 MB unread."""
MAX_UNREAD: Final = 4096
"""Events."""
WRITE_SECONDS: Final = 10.0
"""For one event to be taken by the connection."""
FLUSH_SECONDS: Final = 1.0
"""For what waits to leave before the WebSocket is closed."""
VANISHED: Final = "keepalive ping timeout"
"""The reason of the disconnect by which the server says that no pong came."""
SLOW_READER: Final = "slow_reader"
"""The cause of the end of a call whose client does not read."""
_CODES: Final[dict[str, int]] = {
    "draining": 1001,
    "over_budget": 1008,
    "internal": 1011,
    "agent_lost": 1011,
    "setup_timeout": 1011,
}
_TRY_AGAIN: Final = 1013
SERVICE_RESTART: Final = 1012
"""The code with which the server closes all WebSockets at its end."""


class BusOutput:
    """Where a call's output goes: NATS, and the WebSocket's queue. The `CallOutput` of one call, which alone calls it.

    Made before the agent is claimed; `connection` is there from the beginning.
    """

    def __init__(
        self,
        session_id: str,
        agent: str,
        publisher: Publisher,
        meter: CallMeter = NOT_MEASURED,
        record: CallRecord | None = None,
        call_trace: Mapping[str, Any] | None = None,
    ) -> None:
        """`record`: of the call, for operators. `call_trace`: root span of the call, as `messages.CallTrace`."""
        self.meter = meter
        """Of this call: what its events do not say is told to it."""
        self._call_trace = call_trace or {}
        self.unread: deque[str] = deque()
        """For the client; the connection's writer takes from it."""
        self.unread_bytes = 0
        self.filled = asyncio.Event()
        self.changed = asyncio.Event()
        """The call is to be polled."""
        self.closing: tuple[int, str] | None = None
        """Close code and reason, once the call has ended."""
        self._publisher, self._session_id = publisher, session_id
        self._record, self._clock = record, asyncio.get_running_loop().time
        self.move(agent)

    def move(self, agent: str) -> None:
        """Another agent has the call."""
        self._audio_in = subjects.audio_in(agent, self._session_id)
        self._event = subjects.session_event(agent, self._session_id)
        self._data_in = subjects.data_in(agent, self._session_id)

    def audio(self, frame: AudioFrame) -> None:
        self._publisher.publish(self._audio_in, pack_frame(frame))

    def event(self, event: messages.Message) -> None:
        self._publisher.publish(self._event, messages.encode(event))
        self.meter.event(event)
        if self._record is not None:
            self._record.event(event, self._clock())

    def message(self, message: messages.DataMessage) -> str:
        """JSON makes six bytes of some characters: a message may be too long for NATS."""
        data = messages.encode(message)
        limit = min(messages.MAX_MESSAGE_BYTES, self._publisher.max_payload)
        if len(data) > limit:
            return f"the event has {len(data)} bytes for the agent, of which at most {limit} can be passed on"
        self._publisher.publish(self._data_in, data)
        return ""

    def turn(self, told: Told) -> None:
        """Write our spans of a turn, count it, and put it into the call's record."""
        turn_spans.write(told, self._session_id, self._call_trace)
        self.meter.turn(told.turn, bool(told.stretches))
        if self._record is not None:
            self._record.turn(told.turn, self._clock())

    def wake(self) -> None:
        self.changed.set()

    def to_client(self, text: str) -> None:
        if self.closing is None:
            self.unread.append(text)
            self.unread_bytes += len(text)
            self.filled.set()

    @property
    def overflows(self) -> bool:
        """The client does not read."""
        return self.unread_bytes > MAX_UNREAD_BYTES or len(self.unread) > MAX_UNREAD

    def close(self, reason: messages.EndReason, cause: str) -> None:
        if cause == SLOW_READER:
            self.closing = _TRY_AGAIN, "events were not read in time"
            self.unread.clear()
        else:
            text = f"the call has ended: {reason}" + (f" ({cause})" if cause else "")
            self.closing = _CODES.get(reason, 1000), text.encode()[:120].decode(errors="ignore")
        self.filled.set()


class Connection:
    """One accepted WebSocket and its call, until both have ended.

    Made and run by the handler of the WebSocket; all on the event loop.
    """

    def __init__(self, socket: WebSocket, call: WebSocketCall, output: BusOutput) -> None:
        self._socket, self._call, self._output = socket, call, output
        self._loop = asyncio.get_running_loop()
        self._polled = asyncio.Event()

    async def run(self) -> None:
        """Returns when the call has ended and the WebSocket is closed."""
        self._call.begin(self._loop.time())
        reading, polling = asyncio.create_task(self._read()), asyncio.create_task(self._poll())
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait((reading, polling, writing), return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, polling, writing):
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    log.error("call %s: its connection failed", self._call.state.session_id, exc_info=error)
            self._call.end("internal", self._loop.time())  # unless one of them has ended it
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await asyncio.wait((writing,))
        except asyncio.CancelledError:
            self._call.end("draining", self._loop.time())
            raise
        finally:
            await tasks.end(reading, polling, writing)
            await self._close()

    async def _close(self) -> None:
        code, reason = self._output.closing or (1011, "")
        if self._socket.client_state is WebSocketState.CONNECTED is self._socket.application_state:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is closed already
                await self._socket.close(code, reason)

    async def _read(self) -> None:
        call, loop = self._call, self._loop
        while call.ended is None:
            while call.waiting_bytes > MAX_WAITING_AUDIO and call.ended is None:
                self._polled.clear()
                await self._polled.wait()
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                call.end(_reason_of(message), loop.time())
                return
            text = message.get("text")
            if text is None:
                call.refuse_binary()
                continue
            wait = call.receive(text, loop.time())
            self._output.changed.set()
            if wait:
                await asyncio.sleep(wait)

    async def _poll(self) -> None:
        call, loop = self._call, self._loop
        while call.ended is None:
            now = loop.time()
            call.poll(now, time.time_ns())
            self._polled.set()
            if self._output.overflows:
                call.end("hang_up", now, SLOW_READER)
                break
            self._output.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(max(call.next_at(now), now + 0.001)):
                    await self._output.changed.wait()
        self._polled.set()

    async def _write(self) -> None:
        output = self._output
        while True:
            while not output.unread:
                if output.closing is not None:
                    return
                output.filled.clear()
                await output.filled.wait()
            text = output.unread.popleft()
            output.unread_bytes -= len(text)
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._socket.send_text(text)
            except TimeoutError:
                self._call.end("hang_up", self._loop.time(), SLOW_READER)
                return
            except (WebSocketDisconnect, RuntimeError):
                self._call.end("client_closed", self._loop.time())
                return


def _reason_of(disconnect: MutableMapping[str, Any]) -> messages.EndReason:
    if disconnect.get("reason") == VANISHED:
        return "client_vanished"
    return "draining" if disconnect.get("code") == SERVICE_RESTART else "client_closed"
