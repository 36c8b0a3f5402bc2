"""Words that are told before the utterance is over, and are not taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.stt.local_agreement import LocalAgreement

TEXT = st.lists(st.sampled_from(["I", "i", "want", "want.", "to", "book,", "a", "room"]), max_size=8).map(" ".join)


def test_a_word_is_told_when_two_hypotheses_in_a_row_have_it() -> None:
    agreement = LocalAgreement()
    assert agreement.hypothesis("Please cancel my appointment.") == ""
    assert agreement.hypothesis("Please cancel my appointment and then tell.") == "Please cancel my"
    assert agreement.hypothesis("Please cancel my appointment and then tell me what time.") == " appointment and then"
    whole = "Please cancel my appointment and then tell me what time it is."
    assert agreement.finish(whole) == (whole, " tell me what time it is.")


def test_without_a_second_hypothesis_nothing_is_told_before_the_end() -> None:
    agreement = LocalAgreement()
    assert agreement.hypothesis("Hello there.") == ""
    assert agreement.finish("Hello there.") == ("Hello there.", "Hello there.")


def test_a_last_hypothesis_that_disagrees_takes_nothing_back_and_repeats_nothing() -> None:
    agreement = LocalAgreement()
    agreement.hypothesis("I want to book a")
    assert agreement.hypothesis("I want to book a") == "I want to book a"
    assert agreement.finish("I'd want to book a room for two.") == ("I want to book a room for two.", " room for two.")
    agreement = LocalAgreement()
    agreement.hypothesis("Too rooms")
    agreement.hypothesis("Too rooms")
    assert agreement.finish("") == ("Too rooms", "")


@given(st.lists(TEXT, max_size=6), TEXT)
def test_what_is_told_adds_up_to_the_transcript_and_was_agreed_upon(hypotheses: list[str], last: str) -> None:
    agreement, told, before = LocalAgreement(), "", ""
    for text in hypotheses:
        more = agreement.hypothesis(text)
        if more:
            told += more
            assert text.startswith(told)
            assert before.startswith(told)
        before = text
    whole, rest = agreement.finish(last)
    assert told + rest == whole
    if last.split()[: len(told.split())] == told.split():
        assert whole == last
