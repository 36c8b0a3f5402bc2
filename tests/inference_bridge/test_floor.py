"""The caller makes a sound while the agent speaks: hold, then go on or give way. A clock that the test moves."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.turns.backchannel import is_backchannel, sounds_complete
from antiphon.inference_bridge.turns.barge_in import MAX_HELD_S, PATIENCE_S, Act, BargeInPolicy

pytestmark = pytest.mark.pure


def held(now: float = 10.0) -> BargeInPolicy:
    floor = BargeInPolicy()
    assert floor.onset(now, agent_active=True) is Act.HOLD
    return floor


def test_a_sound_in_the_agent_s_silence_holds_nothing() -> None:
    floor = BargeInPolicy()
    assert floor.onset(1.0, agent_active=False) is None
    assert floor.stopped(1.5, to_be_read=True) is None
    assert floor.read(True) is None


def test_a_click_lets_the_agent_go_on_at_once() -> None:
    assert held().stopped(10.1, to_be_read=False) is Act.GO_ON


def test_words_take_the_floor_and_a_sign_of_listening_does_not() -> None:
    for words, act in ((True, Act.TAKE), (False, Act.GO_ON)):
        floor = held()
        assert floor.stopped(10.4, to_be_read=True) is None
        assert floor.read(words) is act
        assert not floor.held


def test_while_the_caller_speaks_on_the_agent_stays_silent() -> None:
    floor = held()
    floor.stopped(10.4, to_be_read=True)
    assert floor.onset(10.6, agent_active=True) is None
    assert floor.read(False) is None, "the caller speaks again"
    floor.stopped(11.0, to_be_read=True)
    assert floor.read(False) is Act.GO_ON


def test_words_in_mid_speech_take_the_floor_before_it_ends() -> None:
    floor = held()
    assert floor.peeked(False) is None
    assert floor.peeked(True) is Act.TAKE


def test_no_noise_stops_the_agent_for_good() -> None:
    floor = held(10.0)
    floor.stopped(10.5, to_be_read=True)  # and nobody ever says what it was
    assert floor.tick(10.5 + PATIENCE_S - 0.1) is None
    assert floor.tick(10.5 + PATIENCE_S + 0.1) is Act.GO_ON


def test_a_noise_without_end_is_spoken_against_and_does_not_hold_again() -> None:
    floor = held(10.0)
    assert floor.tick(10.0 + MAX_HELD_S + 0.1) is Act.GO_ON
    assert floor.onset(20.0, agent_active=True) is None
    floor.stopped(25.0, to_be_read=False)
    assert floor.onset(30.0, agent_active=True) is Act.HOLD


@pytest.mark.parametrize(
    "text",
    ["Mm-hmm.", "Mm-hm", "Uh-huh.", "Yeah.", "Okay.", "Oh, I see.", "Right, okay.", "Hmm", "Aho.", "Nana.", "Mhm."],
)
def test_a_sign_of_listening_is_none_that_interrupts(text: str) -> None:
    assert is_backchannel(text, asked=False)


@pytest.mark.parametrize(
    "text",
    [
        "Stop.",
        "No.",
        "Wait a second.",
        "Okay, but not on Monday.",
        "What?",
        "Yeah, book it",
        "Ham.",
        "Hello?",
        "Nah.",
        "On",
    ],
)
def test_words_are_no_sign_of_listening(text: str) -> None:
    assert not is_backchannel(text, asked=False)


def test_yes_is_an_answer_where_something_was_asked() -> None:
    assert is_backchannel("Yes.", asked=False)
    assert not is_backchannel("Yes.", asked=True)
    assert is_backchannel("Mm-hmm.", asked=True)


@pytest.mark.parametrize("text", ["I want to book on Monday.", "What time is it?", "Yes.", "At ten.", "Thank you."])
def test_what_sounds_complete(text: str) -> None:
    assert sounds_complete(text)


@pytest.mark.parametrize("text", ["I would like to", "Could you book me the", "On Monday and", "Well,", "So I...", ""])
def test_what_does_not(text: str) -> None:
    assert not sounds_complete(text)
