"""Whoever asks is told what came of it: as a message of the bus, and as a request to a service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import nats.micro
import pytest
from nats.aio.client import Client
from nats.micro.service import ServiceConfig
from support.conditions import until

from antiphon.runtime.nats import connection
from antiphon.runtime.owned_calls.control_rpc import Refusal, Request, answer
from antiphon.schemas import messages

pytestmark = pytest.mark.process

PLAIN, SERVICE = "test.message", "test.service"


async def paused(data: bytes) -> str:
    """Carries out what must be a `Pause`; other messages are refused, or too much for it."""
    match messages.decode_any(data, messages.CONTROL, "Control"):
        case messages.Pause():
            return "paused"
        case messages.Resume():
            raise Refusal("nothing is paused")
    raise RuntimeError("a mistake of ours")


@pytest.fixture
async def asking(nats_url: str) -> AsyncIterator[Client]:
    """A client; `PLAIN` and `SERVICE` are answered by another one."""

    async def asked(request: Request) -> None:
        await answer(request, paused)

    answering, client = await connection.connect(nats_url, "answering"), await connection.connect(nats_url, "asking")
    await answering.subscribe(PLAIN, cb=asked)
    service = await nats.micro.add_service(answering, ServiceConfig(name="test", version="1.0.0"))
    await service.add_endpoint(name="test", subject=SERVICE, handler=asked)
    await connection.flush(answering)
    yield client
    await service.stop()
    await client.close()
    await answering.close()


@pytest.mark.parametrize("subject", [PLAIN, SERVICE])
async def test_whoever_asks_is_told_whether_it_was_done_and_else_why_not(
    asking: Client, subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(data: bytes) -> tuple[bool, str]:
        reply = messages.decode((await asking.request(subject, data, timeout=10)).data, messages.ControlReply)
        return reply.ok, reply.message

    assert await ask(messages.encode(messages.Pause())) == (True, "paused")
    assert await ask(messages.encode(messages.Resume())) == (False, "nothing is paused")
    done, why = await ask(b"no message")
    assert not done
    assert "Control" in why
    assert not caplog.records, "all that was the asker's"
    assert await ask(messages.encode(messages.HangUp())) == (False, "RuntimeError('a mistake of ours')")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", f"a request on {subject} could not be carried out")
    ]


@pytest.mark.parametrize("subject", [PLAIN, SERVICE])
async def test_what_nobody_waits_for_is_done_all_the_same(
    asking: Client, subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    await asking.publish(subject, messages.encode(messages.HangUp()))
    await until(lambda: caplog.records)
    await asking.request(subject, messages.encode(messages.Pause()), timeout=10)
    assert [record.getMessage() for record in caplog.records] == [f"a request on {subject} could not be carried out"]
