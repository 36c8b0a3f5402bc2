"""The conversation core in virtual time, in milliseconds: interruptions, late words, silence, creates and cancels."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from support.virtual_call import Answer, VirtualCall

from antiphon.inference_bridge.conversation import core
from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.interruption import MAX_HOLD_S, PATIENCE_S
from antiphon.inference_bridge.conversation.core.language import asks_for_words
from antiphon.inference_bridge.conversation.core.state import Rules
from antiphon.inference_bridge.turns.backchannel import is_presence_check
from antiphon.inference_bridge.turns.detector import SpeechStarted, StillSpeaking, TurnEnded, Utterance

pytestmark = pytest.mark.pure

LONG = Answer("We are open from Monday to Friday and some more words follow here", play_ms=6000)


def speaking(answer: Answer = LONG, played_ms: int = 3000, **rules: Any) -> VirtualCall:
    """The caller has asked, and so much of the answer was played."""
    call = VirtualCall(Rules(**rules), answers=[answer])
    call.says("When are you open?")
    call.run(answer.first_ms + played_ms)
    call.answers = [Answer()]
    return call


# ---- an ordinary turn ----------------------------------------------------------------------------------


def test_a_turn_is_transcribed_in_its_pause_and_answered() -> None:
    call = VirtualCall()
    call.says("What time is it?", 1000, 400)
    call.run(5000)
    (speculation,), (transcribe,) = call.of(do.Speculate), call.of(do.Transcribe)
    assert transcribe.speculated
    assert not speculation.urgent
    assert 1160 <= call.times(do.Speculate)[0] <= 1180
    assert call.asked == ["What time is it?"]
    assert call.times(do.Ask)[0] - call.times(do.Transcribe)[0] <= 20
    assert call.settled == [("completed", "This is the answer.")]


def test_a_speculation_counts_only_for_what_it_was_begun_with() -> None:
    call = VirtualCall()
    call.pauses("My name is", 800, 300)
    assert len(call.of(do.KeepFirstWords)) == 1
    call.feed(TurnEnded(Utterance(b"My name is Anna", 0, 16000, 1000)))
    (transcribe,) = call.of(do.Transcribe)
    assert not transcribe.speculated
    silent = VirtualCall(Rules(transcribes=False))
    silent.pauses("My name is", 800, 300)
    assert silent.of(do.DropSpeculation)


def test_an_empty_turn_is_no_turn() -> None:
    call = VirtualCall()
    call.says("", 300)
    call.run(1000)
    assert not call.asked
    assert call.of(do.Drop)
    assert not call.of(do.Begin)


# ---- barge-in ------------------------------------------------------------------------------------------


def test_the_speech_is_held_at_the_onset_and_words_interrupt_it() -> None:
    call = speaking()
    began = call.says("Stop, what time is it?", 700)
    assert call.times(do.HoldSpeech) == [began + 100]
    call.run(2000)
    assert call.of(do.Settle)[0].reason == "turn_detected"
    assert call.settled[0][0] == "cancelled"
    assert call.settled[0][1]
    assert call.asked == ["When are you open?", "Stop, what time is it?"], "what was answered is not asked again"


def test_words_in_mid_speech_interrupt_before_it_ends() -> None:
    call = speaking()
    began = call.now
    call.starts()
    call.run(700)
    call.feed(StillSpeaking(Utterance(b"Stop", int(began * 16), int(call.now * 16), 800)))
    call.run(call.stt_ms + 10)
    assert len(call.of(do.Stop)) == 1
    call.run(300)
    assert call.settled[0][0] == "cancelled", "before the caller has ended"


@pytest.mark.parametrize("text", ["Mm-hmm.", "Okay.", "I see.", ""])
def test_a_sign_of_listening_or_a_noise_costs_a_pause_and_no_word(text: str) -> None:
    call = speaking()
    call.says(text, 400)
    call.run(12_000)
    (resumed,) = call.of(do.ResumeSpeech)
    assert 600 < resumed.held_ms < 900
    assert call.settled == [("completed", LONG.words)]
    assert call.asked == ["When are you open?"]
    assert call.of(do.FalseInterruption)


def test_a_click_lets_the_agent_go_on_at_once() -> None:
    call = speaking()
    call.says("", 100, 400)
    assert len(call.of(do.ResumeSpeech)) == 1


def test_while_the_caller_speaks_on_the_agent_stays_silent() -> None:
    call = speaking()
    call.stt_ms = 400
    call.starts()
    call.ends("Mm-hmm.", 300, 100)
    call.starts()
    call.run(400)
    assert not call.of(do.ResumeSpeech)
    call.ends("Mm-hmm.", 400)
    call.run(500)
    assert len(call.of(do.ResumeSpeech)) == 1


def test_no_noise_stops_the_agent_for_good() -> None:
    call = speaking()
    call.stt_ms = 1_000_000
    call.says("(noise)", 300)
    ended = call.now
    call.run(PATIENCE_S * 1000 + 200)
    assert 0 <= call.times(do.ResumeSpeech)[0] - ended - PATIENCE_S * 1000 <= 110


def test_a_noise_without_end_is_spoken_against_and_does_not_hold_again() -> None:
    call = speaking(Answer("word " * 50, play_ms=30_000))
    call.starts()
    call.run(MAX_HOLD_S * 1000 + 200)
    assert len(call.of(do.ResumeSpeech)) == 1
    call.feed(SpeechStarted(0))
    assert len(call.of(do.HoldSpeech)) == 1
    call.ends("", 100)
    call.starts()
    assert len(call.of(do.HoldSpeech)) == 2


def test_speech_that_can_not_be_held_is_stopped() -> None:
    call = speaking()
    call.starts()
    call.feed(events.HoldFailed())
    assert len(call.of(do.Stop)) == 1
    call.feed(events.HoldFailed())
    assert len(call.of(do.Stop)) == 1


def test_where_callers_may_not_interrupt_they_are_answered_afterwards_in_one() -> None:
    call = speaking(interrupts=False)
    call.says("And on Sunday?")
    call.says("And at night?")
    call.run(10_000)
    assert not call.of(do.HoldSpeech, do.Stop)
    assert call.asked == ["When are you open?", "And on Sunday? And at night?"]


# ---- yes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Yes.", "Okay.", "Sure."])
def test_agreement_over_the_last_words_of_a_statement_is_answered(text: str) -> None:
    call = speaking(Answer("The table is for Monday at ten.", play_ms=3000), played_ms=2600)
    call.says(text, 400)
    call.run(1500)
    assert call.settled[0] == ("completed", "The table is for Monday at ten."), "the agent ends its sentence"
    assert call.asked[1:] == [text]


def test_agreement_long_before_the_end_is_a_sign_of_listening() -> None:
    call = speaking(LONG, played_ms=2000)
    call.says("Yes.", 400)
    call.run(12_000)
    assert len(call.asked) == 1
    assert len(call.of(do.FalseInterruption)) == 1


@pytest.mark.parametrize(
    "words",
    ["Please confirm the booking by saying yes.", "Just say okay and I will book it.", "Shall I book it? It is cheap."],
)
def test_agreement_is_an_answer_at_once_where_the_agent_asks_for_it(words: str) -> None:
    call = speaking(Answer(words, play_ms=6000), played_ms=3000)
    call.says("Yes.", 400)
    call.run(500)
    assert call.asked[1:] == ["Yes."]
    assert call.settled[0][0] == "cancelled"


def test_a_hum_over_the_last_words_is_not_answered() -> None:
    call = speaking(Answer("The table is for Monday at ten.", play_ms=3000), played_ms=2600)
    call.says("Mm-hmm.", 400)
    call.run(5000)
    assert len(call.asked) == 1


# ---- a turn that went on -------------------------------------------------------------------------------


@pytest.mark.parametrize("pause_ms", [500, 700, 900, 1200, 1600])
def test_a_turn_that_was_ended_too_early_is_repaired(pause_ms: int) -> None:
    call = VirtualCall(answers=[Answer("Got it, what else?", first_ms=100, play_ms=3000), Answer("Thanks.")])
    call.says("My number is five five five", 1500, 400)
    call.run(pause_ms - 400)
    began = call.says("zero one two three", 900)
    assert call.times(do.HoldSpeech)[0] - began <= 100, "the answer is silent within 100 ms"
    call.run(4000)
    assert call.asked[-1] == "My number is five five five zero one two three"
    assert call.of(do.Settle)[0].undone or not call.of(do.Settle)[0].played
    assert call.settled[-1][0] == "completed"


def test_a_number_in_three_parts_is_one_turn() -> None:
    call = VirtualCall(answers=[Answer("Got it, what else?", first_ms=100, play_ms=3000)])
    for part in ("My number is five five five", "zero one", "two three"):
        call.says(part, 900, 400)
        call.run(500)
    call.run(4000)
    assert call.asked[-1] == "My number is five five five zero one two three"


def test_an_answer_that_was_given_for_long_is_interrupted_and_not_undone() -> None:
    call = speaking(LONG, played_ms=2000)
    call.says("And on Sunday?", 700)
    call.run(3000)
    assert not call.of(do.Settle)[0].undone
    assert call.asked == ["When are you open?", "And on Sunday?"]


# ---- hello? --------------------------------------------------------------------------------------------


def test_hello_while_the_answer_is_prepared_does_not_begin_it_anew() -> None:
    call = VirtualCall(answers=[Answer(first_ms=9000)])
    call.says("What is the weather like?", 1000)
    for _ in range(2):
        call.run(1500)
        call.says("Hello?", 500)
    call.run(10_000)
    assert call.asked == ["What is the weather like?"]
    assert not call.of(do.Stop)
    assert len(call.of(do.SayPatience)) == 1
    assert call.times(do.SayPatience)[0] - call.times(do.Ask)[0] < 4500
    assert call.settled == [("completed", "This is the answer.")]


def test_other_words_while_the_answer_is_prepared_are_answered_with_the_first() -> None:
    call = VirtualCall(answers=[Answer(first_ms=5000), Answer()])
    call.says("What is the weather like", 1000)
    call.run(1000)
    call.says("in Paris?", 500)
    call.run(4000)
    assert call.asked == ["What is the weather like", "What is the weather like in Paris?"]


def test_a_late_first_word_gets_one_sign_unless_it_is_switched_off() -> None:
    for patience, signs in ((2500, 1), (1000, 1), (0, 0)):
        call = VirtualCall(Rules(patience_ms=patience), answers=[Answer(first_ms=8000)])
        call.says("What is the weather like?", 1000)
        call.run(12_000)
        assert len(call.of(do.SayPatience)) == signs
        if signs:
            assert 0 <= call.times(do.SayPatience)[0] - 1400 - patience <= 120


def test_an_answer_in_time_or_in_text_gets_no_sign() -> None:
    for rules, first in ((Rules(), 2000), (Rules(spoken=False), 6000)):
        call = VirtualCall(rules, answers=[Answer(first_ms=first)])
        call.says("What is the weather like?", 1000)
        call.run(12_000)
        assert not call.of(do.SayPatience)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello?", "en"),
        ("Hello, are you still there?", "en"),
        ("Can you hear me?", "en"),
        ("Hello? Hello?", "en"),
        ("Is anybody there?", "en"),
        ("Hallo, sind Sie noch da?", "de"),
        ("¿Hola? ¿Sigue ahí?", "es"),
        ("Allô ? Vous m'entendez ?", "fr"),
        ("Pronto? C'è qualcuno?", "it"),
    ],
)
def test_what_only_asks_whether_somebody_is_there(text: str, language: str) -> None:
    assert is_presence_check(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [("Hello, I want a table.", "en"), ("In Paris?", "en"), ("", "en"), ("Are you open on Sunday?", "en"),
     ("And", "en"), ("Hallo, ich brauche einen Termin", "de")],
)  # fmt: skip
def test_what_says_more(text: str, language: str) -> None:
    assert not is_presence_check(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Please confirm by saying yes.", "en"),
        ("Just say okay and I will book it.", "en"),
        ("Bitte sagen Sie ja.", "de"),
        ("Por favor, diga sí.", "es"),
        ("Dites oui pour continuer.", "fr"),
        ("Per favore, dica sì.", "it"),
    ],
)
def test_sentences_that_want_words(text: str, language: str) -> None:
    assert asks_for_words(text, language)
    assert not asks_for_words("The table is yours. It is by the window.", language)


# ---- silent callers ------------------------------------------------------------------------------------


def test_a_silent_caller_is_spoken_to_three_times() -> None:
    call = VirtualCall(Rules(idle_timeout_ms=5000), answers=[Answer("Are you there?", play_ms=1000)])
    call.run(60_000)
    assert len(call.of(do.TellTimeout)) == 3
    assert 5000 <= call.times(do.TellTimeout)[0] <= 5110
    first, second = call.times(do.TellTimeout)[:2]
    assert 6200 <= second - first <= 6400, "counted from the end of the speech"
    call.says("Yes, I am here.")
    call.run(60_000)
    assert len(call.of(do.TellTimeout)) == 6


def test_a_noise_starts_the_time_anew_but_not_the_number() -> None:
    call = VirtualCall(Rules(idle_timeout_ms=5000), answers=[Answer("Are you there?", play_ms=1000)])
    call.run(3000)
    call.says("", 100, 400)
    noise = call.now
    call.run(5200)
    assert 5000 <= call.times(do.TellTimeout)[0] - noise <= 5110
    for _ in range(10):
        call.run(6500)
        call.says("", 300)
    assert len(call.of(do.TellTimeout)) == 3


def test_a_pending_function_call_keeps_the_agent_silent() -> None:
    call = VirtualCall(
        Rules(idle_timeout_ms=5000), answers=[Answer("Let me check.", play_ms=1000, calls=["c1"]), Answer()]
    )
    call.says("What is the weather like?")
    call.run(9000)
    assert not call.of(do.TellTimeout)
    call.feed(events.OutputAdded("c1"))
    call.feed(events.Create())
    call.run(9000)
    assert len(call.of(do.TellTimeout)) == 1, "the answer was given, and the caller is silent"


# ---- the transceiver -----------------------------------------------------------------------------------


def test_what_was_not_played_goes_to_the_next_transceiver() -> None:
    call = speaking()
    (again,) = call.feed(events.TransceiverLost(1.0))
    assert again.rid == call.core.state.current.rid  # type: ignore[union-attr]
    assert again.stopped_at == 1.0
    call.run(10_000)
    assert call.feed(events.TransceiverLost(2.0)) == []


def test_a_transceiver_lost_while_speech_is_held_leaves_it_held() -> None:
    call = speaking()
    call.starts()
    call.feed(events.TransceiverLost(1.0))
    call.ends("Stop now please", 400)
    call.run(1000)
    assert call.settled[0][0] == "cancelled"


# ---- creates and cancels -------------------------------------------------------------------------------


def lives(call: VirtualCall) -> list[str]:
    """What the client is told of responses."""
    shown = {do.Begin: "created", do.Settle: "done", do.Refuse: "error"}
    return [shown[type(command)] for command in call.of(do.Begin, do.Settle, do.Refuse)]


@pytest.mark.parametrize("cancel_after", [0, 10, 20, 100, 500])
def test_a_create_that_is_cancelled_early_is_created_and_done(cancel_after: int) -> None:
    call = VirtualCall(Rules(creates_responses=False, interrupts=False))
    call.stt_ms = 300
    call.feed(events.Committed(Utterance(b"What time is it?", 0, 32000, 2000), speaking=False))
    call.feed(events.Create())
    call.run(cancel_after)
    call.feed(events.Cancel())
    call.run(1000)
    assert lives(call) == ["created", "done"]
    assert call.settled == [("cancelled", "")]
    call.feed(events.Create())
    call.run(5000)
    assert call.settled[1:] == [("completed", "This is the answer.")]


def test_bursts_of_create_and_cancel_are_pairs() -> None:
    call = VirtualCall()
    for number in range(50):
        call.feed(events.TextAdded(f"text {number}"))
        call.feed(events.Create())
        call.feed(events.Cancel(must_exist=number % 2 == 0))
    call.run(100)
    call.feed(events.Create())
    call.run(5000)
    begun = [command.response.rid for command in call.of(do.Begin)]
    done = [command.response.rid for command in call.of(do.Settle)]
    assert sorted(begun) == sorted(done)
    assert len(begun) + len([error for error in call.of(do.Refuse) if error.code == "rate_limit_exceeded"]) == 51
    assert len(begun) > 16
    assert call.settled[-1][0] == "completed"


def test_a_cancel_of_nothing_is_refused_and_a_clear_is_not() -> None:
    call = VirtualCall()
    assert isinstance(call.feed(events.Cancel())[0], do.Refuse)
    assert not call.of(do.Stop)
    assert call.feed(events.Cancel(must_exist=False)) == []


def test_a_second_create_is_refused_while_a_response_is_made_and_interrupts_one_that_is_played() -> None:
    call = VirtualCall(answers=[Answer(first_ms=500)])
    call.feed(events.TextAdded("Hello"))
    call.feed(events.Create())
    call.run(100)
    (refused,) = call.feed(events.Create())
    assert refused.code == "conversation_already_has_active_response"
    call.run(1500)
    call.feed(events.TextAdded("And?"))
    call.feed(events.Create())
    call.run(5000)
    assert lives(call) == ["created", "error", "done", "created", "done"]
    assert [outcome for outcome, _ in call.settled] == ["cancelled", "completed"]


# ---- functions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("output_after", [20, 700, 1900])
def test_the_answer_to_an_output_follows_the_filler_at_once(output_after: int) -> None:
    call = VirtualCall(answers=[Answer("Let me check that.", play_ms=2000, calls=["c1"]), Answer("It is sunny.")])
    call.says("What is the weather like?")
    call.run(300 + output_after)
    call.feed(events.OutputAdded("c1"))
    call.feed(events.Create())
    call.run(8000)
    assert call.settled == [("completed", "Let me check that."), ("completed", "It is sunny.")]
    assert lives(call) == ["created", "done", "created", "done"]
    done = call.times(do.Settle)[0]
    opened = [*call.times(do.OpenGate), *call.times(do.Ask)[1:]]
    assert min(opened) - done <= 0
    assert len(call.of(do.Presume)) == (output_after < 1900)


def test_outputs_one_after_the_other_are_all_answered() -> None:
    call = VirtualCall(answers=[Answer("Let me check.", play_ms=2000, calls=["c1", "c2"]), Answer("Yes.", play_ms=500)])
    call.says("What is the weather like?")
    call.run(300)
    for call_id in ("c1", "c2"):
        call.feed(events.OutputAdded(call_id))
        call.feed(events.Create())
        call.run(50)
    call.run(8000)
    assert [outcome for outcome, _ in call.settled] == ["completed"] * 3
    assert not call.of(do.Refuse)


def test_a_caller_who_interrupts_the_filler_stops_what_follows_too() -> None:
    call = VirtualCall(answers=[Answer("Let me check that.", play_ms=4000, calls=["c1"]), Answer("It is sunny.")])
    call.says("What is the weather like?")
    call.run(2400)
    call.feed(events.OutputAdded("c1"))
    call.feed(events.Create())
    call.run(300)
    call.says("Never mind, what time is it?", 700)
    call.run(6000)
    assert [outcome for outcome, _ in call.settled] == ["cancelled", "cancelled", "completed"]
    assert call.asked[-1] == "Never mind, what time is it?"


# ---- out of band ---------------------------------------------------------------------------------------


def test_responses_out_of_band_run_beside_the_speech_and_take_nothing_from_it() -> None:
    call = speaking()
    call.feed(events.TextAdded("typed"))
    for _ in range(3):
        call.feed(events.Create(aside=True, spoken=False))
    call.run(8000)
    assert call.settled.count(("completed", LONG.words)) == 1
    assert len(call.of(do.Settle)) == 4
    assert not call.of(do.Stop, do.Refuse)
    assert [words.text for words in call.core.state.waiting] == ["typed"]


def test_responses_out_of_band_are_bounded_and_can_be_cancelled_one_by_one() -> None:
    call = VirtualCall(answers=[Answer(first_ms=5000)])
    for _ in range(8):
        call.feed(events.Create(aside=True, spoken=False))
    assert isinstance(call.feed(events.Create(aside=True, spoken=False))[0], do.Refuse)
    rid = call.of(do.Begin)[0].response.rid
    call.feed(events.Cancel(rid))
    call.run(9000)
    outcomes = [outcome for outcome, _ in call.settled]
    assert outcomes == ["cancelled", *["completed"] * 7]


def test_a_spoken_response_out_of_band_waits_for_the_speech() -> None:
    call = speaking()
    call.feed(events.Create(aside=True))
    call.run(12_000)
    assert [outcome for outcome, _ in call.settled] == ["completed", "completed"]
    assert call.settled[0][1] == LONG.words


# ---- the beginning -------------------------------------------------------------------------------------


def greeted(create_at: int, typed: str = "", scripted: bool = False) -> VirtualCall:
    call = VirtualCall(state={"greeting": "Hello, how can I help you?", "scripted": scripted})
    if create_at >= 0:
        call.feed(events.Connected())
        call.run(create_at)
    if typed:
        call.feed(events.TextAdded(typed))
    call.feed(events.Create())
    if create_at < 0:
        call.feed(events.Connected())
    call.run(9000)
    return call


@pytest.mark.parametrize("create_at", [0, 20, 300, 1000])
@pytest.mark.parametrize("typed", ["", "Greet the caller."])
def test_a_create_at_connect_leaves_one_whole_greeting(create_at: int, typed: str) -> None:
    call = greeted(create_at, typed)
    assert call.settled == [("completed", "Hello, how can I help you?")]
    assert lives(call) == ["created", "error", "done"]


def test_a_create_before_the_greeting_takes_its_place() -> None:
    assert greeted(-1).settled == [("completed", "Hello, how can I help you?")]
    asked = greeted(-1, "Greet the caller.")
    assert asked.asked == ["Greet the caller."]
    assert asked.settled == [("completed", "This is the answer.")]
    (ask,) = greeted(-1, "When are you open?", scripted=True).of(do.Ask)
    assert ask.response.preamble == "Hello, how can I help you?"


@pytest.mark.parametrize("audio_after", [0, 100, None])
def test_the_greeting_starts_with_the_first_audio_or_soon_without_any_and_comes_once(audio_after: int | None) -> None:
    call = VirtualCall(state={"greeting": "Hello."})
    call.feed(events.Connected(sends_audio=False))
    if audio_after is not None:
        call.run(audio_after)
        call.feed(events.Connected())
    call.run(3000)
    call.feed(events.Connected())
    call.run(3000)
    assert call.settled == [("completed", "Hello.")]
    (asked_at,) = call.times(do.Ask)
    assert asked_at == audio_after if audio_after is not None else 250 <= asked_at <= 360


def test_a_typed_question_later_in_the_greeting_is_answered_behind_it() -> None:
    call = VirtualCall(state={"greeting": "Hello, and welcome to this very long greeting, which goes on and on."})
    call.feed(events.Connected())
    call.run(2500)
    call.feed(events.TextAdded("When are you open?"))
    call.feed(events.Create())
    call.run(9000)
    assert [outcome for outcome, _ in call.settled] == ["completed", "completed"]
    assert call.asked == ["When are you open?"]


# ---- keys ----------------------------------------------------------------------------------------------


def test_keys_are_a_turn_after_the_hash_or_two_seconds() -> None:
    for keys, wait, text in (("123#", 0, "123"), ("42", 2100, "42"), ("#", 0, "#"), ("*1", 2100, "*1")):
        call = VirtualCall()
        for key in keys:
            call.feed(events.KeyPressed(key))
            call.run(300)
        call.run(wait)
        assert call.asked == [text]
        assert [command.keys for command in call.of(do.AddKeys)] == [text]


def test_keys_interrupt_as_words_do() -> None:
    call = speaking()
    call.feed(events.KeyPressed("1"))
    call.run(100)
    assert call.settled[0][0] == "cancelled"
    call.run(5000)
    assert call.asked[-1] == "1"


# ---- the rest ------------------------------------------------------------------------------------------


def test_a_commit_without_speech_has_an_empty_text_and_no_recogniser() -> None:
    call = VirtualCall()
    call.feed(events.Committed(Utterance(bytes(64000), 0, 0, 0.0), speaking=False))
    (transcribe,) = call.of(do.Transcribe)
    assert not transcribe.has_speech


def test_nothing_understood_after_an_interruption_is_asked_for_again() -> None:
    call = speaking()
    began = call.now
    call.starts()
    call.run(800)
    call.feed(StillSpeaking(Utterance(b"Stop", int(began * 16), int(call.now * 16), 900)))
    call.run(300)
    call.ends("", 1200)
    call.run(4000)
    assert call.of(do.Ask)[-1].response.fixed == "Sorry, could you say that again?"


def test_an_apology_ends_the_call_also_when_the_caller_speaks_over_it() -> None:
    for interrupted in (False, True):
        call = VirtualCall()
        call.feed(events.Say("I have technical trouble. Goodbye.", hang_up="agent_lost"))
        call.run(1000)
        if interrupted:
            call.says("What is wrong?", 700)
        call.run(9000)
        assert [command.reason for command in call.of(do.HangUp)] == ["agent_lost"]


def test_what_another_process_would_need() -> None:
    call = VirtualCall(answers=[Answer(first_ms=9000)])
    call.feed(events.TextAdded("typed"))
    assert call.core.carried == "typed"
    call.says("And spoken?")
    call.run(1000)
    assert call.core.answering is not None
    assert call.core.answering.text == "typed And spoken?"
    assert call.core.carried == ""
    other = VirtualCall(state={"greeted": True})
    other.feed(events.Continue("typed And spoken?", "Sorry."))
    other.run(5000)
    assert other.asked == ["typed And spoken?"]
    assert other.of(do.Ask)[0].response.preamble == "Sorry."


def test_the_core_imports_nothing_that_waits_sends_or_looks_at_a_clock() -> None:
    allowed = (
        r"(?:__future__|collections|dataclasses|enum|re|typing|antiphon\.inference_bridge\.(?:languages|phrases|turns|"
    )
    allowed += r"conversation\.core))(?:\.|$)"
    files = list(Path(core.__file__).parent.glob("*.py"))
    assert len(files) > 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert re.match(allowed, name or ""), f"{file.name} imports {name}"
