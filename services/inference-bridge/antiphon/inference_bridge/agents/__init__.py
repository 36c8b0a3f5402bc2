"""Who answers: the scripted concierge, or a language model behind an OpenAI-compatible server.

An agent is text in, text out. It knows nothing of audio, turns or NATS; it is told what the caller has
heard of its reply, because that is what the caller will refer to.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Request:
    """What is to be answered, and under which settings."""

    text: str
    """What the caller said since the last answer; empty if the client wants an answer all the same."""
    now: datetime
    items: Sequence[dict[str, Any]] = ()
    """The conversation on record up to here, this text included: items of the realtime protocol."""
    instructions: str = ""
    tools: Sequence[dict[str, Any]] = ()
    """Functions that the client answers: `name`, `description`, `parameters` (JSON Schema)."""
    tool_choice: str | dict[str, Any] = "auto"
    max_output_tokens: int | None = None
    said: str = ""
    """What of this very answer was said already, by a model that failed then: it is to be gone on with."""


@dataclass(frozen=True)
class HangUpAfterSpeech:
    """The conversation is over: hang up when the caller has heard the reply."""


@dataclass(frozen=True)
class HandOver:
    """A person should take over. `offered`: the caller was asked; `accepted`: the caller wants it."""

    state: Literal["offered", "accepted"]


@dataclass(frozen=True)
class FunctionCall:
    """The client is to call a function; its output comes with a later request."""

    call_id: str
    name: str
    arguments: str
    """JSON."""


@dataclass(frozen=True)
class Usage:
    """Tokens that the reply cost."""

    input_tokens: int
    output_tokens: int


ReplyPart = str | HangUpAfterSpeech | HandOver | FunctionCall | Usage
"""A piece of text, as small as the agent likes, or what to do besides speaking."""


class Agent(Protocol):
    """One conversation. Its methods are called one after the other, never at once."""

    def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """Answer what the caller said. Closing it early (barge-in) must leave the agent usable."""

    def heard(self, text: str) -> None:
        """Called once after every reply, before the next: what of it the caller has heard.

        An empty text means that the caller spoke on before a word of it was heard: the reply and what
        led to it are undone, and what the caller said comes again as part of the next text.
        """

    def greeted(self, text: str) -> None:
        """The greeting, as far as it was heard."""

    def saved(self) -> Any:
        """What another process needs to go on with this conversation, besides its items; plain JSON."""

    def restore(self, saved: Any) -> None:
        """Go on from what `saved` gave in another process."""
