"""The conversation core under any order of events: every create has an end, one voice speaks, no words are lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.virtual_call import Answer, VirtualCall

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.state import ALLOWED, HoldPhase, Phase, Rules
from antiphon.inference_bridge.turns.detector import Utterance

pytestmark = pytest.mark.pure

WORDS = ["Stop", "What time is it?", "Yes.", "Mm-hmm.", "Hello?", "", "zero one two", "Okay."]
ANSWERS = st.builds(
    Answer,
    st.just("These are the words of one answer."),
    st.sampled_from([20, 200, 1500, 6000]),
    st.sampled_from([0, 500, 3000]),
    st.sampled_from([(), ("c1",), ("c1", "c2")]),
)
STEPS = st.one_of(
    st.tuples(st.just("says"), st.sampled_from(WORDS), st.sampled_from([100, 300, 1500])),
    st.tuples(st.just("commits"), st.sampled_from(WORDS)),
    st.tuples(st.just("types"), st.sampled_from(WORDS)),
    st.tuples(st.just("creates"), st.sampled_from(["auto", "aside", "text aside", "own input"])),
    st.tuples(st.just("cancels"), st.sampled_from(["all", "one", "clear"])),
    st.tuples(st.just("outputs"), st.sampled_from(["c1", "c2", "unknown"])),
    st.tuples(st.just("presses"), st.sampled_from("12#")),
    st.tuples(st.just("rules"), st.booleans(), st.booleans()),
    st.tuples(st.just("loses"), st.just(0)),
    st.tuples(st.just("can't hold"), st.just(0)),
    st.tuples(st.just("connects"), st.just(0)),
    st.tuples(st.just("fails"), st.just(0)),
)
WAITS = st.sampled_from([0, 10, 50, 300, 1000, 4000])


class Called(VirtualCall):
    """A `VirtualCall` that watches its promises at each step."""

    def feed(self, event: Any) -> Any:
        """The event, and a look at what came of it."""
        out = super().feed(event)
        audible = [speech for speech in self.speeches.values() if speech.open and speech.response.spoken]
        assert len([each for each in audible if not each.stopped]) <= 1, "two responses speak at once"
        for command in out:
            if isinstance(command, do.Ask) and not command.response.beside and not command.gated:
                others = [each for each in self.speeches.values() if not each.response.beside]
                assert len(others) == 1, "an agent is asked before it knows what was played"
        state = self.core.state
        assert (state.idle_since is None) == bool(state.speech)
        assert state.hold.phase is HoldPhase.FREE or state.speech, "what is held is nothing"
        assert self.held == state.hold.is_held or state.stopping, "the transceiver holds what the core does not"
        return out


def play(call: VirtualCall, step: tuple[Any, ...]) -> None:
    match step:
        case ("says", text, ms):
            call.says(text, ms)
        case ("commits", text):
            call.feed(events.Committed(Utterance(text.encode(), 0, 16000, 1000 if text else 0), speaking=False))
        case ("types", text):
            call.feed(events.TextAdded(text))
        case ("creates", kind):
            call.feed(events.Create(None, "aside" in kind, "text" not in kind, kind == "own input"))
        case ("cancels", "one"):
            rids = [response.rid for response in (*call.core.state.speech, *call.core.state.beside.values())]
            call.feed(events.Cancel(rids[-1] if rids else 999))
        case ("cancels", kind):
            call.feed(events.Cancel(must_exist=kind == "all"))
        case ("outputs", call_id):
            call.feed(events.OutputAdded(call_id))
        case ("presses", key):
            call.feed(events.KeyPressed(key))
        case ("rules", creates, interrupts):
            call.feed(events.RulesChanged(Rules(creates, interrupts, idle_timeout_ms=5000)))
        case ("loses", _):
            call.feed(events.TransceiverLost(call.now / 1000))
        case ("can't hold", _):
            call.feed(events.HoldFailed())
        case ("connects", _):
            call.feed(events.Connected())
        case ("fails", _):
            for rid, speech in list(call.speeches.items()):
                if speech.open and not speech.stopped:
                    del call.speeches[rid]
                    call.feed(events.Ended(rid, "failed"))


@given(
    st.lists(st.tuples(STEPS, WAITS), max_size=25),
    st.lists(ANSWERS, min_size=1, max_size=4),
    st.sampled_from([20, 150, 5000]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_order_of_events(
    steps: list[tuple[tuple[Any, ...], int]], answers: list[Answer], stt_ms: int, scripted: bool
) -> None:
    call = Called(Rules(), {"greeting": "Hello.", "scripted": scripted}, answers, stt_ms)
    for step, wait in steps:
        play(call, step)
        call.run(wait)
    call.feed(events.RulesChanged(Rules()))
    call.step_ms = 100  # only the end counts now
    call.run(60_000)

    state = call.core.state
    assert not state.speech
    assert not state.beside
    assert not state.stopping
    assert state.next is None
    assert not state.undecided
    begun = Counter(command.response.rid for command in call.of(do.Begin))
    settled = Counter(command.response.rid for command in call.of(do.Settle))
    assert begun == settled, "each created has its done"
    assert set(begun.values()) <= {1}
    creates = sum(step[0] == "creates" for step, _ in steps)
    by_client = {command.response.rid for command in call.of(do.Begin) if command.response.by_client}
    refused = [command for command in call.of(do.Refuse) if command.code != "response_cancel_not_active"]
    assert len(by_client) + len(refused) == creates, "each create is created, or an error"

    kept = {words.key for words in state.waiting}
    answered = {words.key for command in call.of(do.Ask) for words in command.response.texts}
    dropped = {command.key for command in call.of(do.FalseInterruption)}
    for key, text in call.texts.items():
        assert not text or key in kept | answered | dropped, f"{text!r} was lost"


@given(st.lists(st.tuples(st.sampled_from(["says", "cancels", "types"]), WAITS), max_size=12))
@settings(max_examples=20, deadline=None)
def test_what_is_carried_reaches_the_agent_once_in_order(steps: list[tuple[str, int]]) -> None:
    call = Called(Rules(), {}, [Answer("A long answer that takes its time.", 3000, 3000)])
    for number, (kind, wait) in enumerate(steps):
        if kind == "cancels":
            call.feed(events.Cancel(must_exist=False))
        elif kind == "types":
            call.feed(events.TextAdded(f"part{number}"))
        else:
            call.says(f"part{number} and more", 700)
        call.run(wait)
    call.says("the last words", 700)
    call.step_ms = 100
    call.run(20_000)
    last = call.asked[-1].split()
    numbers = [int(word.removeprefix("part")) for word in last if word.startswith("part")]
    assert numbers == sorted(set(numbers))
    assert call.asked[-1].endswith("the last words")


def test_the_phases_of_a_response_lead_to_its_end_only() -> None:
    assert not ALLOWED[Phase.DONE]
    assert set(ALLOWED) == set(Phase)
    for follows in ALLOWED.values():
        assert Phase.QUEUED not in follows
