"""A relay of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.processes.relay_process import (
    RelayProcess,
    relay_process,
)


@pytest.fixture(params=["batched", "portable"])
async def relay(request: pytest.FixtureRequest, nats_url: str) -> AsyncIterator[RelayProcess]:
    """A relay without transceivers, once with each packet loop."""
    async with relay_process(nats_url, request.param) as running:
        yield running
