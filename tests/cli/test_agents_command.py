"""`antiphon agents`: who is present, what is wrong in a folder of files, and what of a shell the bridge gets."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nats.aio.client import Client
from support.processes.nats_roles import guarded_nats

from antiphon.cli.agents import present as agents_present
from antiphon.cli.agents.present import Present, present, table
from antiphon.cli.errors import UsageError
from antiphon.cli.main import main
from antiphon.cli.up.agents_environment import environment_of_agents
from antiphon.runtime import tasks
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.service_discovery import AGENT_SERVICE, TROUBLE, Instance, register
from antiphon.schemas import messages, subjects

ROOT = Path(__file__).parents[2]
CHAT = '[chat]\nurl = "http://127.0.0.1:11434/v1"\nmodel = "tiny"\n'


# ---- check ---------------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_the_examples_have_no_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    folder = ROOT / "examples" / "agents"
    assert main(["agents", "check", str(folder)]) == 0
    assert capsys.readouterr().out == "clock, desk, night: no mistakes\n"


@pytest.mark.pure
def test_all_mistakes_of_all_files_are_told_and_the_status_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "desk.toml").write_text(CHAT + "temperature = 7\ntop_p = 0\n")
    (tmp_path / "bar.toml").write_text("greeting = \n")
    (tmp_path / "good.toml").write_text(CHAT)
    assert main(["agents", "check", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert [line.partition(": ")[0] for line in shown.out.splitlines()] == [
        "bar.toml, line 1",
        "desk.toml, line 4",
        "desk.toml, line 5",
    ]
    assert shown.err == "antiphon agents check: 2 of 3 agents can't be used\n"


@pytest.mark.pure
def test_keys_that_are_on_another_machine_may_be_left_out_of_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "desk.toml").write_text(CHAT + 'key_env = "KEY_OF_ANOTHER_MACHINE"\n')
    (tmp_path / "bar.toml").write_text(CHAT + 'key_file = "/nowhere"\n')
    assert main(["agents", "check", str(tmp_path)]) == 1
    assert "KEY_OF_ANOTHER_MACHINE is not set" in capsys.readouterr().out
    assert main(["agents", "check", "--without-keys", str(tmp_path)]) == 0


@pytest.mark.pure
def test_a_folder_without_agents_and_what_is_no_folder_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["agents", "check", str(tmp_path)]) == 1
    assert "no agent in" in capsys.readouterr().err
    (tmp_path / "desk.toml").write_text("")
    assert main(["agents", "check", str(tmp_path / "desk.toml")]) == 2
    assert "name the folder it is in" in capsys.readouterr().err
    assert main(["agents", "check", str(tmp_path / "nowhere")]) == 2
    monkeypatch.setenv("ANTIPHON_LLM_URL", "http://127.0.0.1:1/v1")
    assert main(["agents", "check", str(tmp_path)]) == 0, "the bridge's chat server answers for it"


@pytest.mark.process
def test_the_check_loads_no_model_library() -> None:
    script = (
        "import sys; from antiphon.cli.main import main; status = main(sys.argv[1:]);"
        "assert not {'numpy', 'onnxruntime', 'httpx2', 'faster_whisper'} & sys.modules.keys(); sys.exit(status)"
    )
    command = [sys.executable, "-c", script, "agents", "check", str(ROOT / "examples" / "agents")]
    subprocess.run(command, check=True, env={**os.environ}, timeout=30)


# ---- up ------------------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_the_bridge_gets_the_variables_that_the_files_name_and_no_others(tmp_path: Path) -> None:
    tool = '[[tools.http]]\nname = "a"\nheaders = { authorization = "env:SHOP_KEY" }\n'
    (tmp_path / "desk.toml").write_text(CHAT + 'key_env = "DESK_KEY"\n' + tool)
    (tmp_path / "bad.toml").write_text("[")
    (tmp_path / "greedy.toml").write_text(CHAT + 'key_env = "ANTIPHON_SECRET_KEY"\n')
    ours = {"DESK_KEY": "1", "SHOP_KEY": "2", "AWS_SECRET": "3", "ANTIPHON_SECRET_KEY": "4"}
    wanted = {"ANTIPHON_AGENTS_DIR": str(tmp_path), "DESK_KEY": "1", "SHOP_KEY": "2"}
    assert environment_of_agents(tmp_path, ours) == wanted
    assert environment_of_agents(None, {**ours, "ANTIPHON_AGENTS_DIR": str(tmp_path)}) == wanted
    assert environment_of_agents(None, ours) == {}


@pytest.mark.pure
def test_a_folder_that_is_not_there_is_told_by_the_option_or_setting_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--agents \S+/no: there is no such folder"):
        environment_of_agents(tmp_path / "no", {})
    with pytest.raises(UsageError, match=r"ANTIPHON_AGENTS_DIR \S+/no: there is no such folder"):
        environment_of_agents(None, {"ANTIPHON_AGENTS_DIR": str(tmp_path / "no")})


# ---- present -------------------------------------------------------------------------------------------------


def _instance(name: str, id: str, sessions: int, **metadata: str) -> Instance:
    return Instance(AGENT_SERVICE, id, {"agent": name, **metadata}, "", {"sessions": sessions, "capacity": 8})


@pytest.mark.pure
def test_an_agent_is_one_row_whoever_answers_for_it() -> None:
    text = messages.TextAgentAnnouncement(agent="writer", instance="w1", capacity=100, answering=3)
    other = text.model_copy(update={"instance": "w2", "answering": 1})
    entries = [
        _instance("desk", "a", 2, kind="file"),
        _instance("desk", "a", 2, kind="file"),
        _instance("desk", "b", 1, **{TROUBLE: "its chat server\nis away"}),
        _instance("writer", "c", 2),
        Instance(AGENT_SERVICE, "d", {"agents": "one,two"}, "", {"sessions": "many"}),
        Instance(AGENT_SERVICE, "e", {}, ""),
    ]
    rows = present(entries, [text, other])
    assert rows == [
        Present("desk", "file", 2, 3, 16, "its chat server\nis away"),
        Present("one", "", 1, 0, 0),
        Present("two", "", 1, 0, 0),
        Present("writer", "text", 2, 4, 200),
    ]
    lines = table(rows).splitlines()
    assert len(lines) == 5
    assert lines[1].split() == ["desk", "file", "2", "3/16", "its", "chat", "server\\nis", "away"]


@pytest.mark.process
async def test_present_agents_are_found_by_the_register_and_their_announcements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operator, bridge, writer = User("operator"), User("bridge", "concierge"), User("text_agent", "writer")
    with guarded_nats(tmp_path, [operator, bridge, writer]) as nats:
        for name, value in nats.environment(operator).items():
            monkeypatch.setenv(name, value)
        assert await asyncio.to_thread(main, ["agents", "--json"]) == 1
        assert json.loads(capsys.readouterr().out) == {"agents": []}
        async with nats.client(bridge) as serving, nats.client(writer) as writing:
            service = await register(serving, AGENT_SERVICE, {"agent": "desk"}, lambda: {"sessions": 1, "capacity": 9})
            await service.add_endpoint(name="claim", subject=subjects.agent_claim("desk"), handler=_no_handler)
            announcing = asyncio.create_task(_announce(writing))
            try:
                assert await asyncio.to_thread(main, ["agents", "--nats", nats.url]) == 0
            finally:
                await tasks.end(announcing)
                await service.stop()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["AGENT", "KIND", "INSTANCES", "LOAD", "TROUBLE"],
        ["desk", "-", "1", "1/9"],
        ["writer", "text", "1", "2/100"],
    ]


async def _no_handler(request: object) -> None:
    """No claim comes."""


async def _announce(client: Client) -> None:
    said = messages.TextAgentAnnouncement(agent="writer", instance="w1", answering=2)
    gone = messages.TextAgentAnnouncement(agent="writer", instance="w0", leaving=True)
    while True:
        for each in (said, gone):
            await client.publish(subjects.agent_announce("writer"), messages.encode(each))
        await asyncio.sleep(agents_present.LISTEN_SECONDS / 10)


@pytest.mark.process
async def test_a_server_that_is_not_there_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(main, ["agents", "--nats", "nats://127.0.0.1:1"]) == 1
    assert "cannot be reached" in capsys.readouterr().err
