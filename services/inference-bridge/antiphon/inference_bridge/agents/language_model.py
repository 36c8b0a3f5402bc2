"""An agent that asks any OpenAI-compatible chat server (Ollama, vLLM, llama.cpp, a hosted one), streamed.

The history holds what the caller heard, not what the model wrote: after an interruption the rest of the
reply has not been said as far as the conversation is concerned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Final

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from antiphon.inference_bridge.agents import ReplyPart

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request

APOLOGY: Final = "Sorry, I can't think just now. Please try again in a moment."
MAX_HISTORY: Final = 60
"""Messages kept; the oldest go first."""


def client_for(base_url: str, api_key: str) -> AsyncOpenAI:
    """`api_key` may be empty: local servers want none, the library insists on some."""
    return AsyncOpenAI(base_url=base_url, api_key=api_key or "none", max_retries=0)


class LanguageModel:
    """An `Agent`."""

    def __init__(self, client: AsyncOpenAI, model: str, instructions: str, timeout: float) -> None:
        """`timeout`: seconds until the first word, and from one piece of the stream to the next."""
        self._client, self._model, self._instructions, self._timeout = client, model, instructions, timeout
        self._history: list[ChatCompletionMessageParam] = []
        self._asked = False

    async def reply(self, text: str, now: datetime) -> AsyncGenerator[ReplyPart, None]:
        self._history.append({"role": "user", "content": text})
        self._asked = True
        try:
            async with asyncio.timeout(self._timeout):
                stream = await self._client.chat.completions.create(
                    model=self._model, messages=self._messages(now), stream=True
                )
            async with stream:
                pieces = aiter(stream)
                said = False
                while True:
                    async with asyncio.timeout(self._timeout):
                        chunk = await anext(pieces, None)
                    if chunk is None:
                        break
                    if chunk.choices and (piece := chunk.choices[0].delta.content):
                        said = True
                        yield piece
            if not said:
                log.warning("language model %s: empty answer", self._model)
                yield APOLOGY
        except (openai.OpenAIError, TimeoutError) as error:
            log.warning("language model %s: %s", self._model, error or "no answer in time")
            yield f" {APOLOGY}"

    def heard(self, text: str) -> None:
        if text:
            self._history.append({"role": "assistant", "content": text})
        elif self._asked:
            self._history.pop()
        self._asked = False
        del self._history[:-MAX_HISTORY]

    def greeted(self, text: str) -> None:
        if text:
            self._history.append({"role": "assistant", "content": text})

    def _messages(self, now: datetime) -> list[ChatCompletionMessageParam]:
        system = f"{self._instructions}\nIt is {now:%A, %d %B %Y, %H:%M}."
        return [{"role": "system", "content": system}, *self._history]
