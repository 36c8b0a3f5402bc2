"""The text agent: each turn is answered by `dialogue.respond`, and its state is kept with the call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter, ValidationError

from antiphon.agent import Action, HangUp, Person, TextAgent, Turn
from antiphon.demo.concierge.dialogue import Conversation, respond

_CONVERSATION: Final = TypeAdapter(Conversation)
_NOTHING_SAID: Final = "Please repeat that."
GREETING: Final = "Hello, this is the Riverside Clinic. How can I help you?"


def greeting_of(setting: str) -> str:
    """What is said first: as `ANTIPHON_GREETING` has it, `none` for nothing, empty for the clinic's own."""
    said = setting.strip() or GREETING
    return "" if said.lower() == "none" else said


agent = TextAgent("concierge", greeting=greeting_of(os.environ.get("ANTIPHON_GREETING", "")), language="en")


@agent.reply
async def reply(turn: Turn) -> AsyncIterator[str | Action]:
    """The reply in one piece, then what else is to be done."""
    now = datetime.fromisoformat(turn.now) if turn.now else datetime.now().astimezone()
    said = turn.text or " ".join(turn.keys) or _NOTHING_SAID
    state, answer = respond(_remembered(turn), said, now)
    turn.state["dialogue"] = _CONVERSATION.dump_python(state, mode="json")
    yield answer.text
    if answer.hand_over:
        yield Person(answer.hand_over)
    if answer.hang_up:
        yield HangUp()


def _remembered(turn: Turn) -> Conversation:
    """What the last turn left, at whichever instance; of another version it counts as nothing."""
    try:
        return _CONVERSATION.validate_python(turn.state["dialogue"])
    except (KeyError, ValidationError):
        return Conversation(last_reply=turn.played)
