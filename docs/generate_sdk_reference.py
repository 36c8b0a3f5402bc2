"""Writes docs/sdk-reference.md from the signatures and docstrings of everything that `antiphon.agent` exports.

`make reference` runs it; `tests/agent/test_reference.py` compares the committed page with what it writes now, and asks
for a docstring of everything on the page. Only the standard library is used. Modules are imported to find where a name
is defined, and read as syntax trees, because Python keeps no docstrings of attributes: here a string below an
assignment is one.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

PACKAGE: Final = "antiphon.agent"
PAGE: Final = Path(__file__).with_name("sdk-reference.md")
ENVELOPE: Final = frozenset({"type", "version"})
"""Fields that every message has on the wire; an agent never looks at them."""
USED_BY_THE_SDK_ALONE: Final = {
    "ShadowSession": {"close", "failure", "finish", "lease", "open", "recall", "watch_transceiver"},
    "Session": {"bus"},
    "TextAgent": {"announcement"},
    "Turn": {"said_was_read", "without_tools"},
    "Speech": {
        "close",
        "cut",
        "estimate",
        "flushed",
        "generation",
        "interrupt",
        "known",
        "leave_from_inside",
        "pause",
        "playout",
        "resume",
        "send_again",
    },
}
"""Members that files of the SDK call on each other. Authors do not call them, so they are not on the page."""

HEAD: Final = f"""# SDK reference

Everything that `{PACKAGE}` exports, from its signatures and docstrings. [agents.md](agents.md) is the introduction.

This page is generated: `make reference` (`docs/generate_sdk_reference.py`) writes it anew, and a test compares.
"""


@dataclass
class Entry:
    """An exported name, or a member of an exported class."""

    name: str
    signatures: list[str]
    """As one writes them; a member without parameters has its type behind a colon."""
    doc: str
    members: list[Entry] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)
    """Exported classes that this one inherits from."""


def exported() -> list[Entry]:
    """All names in `__all__`, in alphabetical order, with their members in the order of the source."""
    package = importlib.import_module(PACKAGE)
    names: list[str] = sorted(package.__all__)
    return [_entry(package, name) for name in names]


def undescribed(entries: list[Entry]) -> list[str]:
    """What has no docstring: `Name` or `Name.member`."""
    found = [entry.name for entry in entries if not entry.doc]
    for entry in entries:
        found += [f"{entry.name}.{member.name}" for member in entry.members if not member.doc]
    return found


def stale() -> list[str]:
    """What `USED_BY_THE_SDK_ALONE` names and the SDK no longer has."""
    package = importlib.import_module(PACKAGE)
    found = []
    for name, members in USED_BY_THE_SDK_ALONE.items():
        value = getattr(package, name, None)
        known = {member.name for member in _members(_class_node(value))} if inspect.isclass(value) else set()
        found += [f"{name}.{member}" for member in sorted(members - known)]
    return found


def page(entries: list[Entry]) -> str:
    """The whole page as Markdown: classes first, events behind them."""
    events = {each.__name__ for each in typing.get_args(importlib.import_module(PACKAGE).Event)}
    parts = [HEAD]
    for title, group in (
        ("Agents, sessions, speech", [entry for entry in entries if entry.name not in events]),
        ("Events", [entry for entry in entries if entry.name in events]),
    ):
        links = ", ".join(f"[`{entry.name}`](#{entry.name.lower()})" for entry in group)
        parts.append(f"\n## {title}\n\n{links}\n")
        parts += [_section(entry) for entry in group]
    return "".join(parts)


# ---- reading


def _entry(package: ModuleType, name: str) -> Entry:
    value = getattr(package, name)
    if not inspect.isclass(value):
        return _alias(_home(package, name), name)
    node = _class_node(value)
    members = [_with_values(member, value.__module__) for member in _members(node)]
    members = [member for member in members if member.name not in USED_BY_THE_SDK_ALONE.get(name, ())]
    constructor = next((m for m in members if m.name == "__init__"), None)
    members = [member for member in members if member.name != "__init__"]
    bases = [base.__name__ for base in value.__mro__[1:] if base.__name__ in package.__all__]
    doc = ast.get_docstring(node) or ""
    if constructor is None or not constructor.doc:
        return Entry(name, [], doc, members, bases)
    signature = constructor.signatures[0].removeprefix("__init__").removesuffix(" -> None")
    return Entry(name, [name + signature], f"{doc}\n\n{constructor.doc}" if doc else "", members, bases)


def _home(module: ModuleType, name: str) -> ModuleType:
    """The module that assigns the name, through all modules that import it from there."""
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
            return _home(importlib.import_module(node.module or ""), name)
    return module


def _alias(module: ModuleType, name: str) -> Entry:
    body = _tree(module).body
    for node, doc in _with_docs(body):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return Entry(name, [f"{name} = {ast.unparse(node.value)}"], doc)
    return Entry(name, [], "")


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _class_node(value: type[Any]) -> ast.ClassDef:
    module = importlib.import_module(value.__module__)
    return next(n for n in _tree(module).body if isinstance(n, ast.ClassDef) and n.name == value.__name__)


def _with_docs(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Each statement with the string below it, if one is there."""
    for node, below in zip(body, [*body[1:], None], strict=True):
        value = below.value if isinstance(below, ast.Expr) else None
        text = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
        yield node, inspect.cleandoc(text)


def _members(node: ast.ClassDef) -> list[Entry]:
    """Public fields, attributes and methods, `__init__` included."""
    found: dict[str, Entry] = {}
    for each, doc in _with_docs(node.body):
        if isinstance(each, ast.AnnAssign):
            if not isinstance(each.target, ast.Name) or each.target.id in ENVELOPE:
                continue
            value = f" = {ast.unparse(each.value)}" if each.value and "Field(" not in ast.unparse(each.value) else ""
            name = each.target.id
            found[name] = Entry(name, [f"{name}: {ast.unparse(each.annotation)}{value}"], doc)
        elif isinstance(each, ast.Assign):
            name = ast.unparse(each.targets[0])
            found[name] = Entry(name, [f"{name} = {ast.unparse(each.value)}"], doc)
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            before = found.get(each.name)
            entry = _method(each)
            if before is not None:  # the bodies of overloads are empty, the last definition is described
                overloaded = [*before.signatures, *(entry.signatures if _is(each, "overload") else ())]
                entry = Entry(each.name, overloaded, entry.doc)
            found[each.name] = entry
            if each.name == "__init__":
                found |= {a.name: a for a in _attributes(each) if a.name not in found}
    return [entry for entry in found.values() if entry.name == "__init__" or not entry.name.startswith("_")]


_CONSTANT: Final = re.compile(r"(?<== )[A-Z][A-Z_]+\b")


def _with_values(entry: Entry, module: str) -> Entry:
    """Constants that are defaults of parameters say nothing to a reader: their values stand there instead."""
    names = vars(importlib.import_module(module))
    signatures = [_CONSTANT.sub(lambda each: repr(names[each[0]]), text) for text in entry.signatures]
    return replace(entry, signatures=signatures)


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Entry:
    doc = ast.get_docstring(node) or ""
    returns = ast.unparse(node.returns) if node.returns else "None"
    if _is(node, "property"):
        return Entry(node.name, [f"{node.name}: {returns}"], doc)
    given = ", ".join(_parameters(node.args))
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    if _is(node, "asynccontextmanager"):
        prefix = "async with "
    return Entry(node.name, [f"{prefix}{node.name}({given}) -> {returns}"], doc)


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    """As one writes them, without `self`."""

    def written(each: ast.arg, default: ast.expr | None) -> str:
        kind = f": {ast.unparse(each.annotation)}" if each.annotation else ""
        equals = " = " if kind else "="
        return each.arg + kind + (equals + ast.unparse(default) if default else "")

    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    yield from (written(*each) for each in zip(positional, defaults, strict=True) if each[0].arg != "self")
    if arguments.vararg:
        yield "*" + written(arguments.vararg, None)
    elif arguments.kwonlyargs:
        yield "*"
    yield from (written(*each) for each in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    if arguments.kwarg:
        yield "**" + written(arguments.kwarg, None)


def _is(node: ast.FunctionDef | ast.AsyncFunctionDef, decorator: str) -> bool:
    return any(ast.unparse(each) == decorator for each in node.decorator_list)


def _attributes(constructor: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Entry]:
    """Public attributes that the constructor sets, with their type where it is known by a parameter or written."""
    parameters = [*constructor.args.args, *constructor.args.kwonlyargs]
    types = {each.arg: ast.unparse(each.annotation) for each in parameters if each.annotation}
    for node, doc in _with_docs(constructor.body):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            text = ast.unparse(target)
            if not text.startswith("self.") or text.startswith("self._") or "," in text:
                continue
            name, kind = text.removeprefix("self."), ""
            if isinstance(node, ast.AnnAssign):
                kind = ast.unparse(node.annotation)
            elif isinstance(node, ast.Assign):
                kind = types.get(ast.unparse(node.value), "")
            yield Entry(name, [f"{name}: {kind}" if kind else name], doc)


# ---- writing

_ABOUT_A_PARAMETER: Final = re.compile(r"`\w+`: ")


def _section(entry: Entry) -> str:
    text = f"\n### {entry.name}\n\n{_code(entry.signatures)}{_prose(entry.doc)}".rstrip() + "\n"
    if entry.bases:
        links = ", ".join(f"[`{base}`](#{base.lower()})" for base in entry.bases)
        text += f"\nHas everything of {links} as well.\n"
    if entry.members:
        text += "\n" + "".join(_member(member) for member in entry.members)
    return text


def _member(entry: Entry) -> str:
    signatures = "<br>".join(f"**`{signature}`**" for signature in entry.signatures)
    doc = textwrap.indent(_prose(entry.doc), "  ").strip()
    return f"- {signatures}\n" + (f"\n  {doc}\n" if doc else "")


def _code(signatures: list[str]) -> str:
    if not signatures:
        return ""
    lines = "\n".join(_wrapped(signature) for signature in signatures)
    return f"```python\n{lines}\n```\n\n"


def _wrapped(signature: str) -> str:
    """One parameter or alternative a line where it would be long."""
    if len(signature) <= 100:
        return signature
    if " | " in signature and "(" not in signature:
        return signature.replace(" = ", " = (\n    ", 1).replace(" | ", "\n    | ") + "\n)"
    head, _, rest = signature.partition("(")
    given, _, returns = rest.rpartition(")")
    return f"{head}(\n    " + ",\n    ".join(re.split(r", (?![^\[]*\])", given)) + f",\n){returns}"


def _prose(doc: str) -> str:
    """A docstring as Markdown: lines that begin with a parameter's name become a list."""
    lines: list[str] = []
    in_list = False
    for line in doc.splitlines():
        if _ABOUT_A_PARAMETER.match(line):
            if in_list and not lines[-1]:
                lines.pop()
            elif not in_list and lines and lines[-1]:
                lines.append("")
            lines.append(f"- {line}")
            in_list = True
        elif in_list and line and lines[-1]:
            lines.append(f"  {line}")
        else:
            in_list = in_list and not line
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(exported()))
    print(f"{PAGE.name} is written anew")
