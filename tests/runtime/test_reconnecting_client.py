"""The bus client against servers that pause, swallow, or send nonsense: no connection stays open and unread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats.errors
import pytest
from nats.aio.msg import Msg
from support.conditions import until
from support.net.scripted_nats import INFO, ScriptedNats, scripted_nats

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection, liveness, reconnecting_client, service_discovery
from antiphon.runtime.nats.client import MAX_UNSENT, BusClient
from antiphon.runtime.nats.transport import BusTransport

pytestmark = pytest.mark.process

SUBJECT = "said"


class Listener:
    """A client that listens on `SUBJECT`, and its server."""

    def __init__(self, server: ScriptedNats, client: BusClient, received: list[bytes]) -> None:
        self.server, self.client, self.received = server, client, received

    async def receives(self, within: float = 5) -> None:
        """What the server sends over its newest connection arrives."""
        newest = self.server.newest
        await until(lambda: newest.subscribed(SUBJECT), within)
        before = len(self.received)
        newest.say(f"MSG {SUBJECT} {newest.sid_of(SUBJECT)} 4\r\nwell\r\n".encode())
        await until(lambda: len(self.received) > before, within)

    async def receives_after_reconnecting(self, within: float = 5) -> None:
        """The client has reconnected, and messages arrive."""
        await until(lambda: len(self.server.connections) > 1 and self.client.is_connected, within)
        await self.receives(within)

    async def flush_in_vain(self) -> None:
        """A flush whose answer stays away is given up."""
        self.server.answers = False
        with pytest.raises(nats.errors.TimeoutError):
            await self.client.flush(timeout=0.05)
        self.server.answers = True


@asynccontextmanager
async def listening(server: ScriptedNats, client: BusClient) -> AsyncIterator[Listener]:
    received: list[bytes] = []

    async def take(message: Msg) -> None:
        received.append(message.data)

    await client.subscribe(SUBJECT, cb=take)
    try:
        yield Listener(server, client, received)
    finally:
        await client.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the time limits: for tests of what follows after them, not of their length."""
    monkeypatch.setattr(liveness, "PING_SECONDS", 0.25)
    monkeypatch.setattr(liveness, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(reconnecting_client, "CANCELLED_SECONDS", 0.2)
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with scripted_nats() as server, listening(server, await connection.connect(server.url, "test")) as each:
        yield each


async def test_a_pong_that_comes_after_its_flush_was_given_up_does_no_harm(listener: Listener) -> None:
    await listener.flush_in_vain()
    listener.server.newest.say(b"PONG\r\n")
    await listener.receives()
    await listener.client.flush(timeout=1)
    assert len(listener.server.connections) == 1


async def test_a_pong_that_nobody_asked_for_does_no_harm(listener: Listener) -> None:
    listener.server.newest.say(b"PONG\r\n" * 3)
    await listener.receives()
    await listener.client.flush(timeout=1)
    assert len(listener.server.connections) == 1


async def test_a_flush_after_one_that_was_given_up_waits_for_its_own_pong(listener: Listener) -> None:
    await listener.flush_in_vain()
    listener.server.answers = False
    second = asyncio.create_task(listener.client.flush(timeout=5))
    await until(lambda: listener.server.newest.pings >= 3)  # of connecting, of either flush
    listener.server.newest.say(b"PONG\r\n")  # the first one's
    await listener.receives()
    assert not second.done()
    listener.server.newest.say(b"PONG\r\n")
    await second


async def test_one_flush_covers_what_was_subscribed_and_published_before(listener: Listener) -> None:
    await listener.client.subscribe("later")
    await listener.client.publish("told", b"x")
    await listener.client.flush(timeout=1)
    assert listener.server.newest.subscribed("later")
    assert b"PUB told  1" in listener.server.newest.lines


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("name", ["_reading_task", "_flusher_task", "_ping_interval_task"])
async def test_a_connection_one_of_whose_tasks_has_ended_is_replaced(listener: Listener, name: str) -> None:
    getattr(listener.client, name).cancel()
    await listener.receives_after_reconnecting()


LINES: dict[str, bytes] = {
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an error without a text": b"-ERR \r\n",
    "INFO that is no JSON": b"INFO {nonsense}\r\n",
    "a line without an end": b"M" * (100 << 10),
    "a message without an end": b"MSG said 1 99999999999\r\n",
}


@pytest.mark.parametrize("what", LINES)
async def test_after_a_line_that_cannot_be_read_the_connection_is_replaced(listener: Listener, what: str) -> None:
    listener.server.newest.say(LINES[what])
    await listener.receives_after_reconnecting()


HARMLESS: dict[str, bytes] = {
    "a subject that is no UTF-8": b"MSG \xff\xfe 1 1\r\nx\r\n",
    "headers that are none": b"HMSG said 1 8 8\r\nNATS/1.0\r\n",
    "a subscription that is not there": b"MSG said 999 1\r\nx\r\n",
    "a permissions violation": b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n",
    "INFO of another kind": b'INFO {"connect_urls": [5], "ldm": true}\r\n',
}


@pytest.mark.parametrize("what", HARMLESS)
async def test_a_line_that_concerns_one_message_costs_that_message_only(listener: Listener, what: str) -> None:
    listener.server.newest.say(HARMLESS[what])
    await listener.receives()
    assert len(listener.server.connections) == 1


@pytest.mark.parametrize(
    "error",
    ["Stale Connection", "Authorization Violation", "User Authentication Expired", "Slow Consumer", "Server Shutdown"],
)
async def test_an_error_with_which_the_server_ends_the_connection_is_not_the_end(
    listener: Listener, error: str
) -> None:
    listener.server.newest.say(f"-ERR '{error}'\r\n".encode())
    listener.server.newest.close()
    await listener.receives_after_reconnecting()


def _raise(error: BaseException) -> Callable[[Msg], Awaitable[None]]:
    async def callback(message: Msg) -> None:
        raise error

    return callback


@pytest.mark.parametrize("error", [ValueError("ours"), asyncio.CancelledError(), asyncio.InvalidStateError()])
async def test_a_callback_that_fails_goes_on_being_called(listener: Listener, error: BaseException) -> None:
    calls, fails = 0, _raise(error)

    async def callback(message: Msg) -> None:
        nonlocal calls
        calls += 1
        await fails(message)

    await listener.client.subscribe("other", cb=callback)
    await listener.client.flush()
    sid = listener.server.newest.sid_of("other")
    for count in (1, 2):
        listener.server.newest.say(f"MSG other {sid} 1\r\nx\r\n".encode())
        await until(lambda wanted=count: calls == wanted)  # type: ignore[misc]
    await listener.receives()


async def test_what_fails_while_the_connection_is_replaced_is_tried_again(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    working, failed = BusTransport.connect, False

    async def fails_once(self: BusTransport, *arguments: object) -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise KeyError("unforeseen")
        await working(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(BusTransport, "connect", fails_once)
    listener.server.newest.close()
    await listener.receives_after_reconnecting()
    assert failed


GREETINGS: dict[str, bytes] = {
    "nothing": b"",
    "no INFO": b"SSH-2.0-OpenSSH_9.6\r\n",
    "INFO without an end": b"INFO " + b"x" * (200 << 10),
    "INFO that is a list": b"INFO [1, 2]\r\n",
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("what", GREETINGS)
async def test_a_server_that_does_not_greet_properly_is_tried_again(what: str) -> None:
    async with scripted_nats() as server:
        well, server.greeting = server.greeting, lambda: GREETINGS[what]
        connecting = asyncio.create_task(connection.connect(server.url, "test"))
        await until(lambda: len(server.connections) > 1)
        server.greeting = well
        async with asyncio.timeout(5):
            client = await connecting
        await client.flush(timeout=1)
        await client.close()


async def test_a_line_of_the_server_before_its_first_pong_does_not_hold_up_connecting() -> None:
    async with scripted_nats() as server:
        server.greeting = lambda: (b"INFO " + json.dumps(INFO).encode() + b"\r\n") * 2
        async with listening(server, await connection.connect(server.url, "test")) as each:
            await each.receives()


async def test_a_black_hole_is_left_within_five_seconds_however_full_the_send_buffer_is() -> None:
    async with scripted_nats() as hole, scripted_nats() as other:
        client = await connection.connect(hole.url, "test")
        async with listening(other, client) as each:
            hole.reads = hole.answers = hole.greets = False
            began = time.monotonic()
            for _ in range(100):
                with contextlib.suppress(nats.errors.OutboundBufferLimitError):
                    await client.publish("audio", bytes(1 << 19))
                if client.dropped:
                    break
            assert client.dropped
            buffered = client._transport.unsent()  # type: ignore[union-attr]
            assert 0 < buffered <= MAX_UNSENT + (1 << 20)
            client.set_server_pool([hole.url, other.url])
            await until(lambda: bool(other.connections) and client.is_connected, 10)
            await each.receives()
            assert time.monotonic() - began < 5
            # And nothing of what was swallowed comes late.
            assert not [line for line in other.newest.lines if line.startswith(b"PUB")]


@pytest.mark.usefixtures("hasty")
async def test_a_server_that_is_silent_for_longer_than_a_connection_is_used_soon_after_its_return(
    listener: Listener,
) -> None:
    listener.server.answers = listener.server.greets = False
    await until(lambda: not listener.client.is_connected, 6)
    with pytest.raises(nats.errors.Error):
        await listener.client.flush(timeout=1)
    with pytest.raises(nats.errors.OutboundBufferLimitError):
        await listener.client.publish("told", b"late")
    listener.server.answers = listener.server.greets = True
    began = time.monotonic()
    await until(lambda: listener.client.is_connected, 5)
    await listener.receives_after_reconnecting()
    assert time.monotonic() - began < 4


async def test_who_waits_for_an_answer_when_the_connection_is_lost_is_told_at_once(listener: Listener) -> None:
    listener.server.answers = False
    waiting = [
        asyncio.create_task(listener.client.flush(timeout=30)),
        asyncio.create_task(listener.client.request("asked", b"", timeout=30)),
    ]
    await until(lambda: any(each.startswith(b"PUB asked") for each in listener.server.newest.lines))
    listener.server.answers = True
    listener.server.newest.close()
    async with asyncio.timeout(3):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(result, nats.errors.TimeoutError) for result in results] == [True, True]
    await listener.receives_after_reconnecting()


async def test_a_client_is_closed_soon_although_nobody_takes_what_it_says() -> None:
    async with scripted_nats() as hole:
        client = await connection.connect(hole.url, "test")
        hole.reads = False
        for _ in range(7):
            await client.publish("audio", bytes(1 << 19))
        async with asyncio.timeout(3):
            await client.close()


async def test_a_flush_that_is_cancelled_ends(listener: Listener) -> None:
    listener.server.answers = False
    flushing = asyncio.create_task(listener.client.flush(timeout=30))
    await until(lambda: listener.server.newest.pings >= 2)
    await tasks.end(flushing)
    assert flushing.cancelled()
    listener.server.newest.say(b"PONG\r\n")
    await listener.receives()


@pytest.mark.usefixtures("hasty")
async def test_a_pause_of_our_own_loop_does_not_cost_the_connection(listener: Listener) -> None:
    time.sleep(liveness.SILENT_SECONDS + 0.5)  # noqa: ASYNC251 - the loop stands still: that is the case
    await listener.receives()
    await listener.client.flush(timeout=1)
    assert len(listener.server.connections) == 1


async def test_a_question_to_a_server_that_does_not_answer_is_given_up() -> None:
    async with scripted_nats() as server:
        server.greets = False
        began = time.monotonic()
        assert not await service_discovery.answers_here(server.url, "antiphon-relay", wait=0.2)
        assert time.monotonic() - began < 4
