"""The time line of a recorded call, made of what a recorder receives. Sans-IO: messages in, lines out.

The same entries as a call's owner writes for operators (`messages.TimelineEntry`). Events and words are made here of
what crosses NATS for the call itself, so that they are there in any case: a recorder has been told to keep them. Turns
and what the client reports come from the owner's own entries. Statistics do as well, once the owner writes some.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final

from antiphon.schemas import messages
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages.calls import MAX_WORDS

MAX_LINES: Final = 20_000
"""Lines of a call; later ones are left out and counted."""
MAX_PENDING: Final = 8
"""Answers whose end is awaited; the oldest is written as it is."""
_LEFT_OUT: Final = (messages.AudioLevel, messages.TelephoneEvent, messages.Playout)
_MAX_DATA: Final = 256 << 10


class RecordedTimeline:
    """One call's. Owner: its `CallFile`; called on the recorder's loop."""

    def __init__(self) -> None:
        self.missed = 0
        """Lines beyond `MAX_LINES`."""
        self.summary: dict[str, Any] | None = None
        """The call as its owner summed it up at its end."""
        self.reason, self.cause = "", ""
        self._lines = 0
        self._owner_counts = False
        self._pending: OrderedDict[str, list[messages.TimelineWords]] = OrderedDict()

    def session(self, kind: str, data: bytes, now: float) -> list[str]:
        """A message on the session's own subjects, but for audio."""
        try:
            if kind == "event":
                return self._event(messages.decode_any(data, messages.SESSION_EVENT, "SessionEvent"), now)
            if kind in ("data.in", "data.out") and len(data) <= _MAX_DATA:
                message = messages.decode(data, messages.DataMessage)
                if message.text is not None and message.channel == messages.EVENTS_CHANNEL:
                    return self._words(kind, json.loads(message.text), now)
        except (MalformedError, ValueError, RecursionError):
            pass  # an agent or a client sent what is no message: the raw one is in the file
        return []

    def owner(self, data: bytes) -> list[str]:
        """An entry that the call's owner has written."""
        try:
            entry = messages.decode_any(data, messages.TIMELINE_ENTRY, "TimelineEntry")
        except MalformedError:
            return []
        if isinstance(entry, messages.TimelineStatistics):
            self._owner_counts = True
        return self._written(entry) if isinstance(entry, messages.TimelineStatistics | messages.TimelineTurn) else []

    def ended(self, data: bytes) -> None:
        """The call's owner sums it up."""
        try:
            ended = messages.decode(data, messages.CallEnded)
        except MalformedError:
            return
        self.summary = ended.call.model_dump(mode="json")
        self.reason, self.cause = ended.reason, ended.cause

    def rest(self) -> list[str]:
        """At the end: words whose answer was never reported as done."""
        held = [entry for entries in self._pending.values() for entry in entries]
        self._pending.clear()
        return self._written(*(entry.model_copy(update={"complete": False}) for entry in held))

    def _event(self, event: messages.Message, now: float) -> list[str]:
        if isinstance(event, messages.Statistics):
            if self._owner_counts:
                return []
            fields = messages.TimelineStatistics.model_fields.keys() & type(event).model_fields.keys()
            return self._written(
                messages.TimelineStatistics(at=now, **event.model_dump(include=fields - {"type", "version"}))
            )
        if isinstance(event, _LEFT_OUT):
            return []
        if isinstance(event, messages.Ended):
            self.reason, self.cause = event.reason, event.cause
        detail = event.model_dump(mode="json", exclude={"version", "type"}, exclude_none=True)
        return self._written(messages.TimelineEvent(at=now, name=getattr(event, "type", "event"), detail=detail))

    def _words(self, kind: str, event: Any, now: float) -> list[str]:
        if not isinstance(event, dict):
            return []
        what = event.get("type")
        if kind == "data.out" and what == "conversation.item.input_audio_transcription.completed":
            return self._said(now, "caller", event.get("item_id"), event.get("transcript"))
        if kind == "data.in" and what == "conversation.item.create":
            return self._typed(event.get("item"), now)
        if kind == "data.out" and what == "response.output_audio_transcript.done":
            answer = str(event.get("response_id"))[:64]
            entry = _entry(now, "agent", event.get("item_id"), event.get("transcript"))
            if entry is not None:
                self._pending.setdefault(answer, []).append(entry)
            return self._oldest() if len(self._pending) > MAX_PENDING else []
        if kind == "data.out" and what == "response.done" and isinstance(response := event.get("response"), dict):
            held = self._pending.pop(str(response.get("id"))[:64], [])
            complete = response.get("status") == "completed"
            return self._written(*(entry.model_copy(update={"complete": complete}) for entry in held))
        return []

    def _oldest(self) -> list[str]:
        return self._written(*self._pending.popitem(last=False)[1])

    def _typed(self, item: Any, now: float) -> list[str]:
        """What the caller wrote in place of speaking."""
        content = item.get("content") if isinstance(item, dict) and item.get("role") == "user" else None
        parts = content if isinstance(content, list) else []
        texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "input_text"]
        return [line for text in texts for line in self._said(now, "caller", item.get("id") or "typed", text)]

    def _said(self, now: float, side: str, item: Any, text: Any) -> list[str]:
        entry = _entry(now, side, item, text)
        return [] if entry is None else self._written(entry)

    def _written(self, *entries: messages.Message) -> list[str]:
        room = max(0, MAX_LINES - self._lines)
        self.missed += max(0, len(entries) - room)
        self._lines += min(room, len(entries))
        return [entry.model_dump_json(exclude_none=True, exclude={"version"}) for entry in entries[:room]]


def _entry(now: float, side: Any, item: Any, text: Any) -> messages.TimelineWords | None:
    if not isinstance(text, str) or not text.strip():
        return None
    return messages.TimelineWords(at=now, side=side, item=str(item or "")[:64], text=text[:MAX_WORDS])
