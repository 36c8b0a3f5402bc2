"""What a text agent's function may yield besides text. Values; a wrong one is refused where it is made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from antiphon.agent.pcm import checked_rate, samples_of
from antiphon.schemas import subjects
from antiphon.schemas.messages.replies import Expected

MAX_PAUSE: Final = 10.0
"""Seconds."""
MAX_SUMMARY: Final = 4000
MAX_ARGUMENTS: Final = 64 * 1024
"""Characters of a call's arguments as JSON."""
MAX_NAME: Final = 64


@dataclass(frozen=True)
class Say:
    """Audio of your own in place of text."""

    pcm: bytes
    """`s16le` mono at `rate`. TypeError for what is no bytes, such as an array of floats, with the way to make them."""
    words: str | Sequence[str] = ""
    """What it says, for the transcript and for `turn.messages`."""
    rate: int = 24000
    """Hz: 8000, 11025, 16000, 22050, 24000, 44100 or 48000."""

    def __post_init__(self) -> None:
        samples_of(self.pcm)
        checked_rate(self.rate)

    @property
    def text(self) -> str:
        """The words as one text."""
        return self.words if isinstance(self.words, str) else " ".join(self.words)


@dataclass(frozen=True)
class Pause:
    """Silence before what comes next."""

    seconds: float
    """At most 10."""

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= MAX_PAUSE:
            raise ValueError(f"Pause({self.seconds!r}): from 0 to {MAX_PAUSE:g} seconds")


@dataclass(frozen=True)
class HangUp:
    """End the call when the answer was played."""


@dataclass(frozen=True)
class Transfer:
    """Give the call to another agent when the answer was played.

    If that one can't be had the call stays, and the next turn comes here.
    """

    agent: str
    """Its name."""
    summary: str = ""
    """What it is told besides the conversation, at most 4000 characters."""
    silent: bool = False
    """It does not greet: it answers what the caller has said last."""

    def __post_init__(self) -> None:
        subjects.agent_claim(self.agent)
        _checked_summary("Transfer", self.summary)


@dataclass(frozen=True)
class Person:
    """A person should take over: an event for the operator's system, spoken about by you."""

    state: Literal["offered", "accepted"] = "offered"
    """`offered` by the agent, `accepted` by the caller."""
    summary: str = ""
    """For that person, at most 4000 characters."""

    def __post_init__(self) -> None:
        if self.state not in ("offered", "accepted"):
            raise ValueError(f"Person({self.state!r}): `offered` or `accepted`")
        _checked_summary("Person", self.summary)


@dataclass(frozen=True)
class Ask:
    """What the caller will say next: the turn detector waits longer for the rest of a number than for a yes."""

    kind: Expected
    """`number`, `name`, `date`, `yes_no` or `anything`."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Expected):
            raise ValueError(f"Ask({self.kind!r}): one of {', '.join(get_args(Expected))}")


@dataclass(frozen=True)
class CallTool:
    """Run a tool, as a language model has asked for it.

    One of the agent's own runs at once, beside what the function yields next and beside other tools. When all have
    ended and the function has returned, it is called again, with their results in `turn.messages`. A tool of the client
    is called there: its result comes with a later turn.
    """

    name: str
    """As in `turn.tools`."""
    arguments: str | Mapping[str, Any] = field(default_factory=dict)
    """A mapping, or the JSON text of a language model."""
    call_id: str = ""
    """The model's; empty: one is made."""

    def __post_init__(self) -> None:
        if len(self.json) > MAX_ARGUMENTS:
            raise ValueError(
                f"CallTool({self.name!r:.80}): arguments of {len(self.json)} characters, at most {MAX_ARGUMENTS}"
            )

    @property
    def json(self) -> str:
        """The arguments as JSON text, or whatever text the model has written."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments), default=str)


@dataclass(frozen=True)
class Retract:
    """All text of this answer so far was no answer, but a model's thoughts: do not speak what is not spoken yet."""


@dataclass(frozen=True)
class Usage:
    """Tokens that the answer cost, for the record."""

    input_tokens: int
    """Of the request."""
    output_tokens: int
    """Of the answer."""

    def __post_init__(self) -> None:
        if min(self.input_tokens, self.output_tokens) < 0:
            raise ValueError(f"{self}: tokens are counted from 0")


Action = Say | Pause | HangUp | Transfer | Person | Ask | CallTool | Retract | Usage
"""What a function may yield besides text."""


def _checked_summary(of: str, summary: str) -> None:
    if len(summary) > MAX_SUMMARY:
        raise ValueError(f"{of}: a summary of {len(summary)} characters, at most {MAX_SUMMARY}")
