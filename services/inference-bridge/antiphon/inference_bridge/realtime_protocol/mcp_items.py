"""Items of MCP servers on record: their shapes, what waits for approval, what an agent reads of them. Pure.

An agent knows functions alone: a call of a server's tool is one to it, with its output.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

JsonObject = dict[str, Any]
WAITS: Final = json.dumps({"error": "the user has not yet said whether this may be done: do not call it again"})
_REFUSED: Final = "the user does not want this to be done"
_MAX_REASON: Final = 500


@dataclass(frozen=True)
class ApprovedCall:
    """A call that the client has approved, and that has not been made. A value."""

    request_id: str
    server_label: str
    name: str
    arguments: str


def list_item(item_id: str, label: str, tools: Sequence[JsonObject] = ()) -> JsonObject:
    """The tools of a server. `tools`: `name`, `description`, `input_schema`."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "mcp_list_tools",
        "server_label": label,
        "tools": [*tools],
    }


def approval_request(item_id: str, label: str, name: str, arguments: str) -> JsonObject:
    """The client is asked whether a tool may be called. `name`: as the server has it."""
    item = {"id": item_id, "object": "realtime.item", "type": "mcp_approval_request"}
    return {**item, "server_label": label, "name": name, "arguments": arguments}


def call_item(item_id: str, label: str, name: str, approval_request_id: str = "") -> JsonObject:
    """A call that begins: without its arguments, which follow, and without its output."""
    item = {"id": item_id, "object": "realtime.item", "type": "mcp_call", "server_label": label, "name": name}
    return {**item, "arguments": "", "output": None, "error": None, "approval_request_id": approval_request_id or None}


def is_open(items: Iterable[JsonObject], request_id: str) -> bool:
    """There is an approval request of this id on record, which was not answered."""
    requested = answered = False
    for item in items:
        requested = requested or (item.get("type") == "mcp_approval_request" and item["id"] == request_id)
        answered = answered or (
            item.get("type") == "mcp_approval_response" and item.get("approval_request_id") == request_id
        )
    return requested and not answered


def approved_calls(items: Sequence[JsonObject]) -> list[ApprovedCall]:
    """The calls that the client has approved and that nobody has made, in the order of the requests."""
    approved = {
        item.get("approval_request_id")
        for item in items
        if item.get("type") == "mcp_approval_response" and item.get("approve")
    }
    made = {item.get("approval_request_id") for item in items if item.get("type") == "mcp_call"}
    return [
        ApprovedCall(item["id"], item["server_label"], item["name"], item["arguments"])
        for item in items
        if item.get("type") == "mcp_approval_request" and item["id"] in approved - made
    ]


def items_for_agent(items: Sequence[JsonObject]) -> list[JsonObject]:
    """The items with calls of functions in place of what is of MCP servers."""
    if not any(str(item.get("type", "")).startswith("mcp_") for item in items):
        return list(items)
    answers = {item.get("approval_request_id"): item for item in items if item.get("type") == "mcp_approval_response"}
    found: list[JsonObject] = []
    for item in items:
        match item.get("type"):
            case "mcp_call":
                found += _pair(item, _output_of(item))
            case "mcp_approval_request":
                answer = answers.get(item["id"])
                if answer is None:
                    found += _pair(item, WAITS)
                elif not answer.get("approve"):
                    reason = str(answer.get("reason") or "")[:_MAX_REASON]
                    text = f"{_REFUSED}: {reason}" if reason else _REFUSED
                    found += _pair(item, json.dumps({"error": text}, ensure_ascii=False))
            case "mcp_list_tools" | "mcp_approval_response":
                pass
            case _:
                found.append(item)
    return found


def _output_of(item: JsonObject) -> str:
    error = item.get("error")
    if error:
        return json.dumps({"error": error.get("message", "")}, ensure_ascii=False)
    return item.get("output") or json.dumps({"error": "it was not finished"})


def _pair(item: JsonObject, output: str) -> list[JsonObject]:
    call_id = str(item["id"])
    call = {"id": call_id, "type": "function_call", "call_id": call_id, "name": item["name"]}
    gave = {"id": f"{call_id}_output", "type": "function_call_output", "call_id": call_id, "output": output}
    return [{**call, "arguments": item.get("arguments") or "{}"}, gave]
