"""The conversation of a request as messages in chat format, which language models are asked with. Pure.

One system message in front, with the instructions. Text of one side is one message. A call of a function stands in the
message of the assistant before it, its output right behind: chat servers refuse a request with one alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from antiphon.schemas.messages import ReplyRequest

Message = dict[str, Any]

NO_OUTPUT: Final = "(no result)"
"""Of a function that was interrupted, or whose client has not answered yet."""
CALL_BEGINS: Final = "(The call is connected.)"
SILENCE: Final = "(The caller says nothing.)"
CONTINUE: Final = "(Your voice was cut off behind these words. Go on with the next word, and repeat nothing.)"


def chat_messages(request: ReplyRequest, instructions: str) -> list[Message]:
    """The messages, the last one of them what is to be answered. `instructions`: where the request brings none."""
    system = [request.instructions or instructions]
    messages: list[Message] = []
    outputs: dict[str, list[str]] = {}
    for item in request.items:
        if item.get("type") == "function_call_output":
            outputs.setdefault(str(item.get("call_id") or ""), []).append(str(item.get("output") or ""))
    used: set[str] = set()
    beside = False
    for item in request.items:
        kind, role = item.get("type"), item.get("role")
        if kind == "function_call":
            given = outputs.get(str(item.get("call_id") or ""))
            call_id = _own_id(str(item.get("call_id") or ""), used)
            add_call(messages, call_id, str(item.get("name") or ""), str(item.get("arguments") or ""), beside)
            add_output(messages, call_id, given.pop(0) if given else NO_OUTPUT)
        elif kind in ("message", None) and role in ("system", "developer"):
            system.append(text_of(item))
        elif kind in ("message", None) and role in ("user", "assistant"):
            add_text(messages, role, text_of(item))
        beside = kind == "function_call"
    _add_what_is_new(messages, request)
    first = "\n".join(filter(None, system))
    return [{"role": "system", "content": first}, *messages] if first else messages


def add_text(messages: list[Message], role: str, text: str) -> None:
    """Words of one side, in one message with those before."""
    if not text:
        return
    last = messages[-1] if messages else {}
    if last.get("role") == role and "tool_calls" not in last:
        last["content"] = f"{last['content']} {text}" if role == "assistant" else f"{last['content']}\n{text}"
    else:
        messages.append({"role": role, "content": text})


def add_call(messages: list[Message], call_id: str, name: str, arguments: str, beside: bool = False) -> None:
    """A call of the assistant, in the message with its words. `beside`: made together with the call before it."""
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": readable(arguments)}}
    at = len(messages) - 1
    while beside and at > 0 and messages[at]["role"] == "tool":
        at -= 1
    last = messages[at] if messages else {}
    if last.get("role") == "assistant" and ("tool_calls" in last) == beside:
        last.setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def add_output(messages: list[Message], call_id: str, output: str) -> None:
    """The output of a call that was added before."""
    messages.append({"role": "tool", "tool_call_id": call_id, "content": output})


def readable(arguments: str) -> str:
    """Arguments that a server can read: some refuse a whole request for one call of a small model."""
    try:
        return arguments if isinstance(json.loads(arguments), dict) else "{}"
    except ValueError:
        return "{}"


def text_of(item: Mapping[str, Any]) -> str:
    """The words of a message item of the realtime protocol, or of a message in chat format."""
    content = item.get("content")
    if isinstance(content, str):
        return content.strip()
    parts: Sequence[Any] = content if isinstance(content, list) else ()
    texts = (str(part.get("text") or part.get("transcript") or "") for part in parts if isinstance(part, dict))
    return " ".join(filter(None, texts)).strip()


def _own_id(call_id: str, used: set[str]) -> str:
    """The id, or one made of it: some models count their calls from 0 in each answer."""
    own, number = call_id or "call", 1
    while own in used:
        number += 1
        own = f"{call_id or 'call'}_{number}"
    used.add(own)
    return own


def _add_what_is_new(messages: list[Message], request: ReplyRequest) -> None:
    newest = next((str(each["content"]) for each in reversed(messages) if each["role"] == "user"), "")
    if request.text.strip() not in newest:
        add_text(messages, "user", request.text.strip())  # the conversation came without it
    if request.keys:
        add_text(messages, "user", f"(The caller has pressed {' '.join(request.keys)}.)")
    if request.event == "call_started" and not messages:
        add_text(messages, "user", CALL_BEGINS)
    if request.event == "silence":
        add_text(messages, "user", SILENCE)
    if request.said:
        last = messages[-1] if messages else {}
        if last.get("role") != "assistant" or not str(last.get("content")).endswith(request.said.strip()):
            add_text(messages, "assistant", request.said.strip())
        add_text(messages, "user", CONTINUE)
