"""kill -9 of the relay under `antiphon up` in a running call: how many of the caller's packets are missing after it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from support.conditions import until
from support.peers.aiortc_client import aiortc_call
from support.processes.relay_process import workers_of
from support.processes.stack import ECHO_AGENT, Stack, running_stack

pytestmark = pytest.mark.realtime

FRAME_SECONDS = 0.02
MOST_LOST = int(0.3 / FRAME_SECONDS)
STANDBY = "--standby"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as running:
        yield running
