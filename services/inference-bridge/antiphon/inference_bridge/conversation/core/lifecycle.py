"""A response from its beginning to its end: begun, asked, prepared behind another one, stopped, settled.

At most one response is spoken at a time; the agent is told what was played of one before it is asked for the next.
"""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core.commands import Command
from antiphon.inference_bridge.conversation.core.events import Ended
from antiphon.inference_bridge.conversation.core.state import (
    MAX_TEXT,
    MAX_WAITING,
    HoldPhase,
    Kind,
    Phase,
    Response,
    State,
    StopReason,
    Words,
)
from antiphon.inference_bridge.phrases import phrase

ANSWER_WITHIN_S: Final = 1.3
"""Agreement over a statement is an answer where the agent ends so soon behind it."""
REPAIR_PLAYED_MS: Final = 1500
"""An answer of which more was played has been given, even if its turn went on."""


# ---- texts ---------------------------------------------------------------------------------------------


def keep(state: State, *texts: Words) -> None:
    """These texts wait until a response takes them."""
    state.waiting = [*state.waiting, *texts][-MAX_WAITING:]


def _give_back(state: State, response: Response, carried: bool) -> None:
    """What a response was to answer is answered by the next one."""
    for words in response.texts:
        words.carried = words.carried or carried
    state.waiting = in_order([*response.texts, *state.waiting])[-MAX_WAITING:]


def in_order(texts: list[Words]) -> list[Words]:
    """As they came from the caller."""
    return sorted(texts, key=lambda words: words.key)


def _joined(texts: list[Words]) -> str:
    return " ".join(words.text for words in texts if words.text)[-MAX_TEXT:]


# ---- begin ---------------------------------------------------------------------------------------------


def answer(state: State, words: Words, now: float) -> list[Command]:
    """The caller's turn has ended: answer it, or keep it until that is possible."""
    if not state.rules.creates_responses:
        keep(state, words)
        return []
    response = Response(state.new_id(), Kind.TURN, now, [words], spoken=state.rules.spoken)
    if state.next is not None:
        state.next.texts = [*state.next.texts, words][-MAX_WAITING:]
        return []
    if not state.speech:
        return begin(state, response, now)
    state.next = response
    return []


def begin(state: State, response: Response, now: float) -> list[Command]:
    """Make this the response that is prepared."""
    state.speech.append(response)
    state.idle_since = None
    response.late_since = now
    out: list[Command] = []
    if state.rules.interrupts and state.speaking and not state.hold.is_held and not state.hold.is_noise:
        # the caller spoke on after what this response answers
        state.hold.phase, state.hold.since, state.hold.texts_due = HoldPhase.HOLDING, now, 0
        out.append(do.HoldSpeech())
    return out + advance(state, now)


# ---- go on ---------------------------------------------------------------------------------------------


def advance(state: State, now: float) -> list[Command]:
    """Whatever can go on does: the first response, the one prepared behind it, those beside the speech."""
    out = advance_beside(state)
    head = state.current
    if state.stopping:
        return out
    if head is None:
        return out + _begin_next(state, now)
    if head.phase is Phase.QUEUED:
        head.move(Phase.WAITING)
        head.late_since = now
    if head.by_client:
        out += _created(head)
    if head.gated:
        head.gated, head.late_since = False, now
        out += [*_created(head), do.OpenGate(head.rid)]
    elif head.phase is Phase.WAITING:
        out += _ask_when_known(state, head, now)
    return out + prepare(state, now)


def _created(response: Response) -> list[Command]:
    """The client learns of a response once."""
    if response.created:
        return []
    response.created = True
    return [do.Begin(response)]


def _begin_next(state: State, now: float) -> list[Command]:
    following, state.next = state.next, None
    return begin(state, following, now) if following is not None else []


def _ask_when_known(state: State, head: Response, now: float) -> list[Command]:
    """Ask the agent once all texts are known, or find that there is nothing to answer."""
    if head.fixed:
        return _asked(state, head, "")
    if not all(words.is_known for words in head.texts):
        return []
    if head.kind is Kind.TURN:
        own = head.texts
        if not any(words.text for words in own) and not any(words.carried for words in state.waiting):
            if any(words.has_interrupted or words.failed for words in own):
                head.fixed = phrase("not_understood", state.rules.language)
                return _asked(state, head, "")
            return [do.Drop(head), *_over(state, head, now)]
        head.texts, state.waiting = in_order([*state.waiting, *own]), []
        if not all(words.is_known for words in head.texts):
            return []
    return _asked(state, head, _joined(head.texts if head.on_record else state.waiting))


def _asked(state: State, response: Response, text: str, gated: bool = False) -> list[Command]:
    response.move(Phase.GENERATING)
    response.text, response.gated, response.asked = text, gated, not response.fixed
    response.outputs_seen = state.new_outputs
    state.notice_due = state.notice_due and not (response.asked and response.on_record)
    return [*([] if gated else _created(response)), do.Ask(response, gated), do.Changed()]


def prepare(state: State, now: float) -> list[Command]:
    """While the last words of a response are played, ask for the one that follows it."""
    if len(state.speech) < 2 or state.stopping:
        return []
    current, following = state.speech[0], state.speech[1]
    ready = all(words.is_known for words in following.texts)
    if current.phase is not Phase.PLAYING or following.phase is not Phase.QUEUED or current.hang_up or not ready:
        return []
    if not following.on_record:
        return []
    following.move(Phase.WAITING)
    current.presumed = True
    return [do.Presume(current.rid), *_asked(state, following, _joined(following.texts), gated=True)]


def advance_beside(state: State, ask_now: bool = False) -> list[Command]:
    out: list[Command] = []
    if ask_now or all(words.is_known for words in state.waiting):
        for response in state.beside.values():
            if response.phase is Phase.WAITING:
                out += _asked(state, response, _joined(state.waiting))
    return out


# ---- stop ----------------------------------------------------------------------------------------------


def stop_speech(state: State, now: float, reason: StopReason) -> list[Command]:
    """Stop all that is spoken or prepared to be."""
    held = state.hold.is_held
    state.hold.phase, state.hold.texts_due = HoldPhase.FREE, 0
    stopped = list(state.speech)
    state.speech.clear()
    if not stopped:
        return []
    state.idle_since = now
    out: list[Command] = []
    for response in stopped:
        out += stop(state, response, reason)
    if held and not any(isinstance(command, do.Stop) for command in out):
        out.append(do.ResumeSpeech())  # what is stopped by its task lets go of the transceiver by itself
    return [*out, do.Changed()]


def stop(state: State, response: Response, reason: StopReason) -> list[Command]:
    response.stop_reason = reason
    if response.phase in (Phase.GENERATING, Phase.PLAYING):
        response.move(Phase.STOPPING)
        if not response.beside:
            state.stopping[response.rid] = response
        return [do.Stop(response.rid)]
    response.move(Phase.DONE)
    state.beside.pop(response.rid, None)
    if response.on_record:
        _give_back(state, response, carried=reason == "turn_detected")
    if reason == "turn_detected" and not response.created and not response.by_client:
        return [do.Drop(response)]
    out = [*_created(response), do.Settle(response, "cancelled", reason=reason)]
    if not state.stopping:
        return out
    state.deferred += out  # the client learns of the ends in the order of the beginnings
    return []


# ---- end -----------------------------------------------------------------------------------------------


def ended(state: State, event: Ended, now: float) -> list[Command]:
    """A response is over, by itself or because it was stopped."""
    if (response := state.stopping.pop(event.rid, None)) is not None:
        told = _stopped(state, response, event)
        if not state.stopping:
            told, state.deferred = [*told, *state.deferred], []
        return told + advance(state, now)
    if (response := state.beside.pop(event.rid, None)) is not None:
        response.move(Phase.DONE)
        outcome = "cancelled" if response.stop_reason else event.outcome
        return [do.Settle(response, outcome, event.played, event.played_ms, response.stop_reason)]
    found = next((each for each in state.speech if each.rid == event.rid), None)
    if found is None:
        return []
    settle = do.Settle(found, event.outcome, event.played, event.played_ms)
    out: list[Command] = [*_created(found), settle]
    reason = found.hang_up or ("agent" if event.hang_up else "")
    if reason:
        out.append(do.HangUp(reason))
    elif event.transfer is not None and found.on_record:
        out.append(do.GiveAway(event.transfer))
    state.new_outputs = max(0, state.new_outputs - found.outputs_seen)
    return out + _over(state, found, now)


def _stopped(state: State, response: Response, event: Ended) -> list[Command]:
    response.move(Phase.DONE)
    undone = response.repaired and event.played_ms <= REPAIR_PLAYED_MS
    if response.on_record and not response.fixed and (undone or not event.played):
        _give_back(state, response, carried=response.stop_reason == "turn_detected")
    settle = do.Settle(response, "cancelled", event.played, event.played_ms, response.stop_reason, undone)
    hang_up = [do.HangUp(response.hang_up)] if response.hang_up else []
    return [*_created(response), settle, *hang_up, do.Changed()]


def _over(state: State, response: Response, now: float) -> list[Command]:
    """This response is not spoken any more; what follows begins."""
    if response.phase is not Phase.DONE:
        response.move(Phase.DONE)
    state.speech.remove(response)
    out: list[Command] = [do.Changed()]
    agreed = [words for words in state.undecided if words.may_be_answer]
    if state.speech:
        return out + advance(state, now)
    state.idle_since = now
    if state.hold.is_held:  # the caller makes a sound, but there is nothing left to hold
        state.hold.phase, state.hold.texts_due = HoldPhase.FREE, 0
        out.append(do.ResumeSpeech())
    if state.next is not None:
        return out + _begin_next(state, now)
    if agreed and now - state.resumed_at <= ANSWER_WITHIN_S:
        state.undecided = [words for words in state.undecided if words not in agreed]
        for words in agreed[1:]:
            keep(state, words)
        return out + answer(state, agreed[0], now)
    return out
