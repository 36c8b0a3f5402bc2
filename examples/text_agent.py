"""A front desk that books tables: text in, text out. The stack hears, takes turns, speaks and is interrupted.

No language model is asked here. One would get `turn.messages` and `turn.tools`; its calls are yielded as `CallTool`.
"""

import re
from collections.abc import AsyncIterator
from datetime import date, timedelta

from antiphon.agent import Action, Ask, HangUp, TextAgent, ToolError, Turn

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}

agent = TextAgent("desk", greeting="Front desk, good morning. For which day would you like a table?", silence=15)


@agent.tool
async def book(turn: Turn, day: date, people: int = 2) -> str:
    """Book a table."""
    if day.weekday() == DAYS.index("sunday"):
        raise ToolError("we are closed on Sundays")
    table = f"{day:%A} for {people}"
    turn.state["booked"] = table  # known in the next turn, at whichever instance
    return table


@agent.reply
async def reply(turn: Turn) -> AsyncIterator[str | Action]:
    words = re.findall(r"\w+", turn.text.lower())
    people = next((NUMBERS.get(word) or int(word) for word in words if word in NUMBERS or word in "123456"), None)
    wanted = next((word for word in words if word in DAYS), turn.state.get("day"))
    if {"bye", "goodbye"} & set(words):
        yield f"Goodbye, until {turn.state['booked']}!" if "booked" in turn.state else "Goodbye!"
        yield HangUp()
    elif wanted is None:
        yield "I take bookings from Monday to Saturday. For which day?"
        yield Ask("date")
    elif people is None:
        turn.state["day"] = wanted
        yield f"On {wanted.title()}, gladly. For how many people?"
        yield Ask("number")
    else:
        yield "One moment. "  # is heard while the tool runs
        today = date.fromisoformat(turn.now[:10]) if turn.now else date.today()
        day = today + timedelta((DAYS.index(wanted) - today.weekday()) % 7)
        try:
            yield f"That is booked: {await turn.call('book', day=day, people=people)}. Anything else?"
        except ToolError as error:
            turn.state.pop("day", None)
            yield f"I am sorry, {error}. Another day?"


@agent.silence
async def silent(turn: Turn) -> str:
    return "Are you still there?"


if __name__ == "__main__":
    agent.run()
