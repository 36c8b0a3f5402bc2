"""`antiphon agents`: a credential for each kind of plug-in, one name for one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.cli.main import main
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import Users

pytestmark = pytest.mark.pure


def agents(directory: Path, *arguments: str) -> int:
    return main(["agents", *arguments, "--credentials", str(directory)])


def users(directory: Path) -> list[User]:
    return [known.user for known in Users(directory).all()]


def test_each_kind_gets_a_credential_of_its_own_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agents(tmp_path, "add", "desk", "--kind", "text") == 0
    assert str(tmp_path / "text_agent-desk" / "nkey") in capsys.readouterr().out
    assert agents(tmp_path, "add", "echo") == 0
    assert agents(tmp_path, "add", "ear", "--shadow-of", "echo") == 0
    assert users(tmp_path) == [User("text_agent", "desk"), User("agent", "echo"), User("shadow", "ear", of="echo")]
    assert (tmp_path / "text_agent-desk" / "nkey").stat().st_mode & 0o777 == 0o400


def test_a_name_belongs_to_one_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agents(tmp_path, "add", "desk", "--kind", "text") == 0
    assert agents(tmp_path, "add", "desk") != 0
    assert "text_agent-desk exists, and would share its inbox" in capsys.readouterr().err
    assert agents(tmp_path, "remove", "desk") == 0
    assert agents(tmp_path, "add", "desk") == 0
    assert agents(tmp_path, "add", "desk", "--kind", "text") != 0


def test_a_text_agent_shadows_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agents(tmp_path, "add", "desk", "--kind", "text", "--shadow-of", "echo") != 0
    assert "--kind text" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.b", "*", "x" * 65])
def test_a_name_that_no_subject_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    assert agents(tmp_path, "add", name, "--kind", "text") != 0
    assert users(tmp_path) == []


def test_credentials_of_a_stack_may_have_text_agents(tmp_path: Path) -> None:
    assert main(["credentials", str(tmp_path), "--text-agent", "desk"]) == 0
    assert User("text_agent", "desk") in users(tmp_path)
