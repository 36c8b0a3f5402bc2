"""Webhooks from the stream to an HTTP server: real NATS, real replicas of signaling, a receiver of the test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from nats.aio.client import Client
from support.processes.nats import nats_server
from support.processes.signaling import SignalingProcess, signaling_process

from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.signaling.webhooks.delivery import consumer_name
from antiphon.signaling.webhooks.signature import headers_of, read_secrets

pytestmark = pytest.mark.process

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Delivered(NamedTuple):
    headers: dict[str, str]
    body: bytes


class Receiver:
    """An HTTP server that answers with what the test says, or not at all."""

    def __init__(self) -> None:
        self.got: list[Delivered] = []
        self.answer: Callable[[int], int | None] = lambda number: 204
        """Status of the nth request; None: no answer."""

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"

    def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                self.got.append(Delivered(headers, await reader.readexactly(int(headers["content-length"]))))
                status = self.answer(len(self.got))
                if status is None:
                    await reader.read()
                    return
                elsewhere = "Location: /elsewhere\r\n" if status == 302 else ""
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{elsewhere}\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def ids(self) -> list[str]:
        return [each.headers["webhook-id"] for each in self.got]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    with nats_server(tmp_path) as url:
        joined = await connection.connect(url, "test")
        yield joined
        await joined.close()


def url_of(client: Client) -> str:
    assert client.connected_url is not None
    return str(client.connected_url.geturl())


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what}: not within 20 s"
        await asyncio.sleep(0.02)


async def notify(client: Client, number: int) -> None:
    call = messages.CallSummary(session_id=f"rtc_{number}", agent="a", state="ended", began=1.7e9)
    webhook = messages.Webhook(id=f"rtc_{number}_ended", type="call.ended", at=1.7e9, call=call, reason="hang_up")
    await client.publish(subjects.webhook("ended"), messages.encode(webhook))
    await client.flush()


async def waiting(client: Client) -> int:
    return (await client.jetstream().stream_info(subjects.STREAM_WEBHOOKS)).state.messages


async def empty(client: Client) -> None:
    """All notices are acknowledged."""
    async with asyncio.timeout(10):
        while True:
            if not await waiting(client):
                return
            await asyncio.sleep(0.05)


def replica(client: Client, *urls: str) -> SignalingProcess:
    settings = {"ANTIPHON_WEBHOOK_URL": ",".join(urls), "ANTIPHON_WEBHOOK_SECRET": SECRET}
    return SignalingProcess(url_of(client), **settings)


async def joined(client: Client, url: str) -> None:
    """Notices for this endpoint are kept from now on."""
    async with asyncio.timeout(20):
        while True:
            names = [each.name for each in await client.jetstream().consumers_info(subjects.STREAM_WEBHOOKS)]
            if consumer_name(url) in names:
                return
            await asyncio.sleep(0.02)


async def test_notices_are_signed_and_repeated_with_one_id(client: Client) -> None:
    await notify(client, 0)
    assert await waiting(client) == 0  # without an endpoint nothing is kept
    receiver = Receiver()
    url = await receiver.start()
    receiver.answer = lambda number: {1: 302, 2: 500}.get(number, 204)
    with signaling_process(url_of(client), ANTIPHON_WEBHOOK_URL=url, ANTIPHON_WEBHOOK_SECRET=SECRET) as service:
        await joined(client, url)
        await notify(client, 1)
        await until(lambda: len(receiver.got) == 3, "a redirect and an error are repeated")
        assert set(receiver.ids()) == {"rtc_1_ended"}
        assert {each.body for each in receiver.got} == {receiver.got[0].body}
        for got in receiver.got:
            at = int(got.headers["webhook-timestamp"])
            signed = headers_of("rtc_1_ended", got.body, read_secrets(SECRET), at)
            assert got.headers["webhook-signature"] == signed["webhook-signature"]
        assert json.loads(receiver.got[0].body)["type"] == "call.ended"
        await client.publish(subjects.webhook("ended"), b"no webhook at all")
        await empty(client)
    receiver.close()
    assert not [line for line in service.lines if "Traceback" in line or "HTTP Request" in line]


@pytest.mark.nightly
async def test_a_notice_survives_the_replica_that_had_it(client: Client) -> None:
    receiver = Receiver()
    url = await receiver.start()
    receiver.answer = lambda number: None if number == 1 else 204
    first = replica(client, url)
    try:
        await joined(client, url)
        await notify(client, 2)
        await until(lambda: len(receiver.got) == 1, "it is tried")
        first.process.kill()
        first.process.wait()
        await notify(client, 3)  # no replica is there
        second = replica(client, url)
        try:
            await until(lambda: {"rtc_2_ended", "rtc_3_ended"} <= set(receiver.ids()[1:]), "another replica delivers")
        finally:
            second.stop()
    finally:
        first.stop()
    receiver.close()
    await empty(client)


async def test_one_endpoint_that_is_down_keeps_no_notice_from_another(client: Client) -> None:
    up, down = Receiver(), Receiver()
    urls = [await up.start(), await down.start()]
    down.answer = lambda number: 503
    with signaling_process(
        url_of(client),
        ANTIPHON_WEBHOOK_URL=",".join(urls),
        ANTIPHON_WEBHOOK_SECRET=SECRET,
    ):
        for url in urls:
            await joined(client, url)
        for number in range(40):
            await notify(client, number)
        await until(lambda: len(set(up.ids())) == 40, "all arrive")
        await until(lambda: len(set(down.ids())) == 40, "all are tried")
    assert len(up.ids()) == 40
    up.close()
    down.close()
