"""What time does: holds end, late answers get a sign, keys are complete, silent callers are spoken to."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import lifecycle, requests
from antiphon.inference_bridge.conversation.core.commands import Command
from antiphon.inference_bridge.conversation.core.interruption import MAX_HOLD_S, PATIENCE_S, Sound, sound
from antiphon.inference_bridge.conversation.core.listening import keys_complete
from antiphon.inference_bridge.conversation.core.state import HoldPhase, Kind, Phase, Response, State
from antiphon.inference_bridge.phrases import phrase

MAX_PROMPTS: Final = 3
"""Times in a row that the agent speaks to a silent caller (`idle_timeout_ms`, `silence_ms`)."""
LONGEST_CALL: Final = "longest_call"
"""Why a call ended that has lasted as long as its agent wants calls to last: `cause` of its `Ended`."""
LAST_WORDS_S: Final = 30.0
"""A call that goes on for so long after the sentence that ends it is hung up without one."""
KEYS_S: Final = 2.0
"""Without a further key those that were pressed are complete."""
TOOL_S: Final = 120.0
"""A function that the client answers later than this does not keep the agent silent any more."""


def tick(state: State, now: float) -> list[Command]:
    """Called each 0.1 s or so."""
    out = _end_hold(state, now)
    if state.connected_at is not None and now - state.connected_at >= requests.READY_S:
        out += requests.greet(state, now)
    late = now - state.resumed_at > lifecycle.ANSWER_WITHIN_S
    for words in [words for words in state.undecided if words.may_be_answer and late]:
        state.undecided.remove(words)
        out.append(do.FalseInterruption(words.key))
    if state.keys and now - state.key_at >= KEYS_S:
        out += keys_complete(state, now)
    return out + _sign(state, now) + notice(state, now) + _prompt(state, now) + _end_call(state, now)


def _end_call(state: State, now: float) -> list[Command]:
    """The call has lasted long enough. What is said of it can be stopped before its first word: then we hang up."""
    if state.ends_at is None or now < state.ends_at:
        return []
    state.ends_at = now + LAST_WORDS_S
    if state.last_words:
        return [do.HangUp(LONGEST_CALL)]
    state.last_words = True
    return requests.say(state, phrase("longest_call", state.rules.language), LONGEST_CALL, now)


def _end_hold(state: State, now: float) -> list[Command]:
    """A hold that has lasted too long ends: no noise stops the agent for good."""
    hold = state.hold
    if hold.phase is HoldPhase.DECIDING and now - hold.silent_since > PATIENCE_S:
        return sound(state, Sound.PATIENCE_OVER, now)
    if hold.phase is HoldPhase.HOLDING and now - hold.since > MAX_HOLD_S and not hold.texts_due:
        hold.is_noise = True
        return sound(state, Sound.NOISE, now)
    return []


def _sign(state: State, now: float) -> list[Command]:
    """The caller waits for the first word of an answer: say once that it takes a moment."""
    current, patience = state.current, state.rules.patience_ms
    if current is None or not patience or current.signed or current.first_part or not current.spoken:
        return []
    if current.phase is not Phase.GENERATING or current.gated or current.fixed:
        return []
    if state.speaking or state.hold.is_held or (now - current.late_since) * 1000 < patience:
        return []
    current.signed = True
    return [do.SayPatience(current.rid)]


def notice(state: State, now: float) -> list[Command]:
    """The caller must not be left in silence where the agent does not know yet what has happened."""
    if not state.notice_due or state.speech or state.stopping or state.speaking or state.undecided:
        return []
    response = Response(state.new_id(), Kind.NOTICE, now, spoken=state.rules.spoken)
    response.texts, state.waiting = state.waiting, []
    state.notice_due = False
    return lifecycle.begin(state, response, now)


def _prompt(state: State, now: float) -> list[Command]:
    """The caller has been silent for long, and nothing is expected but the caller's words."""
    rules = state.rules
    of_client = rules.idle_timeout_ms is not None
    limit = rules.idle_timeout_ms if of_client else rules.silence_ms
    prompts = () if of_client else rules.silence_prompts
    if limit is None or state.idle_since is None or state.speech or state.speaking or state.keys:
        return []
    if state.prompts >= (len(prompts) or MAX_PROMPTS) or (now - state.idle_since) * 1000 <= limit or state.undecided:
        return []
    if any(now - told < TOOL_S for told in state.pending_calls.values()):
        return []
    fixed = prompts[state.prompts] if prompts else ""
    state.prompts += 1
    response = Response(state.new_id(), Kind.PROMPT, now, fixed=fixed, spoken=rules.spoken)
    if not fixed:
        response.texts, state.waiting = state.waiting, []
    return [*([do.TellTimeout(limit)] if of_client else []), *lifecycle.begin(state, response, now)]
