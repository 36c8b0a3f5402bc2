"""Two text agents of one program: the front desk gives calls about money to the billing desk, with a summary.

Each has a credential of its own: DESK_CREDENTIALS and BILLING_CREDENTIALS name the files, where NATS asks for them.
"""

import asyncio
import os
from collections.abc import AsyncIterator

from antiphon.agent import Action, TextAgent, Transfer, Turn

desk = TextAgent("desk", greeting="Front desk, good morning.")
billing = TextAgent("billing")


@desk.reply
async def at_the_desk(turn: Turn) -> AsyncIterator[str | Action]:
    if {"bill", "invoice", "money", "pay"} & set(turn.text.lower().strip("?.!").split()):
        yield "One moment, I am putting you through to billing."
        yield Transfer("billing", summary=f"The caller says: {turn.text}")
    else:
        yield "I can put you through to billing. What is it about?"


@billing.call_started
async def greet(turn: Turn) -> str:
    """Who comes from the desk need not say it again: its summary is the first message."""
    notes = [each["content"] for each in turn.messages if each["role"] == "system"]
    about = notes[0].partition("The caller says: ")[2] if notes else ""
    return f"Billing, good morning. You said: {about}" if about else "Billing, good morning."


@billing.reply
async def at_billing(turn: Turn) -> str:
    return "I have sent you the invoice again. Anything else?"


async def main() -> None:
    async with (
        desk.serving(credentials=os.environ.get("DESK_CREDENTIALS", "")),
        billing.serving(credentials=os.environ.get("BILLING_CREDENTIALS", "")),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
