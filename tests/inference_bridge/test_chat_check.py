"""A chat server that won't answer is known from the start, by one line that names what is wrong and what to do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from nats.aio.client import Client
from support.models.plain_chat_server import chat_server
from support.scripted_chat_server import scripted_chat

from antiphon.inference_bridge.agents import chat_check
from antiphon.inference_bridge.agents.chat_check import ChatCheck, ask
from antiphon.inference_bridge.agents.language_model import client_for
from antiphon.inference_bridge.agents.scripted import SilentAgent
from antiphon.inference_bridge.dispatch.bridge import Bridge
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime import tasks
from antiphon.runtime.nats import service_discovery

pytestmark = pytest.mark.process


def nobody_there() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def trouble(url: str, key: str = "") -> tuple[str, str]:
    async with client_for(url, key) as client:
        found = await ask(client, "tiny", bool(key))
    return ("", "") if found is None else (found.what, found.fix)


@pytest.mark.parametrize(
    ("status", "what", "fix"),
    [
        (200, "", ""),
        (400, "", ""),  # it is there, and does not like the question
        (401, "it does not accept the key (status 401)", "Set ANTIPHON_LLM_API_KEY."),
        (403, "it does not accept the key (status 403)", "Set ANTIPHON_LLM_API_KEY."),
        (503, "it answers with status 503", "It says: "),
        (404, "it has no chat completions (status 404)", "Correct ANTIPHON_LLM_URL; most such URLs end in /v1."),
    ],
)
async def test_what_a_server_answers_is_told_in_words(status: int, what: str, fix: str) -> None:
    async with chat_server() as chat:
        chat.status = status
        said, advice = await trouble(chat.url)
    assert said == what
    assert advice.startswith(fix)


async def test_a_missing_model_and_a_wrong_key_are_named() -> None:
    async with chat_server() as chat:
        chat.status, chat.error = 404, "model 'tiny' not found"
        assert (await trouble(chat.url))[0] == "it has no model tiny (status 404)"
        chat.status, chat.error = 401, "invalid key"
        assert (await trouble(chat.url, "sk-wrong"))[1] == "Correct ANTIPHON_LLM_API_KEY."


@pytest.mark.parametrize(
    ("contained", "fix"),
    [
        (False, "Does it run, and is ANTIPHON_LLM_URL right?"),
        (True, "127.0.0.1 is this container itself; a server on "),
    ],
)
async def test_loopback_of_a_container_is_told_from_a_server_that_is_down(
    contained: bool, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_check, "in_container", lambda: contained)
    url = nobody_there()
    what, advice = await trouble(url)
    assert what == "it refuses the connection"
    assert advice.startswith(fix)
    assert (f"{url.replace('127.0.0.1', 'host.docker.internal')}: set ANTIPHON_LLM_URL" in advice) == contained


async def test_a_name_that_does_not_exist_is_named() -> None:
    what, _ = await trouble("http://nowhere.invalid/v1")
    assert what.startswith("it can't be reached (")


@pytest.mark.parametrize(
    ("status", "error", "what"),
    [
        (400, "tiny is not a valid model ID", "it has no model tiny (status 400)"),
        (400, "The model `tiny` does not exist", "it has no model tiny (status 400)"),
        (400, "API key not valid. Please pass a valid API key.", "it does not accept the key (status 400)"),
        (503, "Loading model", "it is loading its model (status 503)"),
        (429, "slow down", "it answers with status 429"),
    ],
)
async def test_what_is_wrong_is_also_told_where_the_status_does_not_say_it(status: int, error: str, what: str) -> None:
    async with chat_server() as chat:
        chat.status, chat.error = status, error
        assert (await trouble(chat.url))[0] == what


async def test_an_option_that_the_check_is_refused_is_left_out_by_answers_too() -> None:
    async with scripted_chat() as chat, client_for(chat.url, "") as client:
        chat.refuses = {"max_tokens": (400, "max_tokens: use max_completion_tokens")}
        assert await ask(client, "tiny", False) is None
        assert chat.checks[0]["max_completion_tokens"] == 1
        assert client.habits.limit == "max_completion_tokens"


async def test_a_call_that_connects_has_an_idle_server_asked_and_no_other() -> None:
    async with chat_server() as chat:
        for warm_seconds, asked in ((3600.0, 1), (0.0, 1), (1e-9, 2)):
            chat.checks.clear()
            async with checking(chat.url, [], warm_seconds=warm_seconds) as check:
                assert await check.first_result(5) is None
                check.call_connects()
                await until(lambda: len(chat.checks) >= asked)  # noqa: B023
                assert len(chat.checks) == asked


async def test_the_first_result_is_waited_for_while_the_server_loads_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_check, "_FIRST_PAUSE", 0.01)
    async with chat_server() as chat:
        chat.status, chat.error = 503, "Loading model"
        async with checking(chat.url, []) as check:
            assert (await check.first_result(0.05)) is not None
            chat.status = 200
            assert await check.first_result(10) is None


@asynccontextmanager
async def checking(
    url: str, reported: list[str | None], patience: float = 5.0, warm_seconds: float = 60.0
) -> AsyncIterator[ChatCheck]:
    async with client_for(url, "") as client:
        check = ChatCheck(client, "tiny", False, patience, reported.append, warm_seconds)
        running = asyncio.create_task(check.run())
        try:
            yield check
        finally:
            await tasks.end(running)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the test's time limit bounds it
        await asyncio.sleep(0.01)


async def until_reported(reported: list[str | None], *wanted: str | None) -> None:
    await until(lambda: reported == list(wanted))


async def test_a_server_in_trouble_is_asked_until_it_answers_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_check, "_FIRST_PAUSE", 0.01)
    reported: list[str | None] = []
    async with chat_server() as chat:
        chat.status = 503
        async with checking(chat.url, reported) as check:
            await until(lambda: len(chat.checks) >= 3)
            assert reported == ["it answers with status 503"]
            chat.status = 200
            await until_reported(reported, "it answers with status 503", None)
            chat.status = 401
            check.check_again()
            await until_reported(
                reported, "it answers with status 503", None, "it does not accept the key (status 401)"
            )


async def test_a_silent_server_is_told_and_waited_for() -> None:
    reported: list[str | None] = []
    async with chat_server() as chat:
        chat.silent = asyncio.Event()
        async with checking(chat.url, reported, patience=0.05):
            await until_reported(reported, "it has not answered for 0.05 s")
            chat.silent.set()
            await until_reported(reported, "it has not answered for 0.05 s", None)
            assert len(chat.checks) == 1


async def test_the_register_knows_of_a_bridge_without_its_chat_server_until_that_answers(bus_client: Client) -> None:
    async with chat_server() as chat:
        chat.status = 503
        settings = Settings(agent_name="mute", llm_url=chat.url, llm_model="tiny")
        # speech is the workers' here: this bridge takes no call
        bridge = Bridge(bus_client, LocalModels(cast(VoiceActivity, None), None, None), settings, SilentAgent)
        trouble = await bridge.chat_server_trouble()
        assert trouble is not None, "known before calls can come"
        assert trouble.what == "it answers with status 503"
        await bridge.join()
        try:
            expected = "its chat server (ANTIPHON_LLM_URL) won't answer callers: it answers with status 503"
            while await trouble_in_register(bus_client) != expected:
                pass
            chat.status = 200
            while await trouble_in_register(bus_client):
                pass
        finally:
            await bridge.close()


async def trouble_in_register(client: Client) -> str:
    (found,) = [
        each
        for each in await service_discovery.instances(client, service_discovery.AGENT_SERVICE, 0.1)
        if each["agent"] == "mute"
    ]
    return found.get(service_discovery.TROUBLE, "")
