"""Whether the chat server answers, and in one line what is wrong if it does not.

`ChatCheck` asks at the start, so that a wrong address or key is known before the first caller gets an apology, and
again after each answer that failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx2

from antiphon.inference_bridge.agents.chat_client import ChatClient, ChatServerError, StatusError
from antiphon.inference_bridge.agents.server_habits import learn, named_option, refusal_of

log = logging.getLogger(__name__)

WARM_SECONDS: Final = 300.0
"""A server may load its model first."""
WARM_AGAIN_SECONDS: Final = 60.0
"""After which a server that was not asked may have unloaded its model; Ollama does after five minutes."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries; doubled from the first on, because some servers count what they refuse."""
_CONTAINER_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_HOST_NAME: Final = "host.docker.internal"
_KEY: Final = re.compile(r"api.?key|unauthori[sz]ed|authenticat|credential", re.IGNORECASE)
_MODEL: Final = re.compile(
    r"\bmodel\b.{0,80}(not found|not exist|unknown|invalid|not a valid|not available|not loaded|no such)"
    r"|\b(not found|unknown|invalid|not a valid|no such|no)\b.{0,20}\bmodel\b|DeploymentNotFound",
    re.IGNORECASE | re.DOTALL,
)
_LOADING: Final = "it is loading its model (status 503)"
_FORMS: Final = 6
"""Forms of the question that are tried where the server refuses one after the other."""


class Trouble(NamedTuple):
    """Why the server does not answer. A value."""

    what: str
    """Without the server's address: the stack's public health page shows it."""
    fix: str
    """What the operator can do."""


class ServerNames(NamedTuple):
    """What the settings of a chat server are called, for people. A value."""

    url: str = "ANTIPHON_LLM_URL"
    model: str = "ANTIPHON_LLM_MODEL"
    key: str = "ANTIPHON_LLM_API_KEY"


_OF_THE_BRIDGE: Final = ServerNames()


def in_container() -> bool:
    """Whether this process runs in a container of Docker or Podman."""
    return any(mark.exists() for mark in _CONTAINER_MARKS)


def trouble_of(
    error: Exception, url: str, model: str, key: bool, contained: bool, names: ServerNames = _OF_THE_BRIDGE
) -> Trouble:
    """What a failed request means. `key`: whether one was sent. `contained`: see `in_container`."""
    host = urlsplit(url).hostname or ""
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return Trouble("it does not answer in time", "Is it overloaded, or still loading its model? Its log says more.")
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL | UnicodeError):
        return Trouble("its address can't be used", f"Correct {names.url}: {_one_line(str(error))}")
    if isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError | OSError):
        return Trouble(_cause(error), _where_to(host, url, contained, names))
    if isinstance(error, StatusError):
        return _trouble_of_status(error, model, key, names)
    return Trouble("its answers can't be read", f"Is {names.url} a chat server's? {_one_line(str(error))}")


def _trouble_of_status(error: StatusError, model: str, key: bool, names: ServerNames) -> Trouble:
    status, text = error.status, error.text
    if status in (401, 403) or (status == 400 and _KEY.search(text)):
        fix = f"Correct {names.key}." if key else f"Set {names.key}."
        return Trouble(f"it does not accept the key (status {status})", fix)
    if (status == 404 and "model" in text.lower()) or (status in (400, 422) and _MODEL.search(text)):
        return Trouble(f"it has no model {model} (status {status})", f"Load it there, or correct {names.model}.")
    if status == 404:
        return Trouble("it has no chat completions (status 404)", f"Correct {names.url}; most such URLs end in /v1.")
    if 300 <= status < 400 and error.location:
        there = _one_line(error.location)
        return Trouble(
            f"it redirects (status {status})",
            f"No redirect is followed: set {names.url} to the address that it names, {there}, if that is right.",
        )
    if status == 503 and "load" in text.lower():
        return Trouble(_LOADING, "It is asked again until it answers.")
    return Trouble(f"it answers with status {status}", f"It says: {_one_line(text)}")


def _cause(error: BaseException) -> str:
    """The reason nearest to the network."""
    seen = 0
    while (inner := error.__cause__ or error.__context__) is not None and seen < 8:
        error, seen = inner, seen + 1
    text = getattr(error, "strerror", None) or str(error)
    if isinstance(error, ConnectionRefusedError) or "refused" in text or "All connection attempts failed" in text:
        return "it refuses the connection"
    return f"it can't be reached ({_one_line(text)})"


def _where_to(host: str, url: str, contained: bool, names: ServerNames) -> str:
    if contained and _is_loopback(host):
        there = url.replace(host, _HOST_NAME, 1)
        return f"{host} is this container itself; a server on the container's host is {there}: set {names.url}."
    if host == _HOST_NAME:
        return "Does it run there, and listen on more than loopback (Ollama: OLLAMA_HOST=0.0.0.0)?"
    return f"Does it run, and is {names.url} right?"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


class ChatCheck:
    """Asks the chat server for a token until it answers: at the start, after each failed answer, and before calls.

    Owned by the bridge, for its lifetime. One task runs `run`; agents call `check_again` on the same event loop.
    """

    def __init__(
        self,
        client: ChatClient,
        model: str,
        key: bool,
        patience: float,
        on_change: Callable[[str | None], None],
        warm_seconds: float = WARM_AGAIN_SECONDS,
        names: ServerNames = _OF_THE_BRIDGE,
    ) -> None:
        """`patience`: seconds after which a silent server counts as in trouble; the answer is awaited all the same.

        `on_change`: called with what is wrong, and with None when the server answers (again). `warm_seconds`: after
        which a call that connects has a server asked that has answered nothing since; 0: never. `names`: of the
        settings that advice to the operator names.
        """
        self._client, self._model, self._key, self._patience = client, model, key, patience
        self._on_change, self._warm_seconds, self._names = on_change, warm_seconds, names
        self._due = asyncio.Event()
        self._due.set()
        self._asked = asyncio.Event()
        """The first question has got an answer, or has failed."""
        self._asked_at = 0.0
        self._reported: Trouble | None = None

    def check_again(self) -> None:
        """An answer has failed: ask the server as soon as possible."""
        self._due.set()

    def call_connects(self) -> None:
        """A call begins: the server may have to load its model again, so ask it while the call connects."""
        last = max(self._client.answered, self._asked_at)
        if self._warm_seconds and time.monotonic() - last >= self._warm_seconds:
            self._due.set()

    async def first_result(self, within: float) -> Trouble | None:
        """What is wrong with the server when it has answered, but not that it loads; or after `within` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._asked.wait()
        return self._reported

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
        self._asked_at = time.monotonic()
        request = asyncio.ensure_future(ask(self._client, self._model, self._key, names=self._names))
        try:
            done, _ = await asyncio.wait({request}, timeout=self._patience)
            if not done:
                self._report(Trouble(f"it has not answered for {self._patience:g} s", "Is it still loading its model?"))
            trouble = await request
        finally:
            request.cancel()
        self._report(trouble)
        if trouble is None or trouble.what != _LOADING:
            self._asked.set()
        return trouble is None

    def _report(self, trouble: Trouble | None) -> None:
        if trouble == self._reported:
            return
        url = self._client.base_url
        if trouble:
            log.warning("the chat server %s won't answer callers: %s. %s", url, trouble.what, trouble.fix)
        else:
            log.info("the chat server %s answers", url)
        self._reported = trouble
        self._on_change(trouble.what if trouble else None)


async def ask(
    client: ChatClient,
    model: str,
    key: bool,
    within: float = WARM_SECONDS,
    names: ServerNames = _OF_THE_BRIDGE,
) -> Trouble | None:
    """Have the server generate one token, which loads the model; None if it does, else what is wrong.

    Waits up to `within` seconds.
    """
    habits = client.habits
    for _ in range(_FORMS):
        question = {"model": model, "messages": [{"role": "user", "content": "Hello"}], habits.limit: 1}
        question = {name: value for name, value in question.items() if name not in habits.without}
        try:
            async with asyncio.timeout(within), client.ask(question, within) as response:
                whole = response.headers.get("content-type", "").startswith("application/json")
                async for _piece in response.aiter_raw():
                    if not whole:  # it streams all the same: there is a word
                        break
        except StatusError as error:
            if error.status in (400, 422):
                refusal = refusal_of(error.body, error.text)
                trouble = _trouble_of_status(error, model, key, names)
                if not named_option(refusal, question) and not trouble.what.startswith("it answers with"):
                    return trouble
                other = learn(habits, refusal, question)
                if other is not None:
                    habits = other
                    continue
                return None  # it is there and knows the model; what it does not like are our words
            return _trouble_of_status(error, model, key, names)
        except (ChatServerError, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError, ValueError) as error:
            return trouble_of(error, client.base_url, model, key, in_container(), names)
        client.has_answered()
        if habits != client.habits:
            client.found(habits)
        return None
    return None
