"""Reads the texts of agents' files: a definition each, or all the mistakes that are in it. Pure, but for keys.

What is not in the text is asked of `Surroundings`: variables, and the files that hold keys.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError

from antiphon.inference_bridge.file_agents.definition import NAME, AgentDefinition, ServerTurns
from antiphon.inference_bridge.file_agents.mistakes import Mistake, field_name, file_of, mistakes_of
from antiphon.inference_bridge.file_agents.toml_lines import Path, line_of, lines_of

_AT: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_NAMES_VARIABLE: Final = re.compile(r"(?:[A-Za-z]+ )?env:([A-Za-z_][A-Za-z0-9_]*)")
OURS: Final = "ANTIPHON_"
LLM_KEY: Final = "ANTIPHON_LLM_API_KEY"
"""The one setting that a file may name."""
MAX_KEY: Final = 8192
"""Characters of a key."""


class AgentFileError(ValueError):
    """The file can't be used. As text: all mistakes, one a line."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Surroundings:
    """What a file may lean on. A value."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    read_key: Callable[[str], str] | None = None
    """The content of the file at this path; `OSError`, `ValueError`. None: nothing looks whether keys are there."""
    has_chat_server: bool = False
    """The bridge has a chat server for agents that name none."""
    http_tool: type[BaseModel] | None = None
    mcp_server: type[BaseModel] | None = None
    """What `[[tools.http]]` and `[[tools.mcp]]` are checked by; None: this version has no such tools."""


@dataclass(frozen=True)
class ReadAgent:
    """A file without mistakes. A value; two are equal if the same agents come of them."""

    name: str
    definition: AgentDefinition
    key: SecretStr = field(default_factory=lambda: SecretStr(""))
    """Of the chat server."""
    http: tuple[BaseModel, ...] = ()
    mcp: tuple[BaseModel, ...] = ()
    tools_line: int = field(default=1, compare=False)
    """Where the tools begin."""

    @property
    def has_tools(self) -> bool:
        """It has tools of its own."""
        return bool(self.http or self.mcp)


def read_agent(name: str, data: bytes, around: Surroundings) -> ReadAgent:
    """The agent of the file `name`.toml; `AgentFileError` with every mistake that could be found."""
    file = file_of(name)
    if not NAME.fullmatch(name):
        why = "letters, digits, - and _ are expected in an agent's name, at most 64: rename the file"
        raise AgentFileError([Mistake(file, 1, "", "", why)])
    text = _text(file, data)
    table = _table(file, text)
    lines = lines_of(text)
    mistakes: list[Mistake] = []
    definition = None
    try:
        definition = AgentDefinition.model_validate(table)
    except ValidationError as error:
        mistakes += mistakes_of(error, file, AgentDefinition, lines)
    http = _tools(file, table, "http", around.http_tool, lines, mistakes)
    mcp = _tools(file, table, "mcp", around.mcp_server, lines, mistakes)
    _same_names(file, http, lines, mistakes)
    if around.read_key is not None:
        _variables(file, table, around.environment, lines, mistakes)
    key = _key(file, table, around, lines, mistakes)
    if "chat" not in table and not around.has_chat_server:
        why = 'there is no chat server: add [chat] with url = "..." and model = "...", or set ANTIPHON_LLM_URL'
        mistakes.append(Mistake(file, 1, "chat", "", why))
    if definition is not None and definition.silence is not None and _asks_idle_callers(definition):
        path, why = ("turns", "idle_timeout_ms"), "[silence] is there as well: leave one of them out"
        mistakes.append(Mistake(file, line_of(lines, path), field_name(path), "", why))
    if mistakes or definition is None:
        raise AgentFileError(sorted(mistakes, key=lambda mistake: mistake.line))
    return ReadAgent(name, definition, SecretStr(key), http, mcp, line_of(lines, ("tools",)))


def _asks_idle_callers(definition: AgentDefinition) -> bool:
    return isinstance(definition.turns, ServerTurns) and definition.turns.idle_timeout_ms is not None


def named_variables(data: bytes) -> set[str]:
    """The environment variables that a file leans on; none if it can't be read."""
    try:
        table = _table("", _text("", data))
    except AgentFileError:
        return set()
    chat = table.get("chat")
    named = chat.get("key_env") if isinstance(chat, dict) else None
    return {name for _, name in _in_tools(table)} | ({named} if isinstance(named, str) else set())


def _text(file: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AgentFileError([Mistake(file, line, "", "", "it is no text in UTF-8: save it as such")]) from None


def _table(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT.search(str(error))
        line = int(at[1]) if at and at[1] else text.count("\n") + 1
        why = f"this is no TOML: {_AT.sub('', str(error))[:200]}"
        raise AgentFileError([Mistake(file, line, "", "", why)]) from None
    except (ValueError, RecursionError):
        why = "it can't be read: a number has too many digits, or something is nested too deep"
        raise AgentFileError([Mistake(file, 1, "", "", why)]) from None


def _tools(
    file: str,
    table: dict[str, Any],
    kind: str,
    model: type[BaseModel] | None,
    lines: Mapping[Path, int],
    mistakes: list[Mistake],
) -> tuple[BaseModel, ...]:
    """The tools of this kind; what is no list of tables has its mistake already."""
    tools = table.get("tools")
    raw = tools.get(kind) if isinstance(tools, dict) else None
    if not isinstance(raw, list):
        return ()
    if raw and model is None:
        why = "this version has no such tools: leave them out"
        mistakes.append(Mistake(file, line_of(lines, ("tools", kind)), f"tools.{kind}", "", why))
        return ()
    found: list[BaseModel] = []
    for number, each in enumerate(raw[:256]):
        if model is None or not isinstance(each, dict):
            continue
        try:
            found.append(model.model_validate(each))
        except ValidationError as error:
            mistakes += mistakes_of(error, file, model, lines, ("tools", kind, number))
    return tuple(found)


def _same_names(file: str, tools: tuple[BaseModel, ...], lines: Mapping[Path, int], mistakes: list[Mistake]) -> None:
    seen: set[str] = set()
    for number, tool in enumerate(tools):
        name = str(tool.model_dump(include={"name"}).get("name", ""))
        if name in seen:
            path = ("tools", "http", number, "name")
            mistakes.append(
                Mistake(file, line_of(lines, path), field_name(path), f'"{name[:64]}"', "this name is taken")
            )
        seen.add(name)


def _in_tools(table: dict[str, Any]) -> list[tuple[Path, str]]:
    """(path, variable) of each `env:NAME` in the tools. Bounded by the size of the file."""
    found: list[tuple[Path, str]] = []
    waiting: list[tuple[Path, Any]] = [(("tools",), table.get("tools"))]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(((*path, str(name)), inner) for name, inner in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, number), inner) for number, inner in enumerate(value))
        elif isinstance(value, str) and (match := _NAMES_VARIABLE.fullmatch(value)):
            found.append((path, match[1]))
    return found


def _variables(
    file: str,
    table: dict[str, Any],
    environment: Mapping[str, str],
    lines: Mapping[Path, int],
    mistakes: list[Mistake],
) -> None:
    for path, name in _in_tools(table):
        if why := _no_variable(name, environment):
            mistakes.append(Mistake(file, line_of(lines, path), field_name(path), "", why))


def _no_variable(name: str, environment: Mapping[str, str]) -> str:
    """Why a file can't use this variable; empty: it can."""
    if name.startswith(OURS) and name != LLM_KEY:
        return f"{name[:128]} is a setting of Antiphon, which no agent gives away: use a variable of your own"
    if not environment.get(name, "").strip():
        return f"the environment variable {name[:128]} is not set: set it where the bridge is started"
    return ""


def _key(
    file: str, table: dict[str, Any], around: Surroundings, lines: Mapping[Path, int], mistakes: list[Mistake]
) -> str:
    """The chat server's key; empty if it has none or there is a mistake. Values of other types are told elsewhere."""

    def wrong(field: str, why: str) -> str:
        mistakes.append(Mistake(file, line_of(lines, ("chat", field)), f"chat.{field}", "", why))
        return ""

    chat = table.get("chat")
    variable, path = (chat.get("key_env"), chat.get("key_file")) if isinstance(chat, dict) else (None, None)
    if variable is not None and path is not None:
        return wrong("key_file", "key_env is there as well: leave one of them out")
    if around.read_key is None:
        return ""
    if isinstance(variable, str) and variable:
        if why := _no_variable(variable, around.environment):
            return wrong("key_env", why)
        field, what, key = "key_env", f"the environment variable {variable}", around.environment[variable].strip()
    elif isinstance(path, str) and path:
        field, what = "key_file", f"the file {path[:300]}"
        try:
            key = around.read_key(path).strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return wrong(field, f"{what} can't be read: {reason[:200]}")
    else:
        return ""
    if not key or len(key) > MAX_KEY or not key.isascii() or not key.isprintable():
        return wrong(field, f"{what} holds no key: one line of at most {MAX_KEY} ASCII characters is expected")
    return key
