"""The concierge's conversation: (state, text, now) -> (state, reply). Pure and deterministic.

A request (book, move, cancel) stays open until its day and time are known, are free and are confirmed where
we proposed them; each turn fills in what it says, and we ask for the rest. Everything agreed stays in the
state for the call. Replies begin with a short clause, because the caller hears that one first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Final, Literal

from antiphon.demo.concierge import calendar
from antiphon.demo.concierge.calendar import Slot, listed, say_day, say_slot, say_time
from antiphon.demo.concierge.intents import Intent, intents_of, name_in
from antiphon.demo.concierge.when import When, find_when, plain

TimeOfDay = time
"""Under a name that no field has, so that annotations can be read at run time."""
MAX_BOOKED: Final = 8
"""Appointments in one call."""
HELP: Final = (
    "I can book, move or cancel an appointment, tell you what you have booked, and tell you the time or the date."
)


@dataclass(frozen=True)
class Request:
    """What the caller wants and has not got yet. A value."""

    kind: Literal["book", "move", "cancel"]
    target: Slot | None = None
    """The appointment that is to be moved or cancelled."""
    day: date | None = None
    time: TimeOfDay | None = None
    part: str = ""
    offer: Slot | None = None
    """We proposed this one: a yes takes it."""
    unsure: bool = False
    """The day was not understood for certain: it is confirmed before anything is done."""


@dataclass(frozen=True)
class Conversation:
    """All that the concierge remembers of a call. A value: `respond` returns the next one."""

    booked: tuple[Slot, ...] = ()
    name: str = ""
    request: Request | None = None
    misses: int = 0
    """Turns in a row that were not understood."""
    person_offered: bool = False
    handed_over: bool = False
    last_reply: str = ""


@dataclass(frozen=True)
class Reply:
    """The answer to one turn. A value."""

    text: str
    hang_up: bool = False
    hand_over: Literal["", "offered", "accepted"] = ""


@dataclass(frozen=True)
class _Said:
    """One turn of the caller, understood."""

    intents: frozenset[Intent]
    when: When
    now: datetime

    def has(self, *intents: Intent) -> bool:
        return any(intent in self.intents for intent in intents)


_Turn = tuple[Conversation, Reply]
_ABOUT_APPOINTMENTS: Final = (Intent.CANCEL, Intent.MOVE, Intent.BOOK, Intent.FREE, Intent.LIST)
_OTHER_QUESTIONS: Final = (Intent.CLOCK, Intent.DATE, Intent.HOURS, Intent.LIST, Intent.PERSON)


def respond(state: Conversation, text: str, now: datetime) -> tuple[Conversation, Reply]:
    """Answer one turn. `text` as recognised, in any case and punctuation; `now` in the caller's time zone."""
    said = _Said(intents_of(plain(text)), find_when(text, now.date()), now.replace(tzinfo=None))
    name = name_in(text)
    if name:
        state = replace(state, name=name)
    turn = _answer(state, said, bool(name))
    if turn is None:
        state, reply = _missed(state)
    else:
        state, reply = replace(turn[0], misses=0), turn[1]
    return replace(state, last_reply=reply.text, person_offered=reply.hand_over == "offered"), reply


def _answer(state: Conversation, said: _Said, named: bool) -> _Turn | None:
    """The first rule that fits; None if none does."""
    if state.person_offered and said.has(Intent.YES, Intent.NO) and not said.has(*_ABOUT_APPOINTMENTS):
        if said.has(Intent.NO):
            return state, Reply(f"All right, let's try again. {HELP}")
        return _hand_over(state)
    if said.has(Intent.PERSON) and not said.has(Intent.WHO_ARE_YOU):
        return _hand_over(state)
    if said.has(Intent.REPEAT) and not said.has(Intent.BOOK, Intent.MOVE, Intent.CANCEL):
        return state, Reply(state.last_reply or f"Sure. {HELP}")
    if said.has(Intent.HOW_ARE_YOU, Intent.WHO_ARE_YOU) and not (said.has(*_ABOUT_APPOINTMENTS) or said.when.times):
        return _courtesy(state, said, named)  # "how are you today" names no day
    if state.request and _continues(state.request, said):
        return _continue(state, state.request, said)
    if question := _question(state, said):
        return question
    if said.has(Intent.CANCEL):
        return _cancel(state, said)
    if said.has(Intent.MOVE) and not (said.has(Intent.BOOK) and not state.booked and not said.when.days):
        return _move(state, said)
    if said.has(Intent.FREE) and not said.when.times:
        return _free(state, said)
    if said.has(Intent.BOOK) or said.when.days or said.when.times:
        return _book(state, said)
    return _courtesy(state, said, named)


def _continues(request: Request, said: _Said) -> bool:
    """Is this turn about the open request, or about something new?"""
    if said.has(*_OTHER_QUESTIONS):
        return False
    new_kind = {"book": (Intent.CANCEL,), "move": (Intent.CANCEL,), "cancel": (Intent.MOVE, Intent.BOOK)}[request.kind]
    if said.has(*new_kind) or (request.kind == "move" and said.has(Intent.BOOK) and said.has(Intent.FREE)):
        return False
    return bool(said.when.days or said.when.times or said.when.part) or said.has(Intent.YES, Intent.NO, Intent.FREE)


def _continue(state: Conversation, request: Request, said: _Said) -> _Turn:
    when = said.when
    if request.kind == "cancel":
        if request.offer and said.has(Intent.YES) and not when.days and request.offer in state.booked:
            return _cancelled(state, request.offer, said)
        if said.has(Intent.NO):
            return replace(state, request=None), Reply("All right, I left everything as it was. Anything else?")
        return _cancel(state, said)
    if request.offer and said.has(Intent.YES) and not (when.days or when.times):
        return _complete(state, request, request.offer, said.now)
    if said.has(Intent.NO) and not (when.days or when.times or when.part):
        if request.offer:
            asked = replace(request, offer=None, time=None)
            return replace(state, request=asked), Reply("No problem, which time would you like instead?")
        return replace(state, request=None), Reply("All right, never mind. Anything else?")
    if said.has(Intent.FREE) and not (when.days or when.times or when.part) and not request.day:
        return _free(state, said)
    part: str = when.part or ("" if when.days else request.part)
    return _progress(
        state,
        replace(
            request,
            day=when.days[-1] if when.days else request.day,
            time=when.times[-1] if when.times else request.time,
            part=part,
            offer=None,
            unsure=_unsure(said) or (request.unsure and not when.days),
        ),
        said.now,
    )


def _question(state: Conversation, said: _Said) -> _Turn | None:
    today = said.now.date()
    if said.has(Intent.LIST) and not said.has(Intent.CANCEL, Intent.MOVE):
        if not state.booked:
            return state, Reply("Nothing yet, you have no appointment. Would you like to book one?")
        slots = listed([say_slot(slot, today) for slot in sorted(state.booked)])
        many = "appointment" if len(state.booked) == 1 else f"{len(state.booked)} appointments"
        whose = f"{state.name.split()[0]}, you" if state.name else "You"
        return state, Reply(f"Let me see. {whose} have {'an ' if many == 'appointment' else ''}{many}: {slots}.")
    if said.has(Intent.CLOCK):
        return state, Reply(f"Sure, it is {say_time(said.now.time())}.{_reminder(state)}")
    if said.has(Intent.DATE):
        return state, Reply(f"Sure, {say_day(today, today)}.".replace("today, ", "today is ") + _reminder(state))
    if said.has(Intent.HOURS) and not said.has(Intent.BOOK, Intent.CANCEL, Intent.MOVE):
        return state, Reply(f"Sure, we are open {calendar.HOURS}.{_reminder(state)}")
    return None


def _reminder(state: Conversation) -> str:
    """After a question in the middle of a request: what we are still waiting for."""
    request = state.request
    if not request or request.kind == "cancel":
        return ""
    if request.offer:
        return f" And shall I take {say_time(request.offer.time())} for you?"
    return " And which time would you like?" if request.day else " And which day would you like?"


def _book(state: Conversation, said: _Said) -> _Turn:
    if len(state.booked) >= MAX_BOOKED:
        return state, Reply(f"I'm sorry, I can't book more than {MAX_BOOKED} appointments in one call. Anything else?")
    when = said.when
    return _progress(
        state,
        Request(
            "book",
            day=when.days[-1] if when.days else None,
            time=when.times[-1] if when.times else None,
            part=when.part,
            unsure=_unsure(said),
        ),
        said.now,
    )


def _move(state: Conversation, said: _Said) -> _Turn:
    if not state.booked:
        if state.request:
            return _progress(state, state.request, said.now)
        return state, Reply("Sorry, you have no appointment yet that I could move. Would you like to book one?")
    target, days = _target(state, said)
    if target is None:
        slots = listed([say_slot(s, said.now.date()) for s in sorted(state.booked)], "or")
        return replace(state, request=None), Reply(f"Sure, which one: {slots}? Say move, and the day.")
    times = [t for t in said.when.times if t != target.time() or len(said.when.times) == 1]
    day, moment = days[-1] if days else None, times[-1] if times else None
    request = Request("move", target, day, moment, said.when.part, unsure=said.when.unsure or len(days) > 1)
    if request.time and not request.day:
        request = replace(request, day=target.date())
    return _progress(state, request, said.now)


def _cancel(state: Conversation, said: _Said) -> _Turn:
    today = said.now.date()
    if not state.booked:
        if state.request and state.request.kind != "cancel":
            return replace(state, request=None), Reply("All right, I won't book anything. Anything else?")
        return state, Reply("No worries, you have no appointment that I would have to cancel. Anything else?")
    target, _ = _target(state, said)
    if target is None:
        slots = listed([say_slot(s, today) for s in sorted(state.booked)], "or")
        return replace(state, request=Request("cancel")), Reply(f"Sure, which one: {slots}?")
    if said.when.unsure or (said.when.days and target.date() not in said.when.days):
        asked = replace(state, request=Request("cancel", target, offer=target))
        return asked, Reply(f"Just to be sure: shall I cancel your appointment for {say_slot(target, today)}?")
    return _cancelled(state, target, said)


def _cancelled(state: Conversation, target: Slot, said: _Said) -> _Turn:
    left = tuple(s for s in state.booked if s != target)
    return (
        replace(state, booked=left, request=None),
        Reply(f"Done, I have cancelled your appointment for {say_slot(target, said.now.date())}. Anything else?"),
    )


def _unsure(said: _Said) -> bool:
    """More than one day or time, or words that could mean another day."""
    return said.when.unsure or len(said.when.days) > 1 or len(said.when.times) > 1


def _target(state: Conversation, said: _Said) -> tuple[Slot | None, list[date]]:
    """Which appointment is meant, and the days said that are not its own; None if that is not clear."""
    days = list(said.when.days)
    named = [s for s in state.booked if s.date() in days]
    if len(named) > 1:
        named = [s for s in named if s.time() in said.when.times]
    if len(named) == 1 and (len(days) > 1 or len(state.booked) > 1):
        days.remove(named[0].date())
        return named[0], days
    if len(state.booked) == 1:
        return state.booked[0], days
    return None, days


def _free(state: Conversation, said: _Said) -> _Turn:
    today = said.now.date()
    if said.when.days:
        return _book(state, said)
    slot = calendar.next_free(state.booked, said.now)
    request = replace(state.request or Request("book"), day=slot.date(), offer=slot)
    return replace(state, request=request), Reply(
        f"Let me see. The next free time is {say_slot(slot, today)}. Shall I book it?"
    )


def _progress(state: Conversation, request: Request, now: datetime) -> _Turn:
    """Go on with a booking or a move as far as we can, and ask for what is missing."""

    def ask(text: str, **changes: object) -> _Turn:
        return replace(state, request=replace(request, **changes)), Reply(text)  # type: ignore[arg-type]

    today = now.date()
    if request.day is None:
        if request.time:
            return ask(f"Sure, {say_time(request.time)}. On which day?")
        if request.kind == "move" and request.target:
            return ask(f"Sure, to which day and time shall I move {say_slot(request.target, today)}?")
        return ask("Sure, for which day?")
    day = say_day(request.day, today)
    if not calendar.is_open_on(request.day):
        return ask(f"Sorry, we are closed on {day}. We are open {calendar.HOURS}. Which day would you like?", day=None)
    free = calendar.free_on(request.day, state.booked, now, request.part if not request.time else "")
    if not free:
        return ask(f"Sorry, there is nothing free {'in the ' + request.part + ' of' if request.part else 'on'} {day}. "
                   "Which other day would you like?", day=None, time=None, part="")  # fmt: skip
    if request.time is None:
        times = listed([say_time(s.time()) for s in free[:3]], "or")
        if request.part:
            return ask(f"Sure, in the {request.part} I have {times}. Which one would you like?")
        return ask(f"Sure, {day}. At what time? I have {times}, for example.")
    wanted = datetime.combine(request.day, request.time)
    if wanted in free and request.unsure:
        verb = "move it there" if request.kind == "move" else "book it"
        text = f"Just to be sure: {say_slot(wanted, today)}. Shall I {verb}?"
        return ask(text, offer=wanted, unsure=False)
    if wanted in free:
        return _complete(state, request, wanted, now)
    offer = calendar.nearest_free(wanted, state.booked, now)
    assert offer is not None
    return ask(f"Sorry, {_why_not(wanted, state, now)}. Would {say_time(offer.time())} be all right?", offer=offer)


def _why_not(wanted: Slot, state: Conversation, now: datetime) -> str:
    said = say_time(wanted.time())
    if wanted <= now:
        return f"{said} is already past"
    if wanted in state.booked:
        return f"you have an appointment at {said} already"
    if not calendar.OPENS <= wanted.time() < calendar.CLOSES:
        return f"we are closed at {said}"
    if calendar.LUNCH[0] <= wanted.time() < calendar.LUNCH[1]:
        return f"we are at lunch at {said}"
    if wanted not in calendar.slots_on(wanted.date()):
        return f"appointments start on the hour and the half hour, not at {said}"
    return f"{said} is taken"


def _complete(state: Conversation, request: Request, slot: Slot, now: datetime) -> _Turn:
    """Day and time are agreed."""
    if slot not in calendar.free_on(slot.date(), state.booked, now):  # time has passed since we proposed it
        return _progress(state, replace(request, day=slot.date(), time=slot.time(), offer=None), now)
    kept = tuple(s for s in state.booked if s != request.target)
    verb = "moved your appointment to" if request.kind == "move" else "booked you for"
    called = f", {state.name.split()[0]}" if state.name else ""
    return (
        replace(state, booked=(*kept, slot), request=None),
        Reply(f"Done{called}. I have {verb} {say_slot(slot, now.date())}. Anything else?"),
    )


def _courtesy(state: Conversation, said: _Said, named: bool) -> _Turn | None:
    called = f", {state.name.split()[0]}" if state.name else ""
    done = state.last_reply.endswith("else?")
    ask = _reminder(state) or (" Anything else?" if state.booked else " How can I help you?")
    if named:
        return state, Reply(f"Thank you{called}.{ask}")
    if said.has(Intent.HELP):
        return state, Reply(f"Of course. {HELP}")
    if said.has(Intent.WHO_ARE_YOU):
        return state, Reply(f"Sure, I am the automatic front desk of the Riverside Clinic, not a person.{ask}")
    if said.has(Intent.HOW_ARE_YOU):
        return state, Reply(f"Fine, thank you{called}.{ask}")
    if said.has(Intent.GOODBYE) or (done and said.has(Intent.NO)):
        return state, Reply(f"Goodbye{called}, and thank you for calling.", hang_up=True)
    if said.has(Intent.THANKS):
        return state, Reply(f"You're welcome{called}.{_reminder(state) or ' Anything else?'}")
    if said.has(Intent.HELLO):
        return state, Reply(f"Hello{called}. {_reminder(state).strip() or 'How can I help you?'}")
    if said.has(Intent.YES) and (done or "book one?" in state.last_reply):
        if "book one?" in state.last_reply:
            return _progress(state, Request("book"), said.now)
        return state, Reply("Sure, what can I do for you?")
    if said.has(Intent.NO):
        return state, Reply("All right. How can I help you?")
    return None


def _hand_over(state: Conversation) -> _Turn:
    return (
        replace(state, handed_over=True, request=None),
        Reply("One moment, I am handing you over to a colleague.", hand_over="accepted"),
    )


def _missed(state: Conversation) -> _Turn:
    misses = state.misses + 1
    state = replace(state, misses=misses)
    if misses >= 2:
        return state, Reply(
            "I'm sorry, I still don't understand. Shall I hand you over to a person?", hand_over="offered"
        )
    return state, Reply(f"Sorry, I didn't understand that.{_reminder(state) or ' ' + HELP}")
