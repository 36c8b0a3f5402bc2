"""The clinic in the bridge of a test or a bench, which loads this class by `ANTIPHON_SCRIPTED_AGENT`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from pydantic import TypeAdapter

from antiphon.demo.concierge.dialogue import Conversation, respond
from antiphon.inference_bridge.agents import HandOver, HangUpAfterSpeech, ReplyPart, Request

_CONVERSATION: Final = TypeAdapter(Conversation)
_NOTHING_SAID: Final = "Please repeat that."


class Concierge:
    """An `Agent` of the inference bridge. The session of one call makes and owns it, and uses it on the event loop."""

    greeting: Final = "Hello, this is the Riverside Clinic. How can I help you?"

    def __init__(self) -> None:
        self._state = self._before = Conversation()

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The reply in one piece, then a hand-over or hang-up, if there is one."""
        self._before = self._state
        self._state, reply = respond(self._state, request.text or _NOTHING_SAID, request.now)
        yield reply.text
        if reply.hand_over:
            yield HandOver(reply.hand_over)
        if reply.hang_up:
            yield HangUpAfterSpeech()

    def played(self, text: str) -> None:
        """Forget the last turn if nothing of the reply was played."""
        if not text:
            self._state = self._before

    def greeting_played(self, text: str) -> None:
        """Remember the greeting, so that it can be repeated."""
        if text:
            self._state = self._before = Conversation(last_reply=text)

    def saved(self) -> Any:
        """The state of the dialogue as plain JSON."""
        return _CONVERSATION.dump_python(self._state, mode="json")

    def restore(self, saved: Any) -> None:
        """Continue from a state of `saved`; `ValidationError` for anything else."""
        self._state = self._before = _CONVERSATION.validate_python(saved)

    def ended(self) -> None:
        """Nothing to do: appointments live as long as the call."""
