"""Time lines and ended calls are read from NATS page by page, with the rights of signaling and no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.processes.nats_roles import GuardedNats, guarded_nats
from support.recorded_call import CALL, summary

from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.permissions import User
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.signaling.console.stream_reader import MAX_PAGE, MAX_READING, read_page
from antiphon.signaling.http.errors import ApiError

pytestmark = pytest.mark.process

OTHER = "rtc_" + "z9" * 12
OWNER, SIGNALING = User("transceiver"), User("signaling")


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedNats]:
    with guarded_nats(tmp_path_factory.mktemp("nats"), (OWNER, SIGNALING)) as server:
        yield server


def parse(data: bytes) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(data)
    if "at" not in read:
        raise MalformedError("of another release")
    return read


async def read_all(client: BusClient, stream: str, subject: str) -> list[list[dict[str, Any]]]:
    places, after, pages = asyncio.Semaphore(MAX_READING), 0, []
    while True:
        page = await read_page(client, places, stream, subject, after, parse)
        pages.append(page.entries)
        after = page.last
        if not page.more:
            return pages


async def test_a_call_s_own_entries_are_read_to_the_last_and_none_of_other_calls(nats: GuardedNats) -> None:
    count = 2 * MAX_PAGE + 1
    async with nats.client(OWNER) as owner, nats.client(SIGNALING) as client:
        for number in range(count):
            await owner.publish(subjects.call_timeline(CALL), json.dumps({"at": number}).encode())
            await owner.publish(subjects.call_timeline(OTHER), b'{"at": -1}')
        await owner.publish(subjects.call_timeline(CALL), b'{"of": "another release"}')
        await owner.flush()
        pages = await read_all(client, subjects.STREAM_TIMELINES, subjects.call_timeline(CALL))
        assert list(map(len, pages)) == [MAX_PAGE, MAX_PAGE, 1]
        assert [each["at"] for page in pages for each in page] == list(range(count))
        last = pages[-1][-1]["sequence"]
        later = await read_page(
            client, asyncio.Semaphore(1), subjects.STREAM_TIMELINES, subjects.call_timeline(CALL), last + 1, parse
        )
        assert (later.entries, later.more) == ([], False)
        none = await read_page(
            client, asyncio.Semaphore(1), subjects.STREAM_TIMELINES, subjects.call_timeline("rtc_none"), 0, parse
        )
        assert (none.entries, none.last, none.more) == ([], 0, False)


async def test_the_stream_keeps_the_last_calls_that_have_ended(nats: GuardedNats) -> None:
    ended = messages.CallEnded(call=summary(), ended=1.0, reason="client_closed")
    async with nats.client(OWNER) as owner, nats.client(SIGNALING) as client:
        await owner.publish(subjects.call_ended(CALL), messages.encode(ended))
        await owner.flush()
        page = await read_page(
            client,
            asyncio.Semaphore(1),
            subjects.STREAM_ENDED_CALLS,
            subjects.ANY_CALL_ENDED,
            0,
            lambda data: messages.decode(data, messages.CallEnded).model_dump(),
        )
        assert [each["call"]["session_id"] for each in page.entries] == [CALL]


async def test_more_readers_than_places_are_told_to_come_again(nats: GuardedNats) -> None:
    async with nats.client(SIGNALING) as client:
        with pytest.raises(ApiError) as refused:
            await read_page(client, asyncio.Semaphore(0), "x", "y", 0, parse)
        assert (refused.value.status, refused.value.code) == (503, "busy")
        assert "Retry-After" in refused.value.headers


async def test_a_stream_that_is_not_there_is_named(nats_url: str) -> None:
    from antiphon.runtime.nats import connection

    client = await connection.connect_once(nats_url, "test")
    await client.jetstream().delete_stream(subjects.STREAM_TIMELINES)
    with pytest.raises(ApiError, match="antiphon setup"):
        await read_page(client, asyncio.Semaphore(1), subjects.STREAM_TIMELINES, subjects.call_timeline(CALL), 0, parse)
    await client.close()
