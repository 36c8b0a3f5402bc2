"""The scripted agent: a clinic's front desk that books, moves and cancels appointments.

`dialogue.respond` is the whole of it, a pure function; this shell keeps the state between turns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime

from antiphon.inference_bridge.agents import HandOver, HangUpAfterSpeech, ReplyPart
from antiphon.inference_bridge.agents.concierge.dialogue import Conversation, respond


class Concierge:
    """An `Agent`."""

    def __init__(self) -> None:
        self._state = self._before = Conversation()

    async def reply(self, text: str, now: datetime) -> AsyncGenerator[ReplyPart, None]:
        self._before = self._state
        self._state, reply = respond(self._state, text, now)
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
