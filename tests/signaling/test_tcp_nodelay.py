"""Signaling's connections send what they have at once: no request waits for the client's delayed ACK, and none for a
wait that TCP doubles where packets are lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from pathlib import Path

import pytest
from support.tls import pair

from antiphon.signaling.__main__ import LINEAR_TIMEOUTS, _listen
from antiphon.signaling.connections.acceptor import Acceptor
from antiphon.signaling.connections.certificate import Certificate
from antiphon.signaling.connections.connection_table import ConnectionTable, Held
from antiphon.signaling.trusted_proxies import TrustedProxies

pytestmark = pytest.mark.process


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_accepted_connection_has_tcp_nodelay(host: str, tls: bool, tmp_path: Path) -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    files = pair().write(tmp_path)

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            own = transport.get_extra_info("socket")
            accepted.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    def protocol(held: Held) -> Protocol:
        return Protocol()

    with _listen(host, 0) as listener:
        context = Certificate(*files).context if tls else None
        acceptor = Acceptor(listener, ConnectionTable(), TrustedProxies(), context)
        acceptor.start(protocol)
        trusted = None
        if tls:
            import ssl

            trusted = ssl.create_default_context(cafile=files[0])
        address = listener.getsockname()[:2]
        _, writer = await asyncio.open_connection(*address, ssl=trusted, server_hostname=host if tls else None)
        assert await accepted
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        acceptor.close()


@pytest.mark.skipif(sys.platform != "linux", reason="an option of Linux")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_accepted_connection_repeats_at_even_intervals(host: str) -> None:
    with _listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, LINEAR_TIMEOUTS) == 1
