"""Whatever chat servers do to `chat/completions`: the answer is spoken whole, once, and nothing else with it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import support
from support.chat_quirks import QUIRKS, STOP, TEN, TOOLS, Quirk, as_markdown, spoken, stream, words
from support.scripted_chat_server import Answer, ScriptedChat, scripted_chat, strict_template

from antiphon.inference_bridge.agents import (
    FunctionCall,
    Incomplete,
    ReplyPart,
    Request,
    Retracted,
    Usage,
    chat_history,
)
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.conversation import message

pytestmark = pytest.mark.process

ITEMS = [message("i", "user", "completed", {"type": "input_text", "text": "What time is it?"})]
ASKED = Request("What time is it?", datetime(2026, 11, 22, 10, 0), ITEMS, "Be brief.", TOOLS, max_output_tokens=50)
APOLOGY = phrase("apology")
TOOL_FAILED = phrase("tool_failed")
SAID = {
    "APOLOGY": APOLOGY,
    "REFUSED": phrase("refused"),
    "TOOL_FAILED": TOOL_FAILED,
    "It is ten. TOOL_FAILED": f"It is ten.\n{TOOL_FAILED}",
}


@asynccontextmanager
async def model(chat: ScriptedChat, timeout: float = 3.0, load: float = 5.0) -> AsyncIterator[LanguageModel]:
    async with client_for(chat.url, "") as client:
        yield LanguageModel(client, "scripted", timeout, load_timeout=load)


async def parts_of(agent: LanguageModel, request: Request = ASKED) -> list[ReplyPart]:
    parts: list[ReplyPart] = []
    async for part in agent.reply(request):
        if isinstance(part, Retracted):
            parts = [earlier for earlier in parts if not isinstance(earlier, str)]
        else:
            parts.append(part)
    return parts


def text_of(parts: list[ReplyPart]) -> str:
    return "".join(part for part in parts if isinstance(part, str)).strip()


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
async def test_a_quirk_of_a_server_costs_the_caller_nothing(quirk: Quirk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scripted_chat() as chat, model(chat) as agent:
        quirk.prepare(chat)
        parts = await parts_of(agent)
    assert text_of(parts) == SAID.get(quirk.text, quirk.text)
    called = [part for part in parts if isinstance(part, FunctionCall)]
    assert [(call.name, json.loads(call.arguments)) for call in called] == list(quirk.calls)
    assert len({call.call_id for call in called}) == len(called)
    assert all(call.call_id for call in called)
    assert [part.reason for part in parts if isinstance(part, Incomplete)] == (
        [quirk.incomplete] if quirk.incomplete else []
    )
    assert len(chat.requests) == quirk.requests
    assert not [record for record in caplog.records if record.exc_info or record.name.startswith(("httpx", "httpcore"))]


def test_the_documented_list_of_quirks_is_the_one_that_is_played() -> None:
    assert (Path(next(iter(support.__path__))) / "chat_quirks.md").read_text() == as_markdown()


async def test_an_option_that_was_refused_is_not_sent_again() -> None:
    refusals = {
        "max_tokens": (400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        "stream_options": (422, "stream_options: extra fields not permitted"),
    }
    async with scripted_chat(spoken(*TEN)) as chat, model(chat) as agent:
        chat.refuses = refusals
        for _ in range(3):
            assert text_of(await parts_of(agent)) == "It is ten."
    assert len(chat.refused) == 2
    assert all(request["max_completion_tokens"] == 50 for request in chat.requests)


async def test_a_server_that_refuses_everything_gets_an_apology_and_is_asked_a_few_times_only() -> None:
    async with scripted_chat(spoken(*TEN)) as chat, model(chat) as agent:
        chat.refuses = {"model": (400, "Bad Request")}
        assert text_of(await parts_of(agent)) == APOLOGY
        assert len(chat.refused) <= 10


async def test_functions_that_a_server_does_not_take_are_told_in_words_and_called_all_the_same() -> None:
    answer = spoken('{"name": "get_weather", "arguments": {"city": "Paris"}}')
    async with scripted_chat(answer) as chat, model(chat) as agent:
        chat.refuses = {"tools": (400, "this model does not support tools")}
        (call,) = await parts_of(agent)
        assert isinstance(call, FunctionCall)
        assert "get_weather" in chat.requests[0]["messages"][0]["content"]


async def test_a_model_that_is_loaded_slowly_is_waited_for_and_loaded_once() -> None:
    async with scripted_chat(spoken(*TEN)) as chat, model(chat, timeout=0.1) as agent:
        chat.loads_for = 0.3
        assert text_of(await parts_of(agent)) == "It is ten."
        assert (chat.loads_begun, chat.hung_up) == (1, 0)


async def test_a_server_that_says_that_it_loads_is_asked_until_it_has() -> None:
    loading = Answer(status=503, body='{"error": {"message": "Loading model"}}', headers={"Retry-After": "0.02"})
    async with scripted_chat(*[loading] * 20, spoken(*TEN)) as chat, model(chat, timeout=0.1) as agent:
        assert text_of(await parts_of(agent)) == "It is ten."


async def test_a_busy_server_is_given_up_after_the_time_that_is_set() -> None:
    busy = Answer(status=429, body="slow down", headers={"Retry-After": "0.1"})
    late = Answer(status=429, body="come back tomorrow", headers={"Retry-After": "86400"})
    async with scripted_chat(busy) as chat, model(chat, timeout=0.35) as agent:
        assert text_of(await parts_of(agent)) == APOLOGY
        assert 2 <= len(chat.requests) <= 4
    async with scripted_chat(late) as chat, model(chat, timeout=0.35) as agent:
        assert text_of(await parts_of(agent)) == APOLOGY
        assert len(chat.requests) == 1


async def test_a_connection_that_is_cut_twice_ends_in_an_apology_behind_what_was_spoken() -> None:
    async with scripted_chat(stream(*words("It ", "is "), cut=True)) as chat, model(chat) as agent:
        assert text_of(await parts_of(agent)) == f"It is  {APOLOGY}"
        assert len(chat.requests) == 2


async def test_a_continuation_is_asked_for_in_a_history_that_strict_templates_take() -> None:
    first = stream(*words("It ", "is "), cut=True)
    async with scripted_chat(first, spoken("ten.")) as chat, model(chat) as agent:
        chat.strict = strict_template
        assert text_of(await parts_of(agent)) == "It is ten."
        *_, said, go_on = chat.requests[1]["messages"]
        assert said == {"role": "assistant", "content": "It is "}
        assert go_on == {"role": "user", "content": chat_history.CONTINUE}


async def test_thoughts_that_the_template_opens_are_known_from_the_second_answer_on() -> None:
    """The first answer's thoughts look like an answer until their end; the part that tells so takes them back."""
    lines = [*words("I look at the clock. ", "Ten. ", "</think>", *TEN), STOP]
    async with scripted_chat(Answer([(0.02, line) for line in lines])) as chat, model(chat) as agent:
        first = [part async for part in agent.reply(ASKED)]
        assert Retracted() in first
        assert text_of(await parts_of(agent)) == "It is ten."
        second = [part async for part in agent.reply(ASKED)]
        assert Retracted() not in second
        assert text_of(second) == "It is ten."


async def test_usage_without_numbers_is_none_and_with_one_of_them_it_is_told() -> None:
    for usage, told in (
        ({"prompt_tokens": None}, []),
        ({"prompt_tokens": 7, "completion_tokens": None}, [Usage(7, 0)]),
    ):
        last = f'data: {{"choices": [], "usage": {json.dumps(usage)}}}\n\n'
        async with scripted_chat(stream(*words(*TEN), STOP, last)) as chat, model(chat) as agent:
            assert [part for part in await parts_of(agent) if isinstance(part, Usage)] == told


async def test_the_language_of_the_session_is_asked_for_and_is_that_of_the_apology() -> None:
    async with scripted_chat(Answer(status=401)) as chat, model(chat) as agent:
        assert text_of(await parts_of(agent, replace(ASKED, language="de-AT"))) == phrase("apology", "de")
        assert "German" in chat.requests[0]["messages"][0]["content"]


async def test_an_answer_that_nobody_wants_is_hung_up_on() -> None:
    async with scripted_chat(stream(*words("It "), stalls=True)) as chat, model(chat) as agent:
        reply = agent.reply(ASKED)
        assert await anext(reply) == "It "
        await reply.aclose()
        async with asyncio.timeout(5):
            while not chat.hung_up:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def items_of(*calls: tuple[str, str]) -> list[dict[str, Any]]:
    call = {"type": "function_call", "name": "get_time", "arguments": "{}"}
    items: list[dict[str, Any]] = []
    for number, (call_id, output) in enumerate(calls):
        items.append({**call, "id": f"f{number}", "call_id": call_id})
        items.append({"type": "function_call_output", "id": f"o{number}", "call_id": call_id, "output": output})
    return items


async def test_calls_without_an_id_get_one_that_no_earlier_call_has() -> None:
    call = 'data: {"choices": [{"delta": {"tool_calls": [{"id": "c", "function": {"name": "get_time"}}]}}]}\n\n'
    async with scripted_chat(stream(call, STOP)) as chat, model(chat) as agent:
        (made,) = await parts_of(agent, replace(ASKED, items=[*ITEMS, *items_of(("c", "first"))]))
        assert isinstance(made, FunctionCall)
        assert made.call_id not in ("", "c")
