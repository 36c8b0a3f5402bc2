"""The spans of a turn that the owner of a call writes: its own parts, under the agent's span of the turn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from antiphon.runtime import telemetry
from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.runtime.telemetry import names, spans

_OWNERS: Final = {"uplink": "network", "downlink": "network", "client": "client"}
"""What is not named here is a service's own time."""
_TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def write(told: Told, session_id: str, call_trace: Mapping[str, Any]) -> None:
    """Nothing happens while traces are off. Where an agent names no span of the call's trace, they are the call's."""
    if not told.stretches or not spans.enabled():
        return
    parent, trace_id = told.turn.trace, telemetry.trace_id(call_trace)
    ours = _TRACEPARENT.fullmatch(parent) is not None and (not trace_id or parent[3:35] == trace_id)
    if ours:
        context = spans.of_call(session_id, telemetry.trace_context({"traceparent": parent}))
    else:
        context = telemetry.call_context(call_trace, session_id)
    for part, begins, ends in told.stretches:
        attributes: dict[str, str | int] = {
            names.PART: part,
            names.OWNED_BY: _OWNERS.get(part, "service"),
            "antiphon.turn.number": told.turn.number,
        }
        span = spans.begin(part, context, began_ns=int(begins * 1e9), attributes=attributes)
        span.end(int(max(begins, ends) * 1e9))
