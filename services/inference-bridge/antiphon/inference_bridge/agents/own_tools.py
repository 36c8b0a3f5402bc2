"""Tools that an agent runs itself, as items of the conversation: so that it sees them the next time. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from antiphon.inference_bridge.agents import ToolRun

MAX_KEPT: Final = 16 * 1024
"""Characters of arguments and of output that are kept."""
NOT_FINISHED: Final = json.dumps({"error": "it was not finished: the answer ended before it"})
"""Output of a tool that was under way when its answer was interrupted, or ended."""


def items_of(run: ToolRun) -> list[dict[str, Any]]:
    """The call and its output, as items of the realtime protocol without ids."""
    call_id, output = run.call_id or "tool", NOT_FINISHED if run.output is None else run.output
    if len(output) > MAX_KEPT:
        output = f"{output[:MAX_KEPT]}… ({len(output)} characters)"
    arguments = run.arguments if 0 < len(run.arguments) <= MAX_KEPT else "{}"
    call = {"type": "function_call", "call_id": call_id, "name": run.name, "arguments": arguments}
    return [call, {"type": "function_call_output", "call_id": call_id, "output": output}]
