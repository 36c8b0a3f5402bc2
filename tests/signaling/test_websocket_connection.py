"""The shell of a call over WebSocket, with a client that reads nothing and one that sends more than is passed on."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, cast

import pytest
from fastapi import WebSocket
from starlette.websockets import WebSocketState

from antiphon.runtime.nats.publisher import Publisher
from antiphon.schemas import messages
from antiphon.signaling.websocket_calls.call import WebSocketCall
from antiphon.signaling.websocket_calls.call_state import CallState
from antiphon.signaling.websocket_calls.connection import MAX_UNREAD_BYTES, MAX_WAITING_AUDIO, BusOutput, Connection

pytestmark = pytest.mark.virtual


class Bus:
    """Takes what is published."""

    max_payload = 1 << 20

    def __init__(self) -> None:
        self.published = 0

    def publish(self, subject: str, data: bytes) -> None:
        self.published += 1


class Socket:
    """The server's end of a WebSocket, with a client that sends these messages and may read nothing."""

    client_state = application_state = WebSocketState.CONNECTED

    def __init__(self, *sends: str, reads: bool = True, leaves: bool = False) -> None:
        self.waiting, self.reads, self.leaves = list(sends), reads, leaves
        self.got: list[str] = []
        self.closed: tuple[int, str] | None = None

    async def receive(self) -> dict[str, Any]:
        if self.waiting:
            return {"type": "websocket.receive", "text": self.waiting.pop(0)}
        if self.leaves:
            return {"type": "websocket.disconnect", "code": 1000}
        await asyncio.Event().wait()
        raise AssertionError

    async def send_text(self, text: str) -> None:
        if not self.reads:
            await asyncio.Event().wait()
        self.got.append(text)

    async def close(self, code: int, reason: str) -> None:
        self.closed = code, reason


def connected(socket: Socket) -> tuple[WebSocketCall, Connection]:
    output = BusOutput("rtc_1", "agent", cast(Publisher, Bus()))
    now = asyncio.get_running_loop().time()
    call = WebSocketCall(CallState("rtc_1", "agent", 16000), output, now, lambda call: None)
    return call, Connection(cast(WebSocket, socket), call, output)


def append(seconds: float) -> str:
    audio = base64.b64encode(bytes(round(seconds * 48000))).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


async def test_a_client_that_takes_nothing_for_ten_seconds_is_closed_with_a_code_that_says_so() -> None:
    socket = Socket(reads=False)
    call, connection = connected(socket)
    call.send_message(messages.EVENTS_CHANNEL, '{"type": "session.created"}')
    async with asyncio.timeout(12):
        await connection.run()
    assert (call.ended, call.cause) == ("hang_up", "slow_reader")
    assert socket.closed == (1013, "events were not read in time")


async def test_more_than_a_bound_of_unread_events_ends_the_call_at_once() -> None:
    socket = Socket(reads=False)
    call, connection = connected(socket)
    text = json.dumps({"type": "response.output_text.delta", "delta": "x" * 200_000})
    for _ in range(MAX_UNREAD_BYTES // 200_000 + 2):
        call.send_message(messages.EVENTS_CHANNEL, text)
    async with asyncio.timeout(2):
        await connection.run()
    assert call.cause == "slow_reader"


async def test_a_client_that_sends_faster_than_it_is_passed_on_is_read_no_more() -> None:
    socket = Socket(*[append(10)] * 100)
    call, connection = connected(socket)
    running = asyncio.create_task(connection.run())
    await asyncio.sleep(0.5)
    assert MAX_WAITING_AUDIO < call.waiting_bytes < MAX_WAITING_AUDIO + 10 * 48000
    left = len(socket.waiting)
    await asyncio.sleep(10)
    assert left - 10 <= len(socket.waiting) < left
    call.end("hang_up", 0.0)
    await running


async def test_what_waits_for_the_client_leaves_before_the_close() -> None:
    socket = Socket()
    call, connection = connected(socket)
    call.send_message(messages.EVENTS_CHANNEL, '{"type": "goodbye"}')
    call.end("hang_up", 0.0, "goodbye")
    await connection.run()
    assert socket.got == ['{"type": "goodbye"}']
    assert socket.closed == (1000, "the call has ended: hang_up (goodbye)")


async def test_a_client_that_leaves_ends_the_call() -> None:
    socket = Socket("no event", leaves=True)
    call, connection = connected(socket)
    async with asyncio.timeout(2):
        await connection.run()
    assert call.ended == "client_closed"
