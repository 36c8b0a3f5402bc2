"""What one chunk of a `chat/completions` answer adds: text, thoughts, pieces of function calls, its end, usage. Pure.

Chunks of all servers, and whole answers in one piece. A field of an unexpected type counts as missing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from antiphon.inference_bridge.agents import Usage

Finish = Literal["stop", "length", "content_filter"]
_FINISHES: Final[dict[str, Finish]] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "content-filter": "content_filter",
    "safety": "content_filter",
    "prohibited_content": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
}
"""Every other reason is a `stop`."""
_REASONING: Final = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thought", "reasoning_details")


@dataclass(frozen=True)
class CallPiece:
    """A piece of a function call, as it came. A value."""

    index: int | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class Delta:
    """What a chunk adds to the answer. A value."""

    text: str = ""
    thinks: bool = False
    """It holds thoughts in a field of their own."""
    calls: tuple[CallPiece, ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    is_choice: bool = False
    """It is a part of an answer, and not only usage or a sign of life."""
    error: str = ""
    """The server has failed in the middle of the answer."""


def delta_of(chunk: dict[str, Any]) -> Delta:
    """What this chunk adds."""
    error = _error_in(chunk.get("error")) if chunk.get("error") else ""
    usage = _usage(chunk.get("usage"))
    choice = _first(chunk.get("choices"))
    finish = choice.get("finish_reason")
    ending = _FINISHES.get(finish.lower(), "stop") if isinstance(finish, str) and finish else None
    if not error and finish == "error":
        error = _error_in(choice.get("error")) if choice.get("error") else "it ends with the reason error"
    delta = choice.get("delta")
    if not isinstance(delta, dict) or not delta:
        delta = choice.get("message") if isinstance(choice.get("message"), dict) else {}
    assert isinstance(delta, dict)
    text, thinks = _content(delta.get("content"))
    if not text and isinstance(choice.get("text"), str):
        text = choice["text"]
    if not text and isinstance(delta.get("refusal"), str):
        text = delta["refusal"]
    thinks = thinks or any(delta.get(name) for name in _REASONING)
    return Delta(whole_characters(text), thinks, _calls(delta), ending, usage, bool(choice), error)


def whole_characters(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can hold and UTF-8 can't."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _first(choices: Any) -> dict[str, Any]:
    """The first choice; servers that are asked for one may still number it."""
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index") in (0, None, "0"):
            return choice
    return {}


def _content(content: Any) -> tuple[str, bool]:
    """Text, and whether there are thoughts beside it: some servers send a list of typed parts."""
    if isinstance(content, str):
        return content, False
    text, thinks = "", False
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict):
            if part.get("type", "text") in ("text", "output_text") and isinstance(part.get("text"), str):
                text += part["text"]
            else:
                thinks = True
    return text, thinks


def _calls(delta: dict[str, Any]) -> tuple[CallPiece, ...]:
    calls = delta.get("tool_calls")
    found = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if isinstance(calls, dict):
        found = [calls]
    if not found and isinstance(delta.get("function_call"), dict):  # as it was before tools
        found = [{"index": 0, "function": delta["function_call"]}]
    return tuple(map(_call, found))


def _call(call: dict[str, Any]) -> CallPiece:
    function = call.get("function")
    if not isinstance(function, dict):
        function = call
    index = call.get("index")
    if isinstance(index, str) and index.isdecimal():
        index = int(index[:9])
    name, call_id = function.get("name"), call.get("id")
    arguments = function.get("arguments")
    if arguments is None:
        arguments = function.get("parameters")
    if isinstance(arguments, dict | list):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return CallPiece(
        index if isinstance(index, int) and not isinstance(index, bool) else None,
        whole_characters(str(call_id)) if isinstance(call_id, str | int) else "",
        whole_characters(name) if isinstance(name, str) else "",
        whole_characters(arguments) if isinstance(arguments, str) else "",
    )


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    if not any(isinstance(count, int | float) for count in counts):
        return None
    taken, given = (_count(count) for count in counts)
    return Usage(taken, given)


def _count(value: Any) -> int:
    """0 for what is no count: a server may not know one of the two."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0


def _error_in(error: Any) -> str:
    """The words of an error object, in one line."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("error") or error.get("detail") or error
    text = error if isinstance(error, str) else json.dumps(error, default=str)
    return " ".join(whole_characters(text).split())[:300] or "an error without a word"
