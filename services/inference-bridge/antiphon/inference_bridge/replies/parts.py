"""Parts of an answer as messages on NATS, and back. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from antiphon.inference_bridge.agents import (
    ExpectAnswer,
    FunctionCall,
    HandOver,
    HangUpAfterSpeech,
    Incomplete,
    OwnSpeech,
    ReplyPart,
    Retracted,
    SpokenPause,
    ToolRun,
    TransferAfterSpeech,
    Usage,
)
from antiphon.schemas import messages
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages.replies import MAX_TEXT_PART

MAX_NAME: Final = 64
"""Characters of a function's name, and of a call's id."""
MAX_COUNT: Final = 2**53
"""Of tokens: what JSON readers hold exactly."""


def part_of(part: messages.AnyReplyPart) -> ReplyPart | None:
    """What the bridge does with a part; None: nothing, as with a sign of life. `MalformedError` for what it can't be.

    A `ReplyState`, `ReplyEnd` or `ReplyError` is none of the conversation's.
    """
    match part:
        case messages.ReplyText(text=text):
            return text
        case messages.ReplySpeech(rate=rate, words=words):
            return OwnSpeech(_samples(part.pcm), rate, words)
        case messages.ReplyPause(milliseconds=milliseconds):
            return SpokenPause(milliseconds)
        case messages.ReplyCall(call_id=call_id, name=name, arguments=arguments):
            return FunctionCall(call_id, name, arguments)
        case messages.ReplyTool(call_id=call_id, name=name, arguments=arguments, output=output, failed=failed):
            return ToolRun(call_id, name, arguments, output, failed)
        case messages.ReplyHangUp():
            return HangUpAfterSpeech()
        case messages.ReplyTransfer(agent=agent, summary=summary, silent=silent):
            return TransferAfterSpeech(agent, summary, silent)
        case messages.ReplyPerson(state=state, summary=summary):
            return HandOver(state, summary)
        case messages.ReplyExpect(kind=kind):
            return ExpectAnswer(kind)
        case messages.ReplyRetracted():
            return Retracted()
        case messages.ReplyUsage(input_tokens=taken, output_tokens=given):
            return Usage(min(taken, MAX_COUNT), min(given, MAX_COUNT))
        case messages.ReplyIncomplete(reason=reason):
            return Incomplete(reason)
    return None


def _samples(pcm: str) -> bytes:
    try:
        data = base64.b64decode(pcm, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("the samples of a speech part are not in base64") from None
    if len(data) % 2:
        raise MalformedError(f"a speech part of {len(data)} bytes: s16le has two for each sample")
    return data


class PartWriter:
    """Numbers the parts of one answer. Owned by what answers, for that answer; used on the event loop."""

    def __init__(self) -> None:
        self._number = 0

    def written(self, part: ReplyPart) -> list[messages.AnyReplyPart]:
        """The messages for one part of a language model; a long text needs several. Empty: it does not go on NATS."""
        match part:
            case str():
                size = MAX_TEXT_PART
                return [self._made(messages.ReplyText, text=part[at : at + size]) for at in range(0, len(part), size)]
            case FunctionCall(call_id, name, arguments):
                call = {"call_id": call_id[:MAX_NAME], "name": name[:MAX_NAME], "arguments": arguments}
                return [self._made(messages.ReplyCall, **call)]
            case Usage(taken, given):
                return [self._made(messages.ReplyUsage, input_tokens=max(0, taken), output_tokens=max(0, given))]
            case Incomplete(reason):
                return [self._made(messages.ReplyIncomplete, reason=reason)]
            case Retracted():
                return [self._made(messages.ReplyRetracted)]
        return []

    def end(self) -> messages.AnyReplyPart:
        """The last part."""
        return messages.ReplyEnd(number=self._number)

    def _made(self, kind: Any, **fields: Any) -> Any:
        made = kind(number=self._number, **fields)
        self._number += 1
        return made
