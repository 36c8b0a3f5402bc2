"""Agent plug-ins for tests: as processes of their own, and callers for them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import nats.errors
from nats.aio.client import Client
from support.processes.bridge import agent_is_there

from antiphon.agent import Agent
from antiphon.runtime.nats import connection, service_discovery
from antiphon.testing.fake_transceiver import FakeTransceiver

EXAMPLES = Path(__file__).parents[3] / "examples"


@contextmanager
def agent_process(nats_url: str, script: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python SCRIPT`, killed at the end."""
    environment = {**os.environ, "ANTIPHON_NATS_URL": nats_url, **variables}
    process = subprocess.Popen([sys.executable, str(script), *arguments], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def caller(
    nats_url: str, agent: str, settings: dict[str, object] | None = None
) -> AsyncIterator[FakeTransceiver]:
    """A call to an agent, when there is one of this name that takes calls.

    An instance whose loop stood still for a while, as it may on a busy machine, takes none for five seconds.
    """
    client = await connection.connect(nats_url, "caller")
    try:
        await agent_is_there(client, agent)
        async with AsyncExitStack() as stack:
            call: FakeTransceiver | None = None
            while call is None:
                try:
                    call = await stack.enter_async_context(FakeTransceiver(client, agent, settings))
                except (nats.errors.NoRespondersError, RuntimeError) as refused:
                    if isinstance(refused, RuntimeError) and "is late by" not in str(refused):
                        raise
                    await asyncio.sleep(0.1)
            yield call
    finally:
        await client.close()


@asynccontextmanager
async def calling(
    agent: Agent, nats_url: str, settings: dict[str, object] | None = None
) -> AsyncIterator[FakeTransceiver]:
    """A call to an agent that serves in this process."""
    async with agent.serving(nats_url), caller(nats_url, agent.name, settings) as call:
        yield call


async def instances(client: Client, name: str, count: int) -> None:
    """Return when so many instances of the agent stand in the register."""

    async def there() -> bool:
        found = await service_discovery.instances(client, service_discovery.AGENT_SERVICE, 0.1)
        return sum(each.get("agent") == name for each in found) >= count

    while not await there():
        pass


def loudest(pcm: bytes) -> int:
    return max(map(abs, memoryview(pcm).cast("h")), default=0)
