"""The conversation on record as the messages of a request, in the order that the strictest chat templates demand. Pure.

One system message in front. Then user and assistant in turns, beginning and ending with the user or a function's
output; a function call in one message with the words before it, its output right behind it; no message without words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from antiphon.inference_bridge.agents.tool_calls import is_json_object
from antiphon.inference_bridge.realtime_protocol.conversation import text_of

ChatMessage = dict[str, Any]

MAX_HISTORY: Final = 60
"""Items of the conversation that the model is shown; the newest."""
NO_OUTPUT_YET: Final = "(no result yet)"
CALL_BEGINS: Final = "(The call is connected.)"
"""Of the user, in front of a greeting: templates want the user to begin."""
SILENCE: Final = "(The caller says nothing. Go on, or ask in a few words whether they are still there.)"
"""Of the user, where an answer is wanted behind one of the assistant."""
RESULT_CAME: Final = "(The result that you were waiting for is there now.)"
"""Of the user, where the assistant has spoken since it called a function whose output has just come."""
MAX_INSTRUCTIONS: Final = 20
"""Messages of the role system in the middle of the conversation that go into the first; the newest."""
CONTINUE: Final = (
    "You were cut off in the middle of your answer, after your last words. Go on with the very next word, as if "
    "nothing had happened; repeat nothing."
)
"""Of the user, behind the part of an answer that was spoken when its model failed."""
ONE_MOMENT: Final = "One moment, please."
"""Of the assistant, between a function's output and a user who has not waited for the answer."""


_INSTRUCT: Final = ("system", "developer")


@dataclass
class _Call:
    """A call of a function, with its output when that has come."""

    call_id: str
    name: str
    arguments: str
    output: str | None = None


@dataclass
class _Turn:
    """What one side says, and the functions that the assistant calls after it."""

    role: str
    texts: list[str] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)


def chat_messages(
    items: Sequence[dict[str, Any]], system: str, continued: str = "", short_ids: bool = False, no_system: bool = False
) -> list[ChatMessage]:
    """The messages of a request: `system` and the newest `MAX_HISTORY` items.

    `continued`: what the assistant has said already of the answer that is asked for. `short_ids`: for servers that want
    ids of nine letters. `no_system`: for those that have no such role.
    """
    turns = _turns(items[-MAX_HISTORY:])
    instructions = [text_of(item) for item in items if item.get("role") in _INSTRUCT]
    system = "\n".join(filter(None, [system, *instructions[-MAX_INSTRUCTIONS:]]))
    if continued and turns and turns[-1].role == "assistant" and not turns[-1].calls:
        turns[-1].texts.append(continued)
    elif continued:
        turns.append(_Turn("assistant", [continued]))
    messages = _alternating(turns)
    if continued:
        messages.append({"role": "user", "content": CONTINUE})
    elif messages and messages[-1]["role"] == "assistant":
        came = bool(items) and items[-1].get("type") == "function_call_output"
        messages.append({"role": "user", "content": RESULT_CAME if came else SILENCE})
    elif not messages:
        messages.append({"role": "user", "content": CALL_BEGINS})
    if no_system:
        first = messages[0]
        first["content"] = f"{system}\n\n{first['content']}"
    else:
        messages.insert(0, {"role": "system", "content": system})
    return _with_short_ids(messages) if short_ids else messages


def _turns(items: Sequence[dict[str, Any]]) -> list[_Turn]:
    """The items as turns with their calls."""
    turns: list[_Turn] = []
    open_calls: list[_Call] = []
    for item in items:
        kind = item.get("type")
        if kind == "function_call":
            call = _Call(str(item.get("call_id", "")), str(item.get("name", "")), str(item.get("arguments") or ""))
            if not turns or turns[-1].role != "assistant":
                turns.append(_Turn("assistant"))
            turns[-1].calls.append(call)
            open_calls.append(call)
        elif kind == "function_call_output":
            _put_output(open_calls, str(item.get("call_id", "")), str(item.get("output") or ""))
        elif kind == "message" and item["role"] not in _INSTRUCT and (text := text_of(item)):
            last = turns[-1] if turns else _Turn("")
            waits = last.calls and all(call.output is None for call in last.calls)
            if last.role == item["role"] and (not last.calls or waits):  # also words that were spoken beside the call
                last.texts.append(text)
            else:
                turns.append(_Turn(item["role"], [text]))
    return turns


def _put_output(calls: Iterable[_Call], call_id: str, output: str) -> None:
    """Give the output to the first call of this id that waits for one; an output without a call is left out."""
    of_id = [call for call in calls if call.call_id == call_id]
    waiting = [call for call in of_id if call.output is None] or of_id[-1:]
    if waiting:
        waiting[0].output = output


def _alternating(turns: list[_Turn]) -> list[ChatMessage]:
    """As messages. Each call has an id of its own, its output behind it, and then the assistant's turn."""
    messages: list[ChatMessage] = []
    used: set[str] = set()
    for turn in turns:
        last = messages[-1]["role"] if messages else None
        if turn.role == "user":
            if last == "tool":
                messages.append({"role": "assistant", "content": ONE_MOMENT})
            messages.append({"role": "user", "content": "\n".join(turn.texts)})
            continue
        if last is None:
            messages.append({"role": "user", "content": CALL_BEGINS})
        text = " ".join(turn.texts)
        if not turn.calls:
            messages.append({"role": "assistant", "content": text})
            continue
        calls = [(_own_id(call.call_id, used), call) for call in turn.calls]
        written = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call_id, call in calls
        ]
        messages.append({"role": "assistant", "content": text or None, "tool_calls": written})
        for call_id, call in calls:
            output = NO_OUTPUT_YET if call.output is None else call.output or "(nothing)"
            messages.append({"role": "tool", "tool_call_id": call_id, "content": output})
    return messages


def _own_id(call_id: str, used: set[str]) -> str:
    """The id, or one made of it where an earlier call has it already."""
    own, number = call_id or "call_0", 1
    while own in used:
        number += 1
        own = f"{call_id or 'call'}_{number}"
    used.add(own)
    return own


def _arguments(arguments: str) -> str:
    """Arguments that a template can read: some servers refuse the whole request otherwise."""
    return arguments if is_json_object(arguments) else "{}"


def _with_short_ids(messages: list[ChatMessage]) -> list[ChatMessage]:
    short: dict[str, str] = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            short[call["id"]] = f"call{len(short):05d}"
            call["id"] = short[call["id"]]
        if message["role"] == "tool":
            message["tool_call_id"] = short[message["tool_call_id"]]
    return messages
