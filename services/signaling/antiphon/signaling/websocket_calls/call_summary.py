"""One call over WebSocket as operators see it. It names no address of a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.schemas import messages
from antiphon.signaling.websocket_calls.call import WebSocketCall

MAX_NAME: Final = 64
"""Characters of an agent's instance that are shown: an agent chooses its name itself."""


def summary_of(
    call: WebSocketCall, owner: messages.CallList, instance_of: Callable[[str], str]
) -> messages.CallSummary:
    """This call now. `owner`: whose it is. Frames count, where a call over WebRTC has packets.

    `instance_of(session id)`: which instance of its agent has it.
    """
    state, counted = call.state, call.statistics()
    return messages.CallSummary(
        session_id=state.session_id,
        agent=state.agent,
        instance=instance_of(state.session_id)[:MAX_NAME],
        kind="websocket",
        state="running" if call.ended is None else "ended",
        began=state.began_at,
        region=owner.region,
        owner=owner.owner,
        path="tcp",
        packets_received=counted.packets_received,
        turns=state.turns,
        last_turn=messages.Turn.model_validate(state.last_turn) if state.last_turn else None,
        trace_id=state.call_trace.get("parent", "")[3:35],
    )
