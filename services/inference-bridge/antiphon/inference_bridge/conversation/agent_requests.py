"""What an agent is asked, and the stream of its answer: guarded against what it raises, bounded, prepared ahead."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from antiphon.inference_bridge.agents import GuessEndedError, OwnSpeech, ReplyPart, Request
from antiphon.inference_bridge.conversation.core.state import MAX_KEYS, Kind, Response
from antiphon.inference_bridge.realtime_protocol.client_events import ResponseParameters
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject, message, text_of
from antiphon.inference_bridge.realtime_protocol.mcp_items import items_for_agent
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.schemas.messages.replies import ReplyEvent

log = logging.getLogger(__name__)

MAX_REPLY: Final = 20_000
"""Characters of an answer, some 20 minutes of speech, whatever agent makes it; the rest is not asked for."""
MAX_PREPARED: Final = 200
"""Parts of an answer that are taken from the agent while the answer before is still played; then it has to wait."""
MAX_PREPARED_SPEECH: Final = 16
"""Parts ahead where the next one is audio of the agent's own: 2 MiB."""
_LOOK_AGAIN: Final = 0.05
STILL_THERE: Final = (
    "The caller has said nothing for a while. Ask in one very short sentence, in the language of the conversation, "
    "whether the caller is still there. Do not repeat what was said before."
)
GREET: Final = "The call has just begun, and the caller has said nothing yet. Greet the caller in one short sentence."
_EVENTS: Final[Mapping[Kind, ReplyEvent]] = {Kind.GREETING: "call_started", Kind.PROMPT: "silence"}
_NOTES: Final[Mapping[ReplyEvent, str]] = {"call_started": GREET, "silence": STILL_THERE}
"""For a language model, which knows of no events."""


def request_for(
    response: Response,
    settings: SessionSettings,
    instructions: str,
    items: list[JsonObject],
    written: Mapping[str, str],
    language: str,
    session: JsonObject,
    reads_events: bool = False,
) -> Request:
    """What the agent is asked for this response.

    `settings`: of this response. `instructions`: for a session that has none. `items`: on record. `written`: by item
    id, the words of messages that are still being played; the record holds them only when they were. `session`: the
    client's settings as in the claim. `reads_events`: as in the agent's profile.
    """
    asked = response.parameters if isinstance(response.parameters, ResponseParameters) else ResponseParameters()
    text = response.text
    if asked.items is not None:
        items = list(asked.items)
        text = next((text_of(item) for item in reversed(items) if item.get("role") == "user"), "")
    items = [_with_words(item, written[item["id"]]) if item["id"] in written else item for item in items]
    event = _EVENTS.get(response.kind, "turn")
    if event in _NOTES and not reads_events:
        note: JsonObject = {"type": "input_text", "text": _NOTES[event]}
        items = [*items, message("prompt", "system", "completed", note)]
    limit, choice = settings.max_output_tokens, settings.tool_choice
    return Request(
        text,
        datetime.now().astimezone(),
        items_for_agent(items),
        settings.instructions or instructions,
        [tool.model_dump() for tool in settings.tools],
        choice if isinstance(choice, str) else choice.model_dump(),
        None if limit == "inf" else limit,
        language=language,
        event=event,
        keys="".join(words.text or "" for words in response.texts if words.is_keys)[-MAX_KEYS:],
        session=session,
        all_items=items,
    )


def guess_for(
    words: str,
    settings: SessionSettings,
    instructions: str,
    items: list[JsonObject],
    language: str,
    session: JsonObject,
) -> Request:
    """The same of a turn that may go on; `words`: what it says so far, which are not on record yet."""
    said = message("guess", "user", "completed", {"type": "input_audio", "transcript": words})
    response = Response(-1, Kind.TURN, 0.0, text=words)
    request = request_for(response, settings, instructions, [*items, said], {}, language, session)
    return replace(request, speculative=True)


def _with_words(item: JsonObject, words: str) -> JsonObject:
    return {**item, "content": [{"type": "output_audio", "transcript": words}]}


async def fixed_parts(text: str) -> AsyncGenerator[ReplyPart, None]:
    """A reply of one text, that no agent answers."""
    yield text


async def guarded(
    parts: AsyncGenerator[ReplyPart, None], preamble: str, session_id: str, trouble: str
) -> AsyncGenerator[ReplyPart, None]:
    """An agent that raises is not the end of the call, nor is one without end. `trouble`: is said if it raises."""
    if preamble:
        yield f"{preamble} "
    length = 0
    try:
        async with contextlib.aclosing(parts):
            async for part in parts:
                length += len(part) if isinstance(part, str) else 1
                if length > MAX_REPLY:
                    log.warning("%s: an answer beyond %d characters is cut", session_id, MAX_REPLY)
                    return
                yield part
    except GuessEndedError:
        raise
    except Exception:
        log.exception("%s: the agent failed", session_id)
        yield f" {trouble}"


class PreparedParts:
    """An answer that is taken from the agent before it may be heard. `MAX_PREPARED` parts ahead.

    Made and owned by the task of its response, on the event loop; that task reads `stream` once.
    """

    def __init__(
        self,
        parts: AsyncGenerator[ReplyPart, None],
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
    ) -> None:
        self._parts = parts
        self._queue: asyncio.Queue[ReplyPart | GuessEndedError | None] = asyncio.Queue(MAX_PREPARED)
        self._task = spawn(self._fill())

    async def stream(self) -> AsyncGenerator[ReplyPart, None]:
        """What has come, and what still comes; raises `GuessEndedError` where the parts did."""
        try:
            while (part := await self._queue.get()) is not None:
                if isinstance(part, GuessEndedError):
                    raise part
                yield part
        finally:
            await self.close()

    async def close(self) -> None:
        """Ask for no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _fill(self) -> None:
        ended: GuessEndedError | None = None
        try:
            async with contextlib.aclosing(self._parts) as parts:
                async for part in parts:
                    while isinstance(part, OwnSpeech) and self._queue.qsize() > MAX_PREPARED_SPEECH:  # noqa: ASYNC110
                        await asyncio.sleep(_LOOK_AGAIN)  # its samples are large, and there may be none to take them
                    await self._queue.put(part)
        except GuessEndedError as error:
            ended = error
        await self._queue.put(ended)
