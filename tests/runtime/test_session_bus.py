"""What an agent sends for one session, on real NATS against a transceiver of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.conditions import until

from antiphon.runtime.agent_sessions import session_bus
from antiphon.runtime.agent_sessions.session_bus import ControlOutcome, SessionBus
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import unpack_frame

pytestmark = pytest.mark.process

FLUSHED = messages.Flushed(generation=0, played_samples=480, rate=24000, dropped_ms=0)


class Transceiver:
    """Answers control requests of `rtc_call` while `answers`, after `slow` seconds, with `ok`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.controls: list[messages.Message] = []
        self.frames: list[bytes] = []
        self.answers = self.ok = True
        self.slow = 0.0

    async def start(self) -> None:
        await self.client.subscribe(subjects.session_control("echo", "rtc_call"), cb=self._on_control)
        await self.client.subscribe(subjects.audio_out("echo", "rtc_call"), cb=self._on_frame)
        await connection.flush(self.client)

    async def _on_control(self, message: Msg) -> None:
        await asyncio.sleep(self.slow)
        self.controls.append(messages.decode_any(message.data, messages.CONTROL, "Control"))
        if self.answers:
            await message.respond(messages.encode(messages.ControlReply(ok=self.ok)))

    async def _on_frame(self, message: Msg) -> None:
        self.frames.append(message.data)


@pytest.fixture
async def bus_client(nats_url: str) -> AsyncIterator[Client]:
    client = await connection.connect(nats_url, "test")
    yield client
    await client.close()


@pytest.fixture
async def transceiver(bus_client: Client) -> Transceiver:
    one = Transceiver(bus_client)
    await one.start()
    return one


@pytest.fixture
def bus(bus_client: Client, monkeypatch: pytest.MonkeyPatch) -> SessionBus:
    monkeypatch.setattr(session_bus, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(session_bus, "_AGAIN_SECONDS", 0.02)
    return SessionBus(bus_client, "echo", "rtc_call", asyncio.Event(), "echo-1")


async def test_requests_arrive_in_the_order_in_which_they_were_made(bus: SessionBus, transceiver: Transceiver) -> None:
    transceiver.slow = 0.03
    paused, flushed, resumed = await asyncio.gather(bus.pause(), bus.flush(7), bus.resume())
    assert (paused, flushed, resumed) == (True, ControlOutcome.DONE, True)
    assert transceiver.controls == [messages.Pause(), messages.Flush(generation=7), messages.Resume()]
    assert not bus.paused


async def test_frames_are_counted_for_the_whole_session(bus: SessionBus, transceiver: Transceiver) -> None:
    for generation in (1, 2):
        await bus.publish_frame(bytes(960), 24000, 0, generation)
    await until(lambda: len(transceiver.frames) == 2)
    frames = [unpack_frame(data) for data in transceiver.frames]
    assert [(frame.sequence, frame.generation) for frame in frames] == [(0, 1), (1, 2)]


async def test_a_flush_that_was_not_ours_is_told_apart(bus: SessionBus, transceiver: Transceiver) -> None:
    assert not bus.received_flushed(FLUSHED)
    await bus.flush(1)
    assert bus.received_flushed(FLUSHED)
    assert not bus.received_flushed(FLUSHED), "one report for one flush"


async def test_each_flush_gets_its_own_report(bus: SessionBus, transceiver: Transceiver) -> None:
    first = asyncio.create_task(bus.flush_and_wait(1, 5))
    second = asyncio.create_task(bus.flush_and_wait(2, 5))
    await until(lambda: len(transceiver.controls) == 2)
    later = FLUSHED.model_copy(update={"generation": 1})
    assert bus.received_flushed(FLUSHED)
    assert bus.received_flushed(later)
    assert (await first, await second) == (FLUSHED, later)


async def test_a_flush_without_an_answer_does_not_take_the_report_of_the_next(
    bus: SessionBus, transceiver: Transceiver
) -> None:
    transceiver.answers = False
    assert await bus.flush_and_wait(1, 0.1) is None
    transceiver.answers = True
    waiting = asyncio.create_task(bus.flush_and_wait(2, 5))
    await until(lambda: len(transceiver.controls) == 2)
    assert bus.received_flushed(FLUSHED)
    assert await waiting == FLUSHED
    assert not bus.received_flushed(FLUSHED)


async def test_a_flush_that_no_transceiver_got_leaves_no_report_to_wait_for(bus: SessionBus) -> None:
    assert await bus.flush(1) is ControlOutcome.NO_SESSION
    assert await bus.flush_and_wait(1, 60) is None, "at once"
    assert not bus.received_flushed(FLUSHED)


async def test_a_hang_up_is_repeated_until_it_is_answered(bus: SessionBus, transceiver: Transceiver) -> None:
    transceiver.answers = False
    hanging_up = asyncio.create_task(bus.hang_up("bye"))
    await until(lambda: len(transceiver.controls) >= 3)
    transceiver.answers = True
    assert await hanging_up
    assert set(map(repr, transceiver.controls)) == {repr(messages.HangUp(reason="bye", instance="echo-1"))}


async def test_a_hang_up_that_is_refused_or_has_no_session_is_not_repeated_for_long(
    bus: SessionBus, bus_client: Client
) -> None:
    async with asyncio.timeout(5):
        assert await bus.hang_up(), "there is no such session"
    transceiver = Transceiver(bus_client)
    transceiver.ok = False
    await transceiver.start()
    assert await bus.hang_up()
    assert len(transceiver.controls) == 1


async def test_after_the_end_of_its_session_nothing_is_sent(bus_client: Client, transceiver: Transceiver) -> None:
    over = asyncio.Event()
    over.set()
    bus = SessionBus(bus_client, "echo", "rtc_call", over)
    await bus.publish_frame(bytes(960), 24000, 0, 1)
    assert await bus.flush(1) is ControlOutcome.NO_SESSION
    assert await bus.pause()
    assert await bus.hang_up()
    await connection.flush(bus_client)
    assert not transceiver.controls
    assert not transceiver.frames
