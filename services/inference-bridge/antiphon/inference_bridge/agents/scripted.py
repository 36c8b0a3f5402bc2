"""The agent that answers if no language model is set: any class by its dotted name, the concierge by default."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from antiphon.inference_bridge.agents import Agent, ReplyPart, Request

NEUTRAL_GREETING: Final = "Hello, how can I help you?"
"""For agents without the attribute `greeting`, and for language models."""


class AgentNameError(ValueError):
    """The setting names no agent that can be loaded. The process exits with its text."""


def load_agent_class(dotted_name: str) -> Callable[[], Agent]:
    """The class `package.module.Class`, which makes an agent for each call; `AgentNameError` for any other name."""
    module_name, _, class_name = dotted_name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        text = f"ANTIPHON_SCRIPTED_AGENT is {dotted_name!r:.120}, which can't be loaded: {error}"
        raise AgentNameError(f"{text}; name a class as package.module.Class") from None
    if not callable(found):
        text = f"ANTIPHON_SCRIPTED_AGENT is {dotted_name!r:.120}, a {type(found).__name__}"
        raise AgentNameError(f"{text}: name a class that makes an agent for each call")
    agent_class: Callable[[], Agent] = found
    return agent_class


def greeting_of(agent_class: Callable[[], Agent]) -> str:
    """The agent's first words: its attribute `greeting`, or the neutral one."""
    return str(getattr(agent_class, "greeting", NEUTRAL_GREETING))


class SilentAgent:
    """An `Agent` without a word, for a call that the bridge ends with an apology and never answers.

    Owned by the session of that call, used on the event loop.
    """

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """No parts."""
        return
        yield

    def played(self, text: str) -> None:
        """Nothing to do."""

    def greeting_played(self, text: str) -> None:
        """Nothing to do."""

    def saved(self) -> Any:
        """None: there is nothing to keep."""
        return None

    def restore(self, saved: Any) -> None:
        """Nothing to do."""

    def ended(self) -> None:
        """Nothing to do."""
