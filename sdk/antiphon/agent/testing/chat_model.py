"""Asks an OpenAI-compatible chat server for one text: for simulated callers and judges."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

MAX_ANSWER: Final = 1024 * 1024
"""Bytes that are read."""


class ChatModelError(Exception):
    """The server gave no text: the address, and what it said."""


class ChatModel:
    """Made by a test, which may use it for as long as it likes; requests run on threads of their own."""

    def __init__(self, url: str, model: str, api_key: str = "", timeout: float = 60.0) -> None:
        """`url`: the base, such as `http://127.0.0.1:11434/v1`. `api_key`: or `OPENAI_API_KEY`. `timeout`: s."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no base URL of a chat server: expected one such as http://127.0.0.1:11434/v1")
        self.url, self.model = url.rstrip("/"), model
        self._api_key, self._timeout = api_key or os.environ.get("OPENAI_API_KEY", ""), timeout

    async def ask(self, messages: Sequence[dict[str, Any]]) -> str:
        """The text of its answer to these messages in chat format; `ChatModelError` if there is none."""
        return await asyncio.to_thread(self._ask, list(messages))

    def _ask(self, messages: list[dict[str, Any]]) -> str:
        body = json.dumps({"model": self.model, "messages": messages, "temperature": 0}).encode()
        headers = {"Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        request = urllib.request.Request(f"{self.url}/chat/completions", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                answer = json.loads(response.read(MAX_ANSWER))
            text = answer["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            raise ChatModelError(f"{self.url}: {error.code} {error.read(300).decode(errors='replace')}") from None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ChatModelError(f"{self.url}: {error or type(error).__name__}") from None
        if not isinstance(text, str) or not text.strip():
            raise ChatModelError(f"{self.url}: the answer of model {self.model} has no text")
        return text.strip()
