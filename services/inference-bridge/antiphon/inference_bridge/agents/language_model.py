"""An agent that asks any OpenAI-compatible chat server (Ollama, vLLM, llama.cpp, a hosted one), streamed.

It keeps nothing between two requests: it sends the conversation on record, which holds what was played to the caller
and not what the model wrote. So after an interruption the model never sees the rest of its own reply.

The server is not trusted with this process: `chat_client` bounds its bytes, this file what they say and how long it may
take.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, Final

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from antiphon.inference_bridge.agents import FunctionCall, ReplyPart, Request, Usage, chat_check
from antiphon.inference_bridge.agents.chat_client import BoundedClient
from antiphon.inference_bridge.realtime_protocol.conversation import text_of

log = logging.getLogger(__name__)
for _library in ("httpx", "httpx2"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # it logs every request

APOLOGY: Final = "Sorry, I can't think just now. Please try again in a moment."
MAX_HISTORY: Final = 60
"""Items of the conversation that the model is shown; the newest."""
CONTINUE: Final = (
    "You were cut off in the middle of your answer, after the words at the end. Go on with the very next word, as if "
    "nothing had happened; repeat nothing."
)
TOO_LONG: Final = "Sorry, I have to stop here, this gets too long."
MAX_ANSWER: Final = 12_000
"""Characters; some 13 minutes of speech."""
MAX_CHUNKS: Final = 20_000
"""Pieces of an answer, those without words too: each costs some 0.15 ms."""
MAX_SILENT_CHUNKS: Final = 4000
"""Pieces in a row without a word and without a part of a function call, such as a model's thoughts."""
MAX_CALLS: Final = 32
"""Function calls in one answer."""
MAX_ARGUMENTS: Final = 64 * 1024
"""Characters of the arguments of all function calls of an answer."""
MAX_NAME: Final = 64
"""Characters of a function's name, and of a call's id."""
ANSWER_SECONDS: Final = 180.0
"""That an answer may keep this process waiting, all its pieces together; the time in which it is spoken is not counted.
A model that writes four words a second fills `MAX_ANSWER` in nine minutes, of which speech takes the most."""
_NO_OUTPUT_YET: Final = "(no result yet)"
_SLICE_SECONDS: Final = 0.005
"""Time after which other tasks get the event loop, while pieces are there already."""

NO_KEY: Final = "none"

ChatMessage = dict[str, Any]


def client_for(base_url: str, api_key: str) -> AsyncOpenAI:
    """`api_key` may be empty: local servers want none, the library insists on some."""
    return AsyncOpenAI(base_url=base_url, api_key=api_key or NO_KEY, max_retries=0, http_client=BoundedClient())


class ModelError(Exception):
    """The server failed, stalled, or sent an empty answer. Raised to a model worker; `reply` apologises instead."""


class AnswerTooLongError(ModelError):
    """The answer goes beyond `MAX_ANSWER`; what came before is good."""


class LanguageModel:
    """The `Agent` of one call, which owns it; a model worker has one for all its requests. Used on the event loop."""

    def __init__(
        self, client: AsyncOpenAI, model: str, timeout: float, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        """`timeout`: seconds until the first word, and from one piece to the next.

        `client` is the process's and outlives the agent. `on_failure`: called after each answer that failed.
        """
        self._client, self._model, self._timeout, self._on_failure = client, model, timeout, on_failure

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The answer piece by piece; an apology in place of the rest when the server fails."""
        spoken = False
        try:
            async with contextlib.aclosing(self.stream(request)) as parts:
                async for part in parts:
                    spoken = spoken or isinstance(part, str)
                    yield part
        except AnswerTooLongError as error:
            log.warning("%s", error)
            yield f" {TOO_LONG}"
        except ModelError as error:
            log.warning("%s", error)
            self._on_failure()
            yield f" {APOLOGY}" if spoken else APOLOGY

    async def warm_up(self) -> None:
        """Have the server load its model; `ModelError` if it can't answer."""
        trouble = await chat_check.ask(self._client, self._model, self._client.api_key != NO_KEY)
        if trouble:
            raise ModelError(f"language model {self._model}: {trouble.what}. {trouble.fix}")

    async def stream(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The answer piece by piece; `ModelError` when it fails, `AnswerTooLongError` where it does not end."""
        calls = _Calls()
        length = count = silent = 0
        usage: Usage | None = None
        try:
            async with contextlib.aclosing(self._chunks(request)) as chunks:
                async for chunk in chunks:
                    count, silent = count + 1, silent + 1
                    if count > MAX_CHUNKS or silent > MAX_SILENT_CHUNKS:
                        text = f"more than {MAX_CHUNKS} pieces, or {MAX_SILENT_CHUNKS} without a word"
                        raise ModelError(f"language model {self._model}: the answer has {text}")
                    if chunk.usage:
                        usage = Usage(int(chunk.usage.prompt_tokens), int(chunk.usage.completion_tokens))
                    for choice in chunk.choices[:1]:
                        calls.collect(choice.delta.tool_calls or ())
                        piece = _whole_characters(choice.delta.content or "")
                        length += len(piece)
                        if piece or choice.delta.tool_calls:
                            silent = 0
                        if length > MAX_ANSWER:
                            raise AnswerTooLongError(
                                f"language model {self._model}: the answer has more than {MAX_ANSWER} characters"
                            )
                        if piece:
                            yield piece
        except (openai.OpenAIError, TimeoutError) as error:
            raise ModelError(f"language model {self._model}: {str(error)[:300] or 'no answer in time'}") from None
        except ModelError:
            raise
        except Exception as error:  # the library passes on junk as it came, and errors of its HTTP client as they are
            what = f"{type(error).__name__}: {str(error)[:200]}"
            raise ModelError(f"language model {self._model}: its answer can't be read ({what})") from None
        for call in calls.complete():
            yield call
        if usage:
            yield usage
        if not length and not calls and not request.already_spoken:
            raise ModelError(f"language model {self._model}: empty answer")

    async def _chunks(self, request: Request) -> AsyncGenerator[ChatCompletionChunk, None]:
        """What the server sends; `TimeoutError` when it is silent for too long, or slow for too long."""
        began = time.monotonic()
        async with asyncio.timeout(self._timeout):
            stream = await self._client.chat.completions.create(**self._question(request))
        waited = time.monotonic() - began
        async with stream:
            kind = stream.response.headers.get("content-type", "")
            if kind.startswith(("application/json", "text/html")):
                raise ModelError(f"language model {self._model}: its answer is {kind:.60}, expected text/event-stream")
            pieces = aiter(stream)
            breathed = time.monotonic()
            while True:
                began = time.monotonic()
                if began - breathed > _SLICE_SECONDS:
                    await asyncio.sleep(0)
                    breathed = time.monotonic()
                async with asyncio.timeout(min(self._timeout, max(0.0, ANSWER_SECONDS - waited))):
                    chunk: ChatCompletionChunk | None = await anext(pieces, None)
                waited += time.monotonic() - began
                if chunk is None:
                    return
                yield chunk

    def played(self, text: str) -> None:
        """Nothing to do: each request brings the conversation, in which the reply is cut to what was played."""

    def greeting_played(self, text: str) -> None:
        """Nothing to do, as in `played`."""

    def saved(self) -> Any:
        """None: this agent keeps nothing between two requests."""
        return None

    def restore(self, saved: Any) -> None:
        """Nothing to do: this agent keeps nothing between two requests."""

    def _question(self, request: Request) -> dict[str, Any]:
        system = f"{request.instructions}\nIt is {request.now:%A, %d %B %Y, %H:%M}."
        chat = chat_messages(request.items[-MAX_HISTORY:])
        if request.already_spoken:
            system += f"\n{CONTINUE}"
            chat.append({"role": "assistant", "content": request.already_spoken})
        question: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, *chat],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.max_output_tokens is not None:
            question["max_tokens"] = request.max_output_tokens
        if request.tools:
            names = ("name", "description", "parameters")
            functions = [{name: tool[name] for name in names if tool.get(name)} for tool in request.tools]
            question["tools"] = [{"type": "function", "function": function} for function in functions]
            choice = request.tool_choice
            question["tool_choice"] = (
                {"type": "function", "function": {"name": choice["name"]}} if isinstance(choice, dict) else choice
            )
        return question


def chat_messages(items: Iterable[dict[str, Any]]) -> list[ChatMessage]:
    """The conversation as a chat server wants it: each function call followed by its output, nothing empty."""
    known = list(items)
    outputs = {item["call_id"]: item["output"] for item in known if item["type"] == "function_call_output"}
    messages: list[ChatMessage] = []
    answers: list[ChatMessage] = []
    for item in known:
        if item["type"] == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            if not answers:
                messages.append({"role": "assistant", "content": None, "tool_calls": []})
            messages[-1]["tool_calls"].append({"id": item["call_id"], "type": "function", "function": function})
            output = outputs.get(item["call_id"], _NO_OUTPUT_YET)
            answers.append({"role": "tool", "tool_call_id": item["call_id"], "content": output})
            continue
        messages += answers
        answers = []
        if item["type"] == "message" and (text := text_of(item)):
            messages.append({"role": item["role"], "content": text})
    return messages + answers


class _Calls:
    """Function calls come in pieces: the id and name once, the arguments bit by bit. Owned by one `stream`."""

    def __init__(self) -> None:
        self._calls: dict[int, list[str]] = {}
        self._characters = 0

    def __len__(self) -> int:
        return len(self._calls)

    def collect(self, deltas: Iterable[Any]) -> None:
        """The pieces of one chunk; `ModelError` beyond the bounds."""
        for delta in deltas:
            index = delta.index
            if not isinstance(index, int):
                raise ModelError("a function call of the answer has no index")
            call = self._calls.setdefault(index, ["", "", ""])
            call[0] = call[0] or _whole_characters(delta.id or f"call_{index}")[:MAX_NAME]
            if delta.function:
                name = _whole_characters(delta.function.name or "")
                arguments = _whole_characters(delta.function.arguments or "")
                self._characters += len(arguments)
                call[1] += name
                call[2] += arguments
            if len(call[1]) > MAX_NAME:
                raise ModelError(f"a function's name in the answer has more than {MAX_NAME} characters")
            if len(self._calls) > MAX_CALLS:
                raise ModelError(f"the answer has more than {MAX_CALLS} function calls")
            if self._characters > MAX_ARGUMENTS:
                raise ModelError(f"the function calls of the answer have more than {MAX_ARGUMENTS} characters")

    def complete(self) -> Iterable[FunctionCall]:
        """All of them, when the answer has ended."""
        return [FunctionCall(call_id, name, arguments or "{}") for call_id, name, arguments in self._calls.values()]


def _whole_characters(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can hold and UTF-8 can't; `TypeError` for no text."""
    if not isinstance(text, str):
        raise TypeError(f"{type(text).__name__} where text was expected")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
