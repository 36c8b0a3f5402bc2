"""A connection of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from antiphon.runtime.nats import connection


@pytest.fixture
async def bus_client(nats_url: str) -> AsyncIterator[Client]:
    client = await connection.connect(nats_url, "test")
    yield client
    await client.close()
