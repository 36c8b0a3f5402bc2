"""Which words are a sign of listening, and which sound complete."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.turns.backchannel import is_backchannel, sounds_complete

pytestmark = pytest.mark.pure


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
