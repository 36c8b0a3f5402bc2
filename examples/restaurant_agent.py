"""A restaurant that books tables, and repeats what it understood before it does: a text agent without a language model.

What is still missing stands in `turn.state`, so that any instance can ask for it.
"""

import re
from collections.abc import AsyncIterator

from antiphon.agent import Action, Ask, HangUp, TextAgent, Turn

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMBERS = {
    word: number
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        1,
    )
}
YES, NO = {"yes", "yeah", "right", "correct", "please", "exactly"}, {"no", "not", "wrong", "nope"}

agent = TextAgent("restaurant", greeting="Trattoria Luna, good evening. For when may I book a table?", silence=12)


@agent.tool
async def book(turn: Turn, day: str, hour: int, people: int) -> str:
    """Put a table into the book."""
    table = turn.state["booked"] = f"{people} at {hour} on {day.title()}"
    return table


def understood(text: str, wish: dict[str, int | str]) -> None:
    """Take from the words what they say of the table."""
    words = re.findall(r"[a-z]+|\d+", text.lower())
    for at, word in enumerate(words):
        number = NUMBERS.get(word) or (int(word) if word.isdigit() else 0)
        if word in DAYS:
            wish["day"] = word
        elif number and words[at - 1 : at] == ["at"] and number <= 12:
            wish["hour"] = number
        elif number:
            wish["people" if "hour" in wish or words[at + 1 : at + 2] != ["o"] else "hour"] = number


@agent.reply
async def reply(turn: Turn) -> AsyncIterator[str | Action]:
    wish = turn.state.setdefault("wish", {})
    words = set(re.findall(r"[a-z]+", turn.text.lower()))
    understood(turn.text, wish)
    if {"bye", "goodbye"} & words:
        yield "Goodbye, we look forward to seeing you." if "booked" in turn.state else "Goodbye."
        yield HangUp()
    elif turn.state.pop("asked", False) and words & YES and not words & NO:
        yield f"Done. I have a table for {await turn.call('book', **wish)}. Anything else?"
        wish.clear()
    elif "day" not in wish:
        yield "Gladly. On which day?"
        yield Ask("date")
    elif "hour" not in wish:
        yield f"On {str(wish['day']).title()}. At what time?"
        yield Ask("number")
    elif "people" not in wish:
        yield "For how many people?"
        yield Ask("number")
    else:
        turn.state["asked"] = True
        table = f"{wish['people']} people on {str(wish['day']).title()} at {wish['hour']}"
        yield f"Let me repeat that: a table for {table}. Is that right?"
        yield Ask("yes_no")


if __name__ == "__main__":
    agent.run()
