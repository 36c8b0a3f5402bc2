"""One MCP server as this process uses it: connected, its tools listed, called, and connected again when it is lost.

A task holds the connection, because the SDK's contexts end in the task that has begun them. It waits for news: the
connection has ended, the tools have changed, a call was late. Late calls and changes have it list the tools again; a
server that does not answer that within `LIST_SECONDS` is taken as lost, and started or connected to again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import mcp_types
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import OncePerChange
from antiphon.runtime.tools.arguments import ArgumentsError, ArgumentsSchema, SchemaError
from antiphon.runtime.tools.definitions import MAX_DESCRIPTION, McpServer, secret_env, secret_headers
from antiphon.runtime.tools.mcp_transport import MAX_MESSAGE, ChildProcess, bounded_client
from antiphon.runtime.tools.tool_result import ToolResult, bounded, failure, late

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 40.0
"""For the start of a server and its first list; a command may load a lot."""
LIST_SECONDS: Final = 5.0
"""For a list of the tools of a server that is connected."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds between two tries to connect; doubled from the first on."""
STEADY_SECONDS: Final = 30.0
"""A connection that has lasted so long was good: the next try comes after `FIRST_PAUSE` again."""
MAX_TOOLS: Final = 128
"""Of one server; the rest is left out."""
MAX_PAGES: Final = 20
"""Of one list."""
MAX_SCHEMA: Final = 16 * 1024
"""Characters of one tool's schema; a tool with a longer one is left out."""
AT_ONCE: Final = 32
"""Calls of one server; a further one waits, within its time limit."""
_BETWEEN_LISTS: Final = 0.5
"""Seconds, however often a server says that its tools have changed."""
_CLOSE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class McpTool:
    """A tool as its server lists it. A value."""

    name: str
    description: str
    parameters: dict[str, Any]
    schema: ArgumentsSchema | None
    """None: its schema can't be read here, and the server checks."""
    read_only: bool = False
    """The server says that it changes nothing (`readOnlyHint`)."""


class McpConnection:
    """Owned by a tool set, for its life; used on the event loop, by any task."""

    def __init__(
        self,
        server: McpServer,
        on_change: Callable[[], None],
        environ: Mapping[str, str],
        client: Callable[[Mapping[str, str]], httpx2.AsyncClient] = bounded_client,
    ) -> None:
        """`on_change`: the tools are others now. `client`: makes the HTTP client for these headers, in a thread.

        `ToolDefinitionError` for a secret that is not there.
        """
        self._http_client = client
        self.server = server
        self.tools: dict[str, McpTool] = {}
        """Those that were listed last, by the server's names: kept while it is lost."""
        self._headers = secret_headers(server.headers, environ, f"MCP server {server.name}")
        self._env = secret_env(server, environ)
        self._on_change = on_change
        self._client: Client | None = None
        self._changed, self._lost, self._stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._tried = asyncio.Event()
        """The first try has ended, well or not."""
        self._room = asyncio.Semaphore(AT_ONCE)
        self._log = OncePerChange(log)
        self._task: asyncio.Task[None] | None = None
        self._why_not = ""

    @property
    def why_not(self) -> str:
        """Of the last try to connect; empty: there was none, or it went well."""
        return self._why_not

    @property
    def connected(self) -> bool:
        """Its tools can be called now."""
        return self._client is not None

    async def start(self, within: float) -> None:
        """Connect; returns when the tools are listed, the first try has failed, or so many seconds have passed.

        It goes on trying.
        """
        self._task = self._task or asyncio.create_task(self._run(), name=f"MCP server {self.server.name}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._tried.wait()

    async def call(self, name: str, arguments: str) -> ToolResult:
        """One call of a tool of `tools`."""
        client, tool, timeout = self._client, self.tools[name], self.server.timeout
        if client is None:
            return failure(f"the server {self.server.name} can't be reached now")
        try:
            given = _read(tool, arguments)
        except ArgumentsError as error:
            return failure(str(error))
        parameters = mcp_types.CallToolRequestParams(name=name, arguments=given)
        try:
            async with asyncio.timeout(timeout), self._room:
                # not `call_tool`: that checks outputs by the server's own patterns, which may take for ever
                answer = await client.session.send_request(
                    mcp_types.CallToolRequest(params=parameters), mcp_types.CallToolResult
                )
        except TimeoutError:
            self._changed.set()  # does it live?
            return late(timeout)
        except MCPError as error:
            if error.code == mcp_types.REQUEST_TIMEOUT:
                self._changed.set()
                return late(timeout)
            if error.code == mcp_types.CONNECTION_CLOSED:
                self._lost.set()
                return failure("the server has ended before it gave a result")
            self._changed.set()  # an unknown session, or an unknown tool
            return failure(f"the server refuses: {error.message}")
        except Exception as error:  # what a stranger sends makes the SDK raise many things
            self._changed.set()
            log.info("MCP server %s: %s gave no result: %s", self.server.name, name, type(error).__name__)
            return failure("the server's answer can't be read")
        return ToolResult(_text_of(answer), failed=bool(answer.is_error))

    async def close(self) -> None:
        """End the connection, and with it the child process."""
        self._stopping.set()
        self._lost.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
            await tasks.end(self._task)

    # ---- the task that holds the connection

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began, why = time.monotonic(), "the connection has ended"
            self._lost.clear()
            child = ChildProcess(self.server.command, self.server.args, self._env) if self.server.command else None
            try:
                await self._connected(child)
            except (Exception, BaseExceptionGroup) as error:
                why = _why(error)
                self._why_not = why
            finally:
                self._client = None
                self._tried.set()
            if self._stopping.is_set():
                return
            why = child.why if child is not None and child.why else why
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY_SECONDS else pause
            self._log.say(f"MCP server {self.server.name} can't be used now, its tools fail: {why:.300}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _connected(self, child: ChildProcess | None) -> None:
        """One connection, from its beginning to its end. `child`: None over HTTP."""
        watching: list[asyncio.Task[Any]] = []
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(CONNECT_SECONDS):
                transport = child.running() if child is not None else self._over_http()
                client = await stack.enter_async_context(
                    Client(
                        transport,
                        read_timeout_seconds=CONNECT_SECONDS,
                        message_handler=self._received,
                        client_info=mcp_types.Implementation(name="antiphon", version="1"),
                        cache=None,
                    )
                )
                await self._list(client)
            self._client, self._why_not = client, ""
            self._tried.set()
            self._log.say(f"MCP server {self.server.name}: {len(self.tools)} tools", level=logging.INFO)
            watching.append(asyncio.create_task(self._listen(client)))
            if child is not None:
                watching.append(asyncio.create_task(self._watch(child)))
            try:
                while not self._lost.is_set():
                    await self._news()
                    if self._changed.is_set() and not self._lost.is_set():
                        self._changed.clear()
                        async with asyncio.timeout(LIST_SECONDS):
                            await self._list(client)
                        await asyncio.sleep(_BETWEEN_LISTS)
            finally:
                self._client = None
                await tasks.end(*watching)

    async def _news(self) -> None:
        """Until something has changed or the connection is lost."""
        waiting = [asyncio.create_task(each.wait()) for each in (self._changed, self._lost)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await tasks.end(*waiting)

    @asynccontextmanager
    async def _over_http(self) -> AsyncIterator[Any]:
        http = await asyncio.to_thread(self._http_client, self._headers)
        async with (
            http,
            streamable_http_client(self.server.url, http_client=http, max_sse_event_size=MAX_MESSAGE) as streams,
        ):
            yield streams

    async def _watch(self, child: ChildProcess) -> None:
        await child.ended.wait()
        self._lost.set()

    async def _listen(self, client: Client) -> None:
        """Changes of the tools, as servers of the newest protocol tell them; older ones send a notice unasked."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    self._changed.set()  # what has changed before it began to listen
                    async for _ in changes:
                        self._changed.set()
            except ListenNotSupportedError:
                return
            except (MCPError, SubscriptionLost, TimeoutError) as error:
                if isinstance(error, MCPError) and error.code == mcp_types.METHOD_NOT_FOUND:
                    return
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _received(self, message: Any) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._changed.set()

    async def _list(self, client: Client) -> None:
        """All pages of the tools, as far as they are taken."""
        listed: dict[str, McpTool] = {}
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="bypass")
            for tool in page.tools:
                if len(listed) < MAX_TOOLS and (self.server.allow is None or tool.name in self.server.allow):
                    self._add(listed, tool)
            cursor = page.next_cursor
            if cursor is None or len(listed) >= MAX_TOOLS:
                break
        missing = [name for name in self.server.allow or () if name not in listed]
        if missing:
            self._log.say(f"MCP server {self.server.name} has no tool {', '.join(missing):.200}", "missing")
        same = {name: (tool.description, tool.parameters) for name, tool in listed.items()} == {
            name: (tool.description, tool.parameters) for name, tool in self.tools.items()
        }
        self.tools = listed
        if not same:
            self._on_change()

    def _add(self, listed: dict[str, McpTool], tool: mcp_types.Tool) -> None:
        where = f"MCP server {self.server.name}: tool {tool.name:.64}"
        parameters = tool.input_schema
        if parameters.get("type") != "object" or len(json.dumps(parameters)) > MAX_SCHEMA:
            self._log.say(f"{where} is left out: its arguments are no object, or their schema is too long", tool.name)
            return
        try:
            schema = ArgumentsSchema(parameters)
        except SchemaError as error:
            self._log.say(f"{where}: the server alone checks its arguments: {error}", tool.name, logging.INFO)
            schema = None
        read_only = tool.annotations is not None and tool.annotations.read_only_hint is True
        description = (tool.description or "")[:MAX_DESCRIPTION]
        listed[tool.name] = McpTool(tool.name, description, parameters, schema, read_only)


def _read(tool: McpTool, arguments: str) -> dict[str, Any]:
    anything = ArgumentsSchema({"type": "object"})
    return (tool.schema or anything).read(arguments)


def _text_of(answer: mcp_types.CallToolResult) -> str:
    """What a model can read of it; what it can't is named."""
    texts: list[str] = []
    for part in answer.content:
        match part:
            case mcp_types.TextContent():
                texts.append(part.text)
            case mcp_types.ResourceLink():
                texts.append(f"({part.name}: {part.uri})")
            case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents() as resource):
                texts.append(resource.text)
            case _:
                texts.append(f"({part.type}, which can't be read here)")
    text = "\n".join(filter(None, texts))
    if not text and answer.structured_content is not None:
        text = json.dumps(answer.structured_content, ensure_ascii=False)
    return bounded(text.replace("\0", "\ufffd") or "(nothing)")


def _why(error: BaseException) -> str:
    """The first cause, in few words: groups of the SDK hold groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "it does not answer"
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
