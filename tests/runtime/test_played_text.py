"""Which words of a speech were played, from the samples played."""

from __future__ import annotations

import pytest

from antiphon.runtime.agent_sessions.played_text import PlayedText, Word

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("played", "text"),
    [
        (0, ""),
        (999, ""),
        (1000, "Sure,"),
        (1500, "Sure,"),
        (3500, "Sure, I have"),
        (5000, "Sure, I have one slot."),
        (9000, "Sure, I have one slot."),
    ],
)
def test_the_words_played_follow_from_the_samples_played(played: int, text: str) -> None:
    words = PlayedText(24000)
    words.add(1000, "Sure,")
    words.add(3000, "I have one slot.", silence=1000)
    assert words.samples == 5000
    assert words.up_to(played) == text


def test_a_word_counts_when_half_of_it_was_played_where_half_is_asked_for() -> None:
    words = PlayedText(24000, share=0.5)
    words.add(24000, [Word("one", 0.0, 0.4), Word("two", 0.5, 1.0)])
    words.add(24000, "three four")
    assert words.up_to(0) == ""
    assert words.up_to(4800) == "one"
    assert words.up_to(17999) == "one"
    assert words.up_to(18000) == "one two"
    assert words.up_to(36000) == "one two three"
    assert words.whole == "one two three four"


def test_audio_without_words_moves_those_behind_it() -> None:
    words = PlayedText(24000)
    words.add(2400, None)
    words.add(2400, "late")
    assert words.up_to(4799) == ""
    assert words.up_to(4800) == words.whole == "late"
