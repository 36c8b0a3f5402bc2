"""The forms in which models write function calls into their text, read once they are complete. Pure.

JSON of several shapes, tags, Python, and what stands between the control tokens of model families.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from antiphon.inference_bridge.agents.tool_calls import is_json_object, offered

NAME_KEYS: Final = ("name", "function", "tool", "tool_name", "function_name", "action", "recipient_name")
ARGUMENT_KEYS: Final = ("arguments", "parameters", "args", "input", "tool_input", "action_input", "kwargs", "params")
LIST_KEYS: Final = ("tool_calls", "tool_call", "function_call", "function_calls", "calls", "tool_uses")
OTHER_KEYS: Final = ("type", "id", "index")
KEYS: Final = (*NAME_KEYS, *ARGUMENT_KEYS, *LIST_KEYS, *OTHER_KEYS)
"""With which a call as JSON can begin."""
_MAX_DEPTH: Final = 6
_DECODER: Final = json.JSONDecoder()
_TAGGED: Final = re.compile(
    r"<(?:function|invoke)(?:=|\s+name=)[\"']?([\w.:-]+)[\"']?\s*>(.*?)(?:</(?:function|invoke)>|$)", re.DOTALL
)
_PARAMETER: Final = re.compile(
    r"<(?:parameter|param)(?:=|\s+name=)[\"']?([\w.-]+)[\"']?[^>]*>(.*?)(?:</(?:parameter|param)>|(?=<parameter)|$)",
    re.DOTALL,
)
_KEY_VALUE: Final = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_BARE_KEY: Final = re.compile(r"([{,]\s*)([A-Za-z_]\w*)\s*:")
_QUOTE_TOKEN: Final = '<|"|>'


class WrittenCall(NamedTuple):
    """A call as the model wrote it; `arguments` are JSON. A value."""

    name: str
    arguments: str


def calls_in(text: str, tools: Collection[str]) -> list[WrittenCall]:
    """The calls in a text that holds nothing else; also those of functions that were never offered."""
    text = text.replace(_QUOTE_TOKEN, '"')
    found = list(_tagged(text)) or list(_key_values(text, tools)) or list(_json(text, tools))
    if not found:
        found = list(_python(text, tools))
    bare = re.sub(r"<[^>]*>|[`\s]|\(\)", "", text)
    if not found and offered(bare, tools):
        found = [WrittenCall(bare, "{}")]
    return found


def calls_of(value: Any, tools: Collection[str], depth: int = 0) -> list[WrittenCall] | None:
    """The calls that a JSON value is; None if it is none."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, list):
        each = [calls_of(item, tools, depth + 1) for item in value]
        return (
            [call for calls in each if calls for call in calls]
            if each and all(calls is not None for calls in each)
            else None
        )
    if not isinstance(value, dict):
        return None
    for key in LIST_KEYS:
        if isinstance(value.get(key), list | dict):
            return calls_of(value[key], tools, depth + 1)
    if isinstance(value.get("function"), dict):
        return calls_of(value["function"], tools, depth + 1)
    arguments = next((value[key] for key in ARGUMENT_KEYS if key in value), None)
    for key in NAME_KEYS:
        name = value.get(key)
        if not isinstance(name, str) or not name:
            continue
        if offered(name, tools):
            if arguments is None:
                arguments = {other: value[other] for other in value if other not in (key, *OTHER_KEYS, *ARGUMENT_KEYS)}
            return [WrittenCall(name, as_json(arguments))]
        if isinstance(arguments, dict | list) or (isinstance(arguments, str) and is_json_object(arguments)):
            return [WrittenCall(name, as_json(arguments))]
    if len(value) == 1:
        ((name, arguments),) = value.items()
        if offered(name, tools) and isinstance(arguments, dict):
            return [WrittenCall(name, as_json(arguments))]
    return None


def as_json(arguments: Any) -> str:
    """Arguments as the JSON text of an object."""
    if isinstance(arguments, str) and (not arguments.strip() or is_json_object(arguments)):
        return arguments.strip() or "{}"
    if isinstance(arguments, dict):
        return json.dumps(arguments, ensure_ascii=False)
    return "{}" if arguments is None or arguments == [] else json.dumps({"input": arguments}, ensure_ascii=False)


def lenient(text: str) -> Any:
    """The value of JSON, of a Python literal, or of JSON whose keys have no quotes; None for anything else."""
    text = text.strip()
    for attempt in (text, _BARE_KEY.sub(r'\1"\2":', text), re.sub(r",(\s*[}\]])", r"\1", text)):
        try:
            return json.loads(attempt)
        except (ValueError, RecursionError):
            continue
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def arguments_of(text: str) -> str | None:
    """What stands in the parentheses of a call, as JSON; None if these are no arguments that we can name."""
    text = text.strip()
    if not text:
        return "{}"
    if text.startswith("{"):
        value = lenient(text)
        return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else None
    try:
        tree = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(tree, ast.Call)
        if tree.args or not tree.keywords or any(keyword.arg is None for keyword in tree.keywords):
            return None
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in tree.keywords}
        return json.dumps(values, ensure_ascii=False)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError, AssertionError):
        return None


def _tagged(text: str) -> Iterator[WrittenCall]:
    """`<function=look>`, `<invoke name="look">`, with JSON or with tagged parameters inside."""
    for match in _TAGGED.finditer(text):
        parameters = {name: _scalar(value) for name, value in _PARAMETER.findall(match[2])}
        if not parameters and (value := lenient(match[2])) is not None and isinstance(value, dict):
            parameters = value
        yield WrittenCall(match[1], json.dumps(parameters, ensure_ascii=False, default=str))


def _key_values(text: str, tools: Collection[str]) -> Iterator[WrittenCall]:
    """`look<arg_key>at</arg_key><arg_value>it</arg_value>` of GLM."""
    if "<arg_key>" in text:
        name = re.sub(r"<[^>]*>", " ", text.partition("<arg_key>")[0]).strip()
        pairs = {key.strip(): _scalar(value) for key, value in _KEY_VALUE.findall(text)}
        if name and offered(name, tools):
            yield WrittenCall(name, json.dumps(pairs, ensure_ascii=False))


def _json(text: str, tools: Collection[str]) -> Iterator[WrittenCall]:
    """JSON values; one that is no call by itself is the arguments of the offered function that is named before it."""
    at = since = 0
    while (start := re.compile(r"[\[{]").search(text, at)) is not None:
        value, end = _value_at(text, start.start())
        if end is None:
            at = start.end()
            continue
        calls = calls_of(value, tools)
        if calls is not None:
            yield from calls
        elif isinstance(value, dict):
            name = _name_before(text[since : start.start()], tools)
            if name:
                yield WrittenCall(name, json.dumps(value, ensure_ascii=False, default=str))
        elif isinstance(value, list):
            end = start.end()  # calls in a list with something else
        at = since = end


def _value_at(text: str, at: int) -> tuple[Any, int | None]:
    """The JSON value that begins here and its end; None as the end if there is none."""
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        pass
    scan = Brackets()
    end = scan.feed(text, at)
    if end is None or text[at] != "{":
        return None, None
    value = lenient(text[at:end])
    return (value, end) if isinstance(value, dict) else (None, None)


def _name_before(text: str, tools: Collection[str]) -> str | None:
    names = re.findall(r"[\w.:-]+", text[-160:])
    return next((name for name in reversed(names) if offered(name.removeprefix("call:"), tools)), "").removeprefix(
        "call:"
    ) or next((name for name in reversed(names) if name.startswith(("functions.", "call:"))), None)


def _python(text: str, tools: Collection[str]) -> Iterator[WrittenCall]:
    """`look(at="it")`, alone, in a list, or in `print(...)`."""
    for match in re.finditer(r"([A-Za-z_][\w.]*)\s*\(", text):
        name = match[1].removesuffix(".call")  # of Llama
        if not offered(name, tools):
            continue
        end = Brackets().feed(text, match.end() - 1)
        arguments = arguments_of(text[match.end() : end - 1]) if end is not None else None
        if arguments is not None:
            yield WrittenCall(name, arguments)


def _scalar(text: str) -> Any:
    """A parameter's value: JSON where it is some, else the text."""
    text = text.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


class Brackets:
    """Finds where brackets that have been opened are closed, outside of strings, in text that grows.

    Owned by the function that reads the text.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""
        self._escaped = False

    def feed(self, text: str, at: int = 0) -> int | None:
        """Read on; the place behind the bracket that closes the first one, None if it is not there yet."""
        for place in range(at, len(text)):
            char = text[place]
            if self._escaped:
                self._escaped = False
            elif self._quote:
                if char == "\\":
                    self._escaped = True
                elif char == self._quote:
                    self._quote = ""
            elif char == '"' or (
                char == "'" and self._depth and text[place - 1 : place] in ("", "{", "[", "(", ",", ":", " ", "=")
            ):
                self._quote = char
            elif char in "{[(":
                self._depth += 1
            elif char in "}])":
                self._depth -= 1
                if self._depth <= 0:
                    return place + 1
        return None
