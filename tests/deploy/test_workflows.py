"""Continuous integration and commit hooks as files: what they call exists, and they may do no more than they need."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

pytestmark = pytest.mark.pure

ROOT: Final = Path(__file__).parents[2]
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED: Final = re.compile(r"[\w.-]+/[\w.-]+@([0-9a-f]{40}|v\d+)")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def jobs() -> list[Any]:
    return [
        pytest.param(job, id=f"{path.stem}-{name}") for path in WORKFLOWS for name, job in read(path)["jobs"].items()
    ]


def variants(job: dict[str, Any]) -> list[dict[str, str]]:
    """The values of `matrix` in each run of the job."""
    matrix = dict(job.get("strategy", {}).get("matrix", {}))
    included = matrix.pop("include", [])
    lists = [[(key, str(value)) for value in values] for key, values in matrix.items()]
    combined = [dict(each) for each in itertools.product(*lists)] if lists or not included else []
    return combined + [{key: str(value) for key, value in each.items()} for each in included]


def commands(job: dict[str, Any]) -> Iterator[list[str]]:
    """Every command line of the job, in each run, as words."""
    for values, step in itertools.product(variants(job), job["steps"]):
        for line in step.get("run", "").splitlines():
            for key, value in values.items():
                line = re.sub(rf"\$\{{\{{ *matrix\.{key} *\}}\}}", value, line)
            yield line.split()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_there_are_workflows_for_pushes_and_for_the_night() -> None:
    assert {path.name for path in WORKFLOWS} >= {"test.yml", "nightly.yml"}
    assert not list((ROOT / ".github" / "workflows").glob("*.yaml")), "one ending, so that none is overlooked here"


@pytest.mark.parametrize("job", jobs())
def test_every_command_of_a_job_is_a_target_of_the_makefile_or_a_script(job: dict[str, Any]) -> None:
    called = list(commands(job))
    assert called
    for words in called:
        if words[0] == "make":
            named = [word for word in words[1:] if "=" not in word]
            assert named, f"{words}: which target?"
            assert set(named) <= targets()
        else:
            script = ROOT / words[0]
            assert script.is_file(), f"{words[0]} is neither make nor a script of ours"
            assert script.stat().st_mode & 0o100, f"{words[0]} can't be executed"


@pytest.mark.parametrize("job", jobs())
def test_every_job_has_a_time_limit_and_pinned_actions(job: dict[str, Any]) -> None:
    assert job["timeout-minutes"]
    assert "permissions" not in job, "those of the workflow are enough"
    for step in job["steps"]:
        if "uses" in step:
            assert PINNED.fullmatch(step["uses"]), step["uses"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    assert "pull_request_target" not in path.read_text(), "it would run a stranger's code with our rights"
    assert "secrets." not in path.read_text()


def test_pushes_are_tested_with_every_python_that_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = [line.rpartition(" ")[2] for line in project["classifiers"] if line.startswith("Programming Language")]
    job = read(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == supported
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_commit_hooks_call_the_pinned_tools_and_bring_none_of_their_own() -> None:
    repositories = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [each["repo"] for each in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        assert hook["language"] in ("system", "pygrep"), "anything else installs a tool of its own"
        program, *arguments = hook["entry"].split()
        if program == "make":
            assert set(arguments) <= targets()
        elif hook["language"] == "system":
            assert (ROOT / program).is_file()
            assert f"$(BIN)/{Path(program).name} " in (ROOT / "Makefile").read_text(), "make lint calls the same"


@pytest.mark.parametrize(("length", "refused"), [(1, False), (72, False), (73, True)])
def test_a_subject_of_more_than_72_characters_is_refused(length: int, refused: bool) -> None:
    hooks = read(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    (hook,) = [hook for hook in hooks if hook["id"] == "subject"]
    message = "x" * length + "\n\n" + "Why, in a body whose lines may be longer. " * 4
    assert (re.search(hook["entry"], message, re.MULTILINE) is not None) == refused
