"""A `Request` as a message on NATS, and back. A message that would be too large goes without the oldest items. Pure."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Final

from antiphon.inference_bridge.agents import Request
from antiphon.schemas import messages
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

MAX_BYTES: Final = messages.MAX_MESSAGE_BYTES
"""Of a request: a reader refuses larger messages unread."""
MAX_ITEMS: Final = 200
"""Of the conversation that a request brings; the newest."""
MAX_SAID: Final = 32_000
"""Characters of `said`, the last of them."""


def reply_request(request: Request, **more: Any) -> messages.ReplyRequest:
    """The message. `more`: fields that a `Request` does not have, such as `call_id`, `agent`, `turn` and `state`."""
    return messages.ReplyRequest(
        call_id=more.pop("call_id", ""),
        event=request.event,
        text=request.text,
        now=request.now.isoformat(timespec="milliseconds"),
        language=request.language,
        items=list(request.items[-MAX_ITEMS:]),
        instructions=request.instructions,
        tools=list(request.tools),
        tool_choice=request.tool_choice,
        max_output_tokens=request.max_output_tokens,
        said=request.already_spoken[-MAX_SAID:],
        keys=request.keys,
        session=request.session,
        speculative=request.speculative,
        **more,
    )


def packed(asked: messages.ReplyRequest, limit: int = MAX_BYTES) -> bytes:
    """The message as bytes: where it exceeds `limit`, without its oldest items, then without the client's settings.

    `MalformedError` if it is too large even so: the instructions or the tools of the session are.
    """
    data = messages.encode(asked)
    items = asked.items
    while len(data) > limit and items:
        items = items[max(1, len(items) // 4) :]
        data = messages.encode(asked.model_copy(update={"items": items}))
    if len(data) > limit:
        asked = asked.model_copy(update={"items": items, "session": {}})
        data = messages.encode(asked)
    if len(data) > limit:
        text = f"a request of {len(data)} bytes without a word of the conversation: at most {limit} are sent"
        raise MalformedError(f"{text}; shorten the instructions or the tools of the session")
    if len(items) < len(asked.items):
        log.debug("%d items of the conversation are left out of a request", len(asked.items) - len(items))
    return data


def read_request(data: bytes) -> Request:
    """What a language model's worker is asked; `MalformedError` for anything else."""
    asked = messages.decode(data, messages.ReplyRequest)
    try:
        now = datetime.fromisoformat(asked.now) if asked.now else datetime.now().astimezone()
    except ValueError:
        raise MalformedError(f"the time {asked.now!r:.40} of a request is not in ISO 8601") from None
    return Request(
        text=asked.text,
        now=now,
        items=asked.items,
        instructions=asked.instructions,
        tools=asked.tools,
        tool_choice=asked.tool_choice,
        max_output_tokens=asked.max_output_tokens,
        language=asked.language,
        already_spoken=asked.said,
        event=asked.event,
        keys=asked.keys,
        session=asked.session,
        speculative=asked.speculative,
    )
