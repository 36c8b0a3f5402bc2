"""What a text agent's function is told of one turn, and may do in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from antiphon.schemas.messages import ReplyRequest
from antiphon.schemas.messages.replies import ReplyEvent


class CallsOwnTools(Protocol):
    """What runs a tool for `Turn.call`."""

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Its result; `ToolError` if there is none."""


class Turn:
    """One turn that is to be answered: what was said, and all that was before. Read-only, except `state`.

    Made by the agent for one answer, and used by its function on the event loop. It is the same object when the
    function is called again after tools, with `messages` grown.
    """

    def __init__(
        self,
        request: ReplyRequest,
        messages: list[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        runs: CallsOwnTools,
        instructions: str = "",
    ) -> None:
        self._request, self._messages, self._tools, self._runs = request, messages, list(tools), runs
        self._instructions = request.instructions or instructions
        self._state = dict(request.state) if isinstance(request.state, dict) else {}
        self._said_was_read = False

    # ---- what the caller did

    @property
    def text(self) -> str:
        """The caller's words since the last answer; empty where the client wants an answer without any."""
        return self._request.text

    @property
    def keys(self) -> str:
        """Keys of the telephone that belong to this turn."""
        return self._request.keys

    @property
    def event(self) -> ReplyEvent:
        """Why the function is called: `turn`, `call_started`, `silence` or `call_ended`."""
        return self._request.event

    @property
    def played(self) -> str:
        """The words of the answer before that the caller heard; empty if there was none."""
        return self._request.played.text if self._request.played else ""

    @property
    def interrupted(self) -> bool:
        """The caller spoke before the end of the answer before."""
        return self._request.played is not None and self._request.played.interrupted

    @property
    def speculative(self) -> bool:
        """A guess: the turn may go on. The answer is spoken only if the turn ends with these words; no tool runs."""
        return self._request.speculative

    # ---- the conversation

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation in chat format: instructions first, then as played, with tools and their results."""
        return self._messages

    @property
    def tools(self) -> list[dict[str, Any]]:
        """What a language model may call, in chat format: the agent's own tools, and those of the client."""
        return self._tools

    @property
    def tool_choice(self) -> str | dict[str, Any]:
        """What the client asks of the model: `auto`, `none`, `required` or one function."""
        return self._request.tool_choice

    @property
    def max_output_tokens(self) -> int | None:
        """The client's bound of an answer; None: none."""
        return self._request.max_output_tokens

    @property
    def instructions(self) -> str:
        """The client's, or the agent's own; `messages` begins with them."""
        return self._instructions

    @property
    def language(self) -> str:
        """What to answer in, BCP 47."""
        return self._request.language

    @property
    def now(self) -> str:
        """The local time of the call, ISO 8601 with its offset; empty if it is not known."""
        return self._request.now

    @property
    def said(self) -> str:
        """The beginning of this answer that an instance that died has spoken: go on behind it.

        Whoever reads this takes care of it. Else what the new answer repeats of it is left out.
        """
        self._said_was_read = True
        return self._request.said

    # ---- the call

    @property
    def call_id(self) -> str:
        """The call's, `rtc_` and 24 letters and digits."""
        return self._request.call_id

    @property
    def number(self) -> int:
        """Counts the requests of a call. With `call_id` a key for what must not be done twice: an instance that takes
        over an answer calls its tools again."""
        return self._request.turn

    @property
    def session(self) -> dict[str, Any]:
        """The client's session settings, as in the realtime protocol."""
        return self._request.session

    @property
    def state(self) -> dict[str, Any]:
        """What you want to know in the next turn of this call, at whichever instance: plain JSON below 8 KiB.

        Change it as you like; it is saved at the next `yield`, and at the end.
        """
        return self._state

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Run one of the agent's own tools and return what it returns; the record of the call has it.

        `ToolError`: there is none of this name, its arguments are wrong, it is late, or it has failed.
        """
        return await self._runs.call(name, arguments)

    # ---- for the agent

    @property
    def said_was_read(self) -> bool:
        """The function takes care of `said` itself."""
        return self._said_was_read

    def without_tools(self) -> None:
        """The last round: a model gets no tools to call."""
        self._tools.clear()
