"""How much silence ends a turn, by all that is known of it: the table of rules, and what must hold for any evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.turns.dictation import Ending
from antiphon.inference_bridge.turns.end_of_turn import (
    LONGEST_MS,
    RULES,
    SHORTEST_MS,
    Evidence,
    Known,
    evidence_of,
    wait_ms,
)
from antiphon.inference_bridge.turns.expected_answer import expected

pytestmark = pytest.mark.pure

EVIDENCE = st.builds(
    Evidence,
    st.none() | st.sampled_from(Ending),
    st.none() | st.floats(0, 1),
    st.none() | st.booleans(),
    st.booleans(),
    st.integers(0, 20),
    st.booleans(),
    st.booleans(),
    st.floats(0, 5000),
)

AT_ONCE, SOON, LATER, LATE = (160, 450), (450, 1000), (1000, 1500), (1200, 2000)
CASES = [
    # language, the agent's words, the caller's so far, how done the voice sounds, the wait
    ("en", "Shall I book it?", "Yes, please.", 0.9, AT_ONCE),
    ("en", "Shall I book it?", "No.", 0.9, AT_ONCE),
    ("en", "Please confirm by saying yes.", "Yes.", 0.6, AT_ONCE),
    ("en", "On which day?", "On Thursday.", 0.9, AT_ONCE),
    ("en", "At what time?", "Half past ten.", 0.9, AT_ONCE),
    ("en", "How can I help you?", "I would like to book an appointment.", 0.95, AT_ONCE),
    ("en", "How can I help you?", "I would like to book an appointment.", 0.3, SOON),
    ("en", "How can I help you?", "I would like to", 0.3, LATE),
    ("en", "How can I help you?", "I am calling because,", 0.1, LATE),
    ("en", "How can I help you?", "My number is 5-5-5.", 0.99, (1400, 2000)),
    ("en", "How can I help you?", "My number is five five five, zero one.", 0.99, (1400, 2000)),
    ("en", "What is your phone number?", "5-5-5.", 0.99, (1400, 2000)),
    ("en", "What is your phone number?", "555-012-3456", 0.99, (800, 1200)),
    ("en", "What is the four-digit code?", "3 9", 0.99, (1400, 2000)),
    ("en", "What is the four-digit code?", "3907", 0.99, (800, 1200)),
    ("en", "What is your e-mail address?", "anna dot lee", 0.99, LATE),
    ("en", "Could you spell your name?", "M-I-L", 0.99, (1400, 2000)),
    ("en", "What would you like?", "A large pizza, a salad.", 0.6, (1000, 1600)),
    ("en", "What is your date of birth?", "One moment.", 0.99, LATER),
    ("de", "Wie lautet Ihre Telefonnummer?", "0151", 0.99, (1400, 2000)),
    ("de", "Soll ich das buchen?", "Ja, gerne.", 0.9, AT_ONCE),
    ("de", "Wie kann ich helfen?", "Ich möchte", 0.3, LATE),
    ("es", "¿Cuál es su número de teléfono?", "612", 0.99, (1400, 2000)),
    ("es", "¿Es correcto?", "Sí.", 0.9, AT_ONCE),
    ("fr", "Quel est votre numéro de téléphone ?", "06 12", 0.99, (1400, 2000)),
    ("it", "È corretto?", "Sì, certo.", 0.9, AT_ONCE),
]


@pytest.mark.parametrize(("language", "asks", "words", "voice", "within"), CASES)
def test_the_wait_suits_what_was_asked_and_said(
    language: str, asks: str, words: str, voice: float, within: tuple[int, int]
) -> None:
    wait = wait_ms(evidence_of(Known(words, voice, expected(asks, language)), language))
    assert within[0] <= wait <= within[1]


def test_the_gaps_of_a_dictation_of_more_than_a_second_are_waited_for_without_any_voice() -> None:
    for words in ("My number is five five five", "My number is 5-5-5, 0-1", "It's anna dot"):
        assert wait_ms(evidence_of(Known(words))) > 1300


@given(EVIDENCE)
def test_every_wait_lies_between_the_shortest_and_the_longest(evidence: Evidence) -> None:
    assert SHORTEST_MS <= wait_ms(evidence) <= LONGEST_MS


@given(EVIDENCE, st.floats(0, 2000))
def test_a_caller_who_pauses_for_longer_never_gets_less_time(evidence: Evidence, pause: float) -> None:
    assert wait_ms(replace(evidence, longest_pause_ms=evidence.longest_pause_ms + pause)) >= wait_ms(evidence)


def test_what_the_agents_speech_is_held_for_is_told_soon() -> None:
    for words in ("", "Mhm.", "Ah,"):
        assert wait_ms(evidence_of(Known(words, overlaps=True))) <= 256


@given(EVIDENCE)
def test_a_dictation_never_ends_before_800_ms(evidence: Evidence) -> None:
    assert wait_ms(replace(evidence, ending=Ending.DICTATION)) >= 800


@given(EVIDENCE)
def test_a_voice_that_sounds_done_never_makes_the_wait_longer(evidence: Evidence) -> None:
    waits = [wait_ms(replace(evidence, voice=voice)) for voice in (0.05, 0.3, 0.6, 0.9)]
    assert waits == sorted(waits, reverse=True)


def test_every_rule_decides_about_something() -> None:
    voices = (None, 0.05, 0.3, 0.6, 0.9)
    endings = (None, *Ending)
    every = [
        Evidence(ending, voice, answered, in_parts, symbols, brief, overlaps)
        for ending in endings
        for voice in voices
        for answered in (None, True, False)
        for in_parts in (True, False)
        for symbols in (0, 9)
        for brief in (True, False)
        for overlaps in (True, False)
    ]
    first = {next(number for number, rule in enumerate(RULES) if rule.fits(each)) for each in every}
    assert first == set(range(len(RULES)))
