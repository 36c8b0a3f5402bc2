"""What we use of nats-py beyond its public interface: it exists and behaves. `nats_fast_path` is its adapter."""

from __future__ import annotations

import asyncio

import pytest
from support.conditions import until

from antiphon.runtime.nats import connection, nats_fast_path

pytestmark = pytest.mark.process


def messages(*published: tuple[str, bytes]) -> list[bytes]:
    """As they are written."""
    return [nats_fast_path.message_head(each, len(data)) + data + nats_fast_path.END for each, data in published]


def test_messages_written_at_once_arrive_in_order_between_those_of_the_client(nats_url: str) -> None:
    async def main() -> None:
        client, heard = await connection.connect(nats_url, "test"), []
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
