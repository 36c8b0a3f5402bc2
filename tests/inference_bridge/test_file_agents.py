"""Agents of a folder, served: real files, a real chat server on loopback, calls that go on while files change."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from nats.aio.client import Client
from pydantic import BaseModel
from support.conditions import until
from support.models.plain_chat_server import ChatServer, chat_server
from support.models.speech_server import Answer, speech_server, tone

from antiphon.inference_bridge.agents import Agent, ReplyPart, Request
from antiphon.inference_bridge.agents.profile import AgentSource, FailureSentences
from antiphon.inference_bridge.dispatch.bridge import Bridge
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.dispatch.model_load import ModelLoad
from antiphon.inference_bridge.file_agents import file_agents
from antiphon.inference_bridge.file_agents.file_agents import FileAgents
from antiphon.inference_bridge.file_agents.files import MAX_AGENTS
from antiphon.inference_bridge.file_agents.tool_support import ToolSupport
from antiphon.inference_bridge.models.remote.language_model import RemoteLanguageModel
from antiphon.inference_bridge.models.sources import silero_file
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.conversation import message
from antiphon.inference_bridge.settings import Settings
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = pytest.mark.process

NO_NATS = cast(Client, None)
"""Agents that ask chat servers themselves need none."""


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_agents, "LOOK_SECONDS", 0.02)


@pytest.fixture
async def chat() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


@asynccontextmanager
async def serving(
    folder: Path, told: list[Mapping[str, str]] | None = None, settings: Settings | None = None, **options: Any
) -> AsyncIterator[FileAgents]:
    told = [] if told is None else told
    agents = FileAgents(folder, NO_NATS, settings or Settings(), on_trouble=told.append, **options)
    await agents.start()
    source: AgentSource = agents
    assert source.profiles() == agents.profiles()
    try:
        yield agents
    finally:
        await agents.close()


def write(folder: Path, name: str, chat: ChatServer, more: str = "", server: str = "") -> None:
    """In one step, as the documentation asks for."""
    text = f'{more}\n[chat]\nurl = "{chat.url}"\nmodel = "tiny"\n{server}'
    (folder / "new").write_text(text)
    os.replace(folder / "new", folder / f"{name}.toml")


def asking(text: str) -> Request:
    item = message("item_1", "user", "completed", {"type": "input_text", "text": text})
    return Request(text, datetime(2026, 11, 22, 10, 30), [item], "Be brief.")


async def answer(agent: Agent, text: str = "What time is it?") -> str:
    async with aclosing(agent.reply(asking(text))) as parts:
        return "".join([part async for part in parts if isinstance(part, str)])


async def test_each_file_is_an_agent_with_what_the_file_says(tmp_path: Path, chat: ChatServer) -> None:
    more = 'greeting = "Desk."\ninstructions = "Be kind."\nlanguage = "de"\nvoice = "eva"\nlongest_call = 600\n'
    turns = '[turns]\neagerness = "low"\npatience_ms = 900\n[silence]\nafter_ms = 5000\nprompts = ["Hallo?"]\n'
    write(tmp_path, "desk", chat, more, turns + '[failures]\napology = "Kaputt."\n')
    write(tmp_path, "plain", chat, 'language = "fr"')
    async with serving(tmp_path) as agents:
        desk, plain = agents.profiles()["desk"], agents.profiles()["plain"]
    assert (desk.greeting, desk.instructions, desk.language, desk.voice) == ("Desk.", "Be kind.", "de", "eva")
    assert (desk.turn_detection, desk.patience_ms) == ({"type": "semantic_vad", "eagerness": "low"}, 900)
    assert (desk.silence_ms, desk.silence_prompts, desk.longest_call) == (5000, ("Hallo?",), 600)
    assert desk.failures == FailureSentences(apology="Kaputt.")
    assert (plain.greeting, plain.instructions) == (phrase("greeting", "fr"), Settings().llm_instructions)
    assert (plain.turn_detection, plain.silence_ms, plain.longest_call) == (None, None, None)


async def test_an_agent_asks_its_chat_server_with_its_key_and_parameters(tmp_path: Path, chat: ChatServer) -> None:
    options = (
        'key_env = "DESK_KEY"\ntemperature = 0.2\ntop_p = 0.9\nmax_tokens = 80\nparameters = { keep_alive = "9m" }'
    )
    write(tmp_path, "desk", chat, server=options)
    waits = ModelLoad(1.5, {"stt": 2, "agent": 8, "tts": 2}).waits["agent"]
    async with serving(tmp_path, environment={"DESK_KEY": "sk-1"}, waits=waits) as agents:
        assert await answer(agents.profiles()["desk"].make("rtc_1")) == "Sure, it is ten."
    asked = chat.requests[0]
    assert (asked["model"], asked["temperature"], asked["top_p"], asked["max_tokens"]) == ("tiny", 0.2, 0.9, 80)
    assert asked["keep_alive"] == "9m"
    assert "Bearer sk-1" in chat.headers[-1]


async def test_an_option_that_the_server_does_not_know_is_left_out(tmp_path: Path, chat: ChatServer) -> None:
    write(tmp_path, "desk", chat, server='parameters = { keep_alive = "9m" }')
    async with serving(tmp_path) as agents:
        await until(lambda: chat.checks)
        chat.refuses = "keep_alive"
        assert await answer(agents.profiles()["desk"].make("rtc_1")) == "Sure, it is ten."
    assert "keep_alive" in chat.requests[0]
    assert "keep_alive" not in chat.requests[-1]


async def test_the_caller_hears_the_file_s_own_apology(tmp_path: Path, chat: ChatServer) -> None:
    write(tmp_path, "desk", chat, server='timeout = 0.2\n[failures]\napology = "Our computer is asleep."')
    async with serving(tmp_path) as agents:
        chat.status = 500
        assert await answer(agents.profiles()["desk"].make("rtc_1")) == "Our computer is asleep."


async def test_a_change_is_in_force_for_new_calls_and_a_running_one_keeps_what_it_has(
    tmp_path: Path, chat: ChatServer
) -> None:
    write(tmp_path, "desk", chat, 'greeting = "Old."', "temperature = 0.1")
    async with serving(tmp_path) as agents:
        running = agents.profiles()["desk"].make("rtc_1")
        write(tmp_path, "desk", chat, 'greeting = "New."', "temperature = 0.9")
        await until(lambda: agents.profiles()["desk"].greeting == "New.")
        await answer(running)
        await answer(agents.profiles()["desk"].make("rtc_2"))
    assert [asked["temperature"] for asked in chat.requests] == [0.1, 0.9]


async def test_files_come_and_go_while_it_runs(tmp_path: Path, chat: ChatServer) -> None:
    async with serving(tmp_path) as agents:
        assert agents.profiles() == {}
        write(tmp_path, "desk", chat)
        write(tmp_path, "bar", chat)
        await until(lambda: sorted(agents.profiles()) == ["bar", "desk"])
        running = agents.profiles()["desk"].make("rtc_1")
        (tmp_path / "desk.toml").unlink()
        await until(lambda: sorted(agents.profiles()) == ["bar"])
        assert await answer(running) == "Sure, it is ten.", "its call goes on"


async def test_a_file_that_is_moved_away_and_written_anew_does_not_take_its_agent_away(
    tmp_path: Path, chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "desk", chat, 'greeting = "Old."')
    async with serving(tmp_path) as agents:
        files = agents._files
        (tmp_path / "desk.toml").rename(tmp_path / "desk.toml~")
        assert files.look(1.0).gone == frozenset()
        write(tmp_path, "desk", chat, 'greeting = "New."')
        assert files.look(2.0).gone == frozenset()


async def test_one_bad_file_costs_no_other_agent_and_the_old_version_stays(
    tmp_path: Path, chat: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Mapping[str, str]] = []
    write(tmp_path, "bad", chat, 'voise = "joe"')
    write(tmp_path, "desk", chat, 'greeting = "Old."')
    async with serving(tmp_path, told) as agents:
        assert sorted(agents.profiles()) == ["desk"]
        assert 'bad.toml, line 1: voise is "joe": there is no such field: is voice meant?' in caplog.text
        assert told[-1] == {"bad": "its file has 1 mistake(s), the first in line 1 (voise)"}
        write(tmp_path, "desk", chat, "greeting = 3")
        await until(lambda: "desk.toml, line 1: greeting is 3" in caplog.text)
        assert "what it said before stays in force" in caplog.text
        assert agents.profiles()["desk"].greeting == "Old."
        write(tmp_path, "bad", chat)
        write(tmp_path, "desk", chat, 'greeting = "New."')
        await until(lambda: not told[-1])
        assert sorted(agents.profiles()) == ["bad", "desk"]
        assert agents.profiles()["desk"].greeting == "New."
    assert len([record for record in caplog.records if "greeting is 3" in record.getMessage()]) == 1, "told once"


async def test_half_a_file_is_not_taken(tmp_path: Path, chat: ChatServer) -> None:
    write(tmp_path, "desk", chat, 'greeting = "Old."')
    async with serving(tmp_path) as agents:
        files = agents._files
        await agents.close()
        whole = (tmp_path / "desk.toml").read_text() + "temperature = 0.5\n[silence]\nafter_ms = 4000\n"
        (tmp_path / "desk.toml").write_text(whole.partition("[silence]")[0])
        assert files.look(1.0).read == {}
        (tmp_path / "desk.toml").write_text(whole)
        assert files.look(2.0).read == {}
        assert files.look(3.0).read["desk"].definition.silence is not None


async def test_a_config_map_that_is_changed_by_its_link_is_read_again(tmp_path: Path, chat: ChatServer) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        write(tmp_path / version, "desk", chat, f'greeting = "{version}"')
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "..data").symlink_to(tmp_path / "one")
    (tmp_path / "agents" / "desk.toml").symlink_to(Path("..data") / "desk.toml")
    async with serving(tmp_path / "agents") as agents:
        assert agents.profiles()["desk"].greeting == "one"
        (tmp_path / "next").symlink_to(tmp_path / "two")
        os.replace(tmp_path / "next", tmp_path / "agents" / "..data")
        await until(lambda: agents.profiles()["desk"].greeting == "two")


async def test_a_folder_that_is_not_there_yet_is_read_when_it_is(
    tmp_path: Path, chat: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Mapping[str, str]] = []
    folder = tmp_path / "agents"
    async with serving(folder, told) as agents:
        assert f"the folder {folder} can't be read: No such file or directory" in caplog.text
        assert told == [{"": "the folder of agents' files can't be used as it is"}]
        folder.mkdir()
        write(folder, "desk", chat)
        await until(lambda: "desk" in agents.profiles())
        (folder / "desk.toml").rename(tmp_path / "desk.toml")
        folder.rmdir()
        await until(lambda: told[-1])
        assert "desk" in agents.profiles(), "a folder that is away for a while takes no agent away"
    assert told[1] == {}


async def test_what_is_no_agent_s_file_is_left_alone(tmp_path: Path, chat: ChatServer) -> None:
    write(tmp_path, "desk", chat)
    for name in ("README.md", ".hidden.toml", "desk.toml~", "desk.toml.swp"):
        (tmp_path / name).write_text("[")
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "large.toml").write_bytes(b"#" * 300_000)
    (tmp_path / "nowhere.toml").symlink_to("missing")
    told: list[Mapping[str, str]] = []
    async with serving(tmp_path, told) as agents:
        assert sorted(agents.profiles()) == ["desk"]
        assert told[-1].keys() == {"pipe", "folder", "large", "nowhere"}


async def test_more_files_than_are_served_are_named_and_those_in_force_stay(
    tmp_path: Path, chat: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MAX_AGENTS):
        write(tmp_path, f"agent{number:02d}", chat)
    async with serving(tmp_path) as agents:
        assert len(agents.profiles()) == MAX_AGENTS
        write(tmp_path, "a-first", chat)
        await until(lambda: "more than 64 agents: a-first.toml and others are left out" in caplog.text)
        assert "a-first" not in agents.profiles()
        assert len(agents.profiles()) == MAX_AGENTS
        assert len(agents._servers) == 1, "one chat server is asked by all"
    assert len(chat.checks) == 1


async def test_a_chat_server_in_trouble_is_told_with_the_agents_that_ask_it(
    tmp_path: Path, chat: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Mapping[str, str]] = []
    chat.status, chat.error = 401, "invalid key"
    write(tmp_path, "desk", chat)
    async with serving(tmp_path, told):
        await until(lambda: told)
        assert told == [{"desk": "its chat server won't answer callers: it does not accept the key (status 401)"}]
        assert "Set key_env in [chat]." in caplog.text
        chat.status = 200
        await until(lambda: not told[-1])


async def test_a_chat_server_is_closed_when_the_last_call_that_asks_it_has_ended(
    tmp_path: Path, chat: ChatServer
) -> None:
    write(tmp_path, "desk", chat, server='key_env = "OLD"')
    async with serving(tmp_path, environment={"OLD": "1", "NEW": "2"}) as agents:
        running: Agent | None = agents.profiles()["desk"].make("rtc_1")
        write(tmp_path, "desk", chat, server='key_env = "NEW"')
        await until(lambda: len(agents._servers) == 2)
        assert running is not None
        assert await answer(running) == "Sure, it is ten."
        running = None
        gc.collect()
        await until(lambda: len(agents._servers) == 1)
        assert await answer(agents.profiles()["desk"].make("rtc_2")) == "Sure, it is ten."


async def test_a_profile_that_is_kept_makes_agents_after_its_file_has_changed(tmp_path: Path, chat: ChatServer) -> None:
    write(tmp_path, "desk", chat, server="temperature = 0.1")
    async with serving(tmp_path) as agents:
        make = agents.profiles()["desk"].make
        (tmp_path / "desk.toml").unlink()
        await until(lambda: not agents.profiles())
        assert await answer(make("rtc_1")) == "Sure, it is ten."


async def test_a_key_that_is_changed_in_its_file_is_used_by_new_calls(tmp_path: Path, chat: ChatServer) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    write(tmp_path, "desk", chat, server='key_file = "key"')
    async with serving(tmp_path) as agents:
        old = agents.profiles()["desk"]
        (tmp_path / "key").write_text("sk-2\n")
        await until(lambda: agents.profiles()["desk"] is not old)
        await answer(agents.profiles()["desk"].make("rtc_1"))
    assert "Bearer sk-2" in chat.headers[-1]


async def test_a_file_without_a_chat_server_asks_the_bridge_s(tmp_path: Path, chat: ChatServer) -> None:
    (tmp_path / "desk.toml").write_text('greeting = "Desk."\n')
    async with serving(tmp_path, settings=Settings(llm_url=chat.url, llm_model="of-the-bridge")) as agents:
        assert await answer(agents.profiles()["desk"].make("rtc_1")) == "Sure, it is ten."
    assert chat.requests[0]["model"] == "of-the-bridge"


async def test_a_file_without_a_chat_server_asks_the_workers_where_the_bridge_does(tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text("")
    async with serving(tmp_path, settings=Settings(llm="remote")) as agents:
        assert isinstance(agents.profiles()["desk"].make("rtc_1"), RemoteLanguageModel)
        assert len(agents._servers) == 0


async def test_an_odd_name_of_a_file_is_one_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Mapping[str, str]] = []
    (tmp_path / "a\nERROR b.toml").write_text("")
    (tmp_path / os.fsdecode(b"\xff.toml")).mkdir()
    async with serving(tmp_path, told) as agents:
        assert agents.profiles() == {}
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "a\\nERROR b.toml, line 1: letters, digits" in caplog.text
    assert told[-1].keys() == {""}


# ---- tools ---------------------------------------------------------------------------------------------------


class Tool(BaseModel):
    name: str


@dataclass
class Tools:
    """What is made of the tools of a file; keeps what happens to it."""

    http: Sequence[Any]
    mcp: Sequence[Any]
    did: list[str] = field(default_factory=list)

    async def start(self) -> None:
        self.did.append("start")
        if self.http[0].name == "broken":
            raise RuntimeError("no such server")

    async def close(self) -> None:
        self.did.append("close")


class Using:
    """An agent around another one, that says which tools it has."""

    def __init__(self, agent: Agent, tools: Tools, failures: FailureSentences) -> None:
        self.agent, self.tools, self.failures = agent, tools, failures

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        yield f"{self.tools.http[0].name}: {self.failures.tool_failed}"


async def test_the_tools_of_a_file_start_with_it_and_end_with_the_last_call_that_has_them(
    tmp_path: Path, chat: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Tools] = []

    told: list[Mapping[str, str]] = []

    def tool_set(http: Sequence[Any], mcp: Sequence[Any]) -> Tools:
        if http[0].name == "refused":
            raise ValueError("a secret is not there")
        made.append(Tools(http, mcp))
        return made[-1]

    support = ToolSupport(Tool, Tool, tool_set, cast(Any, Using))
    tool = '[failures]\ntool_failed = "Oh."\n[[tools.http]]\nname = "first"\n'
    write(tmp_path, "desk", chat, server=tool)
    async with serving(tmp_path, told, tools=support) as agents:
        assert made[0].did == ["start"]
        running: Agent | None = agents.profiles()["desk"].make("rtc_1")
        write(tmp_path, "desk", chat, server=tool.replace("first", "broken"))
        await until(lambda: len(made) == 2)
        assert running is not None
        assert await answer(running) == "first: Oh."
        running = None
        gc.collect()
        await until(lambda: made[0].did == ["start", "close"])
        assert "agent desk: not all of its tools start: no such server" in caplog.text
        assert await answer(agents.profiles()["desk"].make("rtc_2")) == "broken: Oh.", "it is in force all the same"
        assert told[-1] == {"desk": "not all of its tools are there"}
        write(tmp_path, "desk", chat, server=tool.replace("first", "refused"))
        await until(lambda: "line 7: tools: a secret is not there" in caplog.text)
        assert await answer(agents.profiles()["desk"].make("rtc_3")) == "broken: Oh.", "what it said before stays"
    assert made[1].did == ["start", "close"]


# ---- a call --------------------------------------------------------------------------------------------------


class NoWords:
    """A recogniser that is never needed: this caller types."""

    languages = frozenset({"en"})

    def transcribe(self, pcm: bytes, prompt: str = "", language: str = "") -> str:
        return ""


@pytest.mark.models
async def test_a_call_is_answered_by_the_agent_of_a_file(
    tmp_path: Path, chat: ChatServer, bus_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write(tmp_path, "desk", chat, server="temperature = 0.3")
    async with speech_server() as voice, serving(tmp_path) as agents:
        voice.answer = lambda _: Answer([tone(0.1).tobytes()])
        local = LocalModels(VoiceActivity(silero_file(None, "")), NoWords(), None)
        settings = Settings(greeting="none", tts_url=voice.url)
        bridge = Bridge(bus_client, local, settings, lambda: agents.profiles()["desk"].make("rtc_1"))
        await bridge.start()
        await bridge.join()
        try:
            async with FakeTransceiver(bus_client, "concierge") as caller:
                content = [{"type": "input_text", "text": "What time is it?"}]
                await caller.send(
                    {
                        "type": "conversation.item.create",
                        "item": {"type": "message", "role": "user", "content": content},
                    }
                )
                await caller.send({"type": "response.create"})
                done = await caller.wait_for("response.done")
        finally:
            await bridge.close()
    assert done["response"]["output"], done["response"]["status_details"]
    assert done["response"]["output"][0]["content"][0]["transcript"] == "Sure, it is ten."
    assert chat.requests[0]["temperature"] == 0.3
    assert "agents of" in caplog.text
