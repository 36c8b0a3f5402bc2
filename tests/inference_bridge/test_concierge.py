"""The scripted agent's conversations, line by line. It is Sunday, 22 November 2026, 10:30."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.demo.concierge.dialogue import Conversation, Reply, respond
from antiphon.inference_bridge.tts.clauses import ClauseSplitter

pytestmark = pytest.mark.pure

NOW = datetime(2026, 11, 22, 10, 30)
MONDAY_1030 = datetime(2026, 11, 23, 10, 30)


def talk(*lines: str) -> tuple[Conversation, list[Reply]]:
    state, replies = Conversation(last_reply="Hello, how can I help you?"), []
    for line in lines:
        state, reply = respond(state, line, NOW)
        replies.append(reply)
    return state, replies


def test_an_appointment_is_booked_in_one_sentence() -> None:
    state, (reply,) = talk("I would like to book an appointment for tomorrow at ten thirty.")
    assert state.booked == (MONDAY_1030,)
    assert reply.text == "Done. I have booked you for tomorrow, Monday, November 23rd at 10:30 AM. Anything else?"


def test_missing_day_and_time_are_asked_for() -> None:
    state, replies = talk("Hello, I'd like to make an appointment.", "Tomorrow.", "10.30, please.")
    assert "which day" in replies[0].text
    assert "what time" in replies[1].text
    assert state.booked == (MONDAY_1030,)


def test_the_time_may_come_before_the_day() -> None:
    state, replies = talk("Book me in at ten thirty.", "Tomorrow!")
    assert "On which day?" in replies[0].text
    assert state.booked == (MONDAY_1030,)


def test_what_was_booked_is_remembered_and_told() -> None:
    _, replies = talk("book tomorrow at ten thirty", "What time is it?", "What have I booked?")
    assert replies[1].text == "Sure, it is 10:30 AM."
    assert replies[2].text == "Let me see. You have an appointment: tomorrow, Monday, November 23rd at 10:30 AM."


def test_an_appointment_is_moved() -> None:
    state, replies = talk("book tomorrow at ten thirty", "Can you move it to half past two on Thursday?")
    assert state.booked == (datetime(2026, 11, 26, 14, 30),)
    assert "moved your appointment to Thursday, November 26th at 2:30 PM" in replies[1].text


def test_moving_to_another_time_keeps_the_day() -> None:
    state, _ = talk("book tomorrow at ten thirty", "Change my appointment to eleven.")
    assert state.booked == (datetime(2026, 11, 23, 11),)


def test_an_appointment_is_cancelled() -> None:
    state, replies = talk("book tomorrow at ten thirty", "Please cancel my appointment.")
    assert state.booked == ()
    assert replies[1].text.startswith("Done, I have cancelled")


def test_of_two_appointments_the_right_one_is_cancelled() -> None:
    state, replies = talk("book tomorrow at ten thirty", "book Tuesday at nine", "cancel", "The one tomorrow.")
    assert "which one" in replies[2].text
    assert state.booked == (datetime(2026, 11, 24, 9),)


def test_of_two_appointments_the_right_one_is_moved() -> None:
    state, _ = talk("book tomorrow at ten thirty", "book Tuesday at nine", "Move Tuesday to Friday at ten.")
    assert state.booked == (MONDAY_1030, datetime(2026, 11, 27, 10))


@pytest.mark.parametrize(
    ("wanted", "why", "offer"),
    [
        ("tomorrow at nine", "9 AM is taken", datetime(2026, 11, 23, 9, 30)),
        ("tuesday at 12:15", "we are at lunch", datetime(2026, 11, 24, 11, 30)),
        ("tuesday at 8 pm", "we are closed at 8 PM", datetime(2026, 11, 24, 16, 30)),
        ("tuesday at 10:10", "on the hour and the half hour", datetime(2026, 11, 24, 10)),
    ],
)
def test_a_time_that_can_not_be_had_gets_an_offer_that_a_yes_takes(wanted: str, why: str, offer: datetime) -> None:
    state, replies = talk(f"book {wanted}", "Yes, please.")
    assert why in replies[0].text
    assert state.booked == (offer,)


def test_an_offer_can_be_declined_for_another_time() -> None:
    state, _ = talk("book tomorrow at nine", "No.", "eleven")
    assert state.booked == (datetime(2026, 11, 23, 11),)


def test_a_weekend_is_declined_and_another_day_asked_for() -> None:
    state, replies = talk("book an appointment on Saturday at ten", "Monday, then.")
    assert "closed on Saturday" in replies[0].text
    assert state.booked == (datetime(2026, 11, 23, 10),)


def test_the_next_free_time_is_offered() -> None:
    state, replies = talk("When is the earliest you have available?", "yes")
    assert "tomorrow, Monday, November 23rd at 9:30 AM" in replies[0].text
    assert state.booked == (datetime(2026, 11, 23, 9, 30),)


def test_a_question_in_between_does_not_lose_the_request() -> None:
    state, replies = talk("I need an appointment", "What day is it today?", "tomorrow", "ten thirty")
    assert replies[1].text == "Sure, today is Sunday, November 22nd. And which day would you like?"
    assert state.booked == (MONDAY_1030,)


def test_a_name_is_used_from_then_on() -> None:
    state, replies = talk("My name is Anna Miller.", "Book tomorrow at ten thirty.", "Thanks!")
    assert state.name == "Anna Miller"
    assert replies[0].text == "Thank you, Anna. How can I help you?"
    assert replies[1].text.startswith("Done, Anna.")


def test_it_repeats_what_it_said() -> None:
    _, replies = talk("book tomorrow at ten thirty", "Could you repeat that?", "Sorry?")
    assert replies[0].text == replies[1].text == replies[2].text


def test_two_misses_in_a_row_offer_a_person_and_a_yes_hands_over() -> None:
    state, replies = talk("I want a pizza", "With cheese", "Yes, please.")
    assert replies[0].hand_over == ""
    assert "hand you over to a person" in replies[1].text
    assert [r.hand_over for r in replies] == ["", "offered", "accepted"]
    assert state.handed_over


def test_a_miss_between_understood_turns_offers_nobody() -> None:
    _, replies = talk("pizza", "What time is it?", "cheese")
    assert all(not r.hand_over for r in replies)


def test_a_person_can_be_asked_for_and_declined() -> None:
    _, replies = talk("Can I talk to a human?")
    assert replies[0].hand_over == "accepted"
    state, replies = talk("pizza", "cheese", "No.", "book tomorrow at ten thirty")
    assert state.booked == (MONDAY_1030,)


@pytest.mark.parametrize("last", ["Goodbye.", "bye bye", "No, that's all, thank you.", "No, thanks."])
def test_goodbye_hangs_up(last: str) -> None:
    _, replies = talk("book tomorrow at ten thirty", last)
    assert replies[-1].hang_up


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Hello!", "Hello. How can I help you?"),
        ("thank you", "You're welcome. Anything else?"),
        ("help", "Of course. I can book, move or cancel"),
        ("What can you do?", "Of course. I can book, move or cancel"),
        ("what's the date", "Sure, today is Sunday, November 22nd."),
        ("When are you open?", "Sure, we are open Monday to Friday, from 9 AM to 5 PM."),
        ("Do I have an appointment?", "Nothing yet"),
        ("cancel my appointment", "No worries, you have no appointment"),
        ("What they is it today?", "Sure, today is Sunday, November 22nd."),
        ("WHAT TIME IS IT", "Sure, it is 10:30 AM."),
    ],
)
def test_small_questions_have_answers(said: str, answer: str) -> None:
    _, (reply,) = talk(said)
    assert reply.text.startswith(answer)


WORDS = ["book", "cancel", "move", "yes", "no", "tomorrow", "ten", "tuesday", "repeat", "pizza", "nine", "what"]


@given(st.lists(st.sampled_from(WORDS), max_size=8))
def test_every_turn_is_answered_and_opens_with_a_short_clause(words: list[str]) -> None:
    state = Conversation()
    for word in words:
        before = state
        state, reply = respond(state, word, NOW)
        assert (state, reply) == respond(before, word, NOW)
        assert reply.text
        splitter = ClauseSplitter()
        first, *_ = [*splitter.feed(reply.text), *splitter.rest()]
        assert len(first) <= 60
        assert len(set(state.booked)) == len(state.booked)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("book next friday at ten", datetime(2026, 12, 4, 10)),
        ("book monday at nine thirty", datetime(2026, 11, 30, 9, 30)),
        ("book on Tuesday or Wednesday at ten", datetime(2026, 11, 25, 10)),
        ("book tomorrow at nine or ten", datetime(2026, 11, 24, 10)),
        ("book on 5/6 at ten", datetime(2027, 5, 6, 10)),
    ],
)
def test_a_day_that_could_be_another_is_confirmed_before_it_is_booked(said: str, meant: datetime) -> None:
    monday = datetime(2026, 11, 23, 10, 30)
    state, asked = respond(Conversation(), said, monday)
    assert state.booked == ()
    assert asked.text.startswith("Just to be sure: ")
    state, _ = respond(state, "Yes, please.", monday)
    assert state.booked == (meant,)


def test_a_day_said_anew_needs_no_confirmation() -> None:
    state, replies = talk("Book me next week, on the weekend", "Thursday at ten")
    assert "which day" in replies[0].text
    assert state.booked == (datetime(2026, 11, 26, 10),)


def test_an_appointment_is_not_cancelled_by_a_day_that_is_not_its_own() -> None:
    state, replies = talk("book tomorrow at ten thirty", "Cancel my appointment on Friday.")
    assert state.booked == (MONDAY_1030,)
    assert "shall I cancel your appointment for tomorrow" in replies[1].text
    kept, _ = respond(state, "No!", NOW)
    cancelled, _ = respond(state, "Yes.", NOW)
    assert (kept.booked, cancelled.booked) == ((MONDAY_1030,), ())


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Hi!", "Hello. How can I help you?"),
        ("How are you?", "Fine, thank you. How can I help you?"),
        ("Hi, how are you doing today?", "Fine, thank you."),
        ("Who are you?", "Sure, I am the automatic front desk of the Riverside Clinic, not a person."),
        ("Am I talking to a robot? Are you a real person?", "Sure, I am the automatic front desk"),
    ],
)
def test_it_knows_how_people_begin_a_call(said: str, answer: str) -> None:
    _, (reply,) = talk(said)
    assert reply.text.startswith(answer)
