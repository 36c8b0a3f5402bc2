"""The scripted agent: a clinic's front desk that books, moves and cancels appointments.

`dialogue.respond` is the whole of it, a pure function; this shell keeps the state between turns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from pydantic import TypeAdapter

from antiphon.demo.concierge.dialogue import Conversation, respond
from antiphon.inference_bridge.agents import HandOver, HangUpAfterSpeech, ReplyPart, Request

_CONVERSATION: Final = TypeAdapter(Conversation)
_NOTHING_SAID: Final = "Please repeat that."


class Concierge:
    """An `Agent` of the inference bridge. Made and owned by the session of one call."""

    greeting: Final = "Hello, this is the Riverside Clinic. How can I help you?"

    def __init__(self) -> None:
        self._state = self._before = Conversation()

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        self._before = self._state
        self._state, reply = respond(self._state, request.text or _NOTHING_SAID, request.now)
        yield reply.text
        if reply.hand_over:
            yield HandOver(reply.hand_over)
        if reply.hang_up:
            yield HangUpAfterSpeech()

    def heard(self, text: str) -> None:
        if not text:
            self._state = self._before

    def greeted(self, text: str) -> None:
        if text:
            self._state = self._before = Conversation(last_reply=text)

    def saved(self) -> Any:
        return _CONVERSATION.dump_python(self._state, mode="json")

    def restore(self, saved: Any) -> None:
        self._state = self._before = _CONVERSATION.validate_python(saved)
