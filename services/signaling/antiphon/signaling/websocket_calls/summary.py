"""One call over WebSocket as operators see it: `CallSummary`, for listings, ended calls and webhooks."""

from __future__ import annotations

from antiphon.schemas import messages
from antiphon.signaling.websocket_calls.call import WebSocketCall


def summary_of(call: WebSocketCall, owner: str, region: str) -> messages.CallSummary:
    """The call as it is now, or at its end. `owner`: this process in the services register."""
    counted = call.statistics()
    return messages.CallSummary(
        session_id=call.state.session_id,
        agent=call.state.agent,
        kind="websocket",
        state="running" if call.ended is None else "ended",
        began=call.state.began_at,
        region=region,
        owner=owner,
        packets_received=counted.packets_received,
        turns=call.turns,
        last_turn=call.last_turn,
        client=call.reports.last,
    )
