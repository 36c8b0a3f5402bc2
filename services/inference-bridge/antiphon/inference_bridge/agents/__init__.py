"""What answers callers: a scripted agent, a text agent on NATS, or a language model behind an OpenAI-compatible server.

An agent is text in, text out. It knows nothing of audio, turns or NATS. It is told what was played of its reply,
because that is what the caller will refer to.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from antiphon.schemas.messages.replies import Expected, ReplyEvent


@dataclass(frozen=True)
class Request:
    """What is to be answered, and under which settings. A value; what is asked on NATS gets it as `ReplyRequest`."""

    text: str
    """The caller's words since the last answer; empty if the client has asked for an answer without any."""
    now: datetime
    items: Sequence[dict[str, Any]] = ()
    """The conversation on record up to here, this text included: items of the realtime protocol."""
    instructions: str = ""
    tools: Sequence[dict[str, Any]] = ()
    """Functions that the client answers: `name`, `description`, `parameters` (JSON Schema)."""
    tool_choice: str | dict[str, Any] = "auto"
    max_output_tokens: int | None = None
    language: str = "en"
    """Of the session: what the agent answers in."""
    already_spoken: str = ""
    """Prefix of the reply that a failed model has already spoken; continue after it."""
    event: ReplyEvent = "turn"
    """Why the agent is asked."""
    keys: str = ""
    """Keys of the telephone that belong to this turn."""
    session: dict[str, Any] = field(default_factory=dict)
    """Session settings of the client, as in the claim."""
    speculative: bool = False
    """A guess: the turn may go on. The answer is not spoken unless the turn ends with the same words."""
    all_items: Sequence[dict[str, Any]] = ()
    """`items` with those of MCP servers that the client has named, which are functions to an agent."""


@dataclass(frozen=True)
class HangUpAfterSpeech:
    """The conversation has ended: hang up when the reply was played. A value."""


@dataclass(frozen=True)
class HandOver:
    """A person should take over. `offered`: the agent has asked; `accepted`: the caller wants it. A value."""

    state: Literal["offered", "accepted"]
    summary: str = ""
    """For that person."""


@dataclass(frozen=True)
class OwnSpeech:
    """Audio of the agent's own in place of text: `s16le`, mono. A value."""

    pcm: bytes
    rate: int
    """Hz."""
    words: str
    """What it says, for the transcript."""


@dataclass(frozen=True)
class SpokenPause:
    """Silence before what comes next. A value."""

    milliseconds: int


@dataclass(frozen=True)
class TransferAfterSpeech:
    """Give the call to another agent when the reply was played. A value.

    If the other one can't be had, the call stays: the next request tells the agent.
    """

    agent: str
    summary: str = ""
    """For the next agent, which gets the conversation besides."""
    silent: bool = False
    """The next agent does not greet: it answers what the caller has said last."""


@dataclass(frozen=True)
class ExpectAnswer:
    """What the caller will say next, for the turn detector. A value."""

    kind: Expected


@dataclass(frozen=True)
class ToolRun:
    """The agent itself runs a tool: it has begun (`output` is None) or ended. For record, trace and time line. A value.

    Nothing of it is spoken, and the client answers nothing.
    """

    call_id: str
    name: str
    arguments: str
    """JSON."""
    output: str | None = None
    """Text, mostly JSON, or the error's."""
    failed: bool = False
    server_label: str = ""
    """Of the client's MCP server whose tool it is: the client learns of the call. Empty: it is the agent's own tool."""
    approval_request_id: str = ""
    """With which the client has approved it."""


@dataclass(frozen=True)
class McpApproval:
    """The client is asked whether a tool of one of its MCP servers may be called. A value."""

    server_label: str
    name: str
    """As the server has it."""
    arguments: str
    """JSON."""


@dataclass(frozen=True)
class FunctionCall:
    """The client is to call a function; its output comes with a later request. A value."""

    call_id: str
    name: str
    arguments: str
    """JSON."""


@dataclass(frozen=True)
class Usage:
    """Tokens that the reply cost. A value."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Incomplete:
    """The reply ends before its end: `reason` is why. The last part of a reply. A value."""

    reason: Literal["max_output_tokens", "content_filter"]


@dataclass(frozen=True)
class Retracted:
    """All text of this reply so far was thoughts, which only their end has shown: take it back. A value.

    What is not spoken yet is not to be spoken; what was, stays on record as played.
    """


ReplyPart = (
    str
    | OwnSpeech
    | SpokenPause
    | HangUpAfterSpeech
    | TransferAfterSpeech
    | HandOver
    | ExpectAnswer
    | ToolRun
    | McpApproval
    | FunctionCall
    | Usage
    | Incomplete
    | Retracted
)
"""A piece of text, as small as the agent likes, or something to do besides speaking."""


class GuessEndedError(Exception):
    """A guess can't be answered to the end, because of a tool for instance: the agent is asked when the turn is over.

    Raised by `Agent.reply` for a speculative request only.
    """


class Agent(Protocol):
    """One conversation.

    The bridge makes one for each call; the call's `ResponseTasks` owns it and calls it on the event loop, one method
    after the other, never two at once. A response out of band has an agent of its own, with the state of the call's.
    """

    def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """Answer what the caller said. Closing it early (barge-in) must leave the agent usable."""

    def played(self, text: str) -> None:
        """Called once after every reply, before the next: the words of it that were played to the caller.

        An empty text means that the caller spoke on before a word was played: the agent must undo the reply and the
        request that led to it. The text of that request comes again as part of the next one.
        """

    def greeting_played(self, text: str) -> None:
        """The words of the greeting that were played to the caller."""

    def saved(self) -> Any:
        """What another process needs to continue this conversation, besides its items; plain JSON."""

    def restore(self, saved: Any) -> None:
        """Continue from what `saved` returned in another process. Called before the first `reply`."""

    def ended(self) -> None:
        """The call is over, or another agent has it now. Called last, once; never where another process goes on."""


@runtime_checkable
class HearsInterruptions(Protocol):
    """What an `Agent` has besides if it wants to know of interruptions. Called as the agent's own methods are."""

    def interrupted(self) -> None:
        """Called right before `played`: the reply was cut off before its end."""
