"""An agent that asks any OpenAI-compatible chat server (Ollama, vLLM, llama.cpp, a hosted one), streamed.

It keeps nothing between two requests: it sends the conversation on record, which holds what was played to the caller
and not what the model wrote. So after an interruption the model never sees the rest of its own reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, Final

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from antiphon.inference_bridge.agents import FunctionCall, ReplyPart, Request, Usage, chat_check
from antiphon.inference_bridge.realtime_protocol.conversation import text_of

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request

APOLOGY: Final = "Sorry, I can't think just now. Please try again in a moment."
MAX_HISTORY: Final = 60
"""Items of the conversation that the model is shown; the newest."""
CONTINUE: Final = (
    "You were cut off in the middle of your answer, after the words at the end. Go on with the very next word, as if "
    "nothing had happened; repeat nothing."
)
_NO_OUTPUT_YET: Final = "(no result yet)"

NO_KEY: Final = "none"

ChatMessage = dict[str, Any]


def client_for(base_url: str, api_key: str) -> AsyncOpenAI:
    """`api_key` may be empty: local servers want none, the library insists on some."""
    return AsyncOpenAI(base_url=base_url, api_key=api_key or NO_KEY, max_retries=0)


class ModelError(Exception):
    """The server failed, stalled, or sent an empty answer. Raised to a model worker; `reply` apologises instead."""


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
        """The answer piece by piece; `ModelError` when it fails."""
        calls: dict[int, list[str]] = {}
        spoken = False
        usage: Usage | None = None
        try:
            async with asyncio.timeout(self._timeout):
                stream = await self._client.chat.completions.create(**self._question(request))
            async with stream:
                pieces = aiter(stream)
                while True:
                    async with asyncio.timeout(self._timeout):
                        chunk: ChatCompletionChunk | None = await anext(pieces, None)
                    if chunk is None:
                        break
                    if chunk.usage:
                        usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                    for choice in chunk.choices[:1]:
                        _collect(calls, choice.delta.tool_calls or ())
                        if choice.delta.content:
                            spoken = True
                            yield choice.delta.content
            for call_id, name, arguments in calls.values():
                yield FunctionCall(call_id, name, arguments or "{}")
            if usage:
                yield usage
        except (openai.OpenAIError, TimeoutError) as error:
            raise ModelError(f"language model {self._model}: {error or 'no answer in time'}") from None
        if not spoken and not calls and not request.already_spoken:
            raise ModelError(f"language model {self._model}: empty answer")

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


def _collect(calls: dict[int, list[str]], deltas: Iterable[Any]) -> None:
    """Function calls come in pieces: the id and name once, the arguments bit by bit."""
    for delta in deltas:
        call = calls.setdefault(delta.index, ["", "", ""])
        call[0] = call[0] or delta.id or f"call_{delta.index}"
        if delta.function:
            call[1] += delta.function.name or ""
            call[2] += delta.function.arguments or ""
