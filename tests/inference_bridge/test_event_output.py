"""What goes to a call's client: paced, bounded, behind the speech of other calls, and never more than is taken."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from antiphon.inference_bridge.conversation.event_budget import BURST, BYTE_BURST
from antiphon.inference_bridge.conversation.event_output import BYTE_BURST as OUT_BURST
from antiphon.inference_bridge.conversation.event_output import (
    BYTE_RATE,
    MAX_BYTES,
    MAX_EVENTS,
    MAX_UNSENT,
    EventOutput,
    EventQueue,
)
from antiphon.runtime import tasks
from antiphon.runtime.owned_calls.agent_bounds import AgentBounds
from antiphon.schemas import messages

pytestmark = pytest.mark.pure


def sent(queue: EventQueue, until: float, began: float = 0.0) -> list[tuple[float, bytes]]:
    """Everything that may go until then, at the time at which it goes."""
    now, found = began, []
    while len(queue):
        now += queue.wait(now)
        if now > until:
            break
        found.append((now, queue.pop()))
    return found


def test_a_client_that_asks_for_much_gets_it_at_a_rate() -> None:
    queue = EventQueue(0.0)
    for _ in range(120):
        queue.put(b"x" * 65_536)
    found = sent(queue, 10.0)
    assert sum(len(data) for _, data in found) <= OUT_BURST + 10 * BYTE_RATE + 65_536
    assert sum(len(data) for _, data in found) >= 10 * BYTE_RATE


@pytest.mark.parametrize("size", [200, BYTE_BURST // BURST])
def test_a_conversation_that_is_restored_at_once_is_answered_in_full(size: int) -> None:
    queue = EventQueue(0.0)
    for _ in range(2 * BURST):  # an item that is added, and that is done
        assert not queue.is_full
        queue.put(b"x" * (size + 200))
    assert len(sent(queue, 60.0)) == 2 * BURST
    assert not queue.dropped


@pytest.mark.parametrize("size", [100, 700, 5000, 200_000])
def test_the_transceiver_takes_all_of_it(size: int) -> None:
    queue, transceiver = EventQueue(0.0), AgentBounds()
    for _ in range(min(MAX_EVENTS, MAX_BYTES // size)):
        queue.put(b"x" * size)
    assert all(transceiver.takes_message(size, at) for at, _ in sent(queue, 60.0))


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    queue = EventQueue(0.0)
    for number in range(3 * MAX_EVENTS):
        queue.put(b"%d" % number)
    assert len(queue) == MAX_EVENTS
    assert queue.pop() == b"%d" % (2 * MAX_EVENTS)
    for _ in range(100):
        queue.put(b"x" * 1_000_000)
        assert queue.waiting_bytes <= MAX_BYTES
    assert queue.is_full
    sent(queue, 60.0)
    assert (len(queue), queue.waiting_bytes, queue.is_full) == (0, 0, False)


class Client:
    """Takes what an output publishes."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.unsent = 0
        self._count, self._enough = 0, asyncio.Event()
        self.output = EventOutput(self._take, lambda: self.unsent, asyncio.get_running_loop().time, "rtc_1")

    async def _take(self, data: bytes) -> None:
        self.sizes.append(len(data))
        self.events.append(json.loads(messages.decode(data, messages.DataMessage).payload()))
        if len(self.events) >= self._count:
            self._enough.set()

    async def until(self, count: int, seconds: float = 10.0) -> None:
        """Run the output until so many events came; `TimeoutError` if they don't."""
        self._count, self._enough = count, asyncio.Event()
        task = asyncio.create_task(self.output.run())
        try:
            async with asyncio.timeout(seconds):
                await self._enough.wait()
        finally:
            await tasks.end(task)


async def test_an_error_about_the_rate_overtakes_what_waits() -> None:
    client = Client()
    for number in range(3):
        client.output.put({"type": "conversation.item.done", "number": number})
    client.output.put({"type": "error", "error": {"code": "item_not_found"}})
    client.output.put({"type": "error", "error": {"code": "rate_limit_exceeded"}})
    await client.until(5)
    assert client.events[0]["error"]["code"] == "rate_limit_exceeded"
    assert [event.get("number") for event in client.events[1:4]] == [0, 1, 2]
    assert client.events[4]["error"]["code"] == "item_not_found"


async def test_letters_of_other_scripts_are_answered_at_their_own_size() -> None:
    client = Client()
    client.output.put({"type": "conversation.item.done", "text": "\u00e9" * 10_000})
    client.output.put({"type": "conversation.item.done", "text": "half \ud83d"})
    client.output.put({"type": "conversation.item.done", "text": {1, 2}})
    client.output.put({"type": "the.last"})
    await client.until(3)
    assert client.sizes[0] < 20_200
    assert [event["type"] for event in client.events] == ["conversation.item.done"] * 2 + ["the.last"]


async def test_events_wait_while_the_connection_that_all_calls_share_is_behind() -> None:
    client = Client()
    client.unsent = MAX_UNSENT + 1
    client.output.put({"type": "conversation.item.done"})
    with pytest.raises(TimeoutError):
        await client.until(1, seconds=0.1)
    assert not client.events
    client.unsent = 0
    await client.until(1)


async def test_a_hang_up_can_wait_for_the_events_before_it_and_no_longer_than_it_says() -> None:
    client = Client()
    await client.output.drained(0.0)  # nothing waits
    for number in range(3):
        client.output.put({"type": "conversation.item.done", "number": number})
    await client.output.drained(0.01)
    assert client.events == [], "nothing sends them, and it does not wait for ever"
    task = asyncio.create_task(client.output.run())
    try:
        await client.output.drained(5.0)
        assert len(client.events) == 3
    finally:
        await tasks.end(task)
