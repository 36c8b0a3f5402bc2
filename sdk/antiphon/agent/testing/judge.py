"""A language model that says whether a conversation meets a criterion: for what no comparison of words can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from antiphon.agent.testing.transcript import Transcript

_INSTRUCTIONS: Final = (
    "You judge the transcript of a telephone call with an agent. Each line has the second, the party and what it said "
    "or did. Answer with YES or NO as the first word, whether the criterion is met, then with one sentence of reason."
)


class Model(Protocol):
    """A chat server, or a function of the test's own with this method."""

    async def ask(self, messages: list[dict[str, Any]], /) -> str:
        """The text of its answer."""


@dataclass(frozen=True)
class Verdict:
    """What the judge says. A value; true where the criterion is met."""

    met: bool
    reason: str

    def __bool__(self) -> bool:
        return self.met


class Judge:
    """Made by a test. `assert await judge.verdict(call.transcript, "The agent repeats the day before it books.")`"""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def verdict(self, transcript: Transcript, criterion: str) -> Verdict:
        """Whether the criterion is met; an answer that begins with neither YES nor NO counts as not met."""
        asked = [
            {"role": "system", "content": _INSTRUCTIONS},
            {"role": "user", "content": f"Transcript:\n{transcript}\n\nCriterion: {criterion}"},
        ]
        answer = await self._model.ask(asked)
        first, _, reason = answer.strip().partition(" ")
        return Verdict(first.strip(".,:!*").upper() == "YES", reason.strip() or answer)
