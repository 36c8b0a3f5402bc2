"""One streamed answer of a chat server: its bytes in, parts of a reply out. Pure.

Composes the readers of each layer: events, chunks, thoughts, calls in the text, repetitions. It bounds what the answer
may hold; `chat_client` bounds its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from antiphon.inference_bridge.agents import FunctionCall, Incomplete, ReplyPart, Retracted, Usage
from antiphon.inference_bridge.agents.chat_deltas import Delta, Finish, delta_of
from antiphon.inference_bridge.agents.chat_stream import EventDecoder
from antiphon.inference_bridge.agents.continuation import Continuation
from antiphon.inference_bridge.agents.reasoning import ReasoningFilter
from antiphon.inference_bridge.agents.text_calls import TextCalls
from antiphon.inference_bridge.agents.tool_calls import (
    MAX_CALLS,
    CallAssembler,
    CallsError,
    is_json_object,
    new_id,
)

MAX_ANSWER: Final = 12_000
"""Characters that are spoken; some 13 minutes of speech."""
MAX_TEXT: Final = 100_000
"""Characters of an answer's text with all thoughts in it."""
MAX_CHUNKS: Final = 20_000
"""Pieces of an answer, those without words too."""
MAX_SILENT_CHUNKS: Final = 4000
"""Pieces in a row with nothing in them: no word, no thought, no part of a function call."""
MAX_REPEATS: Final = 2
"""Of a call in the text; then the model is taken to go on like that."""
_SENTENCE_ENDS: Final = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", '"', "\u201d", ")")


class AnswerError(Exception):
    """The answer goes beyond the bounds."""


class TooLongError(AnswerError):
    """The answer has more than `MAX_ANSWER` characters; what came before is good."""


class AnswerDecoder:
    """Reads one answer. Owned by the function that asked for it, which feeds it on the event loop."""

    def __init__(
        self, tools: Collection[str], known_ids: Collection[str], spoken: str = "", template_opens: bool = False
    ) -> None:
        """`tools`: names of the functions that were offered. `known_ids`: of earlier calls. `spoken`: what the answer
        goes on after. `template_opens`: as for `ReasoningFilter`."""
        self.failure: AnswerError | None = None
        """A bound that the answer has gone beyond; the parts before it are good."""
        self.error = ""
        """What the server has said in the middle of the answer instead of going on."""
        self.finish: Finish | None = None
        self.began = False
        """A word that is no thought, or a part of a call, has come."""
        self.said = False
        """Some text was passed on and is not taken back."""
        self._tools, self._known_ids = tools, known_ids
        self._events = EventDecoder()
        self._thoughts = ReasoningFilter(template_opens)
        self._text_calls = TextCalls(tools)
        self._calls = CallAssembler(tools)
        self._continuation = Continuation(spoken)
        self._goes_on = bool(spoken)
        self._usage: Usage | None = None
        self._chunks = self._choices = self._silent = self._characters = self._visible = 0
        self._tail = ""

    @property
    def ended(self) -> bool:
        """The server has said that the answer is complete, or goes on with nothing new."""
        return self.finish is not None or self.done

    @property
    def done(self) -> bool:
        """Nothing more is read."""
        return self._events.done or self._text_calls.repeats >= MAX_REPEATS

    @property
    def seems_complete(self) -> bool:
        """The stream may end here: behind a sentence, or behind calls that are whole."""
        return self.ended or (self._tail.rstrip().endswith(_SENTENCE_ENDS) and not self._calls) or self._has_whole_calls

    @property
    def only_closed(self) -> bool:
        """The template of this model opens the thoughts: see `ReasoningFilter`."""
        return self._thoughts.only_closed

    @property
    def closed_thoughts(self) -> bool:
        """The answer had thoughts in its text, whose end was marked."""
        return self._thoughts.closed

    @property
    def has_chunks(self) -> bool:
        """The server has begun an answer, be it without a word."""
        return self._choices > 0

    @property
    def unknown(self) -> list[str]:
        """Names of functions that were called and not offered."""
        return [*self._calls.unknown, *self._text_calls.unknown]

    def feed(self, piece: bytes) -> list[ReplyPart]:
        """The parts that this piece of the body completes; see `failure` after it."""
        return self._parts(self._events.feed(piece))

    def whole(self, body: bytes) -> list[ReplyPart]:
        """The parts of an answer that came as one JSON value, as some servers send it unasked."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        parts = self._parts([value] if isinstance(value, dict) else [])
        if self.began and self.finish is None:
            self.finish = "stop"
        return parts

    def end(self, whole: bool = True) -> list[ReplyPart]:
        """The rest, when the stream has ended; see `failure` after it. `whole`: not cut off, so held text is good."""
        parts = self._parts(self._events.end())
        cut = not whole or self.finish == "length"
        try:
            text = self._text_calls.feed(self._thoughts.end(cut))
            self._put(self._continuation.feed(text + self._text_calls.end(cut)) + self._continuation.end(), parts)
        except (AnswerError, CallsError) as error:
            self.failure = self.failure or (error if isinstance(error, AnswerError) else AnswerError(str(error)))
        if whole or self._has_whole_calls:
            parts += self._complete_calls()
        if self._usage:
            parts.append(self._usage)
        if self.finish == "length":
            parts.append(Incomplete("max_output_tokens"))
        elif self.finish == "content_filter":
            parts.append(Incomplete("content_filter"))
        return parts

    def _parts(self, chunks: list[dict[str, object]]) -> list[ReplyPart]:
        parts: list[ReplyPart] = []
        try:
            for chunk in chunks:
                if self.failure is None:
                    self._read(delta_of(chunk), parts)
        except AnswerError as error:
            self.failure = error
        return parts

    def _read(self, delta: Delta, parts: list[ReplyPart]) -> None:
        self._chunks += 1
        self._choices += delta.is_choice
        self._silent = 0 if delta.text or delta.calls or delta.thinks else self._silent + 1
        if self._chunks > MAX_CHUNKS or self._silent > MAX_SILENT_CHUNKS:
            raise AnswerError(f"the answer has more than {MAX_CHUNKS} pieces, or {MAX_SILENT_CHUNKS} without a word")
        self._usage = delta.usage or self._usage
        self.finish = delta.finish or self.finish
        self.error = self.error or delta.error
        try:
            if delta.calls:
                self.began = True
                self._calls.collect(delta.calls)
            if delta.thinks:
                self._thoughts.separated()
            if delta.text:
                self._characters += len(delta.text)
                if self._characters > MAX_TEXT:
                    raise AnswerError(f"the answer has more than {MAX_TEXT} characters")
                knew = self._thoughts.only_closed
                text, retracted = self._thoughts.feed(delta.text)
                if self._thoughts.only_closed and not knew:  # calls in the thoughts are none
                    self._text_calls = TextCalls(self._tools)
                if retracted:
                    self._retract(parts)
                self._put(self._continuation.feed(self._text_calls.feed(text)), parts)
        except CallsError as error:
            raise AnswerError(str(error)) from None

    def _put(self, text: str, parts: list[ReplyPart]) -> None:
        if not text:
            return
        if not self.said and not self._goes_on:
            text = text.lstrip()
        self._visible += len(text)
        if self._visible > MAX_ANSWER:
            raise TooLongError(f"the answer has more than {MAX_ANSWER} characters")
        if text:
            self.began = self.said = True
            self._tail = text
            parts.append(text)

    def _retract(self, parts: list[ReplyPart]) -> None:
        if self.said:
            before = any(isinstance(part, str) for part in parts)
            earlier = self._visible > sum(len(part) for part in parts if isinstance(part, str))
            parts[:] = [part for part in parts if not isinstance(part, str)]
            if earlier or not before:
                parts.append(Retracted())
        self.said, self._tail = False, ""

    @property
    def _has_whole_calls(self) -> bool:
        calls = self._calls.complete(())
        return bool(calls) and all(is_json_object(call.arguments) for call in calls)

    def _complete_calls(self) -> list[ReplyPart]:
        """Those of the wire, and those in the text that are not there as well."""
        calls = self._calls.complete(self._known_ids)
        same = {(call.name, _normal(call.arguments)) for call in calls}
        for written in self._text_calls.calls:
            if (written.name, _normal(written.arguments)) not in same and len(calls) < MAX_CALLS:
                calls.append(FunctionCall(new_id(), written.name, written.arguments))
        return list(calls)


def _normal(arguments: str) -> str:
    """Arguments in a form in which equal ones are the same text."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments
