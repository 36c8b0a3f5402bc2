"""The text agent: each turn is answered by `dialogue.respond`, and its state is kept with the call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter, ValidationError

from antiphon.agent import Action, HangUp, Person, TextAgent, Turn
from antiphon.demo.concierge.dialogue import Conversation, respond

_CONVERSATION: Final = TypeAdapter(Conversation)
_NOTHING_SAID: Final = "Please repeat that."
GREETING: Final = "Hello, this is the Riverside Clinic. How can I help you?"

agent = TextAgent("concierge", greeting=GREETING, language="en")


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
