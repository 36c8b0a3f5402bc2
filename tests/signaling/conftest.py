"""Fixtures of the signaling tests: stand-ins on NATS, and the service beside them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from support.processes.signaling import SignalingProcess, StandIns, signaling_process, until


@pytest.fixture
def stand_ins(nats_url: str) -> Iterator[StandIns]:
    """A bus on which tests play transceivers, relays and agents."""
    parts = StandIns(nats_url)
    yield parts
    parts.close()


@pytest.fixture
def signaling(nats_url: str, stand_ins: StandIns) -> Iterator[SignalingProcess]:
    """Signaling without keys; nothing else stands on the bus yet."""
    with signaling_process(nats_url) as service:
        yield service


@pytest.fixture
def http(signaling: SignalingProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=signaling.url, timeout=15) as client:
        yield client


@pytest.fixture
def healthy(stand_ins: StandIns, http: httpx.Client) -> StandIns:
    """A complete stack: one transceiver, one relay, the default agent."""
    stand_ins.transceiver()
    stand_ins.relay()
    stand_ins.agent()
    until(lambda: http.get("/healthz").status_code == 200, "the stack is healthy")
    return stand_ins
