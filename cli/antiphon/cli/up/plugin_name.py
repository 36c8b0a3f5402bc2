"""Which agent a plug-in file is: read from its source, because its credential has to be there before it runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from antiphon.cli.errors import UsageError
from antiphon.runtime.nats.permissions import User
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError

MAX_SOURCE: Final = 1 << 20
"""Bytes of a plug-in's file that are read."""


@dataclass(frozen=True)
class Plugin:
    """A plug-in as `--plugin [NAME=]FILE` names it. A value."""

    file: Path
    user: User
    """Who it is for NATS."""


def plugin(text: str, environment: Mapping[str, str]) -> Plugin:
    """Read `[NAME=]FILE`. `UsageError` if there is no file, or no one name in it.

    Without NAME it is the one of `Agent("...")` or `TextAgent("...")` in the file, or the file's own name where no
    agent is made by the SDK.
    """
    name, equals, path = text.partition("=")
    if not equals or Path(text).is_file():
        name, path = "", text
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"there is no plug-in {file}: --plugin takes a Python file")
    agents = _agents(file, environment)
    if name:
        made = {each for each in agents if each.name in (name, None)} or agents
    else:
        made, names = agents, {each.name for each in agents}
        if len(names) > 1 or None in names:
            found = ", ".join(sorted(each for each in names if each)) or "none that can be read without running it"
            raise UsageError(f"--plugin {file}: which agent is it ({found})? Say --plugin NAME={file}")
        name = names.pop() or "" if names else re.sub(r"[^A-Za-z0-9_-]", "-", file.stem)[:64]
    fitting = {each.shadow_of for each in made} or {""}
    if len(fitting) > 1 or None in fitting:
        raise UsageError(f"--plugin {file}: which agent is the shadow {name} of? `shadow_of` has to be written out")
    of = fitting.pop() or ""
    kinds = {each.is_text for each in made}
    if len(kinds) > 1:
        raise UsageError(f"--plugin {file}: is {name} an Agent or a TextAgent? Make one of them in a file")
    try:
        subjects.agent_claim(name)
    except MalformedError as error:
        raise UsageError(f"--plugin {text}: {error}") from None
    if kinds == {True}:
        return Plugin(file, User("text_agent", name))
    return Plugin(file, User("shadow", name, of=of) if of else User("agent", name))


class _Made(NamedTuple):
    """One `Agent(...)` or `TextAgent(...)` in a file; None for what is known only when it runs."""

    name: str | None
    shadow_of: str | None
    is_text: bool


def _agents(file: Path, environment: Mapping[str, str]) -> set[_Made]:
    """All that are made in the file."""
    try:
        with file.open("rb") as source:
            tree = ast.parse(source.read(MAX_SOURCE))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return set()  # the plug-in itself will say what is wrong
    constants: dict[str, ast.expr] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name):
                constants[target.id] = statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            constants[statement.target.id] = statement.value

    def text_of(node: ast.expr | None, depth: int = 0) -> str | None:
        match node:
            case None:
                return ""
            case ast.Constant(value=str(text)):
                return text
            case ast.Constant(value=None):
                return ""
            case ast.Name(id=name) if name in constants and depth < 5:
                return text_of(constants[name], depth + 1)
            case ast.Call(args=[ast.Constant(value=str(variable)), *rest]) if ast.unparse(node.func) in _READ_VARIABLE:
                return environment.get(variable) or text_of(rest[0] if rest else None, depth + 1)
        return None

    found: set[_Made] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (kind := _called(node)) in ("Agent", "TextAgent"):
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            name = node.args[0] if node.args else keywords.get("name")
            if name is not None:
                found.add(_Made(text_of(name) or None, text_of(keywords.get("shadow_of")), kind == "TextAgent"))
    return found


_READ_VARIABLE: Final = ("os.environ.get", "os.getenv", "environ.get", "getenv")


def _called(node: ast.Call) -> str:
    function = node.func
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
