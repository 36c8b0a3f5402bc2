"""The conversation core: `ConversationCore.handle(event, now)` returns what is to be done. Sans-IO.

`TRANSITIONS` says which function takes which event. All of them change one `State` and return commands; none of them
waits, sends or looks at a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events, lifecycle, listening, requests, timing
from antiphon.inference_bridge.conversation.core.commands import Command
from antiphon.inference_bridge.conversation.core.events import Event
from antiphon.inference_bridge.conversation.core.interruption import Sound, sound
from antiphon.inference_bridge.conversation.core.state import Kind, Phase, Response, State, Words
from antiphon.inference_bridge.turns import detector

MAX_CALLS: Final = 200
"""Function calls without an output that are remembered; then the oldest is forgotten."""


def _connected(state: State, event: events.Connected, now: float) -> list[Command]:
    if event.sends_audio:
        return requests.greet(state, now)
    state.connected_at = now
    return []


def _rules_changed(state: State, event: events.RulesChanged, now: float) -> list[Command]:
    state.rules = event.rules
    if state.hold.is_held and not state.rules.interrupts:
        return sound(state, Sound.PATIENCE_OVER, now) or sound(state, Sound.ENDED, now)
    return []


def _output_added(state: State, event: events.OutputAdded, now: float) -> list[Command]:
    state.pending_calls.pop(event.call_id, None)
    state.new_outputs += 1
    return []


def _create(state: State, event: events.Create, now: float) -> list[Command]:
    return requests.create(state, event, now)


def _cancel(state: State, event: events.Cancel, now: float) -> list[Command]:
    return requests.cancel(state, event, now)


def _say(state: State, event: events.Say, now: float) -> list[Command]:
    return requests.say(state, event.text, event.hang_up, now)


def _continue(state: State, event: events.Continue, now: float) -> list[Command]:
    texts = [Words(state.new_id(), event.text)] if event.text else []
    kind = Kind.TURN if texts else Kind.CLIENT
    response = Response(state.new_id(), kind, now, texts, preamble=event.preamble, spoken=state.rules.spoken)
    return lifecycle.begin(state, response, now)


def _hold_failed(state: State, event: events.HoldFailed, now: float) -> list[Command]:
    return sound(state, Sound.CANT_HOLD, now)


def _transceiver_lost(state: State, event: events.TransceiverLost, now: float) -> list[Command]:
    current = state.current
    if current is None or current.phase not in (Phase.GENERATING, Phase.PLAYING) or current.gated:
        return []
    return [do.SendAgain(current.rid, event.stopped_at)]


def _of(state: State, rid: int) -> Response | None:
    return next((each for each in (*state.speech, *state.beside.values()) if each.rid == rid), None)


def _first_part(state: State, event: events.FirstPart, now: float) -> list[Command]:
    if (response := _of(state, event.rid)) is not None:
        response.first_part = True
    return []


def _spoke(state: State, event: events.Spoke, now: float) -> list[Command]:
    if (response := _of(state, event.rid)) is not None:
        response.written = f"{response.written} {event.words}".strip()
    return []


def _words_played(state: State, event: events.WordsPlayed, now: float) -> list[Command]:
    if (response := _of(state, event.rid)) is not None:
        response.words_played = True
    return []


def _called(state: State, event: events.Called, now: float) -> list[Command]:
    response = _of(state, event.rid)
    if response is not None and response.on_record:
        state.pending_calls[event.call_id] = now
        while len(state.pending_calls) > MAX_CALLS:
            del state.pending_calls[next(iter(state.pending_calls))]
    return []


def _expects(state: State, event: events.Expects, now: float) -> list[Command]:
    if (response := _of(state, event.rid)) is not None:
        response.asks = True
    return []


def _transfer_failed(state: State, event: events.TransferFailed, now: float) -> list[Command]:
    state.notice_due = True
    return timing.notice(state, now)


def _generated(state: State, event: events.Generated, now: float) -> list[Command]:
    response = _of(state, event.rid)
    if response is None or response.phase is not Phase.GENERATING:
        return []
    response.move(Phase.PLAYING)
    return lifecycle.prepare(state, now)


def _ended(state: State, event: events.Ended, now: float) -> list[Command]:
    return lifecycle.ended(state, event, now)


def _tick(state: State, event: events.Tick, now: float) -> list[Command]:
    return timing.tick(state, now)


Transition = Callable[[State, Any, float], list[Command]]
TRANSITIONS: Final[dict[type, Transition]] = {
    detector.SpeechStarted: listening.speech_started,
    detector.StillSpeaking: listening.still_speaking,
    detector.MaybeDone: listening.maybe_done,
    detector.Resumed: listening.resumed,
    detector.SpeechDropped: listening.speech_dropped,
    detector.TurnEnded: listening.turn_ended,
    events.Committed: listening.committed,
    events.PartialText: listening.partial_text,
    events.TextKnown: listening.text_known,
    events.KeyPressed: listening.key_pressed,
    events.TextAdded: listening.text_added,
    events.OutputAdded: _output_added,
    events.Connected: _connected,
    events.RulesChanged: _rules_changed,
    events.Create: _create,
    events.Cancel: _cancel,
    events.Say: _say,
    events.Continue: _continue,
    events.HoldFailed: _hold_failed,
    events.TransceiverLost: _transceiver_lost,
    events.FirstPart: _first_part,
    events.Spoke: _spoke,
    events.WordsPlayed: _words_played,
    events.Expects: _expects,
    events.TransferFailed: _transfer_failed,
    events.Called: _called,
    events.Generated: _generated,
    events.Ended: _ended,
    events.Tick: _tick,
}
"""Which function takes which event."""


class ConversationCore:
    """Decides for one call what the agent does.

    Owned by the call's session, for as long as the call; its shell calls `handle` on the event loop and runs what it
    returns, in order.
    """

    def __init__(self, state: State) -> None:
        """`state`: with what is known when the call begins, or is taken over; the core's own from then on."""
        self.state = state

    def handle(self, event: Event, now: float) -> list[Command]:
        """What is to be done because of this event. `now`: `time.monotonic()`, which never goes back."""
        return TRANSITIONS[type(event)](self.state, event, now)

    # ---- what another process would need ---------------------------------------------------------------

    @property
    def answering(self) -> Response | None:
        """The response on record that the agent was asked for last and that was not played to its end.

        No greeting: the other process greets anew.
        """
        asked = [each for each in self.state.speech if each.asked and each.on_record and each.kind is not Kind.GREETING]
        return asked[-1] if asked else None

    @property
    def carried(self) -> str:
        """Texts that no response answers yet."""
        state = self.state
        waiting = [*state.waiting]
        for response in (*state.speech, *([state.next] if state.next else [])):
            if not response.asked:
                waiting += response.texts
        return " ".join(words.text for words in waiting if words.text)

    @property
    def greeting_is_due(self) -> bool:
        """The caller was not greeted, or not to the end."""
        return not self.state.greeted or any(each.kind is Kind.GREETING for each in self.state.speech)
