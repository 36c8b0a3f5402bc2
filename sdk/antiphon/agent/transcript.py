"""What was said in a session, as far as its agent gave the words: it goes along with a transfer. Sans-IO."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from antiphon.agent.captions import new_id
from antiphon.runtime.agent_sessions.handed_call import message, opening_items
from antiphon.schemas.messages import HandedCall

MAX_ITEMS: Final = 200
"""The oldest go."""
MAX_WORDS: Final = 4000
"""Characters of one message; the rest is left out."""


class Transcript:
    """The messages of one call, as played. Owned by its `Session`."""

    def __init__(self, handed: HandedCall | None) -> None:
        """`handed`: what the agent before gave along."""
        self._items: deque[dict[str, Any]] = deque(opening_items(handed), maxlen=MAX_ITEMS)

    def add(self, role: str, words: str) -> None:
        """`user` or `assistant` has said this; nothing for empty words."""
        if words.strip():
            self._items.append(message(new_id("item"), role, words.strip()[:MAX_WORDS]))

    @property
    def items(self) -> list[dict[str, Any]]:
        """Items of the realtime protocol, the oldest first."""
        return list(self._items)
