"""Attributes that some trace viewers want besides those of the drafts, by `ANTIPHON_TRACE_ATTRIBUTES`, and content.

`langfuse`: Langfuse groups traces by `langfuse.session.id`. `openinference`: Phoenix shows a span by its kind. What was
said stands on no span unless `ANTIPHON_TRACE_CONTENT` is `on`: a trace store is seldom a place for callers' words.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.util.types import AttributeValue

from antiphon.runtime.telemetry import names

STYLES: Final = ("langfuse", "openinference")
MAX_CONTENT: Final = 4000
"""Characters of one text on a span; the rest is left out."""

_KINDS: Final = {
    names.CALL: "CHAIN",
    names.INVOKE_AGENT: "AGENT",
    names.CHAT: "LLM",
    names.EXECUTE_TOOL: "TOOL",
    names.SPEECH_TO_TEXT: "LLM",
    names.TEXT_TO_SPEECH: "LLM",
}
"""Phoenix's kinds by the first word of a span's name; all others are `CHAIN`."""


def chosen() -> frozenset[str]:
    """The styles that `ANTIPHON_TRACE_ATTRIBUTES` names; ValueError for one that there is not."""
    return _styles(os.environ.get("ANTIPHON_TRACE_ATTRIBUTES", ""))


@functools.lru_cache(maxsize=8)
def _styles(text: str) -> frozenset[str]:
    given = frozenset(each for part in text.split(",") if (each := part.strip().lower()))
    if unknown := sorted(given.difference(STYLES)):
        raise ValueError(f"ANTIPHON_TRACE_ATTRIBUTES: {unknown[0]!r:.40} is none of {', '.join(STYLES)}")
    return given


def content_allowed() -> bool:
    """Whether spans may hold what was said; ValueError if the setting is neither `on` nor `off`."""
    given = os.environ.get("ANTIPHON_TRACE_CONTENT", "").strip().lower() or "off"
    if given not in ("on", "off"):
        raise ValueError(f"ANTIPHON_TRACE_CONTENT: {given!r:.40} is none of on, off")
    return given == "on"


def check() -> None:
    """ValueError if a setting can't be used."""
    chosen()
    content_allowed()


def of_call(session_id: str) -> Mapping[str, AttributeValue]:
    """What names the call, on every span of it."""
    named: dict[str, AttributeValue] = {names.SESSION_ID: session_id, names.CONVERSATION_ID: session_id}
    if "langfuse" in chosen():
        named[names.LANGFUSE_SESSION] = session_id
    return named


def of_span(name: str) -> Mapping[str, AttributeValue]:
    """What a span of this name has in every case."""
    if "openinference" in chosen():
        return {names.OPENINFERENCE_KIND: _KINDS.get(name.split(" ", 1)[0], "CHAIN")}
    return {}


def content(asked: str = "", answered: str = "") -> Mapping[str, AttributeValue]:
    """What was said to the part that a span is of, and what it answered; nothing unless content is allowed."""
    if not content_allowed():
        return {}
    asked, answered = asked[:MAX_CONTENT], answered[:MAX_CONTENT]
    said: dict[str, AttributeValue] = {}
    for role, text, ours, phoenix in (
        ("user", asked, names.INPUT_MESSAGES, names.INPUT_VALUE),
        ("assistant", answered, names.OUTPUT_MESSAGES, names.OUTPUT_VALUE),
    ):
        if text:
            said[ours] = _messages(role, text)
            if "openinference" in chosen():
                said[phoenix] = text
    return said


def _messages(role: str, *texts: str) -> str:
    parts: Sequence[dict[str, str]] = [{"type": "text", "content": text} for text in texts]
    return json.dumps([{"role": role, "parts": parts}], ensure_ascii=False)
