"""What the conversation core knows at the beginning of a call, or of one that another process has left."""

from __future__ import annotations

import time

from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.conversation.core.state import State, Words
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot


def first_state(snapshot: ConversationSnapshot, profile: AgentProfile, started_at: float) -> State:
    """`started_at`: Unix time, s, at which the call's first process took it; 0: it is not known."""
    now = time.monotonic()
    ends_at = None
    if profile.longest_call is not None:
        lasts = max(0.0, time.time() - started_at) if started_at else 0.0
        ends_at = now + max(0.0, profile.longest_call - lasts)
    state = State(
        greeting=profile.greeting,
        greets=profile.greets,
        greeted=snapshot.greeted,
        ends_at=ends_at,
        scripted=profile.is_scripted,
        idle_since=now,
        keys=snapshot.keys,
        key_at=now,
    )
    if snapshot.carried:
        state.waiting.append(Words(state.new_id(), snapshot.carried, carried=True))
    outputs = {item.get("call_id") for item in snapshot.items if item.get("type") == "function_call_output"}
    for item in snapshot.items:
        if item.get("type") == "function_call" and item.get("call_id") not in outputs:
            state.pending_calls[str(item.get("call_id"))] = time.monotonic()
    return state
