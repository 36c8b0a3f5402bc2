"""Fixtures of the transceiver's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.processes.transceiver_process import Bench, transceiver_process


@pytest.fixture
async def bench(nats_url: str) -> AsyncIterator[Bench]:
    """A transceiver without sessions."""
    async with transceiver_process(nats_url) as running:
        yield running
