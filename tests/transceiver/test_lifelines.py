"""The connections between transceiver processes: how long a process without a sign of life counts as alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from antiphon.runtime import tasks
from antiphon.transceiver.failover.failure_detector import (
    BEAT_SECONDS,
    SILENT_SECONDS,
    FailureDetector,
    probe,
    until_silent,
)

pytestmark = pytest.mark.process
US = "5" * 16


@pytest.fixture
async def detector() -> AsyncIterator[FailureDetector]:
    made = await FailureDetector.listen(US, "127.0.0.1")
    yield made
    await made.close()


async def test_a_process_that_beats_is_held_for_longer_than_a_silent_one_would_be(detector: FailureDetector) -> None:
    connection = await probe(f"127.0.0.1:{detector.port}", US)
    assert connection is not None
    holding = asyncio.create_task(until_silent(connection, beats=True))
    done, _ = await asyncio.wait([holding], timeout=SILENT_SECONDS + 2 * BEAT_SECONDS)
    assert not done
    await detector.close()
    async with asyncio.timeout(SILENT_SECONDS):  # a connection that breaks says so at once
        await holding


async def test_a_process_on_a_machine_without_power_is_given_up_after_its_last_beat() -> None:
    """A connection that stays open without a word is what remains of it here."""

    async def say_the_id_alone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{US}\n".encode())
        while await reader.read(1024):
            pass
        writer.close()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(say_the_id_alone, "127.0.0.1", 0)
    connection = await probe(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", US)
    assert connection is not None
    began = time.monotonic()
    await until_silent(connection, beats=True)
    assert time.monotonic() - began >= SILENT_SECONDS - 0.01
    server.close()
    await ended.wait()


async def test_a_process_of_the_release_before_which_does_not_beat_is_held(detector: FailureDetector) -> None:
    connection = await probe(f"127.0.0.1:{detector.port}", US)
    assert connection is not None
    holding = asyncio.create_task(until_silent(connection, beats=False))
    done, _ = await asyncio.wait([holding], timeout=SILENT_SECONDS + 2 * BEAT_SECONDS)
    assert not done
    await detector.close()
    async with asyncio.timeout(SILENT_SECONDS):
        await holding


async def test_a_peer_that_sends_without_end_is_sent_no_more_beats_for_it(detector: FailureDetector) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", detector.port)
    await reader.readline()

    async def flood() -> None:
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    beats = 0
    with_end = asyncio.get_running_loop().time() + 1.0
    while (left := with_end - asyncio.get_running_loop().time()) > 0:
        try:
            async with asyncio.timeout(left):
                beats += len(await reader.read(4096))
        except TimeoutError:
            break
    await tasks.end(flooding)
    writer.transport.abort()
    assert beats <= 1.0 / BEAT_SECONDS + 2
