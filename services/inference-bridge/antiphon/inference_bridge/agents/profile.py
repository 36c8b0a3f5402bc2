"""What a bridge knows of an agent in whose name it takes calls: from the settings, a file, or an announcement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from antiphon.inference_bridge.agents import Agent


@dataclass(frozen=True)
class FailureSentences:
    """What the caller hears when something fails; an empty one: the bridge's own sentence. Values."""

    apology: str = ""
    """There is no answer."""
    too_long: str = ""
    """The answer is cut."""
    tool_failed: str = ""
    """A tool gave no result, and the agent says nothing itself."""


@dataclass(frozen=True)
class AgentProfile:
    """All that a call of this agent needs. A value: a running call keeps the one that it began with."""

    name: str
    make: Callable[[str], Agent]
    """An agent for the call with this id."""
    greeting: str = ""
    """Said first; empty: nothing."""
    greets: bool = False
    """The agent is asked for the greeting, with the event `call_started`."""
    instructions: str = ""
    language: str = ""
    """BCP 47; empty: the bridge's."""
    voice: str = ""
    """Empty: the bridge's."""
    turn_detection: dict[str, Any] | None = None
    """As in the realtime protocol; None: the bridge's."""
    patience_ms: int | None = None
    """Time after which a caller whose answer is late gets a short spoken sign; None: the bridge's."""
    silence_ms: int | None = None
    """Silence of the caller after which it is prompted; None: never."""
    silence_prompts: Sequence[str] = ()
    """What is said then, one after the other; empty: the agent is asked with the event `silence`."""
    longest_call: float | None = None
    """Seconds after which the call is ended, with a sentence; None: no bound."""
    failures: FailureSentences = field(default_factory=FailureSentences)
    kind: str = ""
    """What the services register says that it is: `file`; empty: nothing."""
    is_scripted: bool = False
    """It does not greet because a client's text asks for it."""
    speculates: bool = False
    """It wants guesses of the turn before the turn is over."""
    reads_events: bool = False
    """It reads `Request.event`; else a note in the conversation tells its language model why it is asked."""
    busy: Callable[[], str] = lambda: ""
    """Why no further call would be answered in time at this moment; empty: it would."""


class AgentSource(Protocol):
    """Agents that may come and go. Owned by the bridge, used on the event loop."""

    def profiles(self) -> dict[str, AgentProfile]:
        """Those that can take calls now, by name. The same object as long as nothing of it has changed."""


class RunningSource(AgentSource, Protocol):
    """A source with work of its own, such as files that are watched. The bridge starts and closes it."""

    async def start(self) -> None:
        """Be able to tell profiles."""

    async def close(self) -> None:
        """No profile is asked for any more."""
