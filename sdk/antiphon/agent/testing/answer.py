"""What an agent has answered in one turn of a test: its words, its tools, what it wants done, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from antiphon.schemas.messages import AnyReplyPart

ActionKind = Literal["hang_up", "transfer", "person"]


@dataclass
class ToolCall:
    """A tool that the agent has run. Filled while the answer is made."""

    name: str
    arguments: Mapping[str, Any]
    """As the tool got them; `{"": text}` where they were no JSON object."""
    call_id: str
    began_ms: float
    """From the end of the caller's words."""
    output: str | None = None
    """What it gave, mostly JSON; None: it has not ended."""
    failed: bool = False
    """`output` is an error."""


@dataclass
class Answer:
    """One answer. Filled by the `Conversation` that the test talks to, and complete when a method has returned it."""

    text: str = ""
    """All words that were generated before the end, or before the interruption."""
    played: str = ""
    """The words that the caller has heard."""
    interrupted: bool = False
    """The caller spoke before its end."""
    ms: float | None = None
    """From the end of the caller's words to the first word or sound; None: there was none. Virtual time counts."""
    whole_ms: float = 0.0
    """To the end of the answer."""
    tools: list[ToolCall] = field(default_factory=list)
    """In the order in which they began."""
    tools_known: bool = True
    """False in a call through a stack, where an agent's own tools can't be seen."""
    client_calls: list[ToolCall] = field(default_factory=list)
    """Functions that the client is asked to call."""
    hung_up: bool = False
    """It hangs up when all was played."""
    transferred_to: str = ""
    """The agent to which it gives the call."""
    summary: str = ""
    """What it tells that agent, or the person that takes over."""
    person: str = ""
    """`offered` or `accepted`: a person should take over."""
    expects: str = ""
    """What it expects the caller to say next."""
    pauses_ms: int = 0
    """Silence that it asks for."""
    speech_ms: float = 0.0
    """Length of audio of its own."""
    failure: str = ""
    """There was no answer, or no more of it: the caller hears an apology."""
    parts: list[AnyReplyPart] = field(default_factory=list)
    """All of it, as a bridge gets it."""

    def tool(self, name: str) -> ToolCall:
        """The only call of this tool; `AssertionError` if there is none, or more than one."""
        found = [each for each in self.tools if each.name == name]
        assert len(found) == 1, f"tool {name} was run {len(found)} times; tools: {[each.name for each in self.tools]}"
        return found[0]


def arguments_of(text: str) -> Mapping[str, Any]:
    """Arguments as a mapping; `{"": text}` for a text that is none."""
    try:
        read = json.loads(text or "{}")
    except ValueError:
        return {"": text}
    return read if isinstance(read, dict) else {"": text}
