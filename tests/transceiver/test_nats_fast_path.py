"""What we use of nats-py beyond its public interface: it exists and behaves. `nats_fast_path` is its adapter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.certificates import certificates
from support.conditions import until
from support.net.scripted_nats import scripted_nats
from support.processes.nats import nats_server

from antiphon.runtime.nats import connection, nats_fast_path
from antiphon.runtime.nats.access import Access

pytestmark = pytest.mark.process


def messages(*published: tuple[str, bytes]) -> list[bytes]:
    """As they are written."""
    return [nats_fast_path.message_head(each, len(data)) + data + nats_fast_path.END for each, data in published]


@pytest.mark.parametrize("reads_frames", [False, True])
def test_messages_written_at_once_arrive_in_order_between_those_of_the_client(
    nats_url: str, reads_frames: bool
) -> None:
    async def main() -> None:
        client, heard = await connection.connect(nats_url, "test", reads_frames=reads_frames), []
        subscription = await nats_fast_path.subscribe(client, "a.*", lambda message: heard.append(message.data))
        await client.publish("a.0", b"first")
        assert nats_fast_path.publish_all(client, messages(("a.1", b"second"), ("a.2", b""), ("a.1", b"fourth")))
        await client.publish("a.0", b"last")
        await until(lambda: len(heard) == 5)  # the library's flush may overtake its own publish
        assert heard == [b"first", b"second", b"", b"fourth", b"last"]
        await nats_fast_path.unsubscribe(client, subscription)
        assert nats_fast_path.publish_all(client, messages(("a.1", b"unheard")))
        await client.flush()
        assert len(heard) == 5
        await client.close()
        assert not nats_fast_path.publish_all(client, messages(("a.1", b"too late")))

    asyncio.run(main())


def test_a_handler_that_fails_costs_its_message_only(nats_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        client, heard = await connection.connect(nats_url, "test"), []

        def handle(message: nats_fast_path.Received) -> None:
            heard.append(message.data)
            if message.data == b"bad":
                raise ValueError("no")

        await nats_fast_path.subscribe(client, "a", handle)
        assert nats_fast_path.publish_all(client, messages(("a", b"bad"), ("a", b"good")))
        await client.flush()
        assert heard == [b"bad", b"good"]
        await client.close()

    asyncio.run(main())
    assert "could not be handled" in caplog.text


async def test_frames_are_read_on_each_further_connection_whatever_became_of_the_one_before() -> None:
    async with scripted_nats() as server:
        client, heard = await connection.connect(server.url, "test", reads_frames=True), []
        await nats_fast_path.subscribe(client, "a", lambda message: heard.append((message.subject, message.data)))
        for number, end in enumerate((b"MSG a 1 9\r\nhal", b"rubbish\r\n", b"")):
            newest = server.newest
            await until(lambda at=newest: at.subscribed("a"))  # type: ignore[misc]
            newest.say(b"MSG a %b 1\r\n%d\r\n" % (newest.sid_of("a").encode(), number))
            await until(lambda count=number + 1: len(heard) == count)  # type: ignore[misc]
            if end:
                newest.say(end)
                await asyncio.sleep(0)
                newest.close()
                await until(lambda at=newest: server.newest is not at and client.is_connected)  # type: ignore[misc]
        assert heard == [("a", b"0"), ("a", b"1"), ("a", b"2")]
        await client.close()


async def test_frames_are_read_over_tls_and_requests_are_answered_beside_them(tmp_path: Path) -> None:
    own = certificates(tmp_path / "own")
    tls = f'\ntls {{ cert_file: "{own.cert}", key_file: "{own.key}", ca_file: "{own.ca}" }}\n'
    with nats_server(tmp_path / "nats", settings=tls, stores=False) as url:
        url = url.replace("127.0.0.1", "localhost").replace("tls://", "nats://")
        client, heard = await connection.connect(url, "test", Access(tls_ca=own.ca), reads_frames=True), []
        await nats_fast_path.subscribe(client, "a", lambda message: heard.append(message.data))
        await client.subscribe("asked", cb=lambda message: message.respond(bytes(200_000)))
        sent = [bytes([number]) * 3000 for number in range(200)]
        assert nats_fast_path.publish_all(client, messages(*(("a", each) for each in sent)))
        answer = await client.request("asked", b"", timeout=5)
        assert len(answer.data) == 200_000
        await until(lambda: len(heard) == len(sent))
        assert heard == sent
        await client.close()
