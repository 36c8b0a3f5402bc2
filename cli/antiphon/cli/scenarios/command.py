"""`antiphon test DIR`: runs the scenarios of a folder.

Status 0: all is as expected. 1: something is not. 2: something is wrong with the options or a file.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from antiphon.agent.testing import ChatModel, Conversation, Scenario, VirtualClockLoop, read_scenarios, run_scenario
from antiphon.agent.testing.conversation import Answers
from antiphon.agent.testing.scenario import Call, ScenarioError, ScenarioFile
from antiphon.cli.call.call_client import require_url
from antiphon.cli.errors import CallError, UsageError

MAX_FILES: Final = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a file of scenarios (TOML), or a folder with such files")
    parser.add_argument(
        "--live", metavar="URL", help="through this running stack, in real time, such as http://127.0.0.1:8080"
    )
    parser.add_argument("--api-key", default="", help="of signaling, for --live; or ANTIPHON_API_KEY")
    parser.add_argument("--judge", metavar="URL", help="base URL of a chat server that judges; its key: OPENAI_API_KEY")
    parser.add_argument("--judge-model", default="", help="the model that judges")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each scenario")


def run(args: argparse.Namespace) -> int:
    """Run all scenarios, one after the other."""
    if args.live:
        require_url(args.live)
    if bool(args.judge) != bool(args.judge_model):
        raise UsageError("--judge and --judge-model go together")
    try:
        judge = ChatModel(args.judge, args.judge_model) if args.judge else None
        files = {file: read_scenarios(file) for file in files_in(args.path)}
    except (ScenarioError, ValueError) as error:
        raise UsageError(str(error)) from None
    failed = 0
    for file, found in files.items():
        make = _live_call(file, found, args) if args.live else _conversation(agent_of(file, found))
        for scenario in found.scenario:
            failed += not _run_one(file, scenario, make, judge, args)
    return 1 if failed else 0


def files_in(path: Path) -> list[Path]:
    """The file, or the files of the folder in the order of their names; `UsageError` if there is none."""
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*.toml") if _holds_scenarios(file))[:MAX_FILES]
    if not files:
        raise UsageError(f"{path}: no file of scenarios (*.toml with [[scenario]]) is there")
    return files


def _holds_scenarios(file: Path) -> bool:
    try:
        return "[[scenario]]" in file.read_text()
    except (OSError, UnicodeDecodeError):
        return False


def agent_of(file: Path, scenarios: ScenarioFile) -> Answers:
    """The text agent of a Python file beside the scenarios; `UsageError` if there is none."""
    name, _, variable = scenarios.agent.partition(":")
    source = file.parent / name
    if source.suffix != ".py" or not source.is_file():
        raise UsageError(f"{file}: agent {scenarios.agent!r}: no such Python file; an agent of a stack needs --live")
    specification = importlib.util.spec_from_file_location(f"antiphon_scenarios_{source.stem}", source)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(source.parent))
    try:
        specification.loader.exec_module(module)
    except SystemExit as error:
        text = f'{source}: it ended at import: put agent.run() behind `if __name__ == "__main__":`'
        raise UsageError(f"{text} ({error})") from None
    except Exception as error:
        raise UsageError(f"{source}: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove(str(source.parent))
    there = vars(module)
    found = [there[variable]] if variable in there else [each for each in there.values() if _answers(each)]
    found = list({id(each): each for each in found}.values())
    if len(found) != 1 or not _answers(found[0]):
        raise UsageError(f"{source}: {len(found)} text agents are there: name the variable, such as {name}:agent")
    agent: Answers = found[0]
    return agent


def _answers(value: object) -> bool:
    from antiphon.agent import TextAgent

    return isinstance(value, TextAgent)


MakeCall = Callable[[Scenario], Coroutine[Any, Any, Call]]


def _conversation(agent: Answers) -> MakeCall:
    async def make(scenario: Scenario) -> Call:
        return Conversation(agent, language=scenario.language, session=scenario.session, now=scenario.now)

    return make


def _live_call(file: Path, found: ScenarioFile, args: argparse.Namespace) -> MakeCall:
    from antiphon.cli.scenarios.live_call import LiveCall

    is_file = found.agent.partition(":")[0].endswith(".py")
    name = agent_of(file, found).name if is_file else found.agent

    async def make(scenario: Scenario) -> Call:
        return LiveCall(args.live, args.api_key, name, scenario.language, scenario.session)

    return make


def _run_one(file: Path, scenario: Scenario, make: MakeCall, judge: ChatModel | None, args: argparse.Namespace) -> bool:
    calls: list[Call] = []

    async def work() -> list[str]:
        call = await make(scenario)
        calls.append(call)
        return await run_scenario(scenario, call, judge)

    began = time.perf_counter()
    with asyncio.Runner(loop_factory=None if args.live else VirtualClockLoop) as runner:
        try:
            failures = runner.run(work())
        except CallError as error:
            failures = [str(error)]
    took_ms = (time.perf_counter() - began) * 1000
    transcript = str(calls[0].transcript) if calls else ""
    if args.json:
        shown = {"file": str(file), "scenario": scenario.name, "ok": not failures, "failures": failures}
        print(json.dumps(shown | {"ms": round(took_ms, 1), "transcript": transcript.splitlines()}))
    else:
        print(f"{'ok    ' if not failures else 'FAILED'}  {file.name}: {scenario.name} ({took_ms:.0f} ms)")
        for failure in failures:
            print(f"        {failure}")
        if failures and transcript:
            print("\n".join(f"        {line}" for line in transcript.splitlines()))
    return not failures
