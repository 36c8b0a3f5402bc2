"""Ended calls and webhooks on a connection that breaks: none is lost, and memory is bounded."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.runtime.owned_calls.record_outbox import KEEP_SECONDS, MAX_KEPT, RecordOutbox

pytestmark = pytest.mark.virtual


class Bus:
    """A connection, and what was published on it."""

    def __init__(self) -> None:
        self.is_connected = True
        self.stats = {"reconnects": 0}
        self.published: list[str] = []

    def publish(self, subject: str, payload: bytes) -> None:
        self.published.append(subject)

    def cut(self) -> None:
        self.is_connected = False

    def join(self) -> None:
        self.is_connected = True
        self.stats["reconnects"] += 1


async def test_what_was_written_just_before_and_during_a_break_is_published_after_it() -> None:
    bus = Bus()
    outbox = RecordOutbox(bus, bus)
    outbox.notice("old", b"")
    await asyncio.sleep(KEEP_SECONDS + 1)
    outbox.notice("before", b"")
    bus.cut()
    outbox.notice("during", b"")
    await asyncio.sleep(3)
    assert bus.published == ["old", "before"]
    bus.join()
    await asyncio.sleep(1)
    assert bus.published[2:] == ["before", "during"]
    await asyncio.sleep(60)
    assert len(bus.published) == 4
    outbox.close()


async def test_a_break_too_short_to_be_seen_repeats_what_may_be_lost() -> None:
    bus = Bus()
    outbox = RecordOutbox(bus, bus)
    outbox.notice("a", b"")
    bus.cut()
    bus.join()
    await asyncio.sleep(1)
    assert bus.published == ["a", "a"]
    outbox.close()


async def test_in_a_long_break_the_oldest_are_dropped_and_counted() -> None:
    bus = Bus()
    outbox = RecordOutbox(bus, bus)
    bus.cut()
    for number in range(MAX_KEPT + 5):
        outbox.notice(str(number), b"")
    bus.join()
    await asyncio.sleep(1)
    assert bus.published == [str(number) for number in range(5, MAX_KEPT + 5)]
    assert outbox.dropped == 5
    outbox.close()
