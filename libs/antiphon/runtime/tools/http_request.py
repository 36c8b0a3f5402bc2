"""The HTTP request that a tool and its arguments make. Pure.

Arguments come from a language model, and so from whoever talks to it: they fill the places that the operator has left
open and no other. A value can't leave its segment of the path, and never reaches scheme, host, port or headers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from antiphon.runtime.tools.arguments import ArgumentsError
from antiphon.runtime.tools.definitions import PLACEHOLDER, HttpTool

MAX_URL: Final = 8000
"""Characters: many servers refuse longer ones."""
_BETWEEN_SEGMENTS: Final = re.compile(r"[/\\]")


@dataclass(frozen=True)
class HttpRequest:
    """What is to be sent, besides the tool's own headers. A value."""

    method: str
    url: str
    content: bytes | None = None
    """JSON; None: no body."""


def request_of(tool: HttpTool, arguments: dict[str, Any]) -> HttpRequest:
    """The request; `ArgumentsError` for a value that can't be put where the URL wants it."""
    rest = dict(arguments)
    path, mark, query = tool.url.partition("?")
    for name in PLACEHOLDER.findall(tool.url):
        rest.pop(name, None)
    url = PLACEHOLDER.sub(lambda match: _in_path(match[1], arguments), path)
    _check_segments(path, url)
    pairs = [PLACEHOLDER.sub(lambda match: _quoted(_text(match[1], arguments)), query)] if mark else []
    content = None
    if tool.body == "json" or (tool.body is None and tool.method not in ("GET", "DELETE")):
        content = _json(rest).encode("utf-8", "replace")
    elif rest:
        pairs.append(
            urlencode([pair for name, value in rest.items() for pair in _pairs(name, value)], errors="replace")
        )
    url += "?" + "&".join(filter(None, pairs)) if any(pairs) else ""
    if len(url) > MAX_URL:
        raise ArgumentsError(f"the arguments are too long for a URL: it has {len(url)} characters, at most {MAX_URL}")
    return HttpRequest(tool.method, url, content)


def _text(name: str, arguments: dict[str, Any]) -> str:
    if name not in arguments:
        raise ArgumentsError(f"{name}: it is missing")
    value = arguments[name]
    if isinstance(value, dict | list) or value is None:
        raise ArgumentsError(f"{name}: a text, a number, true or false is expected")
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise ArgumentsError("a number among the arguments is none that JSON has") from None


def _in_path(name: str, arguments: dict[str, Any]) -> str:
    text = _text(name, arguments)
    if not text.strip():
        raise ArgumentsError(f"{name}: it is empty")
    # A server may take %2F for a slash, and then `..` for the segment before.
    if any(each in (".", "..") for each in _BETWEEN_SEGMENTS.split(text)):
        raise ArgumentsError(f"{name}: {text!r:.60} can't be part of a path")
    return _quoted(text)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _check_segments(template: str, url: str) -> None:
    """Two values side by side may make a `..` that neither of them is."""
    wrong = (".", "..")
    if any(each in wrong for each in urlsplit(url).path.split("/")) and not any(
        each in wrong for each in urlsplit(template).path.split("/")
    ):
        raise ArgumentsError("the arguments make a path that leads elsewhere")


def _pairs(name: str, value: Any) -> list[tuple[str, str]]:
    """A list is sent as one pair for each of its members, an object as JSON; null is left out."""
    values = value if isinstance(value, list) else [value]
    return [(name, each if isinstance(each, str) else _json(each)) for each in values if each is not None]
