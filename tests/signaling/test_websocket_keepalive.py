"""When a WebSocket counts as gone: pings without a pong, on the protocol itself and a transport that notes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from antiphon.signaling.connections.connection_table import ConnectionTable
from antiphon.signaling.connections.http_protocol import WebSocketProtocol

pytestmark = pytest.mark.virtual

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT = b"\x81\x82\0\0\0\0hi"
"""A whole frame of a client."""


class Transport(asyncio.Transport):
    """Notes whether it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = self.closing = False

    def write(self, data: Any) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = True


async def accepted(reads: bool) -> tuple[WebSocketProtocol, Transport, list[Any]]:
    """A connection whose application has accepted it, and reads or does not."""
    came: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while reads:
            came.append(await receive())
            if came[-1]["type"] == "websocket.disconnect":
                return
        await asyncio.Event().wait()

    config = uvicorn.Config(
        app, ws="websockets-sansio", ws_ping_interval=5, ws_ping_timeout=5, lifespan="off", log_config=None
    )
    config.load()
    table = ConnectionTable(100, 10)
    transport = Transport()
    held, _ = table.admit("127.0.0.1", 0.0)
    assert held is not None
    table.upgraded(held, 0.0)
    protocol = WebSocketProtocol(config, ServerState(), {}, table=table, held=held)
    protocol.connection_made(transport)
    protocol.data_received(UPGRADE)
    await asyncio.sleep(0)
    return protocol, transport, came


async def test_a_client_of_which_nothing_comes_is_gone_ten_seconds_later() -> None:
    _, transport, came = await accepted(reads=True)
    await asyncio.sleep(9.9)
    assert not transport.aborted
    await asyncio.sleep(0.2)
    assert transport.aborted
    assert (came[0]["type"], came[0]["reason"]) == ("websocket.disconnect", "keepalive ping timeout")


async def test_a_client_that_sends_is_not_gone_though_its_pongs_are_late() -> None:
    protocol, transport, came = await accepted(reads=True)
    for _ in range(30):
        await asyncio.sleep(2)
        protocol.data_received(TEXT)
    assert not transport.aborted
    await asyncio.sleep(11)
    assert transport.aborted
    assert [each.get("text") for each in came] == [*["hi"] * 30, None]


async def test_a_client_whose_audio_waits_is_not_gone_while_nothing_of_it_is_read() -> None:
    protocol, transport, _ = await accepted(reads=False)
    protocol.data_received(TEXT)
    await asyncio.sleep(60)
    assert protocol.read_paused
    assert not transport.aborted


async def test_a_close_does_not_wait_for_a_client_that_reads_nothing() -> None:
    protocol, transport, _ = await accepted(reads=False)
    protocol.pause_writing()
    async with asyncio.timeout(1):
        await protocol.send({"type": "websocket.close", "code": 1013, "reason": "slow"})
    await asyncio.sleep(6)
    assert transport.aborted
