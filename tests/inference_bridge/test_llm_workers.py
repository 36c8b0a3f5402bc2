"""A language model by worker processes on NATS: one dies in mid-sentence, one is silent, nobody is there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.models.plain_chat_server import chat_server
from support.processes.bridge import StartBridge, agent_is_there

from antiphon.inference_bridge.agents import FunctionCall, Incomplete, Request, Usage
from antiphon.inference_bridge.agents.chat_history import CONTINUE
from antiphon.inference_bridge.models.remote import wire
from antiphon.inference_bridge.models.remote.language_model import RemoteLanguageModel
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.conversation import message
from antiphon.inference_bridge.replies import reader
from antiphon.inference_bridge.replies.attempts import MAX_ANSWER, MAX_CALLS
from antiphon.runtime.nats import connection, service_discovery
from antiphon.schemas import messages, subjects
from antiphon.testing.fake_transceiver import FakeTransceiver

APOLOGY, TOO_LONG = phrase("apology"), phrase("too_long")
ITEMS = [message("item_1", "user", "completed", {"type": "input_text", "text": "What time is it?"})]
ASKED = Request("What time is it?", datetime(2026, 11, 22, 10, 30), ITEMS, "Be brief.")


@contextmanager
def worker(nats_url: str, chat_url: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"ANTIPHON_NATS_URL": nats_url, "ANTIPHON_LLM_URL": chat_url, "ANTIPHON_LLM_MODEL": "tiny"}
    command = [sys.executable, "-m", "antiphon.inference_bridge", "--worker", "llm"]
    process = subprocess.Popen(command, env={**os.environ, **settings})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def there(client: Client, count: int = 1) -> None:
    while len(await service_discovery.instances(client, wire.SERVICE, 0.1)) < count:
        pass


async def answer(client: Client, timeout: float = 15.0) -> str:
    return "".join([part async for part in RemoteLanguageModel(client, timeout).reply(ASKED) if isinstance(part, str)])


async def answering(client: Client, *answers: list[messages.AnyReplyPart] | None) -> list[int]:
    """A worker that the test plays: one answer per request, None for silence. Returns a counter of requests."""
    asked: list[int] = []

    async def on_request(request: Msg) -> None:
        said = answers[min(len(asked), len(answers) - 1)]
        asked.append(1)
        for part in said or ():
            await request.respond(messages.encode(part))

    await client.subscribe(subjects.worker("llm"), cb=on_request)
    await connection.flush(client)
    return asked


@pytest.mark.process
async def test_a_worker_killed_in_mid_sentence_is_replaced_by_one_that_goes_on_with_the_very_next_word(
    bus_client: Client, nats_url: str
) -> None:
    async with chat_server() as chat:
        with worker(nats_url, chat.url) as doomed:
            await there(bus_client)
            chat.pieces, chat.stalls = ["It is ", "half past "], True
            async with aclosing(RemoteLanguageModel(bus_client, 15).reply(ASKED)) as parts:
                assert [await anext(parts), await anext(parts)] == ["It is ", "half past "]
                chat.pieces, chat.stalls = ["ten."], False
                with worker(nats_url, chat.url):
                    await there(bus_client, 2)
                    doomed.kill()
                    assert [part async for part in parts] == ["ten."]
            sent = chat.requests[-1]["messages"]
            assert sent[-2] == {"role": "assistant", "content": "It is half past "}
            assert sent[-1] == {"role": "user", "content": CONTINUE}


@pytest.mark.process
async def test_an_answer_that_nobody_wants_any_more_is_given_up_by_the_worker(
    bus_client: Client, nats_url: str
) -> None:
    async with chat_server() as chat:
        with worker(nats_url, chat.url):
            await there(bus_client)
            chat.stalls = True
            async with aclosing(RemoteLanguageModel(bus_client, 15).reply(ASKED)) as parts:
                assert await anext(parts) == "Sure, "
            async with asyncio.timeout(10):
                await chat.closed_early.wait()


@pytest.mark.process
async def test_a_worker_announces_itself_only_when_its_server_has_answered(bus_client: Client, nats_url: str) -> None:
    async with chat_server() as chat:
        chat.status = 500
        with worker(nats_url, chat.url):
            async with asyncio.timeout(30):
                while len(chat.checks) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert not await service_discovery.instances(bus_client, wire.SERVICE, 0.3)
            chat.status = 200
            await there(bus_client)
            assert await answer(bus_client) == "Sure, it is ten."


@pytest.mark.process
def test_a_worker_without_a_server_says_so_in_one_line() -> None:
    command = [sys.executable, "-m", "antiphon.inference_bridge", "--worker", "llm"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "ANTIPHON_LLM_URL" in ran.stderr


@pytest.mark.process
async def test_a_silent_worker_and_a_busy_one_are_left_for_another(
    bus_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SILENT_SECONDS", 0.3)
    whole: list[messages.AnyReplyPart] = [
        messages.ReplyAlive(),
        messages.ReplyText(number=0, text="Half past ten."),
        messages.ReplyCall(number=1, call_id="c", name="look", arguments="{}"),
        messages.ReplyUsage(number=2, input_tokens=4, output_tokens=2),
        messages.ReplyIncomplete(number=3, reason="content_filter"),
        messages.ReplyEnd(number=4),
    ]
    asked = await answering(bus_client, None, [messages.ReplyError(message="full", busy=True)], whole)
    parts = [part async for part in RemoteLanguageModel(bus_client, 15).reply(ASKED)]
    assert parts == ["Half past ten.", FunctionCall("c", "look", "{}"), Usage(4, 2), Incomplete("content_filter")]
    assert len(asked) == 3


@pytest.mark.process
async def test_a_piece_that_was_lost_is_noticed_and_when_nobody_can_the_caller_hears_an_apology(
    bus_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SILENT_SECONDS", 0.3)
    assert await answer(bus_client) == APOLOGY, "no worker at all"
    pieces = [messages.ReplyText(number=0, text="Half "), messages.ReplyText(number=2, text="ten.")]
    asked = await answering(bus_client, [*pieces])
    assert await answer(bus_client) == f"Half Half Half  {APOLOGY}", "each try tells the next what was said"
    assert len(asked) == 3


@pytest.mark.process
@pytest.mark.models
@pytest.mark.nightly
async def test_a_call_whose_only_language_model_dies_in_mid_sentence_hears_an_apology(
    start_bridge: StartBridge, bus_client: Client, nats_url: str
) -> None:
    async with chat_server() as chat:
        with worker(nats_url, chat.url) as doomed:
            start_bridge(greeting="none", llm="remote")
            await agent_is_there(bus_client, "concierge")
            async with FakeTransceiver(bus_client, "concierge") as call:
                await call.wait_for("session.created")
                chat.pieces, chat.stalls = ["It is half past ten now. ", "And "], True
                text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Time?"}]}
                await call.send({"type": "conversation.item.create", "item": text})
                await call.send({"type": "response.create"})
                await call.wait_for("output_audio_buffer.started", timeout=60)
                doomed.kill()
                done = await call.wait_for("response.done", timeout=60)
                transcript = done["response"]["output"][0]["content"][0]["transcript"]
                assert transcript.startswith("It is half past ten now.")
                assert transcript.endswith(APOLOGY)


@pytest.mark.process
async def test_a_worker_that_sends_words_without_an_end_is_cut_with_a_word_of_apology(bus_client: Client) -> None:
    await answering(bus_client, [messages.ReplyText(number=number, text="and so on " * 100) for number in range(500)])
    text = await answer(bus_client)
    assert text.endswith(TOO_LONG)
    assert len(text) <= MAX_ANSWER + 100


@pytest.mark.process
async def test_a_worker_that_only_shows_life_is_left_in_time(bus_client: Client) -> None:
    await answering(bus_client, [messages.ReplyAlive()] * 30_000)
    assert await asyncio.wait_for(answer(bus_client, timeout=0.1), 20) == APOLOGY


@pytest.mark.process
async def test_a_worker_that_calls_functions_without_an_end_is_left(bus_client: Client) -> None:
    calls = [messages.ReplyCall(number=n, call_id="x", name="look", arguments="{}") for n in range(1000)]
    await answering(bus_client, [*calls])
    async with aclosing(RemoteLanguageModel(bus_client, 15).reply(ASKED)) as parts:
        assert len([part async for part in parts]) <= MAX_CALLS
