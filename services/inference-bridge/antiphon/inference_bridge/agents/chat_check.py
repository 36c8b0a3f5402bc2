"""Whether the chat server answers, and in one line what is wrong if it does not.

`ChatCheck` asks at the start, so that a wrong address or key is known before the first caller gets an apology, and
again after each answer that failed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI

log = logging.getLogger(__name__)

WARM_SECONDS: Final = 300.0
"""A server may load its model first."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries; doubled from the first on, because some servers count what they refuse."""
_CONTAINER_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_HOST_NAME: Final = "host.docker.internal"


class Trouble(NamedTuple):
    """Why the server does not answer. A value."""

    what: str
    """Without the server's address: the stack's public health page shows it."""
    fix: str
    """What the operator can do."""


def in_container() -> bool:
    """Whether this process runs in a container of Docker or Podman."""
    return any(mark.exists() for mark in _CONTAINER_MARKS)


def trouble_of(error: Exception, url: str, model: str, key: bool, contained: bool) -> Trouble:
    """What an error of the OpenAI library means. `key`: whether one was sent. `contained`: see `in_container`."""
    host = urlsplit(url).hostname or ""
    if isinstance(error, openai.APITimeoutError):
        return Trouble("it does not answer in time", "Is it overloaded, or still loading its model? Its log says more.")
    if isinstance(error, openai.APIConnectionError):
        return Trouble(_cause(error), _where_to(host, url, contained))
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        fix = "Correct ANTIPHON_LLM_API_KEY." if key else "Set ANTIPHON_LLM_API_KEY."
        return Trouble(f"it does not accept the key (status {error.status_code})", fix)
    if isinstance(error, openai.NotFoundError):
        if "model" in str(error).lower():
            return Trouble(f"it has no model {model} (status 404)", "Load it there, or correct ANTIPHON_LLM_MODEL.")
        return Trouble(
            "it has no chat completions (status 404)", "Correct ANTIPHON_LLM_URL; most such URLs end in /v1."
        )
    if isinstance(error, openai.APIStatusError) and error.response.has_redirect_location:
        there = _one_line(error.response.headers["location"])
        return Trouble(
            f"it redirects (status {error.status_code})",
            f"No redirect is followed: set ANTIPHON_LLM_URL to the address that it names, {there}, if that is right.",
        )
    if isinstance(error, openai.APIStatusError):
        return Trouble(f"it answers with status {error.status_code}", f"It says: {_one_line(str(error))}")
    return Trouble("its answers can't be read", f"Is ANTIPHON_LLM_URL a chat server's? {_one_line(str(error))}")


def _cause(error: BaseException) -> str:
    """The reason nearest to the network."""
    seen = 0
    while (inner := error.__cause__ or error.__context__) is not None and seen < 8:
        error, seen = inner, seen + 1
    text = getattr(error, "strerror", None) or str(error)
    if isinstance(error, ConnectionRefusedError) or "refused" in text or "All connection attempts failed" in text:
        return "it refuses the connection"
    return f"it can't be reached ({_one_line(text)})"


def _where_to(host: str, url: str, contained: bool) -> str:
    if contained and _is_loopback(host):
        there = url.replace(host, _HOST_NAME, 1)
        return f"{host} is this container itself; a server on the container's host is {there}: set ANTIPHON_LLM_URL."
    if host == _HOST_NAME:
        return "Does it run there, and listen on more than loopback (Ollama: OLLAMA_HOST=0.0.0.0)?"
    return "Does it run, and is ANTIPHON_LLM_URL right?"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


class ChatCheck:
    """Asks the chat server for a token until it answers: at the start, and after each failed answer.

    Owned by the bridge, for its lifetime. One task runs `run`; agents call `check_again` on the same event loop.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        model: str,
        key: bool,
        patience: float,
        on_change: Callable[[str | None], None],
    ) -> None:
        """`patience`: seconds after which a silent server counts as in trouble; the answer is awaited all the same.

        `on_change`: called with what is wrong, and with None when the server answers (again).
        """
        self._client, self._model, self._key, self._patience = client, model, key, patience
        self._on_change = on_change
        self._due = asyncio.Event()
        self._due.set()
        self._reported: Trouble | None = None

    def check_again(self) -> None:
        """An answer has failed: ask the server as soon as possible."""
        self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            pause = _FIRST_PAUSE
            while not await self._answers():
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _answers(self) -> bool:
        request = asyncio.ensure_future(ask(self._client, self._model, self._key))
        try:
            done, _ = await asyncio.wait({request}, timeout=self._patience)
            if not done:
                self._report(Trouble(f"it has not answered for {self._patience:g} s", "Is it still loading its model?"))
            trouble = await request
        finally:
            request.cancel()
        self._report(trouble)
        return trouble is None

    def _report(self, trouble: Trouble | None) -> None:
        if trouble == self._reported:
            return
        url = str(self._client.base_url).rstrip("/")
        if trouble:
            log.warning("the chat server %s won't answer callers: %s. %s", url, trouble.what, trouble.fix)
        else:
            log.info("the chat server %s answers", url)
        self._reported = trouble
        self._on_change(trouble.what if trouble else None)


async def ask(client: AsyncOpenAI, model: str, key: bool) -> Trouble | None:
    """Have the server generate one token, which loads the model; None if it does, else what is wrong.

    Waits up to `WARM_SECONDS`.
    """
    question = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    try:
        await client.chat.completions.create(**question, timeout=WARM_SECONDS)  # type: ignore[call-overload]
    except (openai.BadRequestError, openai.UnprocessableEntityError):
        return None  # it is there and knows the model; some will not have `max_tokens`
    except (openai.OpenAIError, ValueError) as error:
        return trouble_of(error, str(client.base_url).rstrip("/"), model, key, in_container())
    return None
