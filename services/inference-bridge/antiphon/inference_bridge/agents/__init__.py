"""Who answers: the scripted concierge, or a language model behind an OpenAI-compatible server.

An agent is text in, text out. It knows nothing of audio, turns or NATS; it is told what the caller has
heard of its reply, because that is what the caller will refer to.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol


@dataclass(frozen=True)
class HangUpAfterSpeech:
    """The conversation is over: hang up when the caller has heard the reply."""


@dataclass(frozen=True)
class HandOver:
    """A person should take over. `offered`: the caller was asked; `accepted`: the caller wants it."""

    state: Literal["offered", "accepted"]


ReplyPart = str | HangUpAfterSpeech | HandOver
"""A piece of text, as small as the agent likes, or what to do besides speaking."""


class Agent(Protocol):
    """One conversation. Its methods are called one after the other, never at once."""

    def reply(self, text: str, now: datetime) -> AsyncGenerator[ReplyPart, None]:
        """Answer what the caller said. Closing it early (barge-in) must leave the agent usable."""

    def heard(self, text: str) -> None:
        """Called once after every reply, before the next: what of it the caller has heard.

        An empty text means that the caller spoke on before a word of it was heard: the reply and what
        led to it are undone, and what the caller said comes again as part of the next text.
        """

    def greeted(self, text: str) -> None:
        """The greeting, as far as it was heard."""
