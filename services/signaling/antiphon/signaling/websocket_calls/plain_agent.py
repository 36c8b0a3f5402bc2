"""What a client waits for, made here for an agent that does not speak the realtime protocol. Sans-IO."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

Event = dict[str, Any]

PLAIN_SECONDS: Final = 2.0
"""An agent that has sent no event of the protocol after that does not speak it."""
MAX_UPDATES: Final = 8
"""Updates of the session that are kept until it is known whether the agent answers them; further ones get no answer."""


class PlainAgent:
    """Owner: the `WebSocketCall`, for its whole life; event loop only."""

    def __init__(self, emit: Callable[[str, Event], None], session: Callable[[], Event]) -> None:
        """`emit(type, fields)`: an event for the client. `session()`: the session as it is now."""
        self.is_plain = False
        """The agent does not speak the protocol."""
        self._emit, self._session = emit, session
        self._updates: list[Event] = []

    def speaks_protocol(self) -> None:
        """The agent has sent an event of the protocol: it answers by itself."""
        self.is_plain = False
        self._updates.clear()

    def stays_silent(self) -> None:
        """The agent has sent no event for `PLAIN_SECONDS`."""
        self.is_plain = True
        self._emit("session.created", {"session": self._session()})
        for event in self._updates:
            self._answer("session.update", event)
        self._updates.clear()

    def client_sent(self, kind: str, event: Event) -> None:
        """An event of the client's without audio."""
        if self.is_plain:
            self._answer(kind, event)
        elif kind == "session.update" and len(self._updates) < MAX_UPDATES:
            self._updates.append(event)

    def speech_began(self, audio_start_ms: int) -> None:
        """Clients drop what they have not played yet when the caller begins to speak, and by nothing else."""
        about = {"audio_start_ms": audio_start_ms, "item_id": f"item_{secrets.token_hex(10)}"}
        self._emit("input_audio_buffer.speech_started", about)

    def _answer(self, kind: str, event: Event) -> None:
        if kind == "session.update":
            self._emit("session.updated", {"session": self._session()})
        elif kind == "conversation.item.truncate":
            fields = {name: event.get(name) for name in ("item_id", "content_index", "audio_end_ms")}
            self._emit("conversation.item.truncated", fields)
        elif kind == "input_audio_buffer.clear":
            self._emit("input_audio_buffer.cleared", {})
