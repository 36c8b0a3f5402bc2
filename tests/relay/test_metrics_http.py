"""The relay's listener for scrapers answers them whatever others leave open on it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.relay.control.metrics_http import MAX_CONNECTIONS, MetricsHttp
from antiphon.schemas.addresses import Address

pytestmark = pytest.mark.process


async def test_connections_are_bounded_and_the_oldest_makes_room() -> None:
    listener: Any = SimpleNamespace(relay_http_bind=Address("127.0.0.1", 0))
    workers: Any = SimpleNamespace(all_up=True)
    routes: Any = SimpleNamespace(has_way=True, state="ready")
    backbone: Any = SimpleNamespace()
    metrics = MetricsHttp(listener, workers, routes, backbone)
    await metrics.start()
    assert metrics._server is not None
    host, port = metrics._server.sockets[0].getsockname()
    silent = [await asyncio.open_connection(host, port) for _ in range(MAX_CONNECTIONS + 10)]
    first, _ = silent[0]
    async with asyncio.timeout(2):  # below the 5 s that a silent one has
        with pytest.raises(asyncio.IncompleteReadError):
            await first.readexactly(1)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    for _, other in [*silent, (reader, writer)]:
        other.close()
    metrics.close()
