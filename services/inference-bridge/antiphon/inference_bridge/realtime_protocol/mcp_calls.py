"""The events of calls of MCP servers' tools within one response, and of the questions whether they may be made."""

from __future__ import annotations

from antiphon.inference_bridge.realtime_protocol.mcp_items import JsonObject, approval_request, call_item
from antiphon.inference_bridge.realtime_protocol.response_events import RealtimeResponse

NOT_FINISHED = "it was not finished: the answer ended before it; it is not known whether it has had an effect"


class McpCalls:
    """Owned by what takes note of one response's tools; used on the event loop."""

    def __init__(self, response: RealtimeResponse) -> None:
        self._response = response
        self._open: dict[str, JsonObject] = {}
        """Items by the id of their calls."""

    def begin(self, call_id: str, label: str, name: str, arguments: str, approval_request_id: str) -> None:
        """A tool is called."""
        response = self._response
        item = self._open[call_id] = call_item(response.new_item_id(), label, name, approval_request_id)
        response.begin_item(item)
        item["arguments"] = arguments
        response.of_item(item, "response.mcp_call_arguments.delta", delta=arguments)
        response.of_item(item, "response.mcp_call_arguments.done", arguments=arguments)
        response.of_item(item, "response.mcp_call.in_progress", response_id=None)

    def end(self, call_id: str, output: str | None, failed: bool) -> None:
        """It has given a result; None: it has not."""
        item = self._open.pop(call_id, None)
        if item is None:
            return
        failed = failed or output is None
        if failed:
            text = NOT_FINISHED if output is None else output
            item["error"] = {"type": "tool_execution_error", "message": text}
        else:
            item["output"] = output
        kind = "failed" if failed else "completed"
        self._response.of_item(item, f"response.mcp_call.{kind}", response_id=None)
        self._response.end_item(item)


def ask_approval(response: RealtimeResponse, label: str, name: str, arguments: str) -> str:
    """Ask the client whether a tool may be called; returns the id of the question."""
    item = approval_request(response.new_item_id(), label, name, arguments)
    response.begin_item(item)
    response.end_item(item)
    return str(item["id"])
