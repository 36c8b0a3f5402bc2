"""Runs HTTP tools: sends the request, again where that is safe, and reads a bounded answer.

The other side is not trusted with this process: nothing is decompressed, a redirect to another host is not followed,
cookies are not kept (one caller's would go to the next), and what is read is bounded in bytes and time. The operator
names the hosts, so addresses of private networks are allowed; arguments can't change a host.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx2

from antiphon.runtime.tools.arguments import ArgumentsError, ArgumentsSchema, SchemaError
from antiphon.runtime.tools.definitions import HttpTool, ToolDefinitionError, secret_headers
from antiphon.runtime.tools.http_request import HttpRequest, request_of
from antiphon.runtime.tools.tool_result import MAX_ERROR_OUTPUT, MAX_OUTPUT, ToolResult, bounded, failure, late

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs the URL of every request, arguments and all

MAX_REDIRECTS: Final = 3
"""Of one request, within its own scheme, host and port."""
AT_ONCE: Final = 64
"""Requests of one tool set; a further one waits, within its time limit."""
_MAX_BYTES: Final = 4 * MAX_OUTPUT
"""That are read of an answer: a character of UTF-8 has four at most."""
_RETRIED: Final = frozenset({429, 502, 503, 504})
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
"""Seconds between two tries; doubled from the first on, unless the server says when."""
_CONNECT_SECONDS: Final = 5.0
_TEXT_KINDS: Final = ("json", "xml", "yaml", "x-www-form-urlencoded", "javascript", "csv", "html")
_CHARSETS: Final = ("utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "utf-16", "shift-jis", "gb18030")
"""Of Python's codecs some take very long for what a stranger sends."""


class _AgainError(Exception):
    """No answer that is one: another try may have it."""

    def __init__(self, text: str, after: float | None = None) -> None:
        """`after`: seconds that the server asks for."""
        super().__init__(text)
        self.after = after


@dataclass(frozen=True)
class _ReadyTool:
    """A tool with its schema and its headers as they are sent. A value."""

    tool: HttpTool
    schema: ArgumentsSchema
    headers: dict[str, str]


class HttpTools:
    """The HTTP tools of one tool set, which owns it, for its life; used on the event loop."""

    def __init__(self, tools: Sequence[HttpTool], environ: Mapping[str, str] = os.environ) -> None:
        """`ToolDefinitionError` for a tool that can't be used, or for two of one name."""
        self._tools: dict[str, _ReadyTool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ToolDefinitionError(f"there are two HTTP tools with the name {tool.name}: give one another name")
            try:
                schema = ArgumentsSchema(tool.parameters)
            except SchemaError as error:
                raise ToolDefinitionError(f"tool {tool.name}: {error}") from None
            self._tools[tool.name] = _ReadyTool(
                tool, schema, secret_headers(tool.headers, environ, f"tool {tool.name}")
            )
        self._client: httpx2.AsyncClient | None = None
        self._room: asyncio.Semaphore

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    @property
    def tools(self) -> list[HttpTool]:
        """All, in their order."""
        return [each.tool for each in self._tools.values()]

    async def start(self) -> None:
        """Make the client. The certificates take 0.1 s: not on the event loop."""
        if self._client is None and self._tools:
            self._room = asyncio.Semaphore(AT_ONCE)
            self._client = _client(await asyncio.to_thread(httpx2.create_ssl_context))

    async def call(self, name: str, arguments: str) -> ToolResult:
        """One call of a tool that is here; before `start` and behind `close` it fails."""
        ready, client = self._tools[name], self._client
        if client is None:
            return failure("this tool is not there any more")
        try:
            request = request_of(ready.tool, ready.schema.read(arguments))
        except ArgumentsError as error:
            return failure(str(error))
        deadline = asyncio.get_running_loop().time() + ready.tool.timeout
        try:
            async with asyncio.timeout_at(deadline), self._room:
                return await _tried(client, ready, request, deadline)
        except TimeoutError:
            return late(ready.tool.timeout)

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _client(verify: ssl.SSLContext) -> httpx2.AsyncClient:
    no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return httpx2.AsyncClient(
        verify=verify,
        headers={"User-Agent": "antiphon", "Accept": "application/json, text/*;q=0.9, */*;q=0.1"},
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=16, keepalive_expiry=30.0),
        cookies=no_cookies,
    )


async def _tried(client: httpx2.AsyncClient, ready: _ReadyTool, request: HttpRequest, deadline: float) -> ToolResult:
    """As often as may be, as long as the next try begins before `deadline` (of the event loop's clock)."""
    tool, attempt, now = ready.tool, 0, asyncio.get_running_loop().time
    while True:
        try:
            return await _sent(client, ready, request)
        except _AgainError as error:
            if attempt >= tool.retries or not tool.repeats:
                return failure(str(error))
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
            pause = max(pause, error.after) if error.after is not None else pause
            if now() + pause >= deadline:
                return failure(str(error))
            log.info("tool %s: %.100s; asked again in %.1f s", tool.name, error, pause)
            attempt += 1
            await asyncio.sleep(pause)


async def _sent(client: httpx2.AsyncClient, ready: _ReadyTool, request: HttpRequest) -> ToolResult:
    """One try. `_AgainError`."""
    headers = {"Accept-Encoding": "identity", **ready.headers}
    if request.content is not None:
        headers.setdefault("Content-Type", "application/json")
    try:
        sent = client.build_request(request.method, request.url, content=request.content, headers=headers)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await client.send(sent, stream=True, follow_redirects=False)
            try:
                following = _followed(answer)
                if following is None:
                    return await _read(answer)
            finally:
                await answer.aclose()
            sent = following
    except httpx2.TransportError as error:  # its text may name an address, which is for nobody
        raise _AgainError(f"the connection has failed: {type(error).__name__}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        return failure(f"it can't be asked: {type(error).__name__}")
    return failure(f"it redirects more than {MAX_REDIRECTS} times")


def _followed(answer: httpx2.Response) -> httpx2.Request | None:
    """The next request of a redirect within the same origin that keeps its method; None for any other answer."""
    following = answer.next_request
    if following is None or following.method != answer.request.method or following.url.userinfo:
        return None
    here, there = answer.request.url, following.url
    return following if (here.scheme, here.host, here.port) == (there.scheme, there.host, there.port) else None


async def _read(answer: httpx2.Response) -> ToolResult:
    if answer.status_code in _RETRIED:
        raise _AgainError(f"status {answer.status_code}", _seconds(answer.headers.get("retry-after", "")))
    if 300 <= answer.status_code < 400:
        return failure(f"status {answer.status_code}: it redirects elsewhere, which is not followed")
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        return failure(f"status {answer.status_code}: the answer is compressed, which was not asked for")
    kind = answer.headers.get("content-type", "text/plain").lower()
    if not kind.startswith("text/") and not any(each in kind for each in _TEXT_KINDS):
        return failure(f"status {answer.status_code}: the answer is {kind:.60}, which is no text")
    most = _MAX_BYTES if answer.is_success else 4 * MAX_ERROR_OUTPUT
    data = bytearray()
    async for piece in answer.aiter_raw():
        data += piece
        if len(data) > most:
            break
    text = _decoded(bytes(data), answer)
    if answer.is_success:
        return ToolResult(bounded(text.strip()) or f"status {answer.status_code}, without a text")
    return failure(f"status {answer.status_code}: {' '.join(text.split())}".removesuffix(": "))


def _decoded(data: bytes, answer: httpx2.Response) -> str:
    named = (answer.charset_encoding or "").lower().replace("_", "-")
    text = data.decode(named if named in _CHARSETS else "utf-8", "replace")
    return text.replace("\0", "\ufffd")


def _seconds(retry_after: str) -> float | None:
    """What a server asks for, if it does so in seconds; a date, or more than a minute, is taken as a minute."""
    if not retry_after:
        return None
    return min(60.0, float(retry_after)) if retry_after.strip().isdecimal() and len(retry_after) < 9 else 60.0
