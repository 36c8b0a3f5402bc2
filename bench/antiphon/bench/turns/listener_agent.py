"""The agent of the bench of turn taking: a word for each turn, and a long speech where a typed text asks for one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from antiphon.inference_bridge.agents import ReplyPart, Request

NAME: Final = "antiphon.bench.turns.listener_agent.ListenerAgent"
ANSWER: Final = "All right."
EXPLAIN: Final = "Please explain."
READ: Final = "Please read: "
EXPLANATION: Final = (
    "Our office is on the second floor of the building behind the station. You take the stairs on the left, go "
    "through the glass door and follow the long corridor to its end. There is a small waiting room with a window to "
    "the garden. The people there are friendly, and they bring water and tea. On the way back you pass the old "
    "library, which has a wonderful collection of maps. Many visitors stay there for an hour or two before they take "
    "the bus to the river."
)


class ListenerAgent:
    """An `Agent`. Made by the bridge for each call, whose `Responses` owns it; used on the event loop."""

    greeting: Final = "none"

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """`ANSWER`, unless a typed text asks for something else."""
        if EXPLAIN in request.text:
            yield EXPLANATION
        elif READ in request.text:
            yield request.text.partition(READ)[2]
        else:
            yield ANSWER

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
