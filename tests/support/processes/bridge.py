"""What tests of the inference bridge share: the types of their fixtures, a bridge process, waiting for an agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import nats.errors
import numpy as np
import numpy.typing as npt
from nats.aio.client import Client
from support.processes.ended import ended

from antiphon.runtime.nats import service_discovery

Samples = npt.NDArray[np.int16]
Speak = Callable[[str], Samples]
"""Text to the caller's speech: mono, 16 kHz."""
Understand = Callable[[bytes], str]
"""The agent's speech (s16le, 24 kHz) to text."""
StartBridge = Callable[..., subprocess.Popen[bytes]]
"""Start a bridge process with settings as keyword arguments, without their prefix."""


async def agent_is_there(client: Client, name: str) -> None:
    """Return when an agent of this name stands in the register; the test's time limit bounds it."""
    while True:
        with contextlib.suppress(nats.errors.Error):  # not connected at the moment
            if any(
                found.get("agent") == name
                for found in await service_discovery.instances(client, service_discovery.AGENT_SERVICE, 0.1)
            ):
                return
        await asyncio.sleep(0.02)


@contextmanager
def running_bridge(nats_url: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m antiphon.inference_bridge`, ended at the end, whatever it takes.

    The clinic answers in the bridge itself, so that a test has one process to deal with. 400 ms of silence end a turn
    unless `turn_silence_ms` says otherwise (empty: the product's own rules), so that what a test asks does not depend
    on how busy the machine is.
    """
    settings = {"turn_silence_ms": "400", "scripted_agent": "antiphon.demo.concierge.in_bridge.Concierge", **settings}
    variables = {f"ANTIPHON_{name.upper()}": value for name, value in settings.items()}
    environment = {**os.environ, "ANTIPHON_NATS_URL": nats_url, **variables}
    process = subprocess.Popen([sys.executable, "-m", "antiphon.inference_bridge"], env=environment)
    with ended(process):
        yield process
