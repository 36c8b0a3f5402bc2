"""Agents' files as texts: what is taken, and each mistake with its line, its field, its value and the way out."""

from __future__ import annotations

import importlib.util
import re
import time
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from antiphon.inference_bridge.file_agents.definition import MAX_FILE_BYTES
from antiphon.inference_bridge.file_agents.mistakes import MAX_MISTAKES, Mistake
from antiphon.inference_bridge.file_agents.reader import (
    AgentFileError,
    ReadAgent,
    Surroundings,
    named_variables,
    read_agent,
)
from antiphon.inference_bridge.file_agents.toml_lines import lines_of

pytestmark = pytest.mark.pure

DOCS: Final = Path(__file__).parents[2] / "docs"
CHAT = '[chat]\nurl = "http://127.0.0.1:11434/v1"\nmodel = "tiny"\n'


class HttpTool(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    url: str = Field(examples=["https://example.org/{id}"])
    headers: dict[str, str] = {}


class McpServer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    command: str


def surroundings(**variables: str) -> Surroundings:
    def read_key(path: str) -> str:
        if path != "key":
            raise FileNotFoundError(2, "No such file or directory")
        return "sk-of-the-file\n"

    return Surroundings(variables, read_key, False, HttpTool, McpServer)


def read(text: str, **variables: str) -> ReadAgent:
    return read_agent("desk", text.encode(), surroundings(**variables))


def mistakes(text: str | bytes, name: str = "desk", **variables: str) -> list[Mistake]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(AgentFileError) as caught:
        read_agent(name, data, surroundings(**variables))
    return caught.value.mistakes


WHOLE = """
greeting = "Front desk, good morning."
instructions = \"\"\"
You work at the front desk.
[chat]
\"\"\"
language = "en"
voice = "joe"
longest_call = 900

[chat]
url = "https://api.example.org/v1"
model = "tiny"
key_env = "DESK_KEY"
timeout = 10
temperature = 0.4
max_tokens = 300
parameters = { keep_alive = "10m" }

[turns]
eagerness = "low"
patience_ms = 1500

[silence]
after_ms = 8000
prompts = ["Are you there?", "I will hang up now."]

[failures]
apology = "Our computer is asleep."

[[tools.http]]
name = "look_up"
url = "https://example.org"
headers = { authorization = "env:SHOP_KEY" }

[[tools.mcp]]
name = "files"
command = "mcp-files"
"""


def test_a_file_with_all_parts_is_read() -> None:
    found = read(WHOLE, DESK_KEY="sk-1", SHOP_KEY="2")
    chat = found.definition.chat
    assert chat is not None
    assert found.key.get_secret_value() == "sk-1"
    assert chat.request_fields() == {"temperature": 0.4, "max_tokens": 300, "keep_alive": "10m"}
    assert found.definition.silence is not None
    assert found.definition.silence.prompts == ["Are you there?", "I will hang up now."]
    assert [tool.model_dump()["name"] for tool in (*found.http, *found.mcp)] == ["look_up", "files"]
    assert named_variables(WHOLE.encode()) == {"DESK_KEY", "SHOP_KEY"}


def test_the_shortest_file_names_a_chat_server() -> None:
    found = read(CHAT)
    assert found.definition.greeting is None
    assert found.key.get_secret_value() == ""


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_mistake() -> None:
    data = b"\xef\xbb\xbf" + CHAT.replace("\n", "\r\n").encode()
    assert read_agent("desk", data, surroundings()).definition.chat is not None


def test_a_file_without_a_chat_server_leans_on_the_bridge_s() -> None:
    assert read_agent("desk", b"", Surroundings(has_chat_server=True)).definition.chat is None
    assert "set ANTIPHON_LLM_URL" in mistakes("")[0].why


@pytest.mark.parametrize(
    ("line", "field", "value", "why", "text"),
    [
        (2, "greeting", "3", "a text in quotes", "\ngreeting = 3\n" + CHAT),
        (1, "greting", '"Hi"', "is greeting meant?", 'greting = "Hi"\n' + CHAT),
        (4, "chat.temperature", "7", "at most 2", CHAT + "temperature = 7\n"),
        (4, "chat.temperature", '"hot"', "a number is expected", CHAT + 'temperature = "hot"\n'),
        (4, "chat.temperature", "inf", "not infinite", CHAT + "temperature = inf\n"),
        (4, "chat.timeout", "0", "more than 0", CHAT + "timeout = 0\n"),
        (4, "chat.max_tokens", "1.5", "a whole number", CHAT + "max_tokens = 1.5\n"),
        (4, "chat.seed", "true", "a whole number", CHAT + "seed = true\n"),
        (4, "chat.reasoning_effort", '"much"', "expected is 'none'", CHAT + 'reasoning_effort = "much"\n'),
        (4, "chat.parameters", "", "messages is decided by the bridge", CHAT + "parameters = { messages = [] }\n"),
        (4, "chat.parameters", "", "stands in [chat] itself", CHAT + "parameters = { top_p = 1 }\n"),
        (4, "chat.parameters", "", "JSON is expected", CHAT + "parameters = { since = 2026-01-01 }\n"),
        (2, "chat.url", '"ftp://x"', "a base URL such as", '[chat]\nurl = "ftp://x"\nmodel = "tiny"\n'),
        (1, "chat.url", "", 'add it, such as url = "http', '[chat]\nmodel = "tiny"\n'),
        (5, "turns.threshold", "3", "at most 1", CHAT + "[turns]\nthreshold = 3\n"),
        (5, "turns.type", '"auto"', "server_vad or semantic_vad", CHAT + '[turns]\ntype = "auto"\n'),
        (6, "turns.threshold", "0.5", "means nothing", CHAT + '[turns]\neagerness = "low"\nthreshold = 0.5\n'),
        (5, "turns.patience_ms", "-1", "at least 0", CHAT + "[turns]\npatience_ms = -1\n"),
        (4, "silence.after_ms", "", "add it, such as after_ms = 8000", CHAT + "[silence]\n"),
        (
            8,
            "silence.prompts[1]",
            "3",
            "a text in quotes",
            CHAT + '[silence]\nafter_ms=5000\nprompts = [\n "a", # b\n3]',
        ),
        (4, "failures", '"sorry"', "a table", 'language = "en"\nvoice = "joe"\n\nfailures = "sorry"\n' + CHAT),
        (1, "language", '"english please"', "another form", 'language = "english please"\n' + CHAT),
        (1, "longest_call", "1", "at least 10", "longest_call = 1\n" + CHAT),
    ],
)
def test_a_mistake_is_told_with_its_line_field_and_value(
    line: int, field: str, value: str, why: str, text: str
) -> None:
    found = mistakes(text)
    assert len(found) == 1
    assert (found[0].line, found[0].field) == (line, field)
    assert why in found[0].why
    assert found[0].value == value


def test_two_ways_to_prompt_silent_callers_exclude_each_other() -> None:
    found = mistakes(CHAT + "[turns]\nidle_timeout_ms = 5000\n[silence]\nafter_ms = 5000\n")
    assert (found[0].line, found[0].field, len(found)) == (5, "turns.idle_timeout_ms", 1)


def test_a_mistake_in_a_tool_names_the_tool_and_its_line() -> None:
    text = CHAT + '[[tools.http]]\nname = "a"\nurl = "https://a"\n\n[[tools.http]]\nname = "b"\nmethd = "GET"\n'
    assert [(each.line, each.field) for each in mistakes(text)] == [
        (8, "tools.http[1].url"),
        (10, "tools.http[1].methd"),
    ]
    twice = CHAT + '[[tools.http]]\nname = "a"\nurl = "https://a"\n[[tools.http]]\nname = "a"\nurl = "https://a"\n'
    assert [(each.line, each.field, each.why) for each in mistakes(twice)] == [
        (8, "tools.http[1].name", "this name is taken")
    ]


def test_all_mistakes_of_a_file_are_told_in_the_order_of_their_lines() -> None:
    text = 'voic = "joe"\nlongest_call = "long"\n[chat]\nurl = "x"\nkey_env = "NOT_SET"\n'
    found = mistakes(text)
    assert [each.line for each in found] == [1, 2, 3, 4, 5]
    assert str(found[1]) == 'desk.toml, line 2: longest_call is "long": a number is expected'


def test_a_syntax_error_is_told_with_its_line() -> None:
    assert mistakes(CHAT + "voice = joe\n")[0].line == 4
    assert mistakes('greeting = """Hi\n\n')[0].line == 3
    twice = mistakes(CHAT + 'model = "b"\n')
    assert (twice[0].line, twice[0].why.startswith("this is no TOML: Cannot overwrite")) == (4, True)


@pytest.mark.parametrize(
    ("data", "line", "why"),
    [
        (b"# ok\ngreeting = '\xff'\n", 2, "no text in UTF-8"),
        (b"x = " + b"[" * 20_000, 1, "nested too deep"),
        (b"x = " + b"1" * 10_000, 1, "too many digits"),
        (b"\x00", 1, "this is no TOML"),
    ],
)
def test_rubbish_is_one_mistake(data: bytes, line: int, why: str) -> None:
    found = mistakes(data)
    assert [(each.line, why in each.why) for each in found] == [(line, True)]


def test_a_file_of_the_greatest_size_is_read_in_no_time() -> None:
    text = "[chat]\n" + "".join(f'x{number} = "{"y" * 50}"\n' for number in range(MAX_FILE_BYTES // 64))
    began = time.process_time()
    found = mistakes(text)
    assert time.process_time() - began < 5
    assert len(found) <= MAX_MISTAKES + 3
    assert any("more mistakes follow" in each.why for each in found)


def test_a_key_is_never_in_the_file_and_never_shown() -> None:
    found = mistakes(CHAT + 'api_key = "sk-secret-1"\n')
    assert found[0].why.startswith("no key stands in the file: name the variable that holds it as key_env")
    url = mistakes('[chat]\nurl = "https://me:sk-secret-2@example.org/v1"\nmodel = "x"\n')
    tool = mistakes(
        CHAT + '[[tools.http]]\nname="a"\nurl="https://a"\nheaders={ authorization = 3, x = "sk-secret-3" }\n'
    )
    odd = mistakes(CHAT + 'temperature = "sk-secret-4"\n')
    assert "secret" not in "".join(map(str, [*found, *url, *tool, *odd]))
    assert "secret" not in repr(read(CHAT + 'key_env = "KEY"\n', KEY="sk-secret-5"))


def test_a_missing_variable_is_named() -> None:
    found = mistakes(CHAT + 'key_env = "DESK_KEY"\n')
    assert (found[0].line, found[0].field) == (4, "chat.key_env")
    assert "DESK_KEY is not set" in found[0].why
    tool = mistakes(CHAT + '[[tools.http]]\nname="a"\nurl="https://a"\nheaders={ a = "Bearer env:SHOP" }\n')
    assert (tool[0].line, tool[0].field) == (7, "tools.http[0].headers.a")
    assert "SHOP is not set" in tool[0].why


def test_no_file_gives_away_a_setting_of_the_stack() -> None:
    found = mistakes(CHAT + 'key_env = "ANTIPHON_API_KEYS"\n', ANTIPHON_API_KEYS="x")
    assert "is a setting of Antiphon" in found[0].why
    assert read(CHAT + 'key_env = "ANTIPHON_LLM_API_KEY"\n', ANTIPHON_LLM_API_KEY="x").key.get_secret_value() == "x"


def test_the_key_of_a_file_is_read_and_a_missing_one_is_named() -> None:
    assert read(CHAT + 'key_file = "key"\n').key.get_secret_value() == "sk-of-the-file"
    assert "the file other can't be read: No such file" in mistakes(CHAT + 'key_file = "other"\n')[0].why
    assert "leave one of them out" in mistakes(CHAT + 'key_file = "key"\nkey_env = "A"\n', A="x")[0].why
    assert "holds no key" in mistakes(CHAT + 'key_env = "A"\n', A="two\nlines")[0].why


def test_nothing_looks_for_keys_where_none_are_wanted() -> None:
    around = Surroundings({}, None, False, HttpTool, McpServer)
    assert read_agent("desk", WHOLE.encode(), around).key.get_secret_value() == ""


@pytest.mark.parametrize("name", ["front desk", "a" * 65, "empfang-ä", "a.b", ""])
def test_a_name_that_no_agent_can_have_is_a_mistake(name: str) -> None:
    assert "rename the file" in mistakes(CHAT, name)[0].why


def test_tools_of_a_version_without_them_are_a_mistake() -> None:
    with pytest.raises(AgentFileError, match=r"line 4: tools.http: this version has no such tools"):
        read_agent("desk", (CHAT + '[[tools.http]]\nname = "a"\n').encode(), Surroundings({}))


def test_the_page_shows_all_fields_as_they_are() -> None:
    found = importlib.util.spec_from_file_location("generate_agent_fields", DOCS / "generate_agent_fields.py")
    assert found is not None
    assert found.loader is not None
    generator = importlib.util.module_from_spec(found)
    found.loader.exec_module(generator)
    text = (DOCS / "agents.files.md").read_text()
    assert text == generator.page(text), "make reference writes it anew"


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """All paths of a table that was read."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    found: set[tuple[str | int, ...]] = set()
    for name, each in inner:
        found |= {(*path, name)} | _paths(each, (*path, name))
    return found


TRICKY = r"""
"quoted.key" = 'it'
a.b . "c d" = 1 # = x
multi = QQQ
x = 1
\QQQ [y]
QQQQQ
literal = '''
'' # no comment
[z]'''
dates = [1979-05-27 07:32:00, 07:32:00,
  1979-05-27T00:32:00-07:00]
[ table . inner ] # comment
inline = { a = [1, 2, { b = "}" }], "c" = {} }
[[list]]
x = 1
[[list]]
[list.sub]
y = "]"
[[list.deep]]
[[list.deep]]
z = QQQaQQQ
""".replace("Q", '"')


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_key_and_element_has_its_line(end: str) -> None:
    text = TRICKY.replace("\n", end)
    lines = lines_of(text)
    assert _paths(tomllib.loads(text)) <= lines.keys()
    rows = TRICKY.split("\n")
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert path[-1] in rows[line - 1], (path, line)
    assert rows[lines["list", 1, "sub", "y"] - 1] == 'y = "]"'
    assert rows[lines["list", 1, "deep", 1, "z"] - 1] == 'z = """a"""'


_WORDS = st.text("ab=[]{}\"'#,.\n \\-_0", max_size=12)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quoted(name)} = {_toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_toml, value)) + "\n]"
    return _quoted(value) if isinstance(value, str) else str(value).lower()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


_VALUES = st.recursive(
    st.integers(0, 9) | st.booleans() | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_WORDS, _VALUES, max_size=5))
def test_the_lines_of_any_table_are_found(table: dict[str, Any]) -> None:
    text = "\n\n".join(f"{_quoted(name)} = {_toml(value)}" for name, value in table.items())
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # an inline table with line breaks in a list
        return
    lines = lines_of(text)
    assert _paths(read) <= lines.keys()
    rows = text.split("\n")
    for name in table:
        assert rows[lines[name,] - 1].startswith(_quoted(name))


@given(st.binary(max_size=200) | _WORDS.map(str.encode))
def test_whatever_a_file_holds_it_is_read_or_its_mistakes_are_told(data: bytes) -> None:
    found: list[Mistake] = []
    try:
        read_agent("desk", data, surroundings())
    except AgentFileError as error:
        found = error.mistakes
    assert all(re.match(r"desk\.toml, line \d+:", str(each)) for each in found)
