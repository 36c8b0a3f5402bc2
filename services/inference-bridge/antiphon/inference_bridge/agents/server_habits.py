"""What one chat server refuses, as far as it was found out: options to leave out, forms of the history to avoid. Pure.

A server that answers 400 or 422 usually names the cause. `Refusals.learn` reads it and says whether another try is
worth while; what has helped is kept for the life of the process.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

LIMITS: Final = ("max_tokens", "max_completion_tokens")
OPTIONS: Final = (
    "stream_options",
    "reasoning_effort",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "top_p",
    *LIMITS,
    "tool_choice",
    "parallel_tool_calls",
    "tools",
    "temperature",
)
"""That a request may go without, in the order in which they are left out when a server does not say which it means.
An agent's own further fields go first."""
_NEEDED: Final = ("model", "messages", "stream")
_ROLES: Final = re.compile(
    r"\bsystem\b.{0,40}(not supported|unsupported|not allowed|isn't supported|only supports)|"
    r"(not support|unsupported|only).{0,30}\bsystem (role|message|prompt)|system role",
    re.IGNORECASE,
)
_IDS: Final = re.compile(r"(tool[ _]call).{0,20}\bids?\b.{0,60}(length|9|alphanumeric|a-z)", re.IGNORECASE)
_TOO_LONG: Final = re.compile(
    r"context.{0,12}(length|window|size)|maximum context|too many tokens|prompt is too long|exceed.{0,40}context|n_ctx",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(r"content.?(filter|management policy|policy)|ResponsibleAIPolicyViolation", re.IGNORECASE)
_TOOLS: Final = re.compile(
    r"(not|n't|no) support.{0,20}\b(tools?|functions?)\b"
    r"|\b(tools?|functions?)\b( use| calling)?.{0,20}(not|n't|un)( be)? ?supported"
    r"|enable-auto-tool-choice|tool-call-parser|--jinja|without --jinja",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ServerHabits:
    """How this server wants to be asked, besides what all servers take. A value."""

    without: frozenset[str] = frozenset()
    """Options that are left out."""
    limit: str = LIMITS[0]
    """What the option is called that bounds the answer."""
    short_ids: bool = False
    """Ids of function calls have nine letters and digits."""
    no_system: bool = False
    """There is no role system: what it would say stands in front of the first words of the user."""
    half_history: int = 0
    """How often the history was halved because it was too long."""


@dataclass(frozen=True)
class Refusal:
    """A server's 400 or 422. A value."""

    text: str
    param: str = ""

    @property
    def is_filtered(self) -> bool:
        """It will not answer this conversation."""
        return bool(_FILTERED.search(self.text)) and "max_tokens" not in self.text


def refusal_of(body: Any, text: str) -> Refusal:
    """What an error's body says. `body`: as JSON; `text`: as it came, for bodies that are none."""
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, dict):
        param = error.get("param")
        code = error.get("code")
        words = f"{error.get('message') or error.get('detail') or text} {code if isinstance(code, str) else ''}"
        return Refusal(words[:2000], param if isinstance(param, str) else "")
    return Refusal((error if isinstance(error, str) else text)[:2000])


def learn(habits: ServerHabits, refusal: Refusal, sent: Mapping[str, Any]) -> ServerHabits | None:
    """How to ask instead; None if nothing that we know would help. `sent`: the request that was refused."""
    named = named_option(refusal, sent)
    if named in LIMITS:
        return _other_limit(habits, named)
    if named in ("tool_choice", "tools") and (_TOOLS.search(refusal.text) or named == "tools"):
        return replace(habits, without=habits.without | {"tools", "tool_choice", "parallel_tool_calls"})
    if named:
        return replace(habits, without=habits.without | {named})
    text = refusal.text
    if "tools" in sent and _TOOLS.search(text):
        return replace(habits, without=habits.without | {"tools", "tool_choice", "parallel_tool_calls"})
    if not habits.short_ids and _IDS.search(text):
        return replace(habits, short_ids=True)
    if not habits.no_system and _ROLES.search(text):
        return replace(habits, no_system=True)
    if _TOO_LONG.search(text):
        return replace(habits, half_history=habits.half_history + 1) if habits.half_history < 4 else None
    if refusal.is_filtered:
        return None
    for option in _options(sent):
        if option in sent:
            return (
                _other_limit(habits, option) if option in LIMITS else replace(habits, without=habits.without | {option})
            )
    return None


def _other_limit(habits: ServerHabits, refused: str) -> ServerHabits:
    """The bound of the answer by its other name, or not at all where both were refused."""
    other = LIMITS[1 - LIMITS.index(refused)]
    without = habits.without | {refused}
    return replace(habits, without=without, limit=other if other not in without else refused)


def named_option(refusal: Refusal, sent: Collection[str]) -> str:
    """The option of the request that the server names."""
    options = _options(sent)
    if refusal.param.split(".")[0] in options and refusal.param.split(".")[0] in sent:
        return refusal.param.split(".")[0]
    found = [
        (match.start(), option)
        for option in options
        if option in sent and (match := re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", refusal.text))
    ]
    return min(found)[1] if found else ""


def _options(sent: Collection[str]) -> list[str]:
    return [*(name for name in sent if name not in OPTIONS and name not in _NEEDED), *OPTIONS]
