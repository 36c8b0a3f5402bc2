"""What is asked for from outside: a greeting, `response.create`, `response.cancel`.

Each create ends in `Begin` and `Settle`, or in `Refuse`.
"""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import lifecycle
from antiphon.inference_bridge.conversation.core.commands import Command
from antiphon.inference_bridge.conversation.core.events import Cancel, Create
from antiphon.inference_bridge.conversation.core.state import (
    MAX_BESIDE,
    MAX_FOLLOWING,
    MAX_STOPPED,
    Kind,
    Phase,
    Response,
    State,
)

READY_S: Final = 0.25
"""A caller who sends no audio so long after the connection sends none: the greeting waits no more."""
GREETING_GRACE_S: Final = 2.0
"""Within this time of the greeting's beginning a create is that of a program that wants the caller greeted: it is."""
ACTIVE: Final = "conversation_already_has_active_response"


def greet(state: State, now: float) -> list[Command]:
    """The greeting starts when the caller is ready, unless the client was faster."""
    state.connected_at = None
    if state.greeted:
        return []
    state.greeted = True
    if not (state.greeting or state.greets) or state.speech:
        return []
    response = Response(state.new_id(), Kind.GREETING, now, fixed=_greeting(state), spoken=state.rules.spoken)
    return lifecycle.begin(state, response, now)


def _greeting(state: State) -> str:
    """What is said without asking the agent; empty: it is asked."""
    return "" if state.greets else state.greeting


def say(state: State, text: str, hang_up: str, now: float) -> list[Command]:
    """Speak a fixed text now. `hang_up`: why the call ends behind it; empty: it does not."""
    response = Response(state.new_id(), Kind.FIXED, now, fixed=text, hang_up=hang_up, spoken=state.rules.spoken)
    return lifecycle.stop_speech(state, now, "turn_detected") + lifecycle.begin(state, response, now)


def create(state: State, event: Create, now: float) -> list[Command]:
    """The client wants an answer to the conversation so far, or one out of band."""
    response = Response(
        state.new_id(),
        Kind.CLIENT,
        now,
        parameters=event.parameters,
        by_client=True,
        on_record=not event.aside,
        spoken=event.spoken,
    )
    if len(state.deferred) >= 2 * MAX_STOPPED:
        text = f"{MAX_STOPPED} responses that were stopped are being closed: wait for a response.done"
        return [do.Refuse("rate_limit_exceeded", text)]
    if event.aside and not event.spoken:
        return _beside(state, response, event, now)
    last = state.speech[-1] if state.speech else None
    if event.aside:
        return lifecycle.begin(state, response, now) if last is None else _follow(state, response, now)
    asks = bool(state.waiting) or event.has_own_input or state.new_outputs > 0
    if last is None:
        if (state.greeting or state.greets) and not state.greeted:
            if not asks:
                response.kind, response.fixed = Kind.GREETING, _greeting(state)
            elif state.scripted:
                response.preamble = state.greeting
        state.greeted = True
    elif last.kind is Kind.GREETING:
        if not asks or now - last.began < GREETING_GRACE_S:
            return [do.Refuse(ACTIVE, "the caller is being greeted: wait for the greeting's response.done")]
        return _follow(state, response, now)
    elif state.new_outputs or not last.on_record:
        return _follow(state, response, now)
    elif last.kind is Kind.FIXED or any(each.is_generating for each in state.speech):
        text = "a response is being made already: wait for its response.done, or send response.cancel"
        return [do.Refuse(ACTIVE, text)]
    out = lifecycle.stop_speech(state, now, "turn_detected") if last is not None else []
    _take_waiting(state, response)
    return out + lifecycle.begin(state, response, now)


def _take_waiting(state: State, response: Response) -> None:
    response.texts, state.waiting = lifecycle.in_order([*state.waiting, *response.texts]), []
    state.new_outputs = 0


def _beside(state: State, response: Response, event: Create, now: float) -> list[Command]:
    if len(state.beside) >= MAX_BESIDE:
        text = f"{MAX_BESIDE} responses out of band are under way: wait for a response.done"
        return [do.Refuse("rate_limit_exceeded", text)]
    response.beside = response.created = True
    state.beside[response.rid] = response
    return [do.Begin(response), *lifecycle.advance_beside(state, event.has_own_input)]


def _follow(state: State, response: Response, now: float) -> list[Command]:
    """Wait until what is spoken has been played to its end."""
    if len(state.speech) > MAX_FOLLOWING:
        text = f"{MAX_FOLLOWING} responses wait to be spoken: wait for a response.done"
        return [do.Refuse("rate_limit_exceeded", text)]
    response.phase = Phase.QUEUED
    if response.on_record:
        _take_waiting(state, response)
    state.speech.append(response)
    return lifecycle.prepare(state, now)


def cancel(state: State, event: Cancel, now: float) -> list[Command]:
    """The client wants what is spoken, or one response, stopped."""
    if event.rid is None:
        if not state.speech and event.must_exist:
            return [_not_active("a response")]
        return lifecycle.stop_speech(state, now, "client_cancelled") + lifecycle.advance(state, now)
    if (response := state.beside.get(event.rid)) is not None:
        if response.phase is Phase.STOPPING:
            return [_not_active("this response")]
        return lifecycle.stop(state, response, "client_cancelled")
    found = next((each for each in state.speech if each.rid == event.rid), None)
    if found is None:
        return [_not_active("this response")] if event.must_exist else []
    if len(state.speech) == 1:
        return lifecycle.stop_speech(state, now, "client_cancelled") + lifecycle.advance(state, now)
    state.speech.remove(found)
    return lifecycle.stop(state, found, "client_cancelled") + lifecycle.advance(state, now)


def _not_active(which: str) -> do.Refuse:
    return do.Refuse("response_cancel_not_active", f"{which} is not active: there is nothing to cancel")
