"""Signaling's connections send what they have at once: no request waits for the client's delayed ACK."""

from __future__ import annotations

import asyncio
import socket

import pytest

from antiphon.signaling.__main__ import _listen

pytestmark = pytest.mark.process


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_accepted_connection_has_tcp_nodelay(host: str) -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            own = transport.get_extra_info("socket")
            accepted.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    with _listen(host, 0) as listener:
        server = await asyncio.get_running_loop().create_server(Protocol, sock=listener)
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        assert await accepted
        writer.close()
        await writer.wait_closed()
        server.close()
