"""The HTTP side of a speech service by URL: connections, places for requests, and troubles that are told once.

Bounded: requests at once, and requests of one call. No redirect is followed and nothing is decompressed. Seconds and
bytes of an answer are bounded by its reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeVar

import httpx2

from antiphon.inference_bridge.models.remote.speech_service import ServiceNames, SpeechServiceError
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.runtime.telemetry import spans

log = logging.getLogger(__name__)

T = TypeVar("T")
AT_ONCE: Final = 16
"""Requests that are with the service; further ones wait, the most urgent first."""
MAX_OUTSTANDING: Final = 4
"""Requests of one call that wait or are with the service; above it they fail at once."""
CONNECT_SECONDS: Final = 3.0
WARM_SECONDS: Final = 120.0
"""For the check at the start: a service may load its model first."""
_ERROR_BYTES: Final = 4096
_ERROR_SECONDS: Final = 5.0


class HttpService:
    """One service by URL. Owned by its client, for all calls of a process; used on the event loop."""

    def __init__(
        self,
        title: str,
        settings: str,
        path: str,
        url: str,
        model: str,
        key: str,
        on_change: Callable[[str | None], None],
    ) -> None:
        """`title`, `settings`, `path`: as `ServiceNames` has them. `url`: of the API.

        `on_change`: called with what is wrong when the service fails, and with None when it answers again.
        """
        self.url = f"{url.rstrip('/')}/{path}"
        self.names = ServiceNames(title, settings, path, model, self.url, bool(key))
        self._on_change = on_change
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._http = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),  # the reader of an answer sees to the rest
            limits=httpx2.Limits(max_connections=AT_ONCE + 1, max_keepalive_connections=AT_ONCE),  # and one check
            follow_redirects=False,
        )
        self._places = Places(AT_ONCE)
        self._outstanding: Counter[str] = Counter()
        self._trouble: str | None = None

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    @property
    def waiting(self) -> int:
        """Requests without a place yet."""
        return self._places.waiting

    @property
    def outstanding(self) -> int:
        """Calls with a request that waits or is with the service."""
        return len(self._outstanding)

    @asynccontextmanager
    async def place(self, owner: str, urgency: Urgency, within: float) -> AsyncIterator[None]:
        """The right to one request of this call; `BusyError` if there is none within so many seconds."""
        title = self.names.title
        if owner and self._outstanding[owner] >= MAX_OUTSTANDING:
            raise BusyError(f"{MAX_OUTSTANDING} requests of this call are with the {title} already")
        self._outstanding[owner] += 1
        try:
            if not await self._places.take(urgency, within):
                raise BusyError(f"all places at the {title} are taken")
            try:
                yield
            finally:
                self._places.give_back()
        finally:
            self._outstanding[owner] -= 1
            if not self._outstanding[owner]:
                del self._outstanding[owner]

    async def post(self, **content: Any) -> httpx2.Response:
        """The head of an answer to a request with this content, as `httpx2` has it; the caller closes it."""
        try:
            request = self._http.build_request("POST", self.url, headers=spans.traceparent_header(), **content)
            return await self._http.send(request, stream=True)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise self.names.unreachable(error) from None

    def report(self, error: SpeechServiceError | None) -> None:
        """A request has failed, or (None) was answered: told once for each change."""
        trouble = error.what if error else None
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if error:
            log.warning("the %s %s fails: %s. %s", self.names.title, self.url, error.what, error.fix)
        else:
            log.info("the %s %s answers", self.names.title, self.url)
        self._on_change(trouble)


async def error_text(response: httpx2.Response) -> str:
    """The beginning of what comes with a status that is no success, in one line."""
    said = bytearray()
    with contextlib.suppress(httpx2.HTTPError, OSError):
        async with asyncio.timeout(_ERROR_SECONDS):
            async for chunk in response.aiter_raw(_ERROR_BYTES):
                said += chunk
                if len(said) >= _ERROR_BYTES:
                    break
    return " ".join(said[:_ERROR_BYTES].decode("utf-8", "replace").split())


class Asked(Generic[T]):
    """The `Pending` of one request, which begins at once."""

    def __init__(self, work: Callable[[], Awaitable[tuple[T, float]]], is_shared: bool = False) -> None:
        """`work`: the result, and the milliseconds that it took. `is_shared`: it outlives those that wait for it."""
        self.work_ms = 0.0
        self._is_shared = is_shared
        self._task = asyncio.create_task(self._run(work))
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _run(self, work: Callable[[], Awaitable[tuple[T, float]]]) -> T:
        result, self.work_ms = await work()
        return result

    def __await__(self) -> Generator[Any, None, T]:
        return (asyncio.shield(self._task) if self._is_shared else self._task).__await__()

    def promote(self, urgency: Urgency) -> None:
        """Nothing to do: the service has the request already, or will have it soon."""

    def cancel(self) -> None:
        """The request is closed; the service may stop."""
        self._task.cancel()


class Places:
    """So many requests at once; the most urgent of those that wait goes first. Owned by `HttpService`."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self, urgency: Urgency, within: float) -> bool:
        """False if none becomes free in so many seconds."""
        if self._free:
            self._free -= 1
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (int(urgency), next(self._order), turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(within):
                await turn
        except BaseException as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif turn.done() and not turn.cancelled():
                self.give_back()  # it was given to us while we left
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def give_back(self) -> None:
        """The place goes to the first of those that wait."""
        while self._waiting:
            entry = min(self._waiting)
            self._waiting.remove(entry)
            if not entry[2].done():
                entry[2].set_result(None)
                return
        self._free += 1
