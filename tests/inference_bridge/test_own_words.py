"""`repeats`: words that were heard are a piece of what the agent has said, or are not."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.turns.own_words import repeats

pytestmark = pytest.mark.pure

SAID = "Thank you for calling the clinic. We are open from Monday to Friday between eight and six."


@pytest.mark.parametrize(
    "heard",
    [
        "Thank you.",
        "Thank",
        "thank you for call",  # cut by the hold
        "ling the clinic.",  # and its beginning
        "We are open from Monday",
        "We are often from Monday",  # one of five is wrong
        "between eight and six",
        "Six.",
    ],
)
def test_a_piece_of_the_agents_words_is_one(heard: str) -> None:
    assert repeats(heard, SAID)


@pytest.mark.parametrize(
    "heard",
    [
        "",
        "...",
        "Sunday.",
        "Thank you very much",
        "Are you open on Monday?",
        "open Friday",  # not in a row
        "I am calling the clinic",
        "We were often on Monday",
        "on",  # no cut word: it is too short to be one
        f"{SAID} And so on.",
    ],
)
def test_other_words_are_not(heard: str) -> None:
    assert not repeats(heard, SAID)


def test_fewer_words_than_are_asked_for_are_not() -> None:
    assert repeats("the clinic", SAID, fewest=2)
    assert not repeats("the clinic", SAID, fewest=3)
    assert not repeats("", "", fewest=0)


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("Guten Tag", "Guten Tag, Praxis Müller."),
        ("Praxis Mül", "Guten Tag, Praxis Müller."),
        ("muchas gracias", "Muchas gracias por llamar."),
        ("d'accord", "D\u2019accord, je regarde."),
    ],
)
def test_case_accents_and_apostrophes_are_as_in_other_rules_for_words(heard: str, said: str) -> None:
    assert repeats(heard, said)
