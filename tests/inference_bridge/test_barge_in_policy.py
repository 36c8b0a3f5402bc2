"""The caller makes a sound while the agent speaks: hold, then resume or interrupt. A clock that the test moves."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.turns.backchannel import is_backchannel, sounds_complete
from antiphon.inference_bridge.turns.barge_in import MAX_HOLD_S, PATIENCE_S, Act, BargeInPolicy


def holding(now: float = 10.0) -> BargeInPolicy:
    policy = BargeInPolicy()
    assert policy.speech_started(now, agent_active=True) is Act.HOLD
    return policy


def test_a_sound_in_the_agent_s_silence_holds_nothing() -> None:
    policy = BargeInPolicy()
    assert policy.speech_started(1.0, agent_active=False) is None
    assert policy.speech_stopped(1.5, text_follows=True) is None
    assert policy.final_text(True) is None


def test_a_click_lets_the_agent_go_on_at_once() -> None:
    assert holding().speech_stopped(10.1, text_follows=False) is Act.RESUME


def test_words_interrupt_and_a_sign_of_listening_does_not() -> None:
    for words, act in ((True, Act.INTERRUPT), (False, Act.RESUME)):
        policy = holding()
        assert policy.speech_stopped(10.4, text_follows=True) is None
        assert policy.final_text(words) is act
        assert not policy.holding


def test_while_the_caller_speaks_on_the_agent_stays_silent() -> None:
    policy = holding()
    policy.speech_stopped(10.4, text_follows=True)
    assert policy.speech_started(10.6, agent_active=True) is None
    assert policy.final_text(False) is None, "the caller speaks again"
    policy.speech_stopped(11.0, text_follows=True)
    assert policy.final_text(False) is Act.RESUME


def test_words_in_mid_speech_interrupt_before_it_ends() -> None:
    policy = holding()
    assert policy.partial_text(False) is None
    assert policy.partial_text(True) is Act.INTERRUPT


def test_no_noise_stops_the_agent_for_good() -> None:
    policy = holding(10.0)
    policy.speech_stopped(10.5, text_follows=True)  # and no text ever comes
    assert policy.tick(10.5 + PATIENCE_S - 0.1) is None
    assert policy.tick(10.5 + PATIENCE_S + 0.1) is Act.RESUME


def test_a_noise_without_end_is_spoken_against_and_does_not_hold_again() -> None:
    policy = holding(10.0)
    assert policy.tick(10.0 + MAX_HOLD_S + 0.1) is Act.RESUME
    assert policy.speech_started(20.0, agent_active=True) is None
    policy.speech_stopped(25.0, text_follows=False)
    assert policy.speech_started(30.0, agent_active=True) is Act.HOLD


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
