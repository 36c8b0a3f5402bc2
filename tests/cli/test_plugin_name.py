"""Which agent a plug-in's file is: read without running it, or asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.cli.errors import UsageError
from antiphon.cli.up.plugin_name import plugin
from antiphon.runtime.nats.permissions import User

pytestmark = pytest.mark.pure

EXAMPLES = Path(__file__).parents[2] / "examples"


def user_of(folder: Path, source: str, name: str = "", **environment: str) -> User:
    file = folder / "my agent.py"
    file.write_text(source)
    return plugin(f"{name}={file}" if name else str(file), environment).user


@pytest.mark.parametrize(
    ("source", "name", "of"),
    [
        ("agent = Agent('echo')", "echo", ""),
        ("agent = antiphon.agent.Agent(name='echo', capacity=3)", "echo", ""),
        ("NAME: str = 'echo'\nagent = Agent(NAME)", "echo", ""),
        ("agent = Agent(os.environ.get('WHO', 'echo'))", "echo", ""),
        ("agent = Agent(os.getenv('SET', 'echo'))", "from-outside", ""),
        ("def make():\n    return Agent('echo')", "echo", ""),
        ("agent = Agent('ear', shadow_of='echo')", "ear", "echo"),
        ("agent = Agent('ear', shadow_of=None)", "ear", ""),
        ("import nats  # without the SDK", "my-agent", ""),
        ("this is no Python (", "my-agent", ""),
    ],
)
def test_the_name_is_that_of_the_agent_in_the_file(tmp_path: Path, source: str, name: str, of: str) -> None:
    expected = User("shadow", name, of=of) if of else User("agent", name)
    assert user_of(tmp_path, source, SET="from-outside") == expected


@pytest.mark.parametrize(
    "source", ["agent = Agent(sys.argv[1])", "a, b = Agent('one'), Agent('two')", "agent = Agent(f'{x}')"]
)
def test_a_name_that_is_not_written_there_has_to_be_given(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError, match="Say --plugin NAME="):
        user_of(tmp_path, source)
    assert user_of(tmp_path, source, "mine") == User("agent", "mine")


@pytest.mark.parametrize("name", ["a.b", "*", "x" * 65, ">"])
def test_a_name_that_no_subject_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--plugin"):
        user_of(tmp_path, "", name)


@pytest.mark.parametrize(
    ("source", "role"),
    [
        ("agent = TextAgent('desk', greeting='Hello.')", "text_agent"),
        ("agent = antiphon.agent.TextAgent(name='desk')", "text_agent"),
        ("agent = TextAgent('desk')\nother = Agent('echo')", "text_agent"),
        ("agent = TextAgent('echo')\nother = Agent('desk')", "agent"),
        ("agent = TextAgent(sys.argv[1])", "text_agent"),
    ],
)
def test_a_text_agent_gets_a_credential_of_its_own_kind(tmp_path: Path, source: str, role: str) -> None:
    assert user_of(tmp_path, source, "desk") == User(role, "desk")


def test_a_file_with_both_kinds_under_one_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an Agent or a TextAgent"):
        user_of(tmp_path, "agent = TextAgent('desk') if fast else Agent('desk')")


def test_every_example_names_its_agent() -> None:
    found = {path.stem: plugin(str(path), {}).user for path in EXAMPLES.glob("*_agent.py")}
    assert found["echo_agent"] == User("agent", "echo")
    assert found["text_agent"] == User("text_agent", "desk")
    assert found["recorder_agent"] == User("shadow", "recorder", of="concierge")
