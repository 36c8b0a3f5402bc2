"""Mistakes in a file of an agent, each with its line, its field, the value and the way out. Pure.

A value may be a key that somebody has put there: where a field's name or place says so it is not shown.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError

from antiphon.inference_bridge.file_agents.toml_lines import Path, line_of

MAX_SHOWN: Final = 60
"""Characters of a value."""
MAX_MISTAKES: Final = 50
"""Of one file; one more says how many there are besides."""
_SECRET: Final = re.compile(
    r"key|(?<!max_)token|secret|password|passwd|auth|credential|bearer|headers|env\b", re.IGNORECASE
)
_SECRET_SIGNS: Final = re.compile(r"^(sk-|Bearer |Basic )|//[^/@]*:[^/@]*@", re.IGNORECASE)
_Error = Mapping[str, Any]
"""As pydantic tells it: `type`, `loc`, `msg`, `input`, `ctx`."""
_TAGS: Final = ("server_vad", "semantic_vad")
"""Parts of pydantic's paths that are no parts of the file's."""
_WAYS_OUT: Final[dict[str, str]] = {
    "string_type": "a text in quotes is expected",
    "int_type": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "float_type": "a number is expected",
    "finite_number": "a number that is not infinite is expected",
    "bool_type": "true or false is expected",
    "list_type": 'a list is expected, such as ["..."]',
    "dict_type": "a table is expected",
    "model_type": "a table is expected",
    "model_attributes_type": "a table is expected",
    "greater_than": "more than {gt} is expected",
    "greater_than_equal": "at least {ge} is expected",
    "less_than": "less than {lt} is expected",
    "less_than_equal": "at most {le} is taken",
    "string_too_short": "at least {min_length} character(s) are expected",
    "string_too_long": "at most {max_length} characters are taken",
    "too_long": "at most {max_length} are taken",
    "literal_error": "expected is {expected}",
}


class Mistake(NamedTuple):
    """One mistake. A value."""

    file: str
    """The file's name, without its folder."""
    line: int
    """From 1."""
    field: str
    """Such as `chat.temperature` or `tools.http[1].url`; empty: the file as a whole."""
    value: str
    """As it is shown; empty: not shown, or there is none."""
    why: str
    """What is wrong, and the way out."""

    def __str__(self) -> str:
        field = f" {self.field}" if self.field else ""
        value = f" is {self.value}:" if self.value else ":" if field else ""
        return f"{self.file}, line {self.line}:{field}{value} {self.why}"


def file_of(name: str) -> str:
    """The name of an agent's file for people, whatever characters it has."""
    return f"{ascii(name)[1:-1][:120]}.toml"


def mistakes_of(
    error: ValidationError, file: str, model: type[BaseModel], lines: Mapping[Path, int], above: Path = ()
) -> list[Mistake]:
    """The mistakes that pydantic has found. `above`: where in the file the model stands."""
    found = [_mistake(each, file, model, lines, above) for each in error.errors(include_url=False)]
    found.sort(key=lambda mistake: mistake.line)
    more = len(found) - MAX_MISTAKES
    if more > 0:
        last = found[MAX_MISTAKES - 1].line
        found[MAX_MISTAKES:] = [Mistake(file, last, "", "", f"{more} more mistakes follow: correct these first")]
    return found


def _mistake(error: _Error, file: str, model: type[BaseModel], lines: Mapping[Path, int], above: Path) -> Mistake:
    inner = tuple(each for each in error["loc"] if each not in _TAGS)
    path, kind = (*above, *inner), error["type"]
    if kind == "turns":  # of the whole table, by its field `type`
        given = error["input"].get("type") if isinstance(error["input"], dict) else None
        path = (*path, "type")
        return Mistake(
            file, line_of(lines, path), field_name(path), shown(given, path), _why(error, kind, inner, path, model)
        )
    value = "" if kind == "missing" else shown(error["input"], path)
    return Mistake(file, line_of(lines, path), field_name(path), value, _why(error, kind, inner, path, model))


def _why(error: _Error, kind: str, inner: Path, path: Path, model: type[BaseModel]) -> str:
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(inner, path, model)
    if kind == "missing":
        return f"it is missing: add it{_example(inner, model)}"
    if kind == "string_pattern_mismatch":
        form = _example(inner, model) or f" ({str(context.get('pattern', ''))[:80]})"
        return f"it has another form than is expected{form}"
    if kind in _WAYS_OUT:
        try:
            plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
            return _WAYS_OUT[kind].format(**plain)
        except KeyError:
            pass
    return str(error["msg"]).removeprefix("Value error, ")


def _unknown(inner: Path, path: Path, model: type[BaseModel]) -> str:
    name = str(path[-1])
    if path[0] == "chat" and _SECRET.search(name):
        return "no key stands in the file: name the variable that holds it as key_env, or its file as key_file"
    known = list(fields_at(model, inner[:-1]))
    if name in known:
        return "it means nothing with the type of turns that is in force: server_vad and semantic_vad have other fields"
    close = difflib.get_close_matches(name[:40], known, 1)
    if close:
        return f"there is no such field: is {close[0]} meant?"
    return f"there is no such field; there are {', '.join(known)}" if known else "there is no such field"


def _example(inner: Path, model: type[BaseModel]) -> str:
    parent = fields_at(model, inner[:-1])
    field = parent.get(str(inner[-1])) if inner else None
    if field is None or not field.examples:
        return ""
    return f", such as {inner[-1]} = {toml_value(field.examples[0])}"


def fields_at(model: type[BaseModel], path: Sequence[str | int]) -> dict[str, Any]:
    """The fields of the part at this path of a model, by name; none if it is free."""
    models = [model]
    for name in path:
        if isinstance(name, int):
            continue
        models = [inner for each in models if name in each.model_fields for inner in _parts(each.model_fields[name])]
    return {name: field for each in models for name, field in each.model_fields.items()}


def _parts(field: Any) -> list[type[BaseModel]]:
    """The models in a field's annotation."""
    waiting, found = [field.annotation], []
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, BaseModel):
            found.append(each)
        elif typing.get_origin(each) is typing.Annotated:
            waiting.append(typing.get_args(each)[0])
        elif isinstance(each, types.UnionType) or typing.get_origin(each) in (typing.Union, list, dict):
            waiting.extend(reversed(typing.get_args(each)))
    return found


def field_name(path: Sequence[str | int]) -> str:
    """`tools.http[1].url`, each name short enough for a line."""
    name = "".join(f"[{each}]" if isinstance(each, int) else f".{each[:64]}" for each in path)
    return name.removeprefix(".").encode("unicode_escape").decode()[:200]


def shown(value: Any, path: Sequence[str | int]) -> str:
    """A value for people; empty for tables, lists and what may be a key."""
    if isinstance(value, dict | list | None.__class__) or any(_SECRET.search(str(each)) for each in path):
        return ""
    if isinstance(value, str) and _SECRET_SIGNS.search(value):
        return ""
    text = toml_value(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def toml_value(value: Any) -> str:
    """As it is written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value[: MAX_SHOWN * 2].encode("unicode_escape").decode().replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)[: MAX_SHOWN * 2]
