"""Which response and item the agent's speech belongs to, as `response.output_audio.delta` has to say. Sans-IO.

An agent that speaks the realtime protocol announces the audio part of an item, and publishes its frames. The two take
ways of their own, so frames wait for a part that was not announced yet. Speech that no part is announced for, of an
agent that does not speak the protocol, gets a response that is made here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple

Event = dict[str, Any]

WAIT_SECONDS: Final = 0.3
"""For the part that speech belongs to, from an agent that speaks the protocol."""


class Place(NamedTuple):
    """Where the audio of a reply goes. A value."""

    response_id: str
    item_id: str
    output_index: int = 0
    content_index: int = 0

    @property
    def fields(self) -> Event:
        """In this order in each event about the part."""
        return self._asdict()


class _Reply:
    """The reply whose frames leave for the client now, or left last."""

    def __init__(self, generation: int, place: Place, made: bool, first_sample: int) -> None:
        self.generation, self.place, self.made, self.first_sample = generation, place, made, first_sample
        self.left = False
        """Its last frame has left."""


class ResponsePlaces:
    """The places of one call's replies. Owner: the `WebSocketCall`, which calls it on the event loop only."""

    def __init__(self, emit: Callable[[str, Event], None]) -> None:
        """`emit(type, fields)`: an event for the client, of a response that is made here."""
        self.speaks_protocol = False
        """The agent has sent an event of the protocol."""
        self._emit = emit
        self._announced: Place | None = None
        """An audio part of which no frame has left."""
        self._done: set[str] = set()
        """Items whose audio part has ended, of the last ones."""
        self._reply: _Reply | None = None
        self._waits_since: float | None = None

    def agent_sent(self, event: Event) -> None:
        """An event of the agent for the client, of any type."""
        kind, part = event.get("type"), event.get("part")
        self.speaks_protocol = True
        if kind == "response.content_part.added" and isinstance(part, dict) and part.get("type") == "audio":
            place = _place_in(event)
            if place is not None:
                self._announced = place
        elif kind in ("response.output_audio.done", "response.content_part.done"):
            if len(self._done) > 64:
                self._done.clear()
            self._done.add(str(event.get("item_id")))

    def may_leave(self, generation: int, now: float, sent_samples: Callable[[int], int]) -> bool:
        """Whether the next frame has a place; makes one where the agent has none."""
        reply = self._reply
        if reply is not None and reply.generation == generation and not reply.left and self._announced is None:
            return True
        if self._announced is not None:
            self._begin(generation, self._announced, False, sent_samples)
            return True
        if self._waits_since is None:
            self._waits_since = now
        if self.speaks_protocol and now < self._waits_since + WAIT_SECONDS:
            return False
        if reply is not None and not reply.made and reply.place.item_id not in self._done:
            self._begin(generation, reply.place, False, sent_samples)  # goes on, in another generation
        else:
            self._make(generation, sent_samples)
        return True

    def place(self) -> Place:
        """Of the frames that `may_leave` was asked for last."""
        assert self._reply is not None
        return self._reply.place

    def last_frame_left(self) -> None:
        """The last frame of the reply has left: what follows is another one."""
        if self._reply is not None:
            self._reply.left = True

    def first_sample(self, item_id: str) -> int | None:
        """Where in its generation the reply with this item begins; None: it is not the one that left last."""
        if self._reply is None or self._reply.place.item_id != item_id:
            return None
        return self._reply.first_sample

    def ended(self, status: str = "completed") -> None:
        """The reply was played, or interrupted (`cancelled`): a response that was made here is done."""
        reply = self._reply
        if reply is None or not reply.made or reply.place.item_id in self._done:
            return
        self._done.add(reply.place.item_id)
        emit, place = self._emit, reply.place
        item = _message(place.item_id, "completed" if status == "completed" else "incomplete")
        emit("response.output_audio.done", place.fields)
        emit("response.output_audio_transcript.done", {**place.fields, "transcript": ""})
        emit("response.content_part.done", {**place.fields, "part": {"type": "audio", "transcript": ""}})
        emit("response.output_item.done", {"response_id": place.response_id, "output_index": 0, "item": item})
        emit("conversation.item.done", {"previous_item_id": None, "item": item})
        emit("response.done", {"response": _response(place.response_id, status, [item])})

    def _begin(self, generation: int, place: Place, made: bool, sent_samples: Callable[[int], int]) -> None:
        if self._reply is not None and self._reply.made:
            self.ended()
        self._reply = _Reply(generation, place, made, sent_samples(generation))
        self._announced = self._waits_since = None

    def _make(self, generation: int, sent_samples: Callable[[int], int]) -> None:
        place = Place(f"resp_{secrets.token_hex(10)}", f"item_{secrets.token_hex(10)}")
        self._begin(generation, place, True, sent_samples)
        emit, item = self._emit, _message(place.item_id, "in_progress")
        emit("response.created", {"response": _response(place.response_id, "in_progress", [])})
        emit("response.output_item.added", {"response_id": place.response_id, "output_index": 0, "item": item})
        emit("conversation.item.added", {"previous_item_id": None, "item": item})
        emit("response.content_part.added", {**place.fields, "part": {"type": "audio", "transcript": ""}})


def _place_in(event: Event) -> Place | None:
    response, item, output, content = (event.get(name) for name in Place._fields)
    if not isinstance(response, str) or not isinstance(item, str):
        return None
    numbers = [number if type(number) is int and number >= 0 else 0 for number in (output, content)]
    return Place(response, item, *numbers)


def _message(item_id: str, status: str) -> Event:
    content = [] if status == "in_progress" else [{"type": "output_audio", "transcript": ""}]
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _response(response_id: str, status: str, output: list[Event]) -> Event:
    response: Event = {
        "object": "realtime.response",
        "id": response_id,
        "status": status,
        "output_modalities": ["audio"],
        "output": output,
        "metadata": None,
        "conversation_id": "conv_1",
    }
    if status != "in_progress":
        details = {"type": status} | ({"reason": "turn_detected"} if status == "cancelled" else {})
        usage = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0}
        response |= {"status_details": details, "usage": usage}
    return response
