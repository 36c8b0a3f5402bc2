"""The services register on a real NATS server, and what is logged about a server that is away."""

from __future__ import annotations

import asyncio
import time

import nats.errors
import pytest
from nats.aio.msg import Msg
from support.conditions import until

from antiphon.runtime import tasks
from antiphon.runtime.nats import connection, service_discovery


@pytest.mark.process
async def test_a_health_check_finds_the_service_of_this_host(nats_url: str) -> None:
    client = await connection.connect(nats_url, "test")
    try:
        assert not await service_discovery.answers_here(nats_url, "antiphon-relay", wait=0.2)
        service = await service_discovery.register(client, "antiphon-relay")
        assert await service_discovery.answers_here(nats_url, "antiphon-relay")
        assert not await service_discovery.answers_here(nats_url, "antiphon-transceiver", wait=0.2)
        await service.stop()
        assert not await service_discovery.answers_here(nats_url, "antiphon-relay", wait=0.2)
    finally:
        await client.close()


@pytest.mark.process
async def test_a_health_check_without_nats_fails_soon() -> None:
    begun = time.monotonic()
    assert not await service_discovery.answers_here("nats://127.0.0.1:1", "antiphon-relay")
    assert time.monotonic() - begun < 4


@pytest.mark.process
async def test_instances_are_told_apart_by_their_metadata(nats_url: str) -> None:
    client = await connection.connect(nats_url, "test")
    try:
        await asyncio.gather(
            *(
                service_discovery.register(client, service_discovery.AGENT_SERVICE, {"agent": name})
                for name in ("concierge", "echo")
            )
        )
        found = await service_discovery.instances(client, service_discovery.AGENT_SERVICE)
        assert sorted(metadata["agent"] for metadata in found) == ["concierge", "echo"]
    finally:
        await client.close()


@pytest.mark.process
async def test_a_server_that_is_away_is_reported_once_and_not_at_each_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    attempts = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connecting = asyncio.create_task(connection.connect(f"nats://127.0.0.1:{port}", "test"))
    try:
        await until(lambda: attempts >= 6)
    finally:
        await tasks.end(connecting)
        server.close()
    kinds = {record.getMessage() for record in caplog.records if record.name == connection.__name__}
    lines = [record for record in caplog.records if record.name == connection.__name__]
    assert 1 <= len(lines) == len(kinds) < attempts


@pytest.mark.pure
def test_a_repeated_error_is_reported_every_30_s_with_the_number_left_out() -> None:
    reports = connection.ErrorReports()
    refused = ConnectionRefusedError("refused")
    texts = [reports.text_for(refused, now / 4) for now in range(4 * 61)]
    assert [text for text in texts if text is not None] == [
        "refused",
        "refused (119 more since the last line)",
        "refused (119 more since the last line)",
    ]
    assert reports.text_for(TimeoutError("slow"), 61) == "slow"
    reports.forget()
    assert reports.text_for(refused, 61) == "refused"


@pytest.mark.process
async def test_requests_under_way_to_a_subscription_that_ends_are_answered(nats_url: str) -> None:
    client, asker = await connection.connect(nats_url, "test"), await connection.connect(nats_url, "asker")
    gate = asyncio.Event()

    async def answer(message: Msg) -> None:
        await gate.wait()
        await message.respond(b"over")

    try:
        subscription = await client.subscribe("control", cb=answer)
        await connection.flush(client)
        asked = [asyncio.create_task(asker.request("control", b"", timeout=5)) for _ in range(3)]
        await until(lambda: subscription.pending_msgs == 2)
        ending = asyncio.create_task(connection.stop_answering(client, subscription))
        await connection.flush(client)
        gate.set()
        assert [reply.data for reply in await asyncio.gather(*asked)] == [b"over"] * 3
        await ending
        with pytest.raises(nats.errors.NoRespondersError):
            await asker.request("control", b"", timeout=5)
    finally:
        await client.close()
        await asker.close()


@pytest.mark.process
async def test_a_subscription_ends_on_a_connection_that_is_closed(nats_url: str) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(b"over")

    client = await connection.connect(nats_url, "test")
    subscription = await client.subscribe("control", cb=answer)
    await client.close()
    await connection.stop_answering(client, subscription)
