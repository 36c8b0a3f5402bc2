"""A caller whom a language model plays: it talks to the agent until its goal is reached, or is out of reach."""

from __future__ import annotations

from typing import Any, Final

from antiphon.agent.testing.answer import Answer
from antiphon.agent.testing.conversation import Conversation
from antiphon.agent.testing.judge import Model

DONE: Final = "DONE"
GIVES_UP: Final = "GIVE UP"
_INSTRUCTIONS: Final = (
    "You play a person who calls a telephone agent. Your goal: {goal}\nSay one or two short spoken sentences at a time "
    "as that person, and nothing else. When the goal is reached answer DONE. When it can't be reached answer GIVE UP."
)


class SimulatedCaller:
    """Made by a test for one call."""

    def __init__(self, goal: str, model: Model, turns: int = 20) -> None:
        """`turns`: what the caller says at most."""
        self._goal, self._model, self._turns = goal, model, turns

    async def talk(self, call: Conversation, greeting: Answer | None = None) -> bool:
        """Hold the conversation; True if the goal is reached. `greeting`: what `start` returned."""
        told: list[dict[str, Any]] = [{"role": "system", "content": _INSTRUCTIONS.format(goal=self._goal)}]
        answer = greeting or await call.start()
        for _ in range(self._turns):
            told.append({"role": "user", "content": answer.played or "(silence)"})
            words = await self._model.ask(told)
            if words.strip(" .!").upper() in (DONE, GIVES_UP) or call.over:
                return words.strip(" .!").upper() == DONE
            told.append({"role": "assistant", "content": words})
            answer = await call.say(words)
            if call.over:
                told.append({"role": "user", "content": f"{answer.played} (The agent has ended the call.)"})
                return (await self._model.ask(told)).strip(" .!").upper() == DONE
        return False
