"""The two ways to an MCP server, bounded: a child process (stdio), and HTTP. What crosses them is the SDK's.

The SDK's own stdio transport keeps a line without an end in memory, however long it gets, and hands the child's errors
through to ours. This one bounds the line, keeps the last line of errors for the log, and ends the whole process group
of the child in `CLOSE_SECONDS`. Over HTTP the SDK reads JSON answers without a bound: the client that it gets here has
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.cookiejar
import logging
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx2
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from antiphon.runtime import tasks

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs a line for every request
for _each in ("mcp.client.streamable_http", "client"):  # session ids at INFO; messages in tracebacks
    logging.getLogger(_each).setLevel(logging.CRITICAL)

MAX_MESSAGE: Final = 8 * 1024 * 1024
"""Bytes of one message from a server; a longer one ends the connection."""
CLOSE_SECONDS: Final = 1.0
"""That a child has to end by itself once its input is closed, and as long again after SIGTERM, half of it each."""
_INHERITED: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
"""Of our environment; the rest holds secrets that are none of a tool's business."""
_ERROR_LINE: Final = 200
"""Characters of the last line of a child's errors, which is kept."""
_STATUS_SECONDS: Final = 0.2
"""That the status of a child is awaited whose output has ended."""
_MAX_STRANGE: Final = 1000
"""Lines in a row that are no messages; they are left out."""
_READ_SECONDS: Final = 300.0
"""Without a byte on a stream that is held open for notices."""

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class MessageError(Exception):
    """A server has sent more than is taken as one message."""


class ChildProcess:
    """One child and what is known of its end. Owned by the connection that has started it."""

    def __init__(self, command: str, args: tuple[str, ...], env: Mapping[str, str]) -> None:
        """`env`: beside the few variables that every program expects."""
        self.ended = asyncio.Event()
        """It writes no more: it has died, or has sent a message beyond the bound."""
        self.why = ""
        """Of its end, for the log; empty where we have ended it."""
        self._closing = False
        self._command, self._args, self._env = command, args, env
        self._last_error = ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Streams, None]:
        """As the SDK's transports; OSError if there is no such program. Nothing of it is left behind the block."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            self._command,
            *self._args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=inherited | dict(self._env),
            limit=MAX_MESSAGE,
            start_new_session=True,
        )
        received, ours = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        theirs, to_send = anyio.create_memory_object_stream[SessionMessage](0)
        working = [
            asyncio.create_task(self._read(process, received)),
            asyncio.create_task(self._write(process, to_send)),
            asyncio.create_task(self._keep_errors(process)),
        ]
        try:
            yield ours, theirs
        finally:
            self._closing = True
            try:
                with anyio.CancelScope(shield=True):
                    for stream in (ours, theirs):
                        stream.close()
                    await _end(process)
                    _signal_group(process, signal.SIGKILL)  # children of the child
                    await tasks.end(*working)
                    await _drain(process)
            finally:  # also when this task is cancelled natively meanwhile
                _signal_group(process, signal.SIGKILL)
                for task in working:
                    task.cancel()
                for stream_end in (received, to_send):
                    stream_end.close()

    async def _read(
        self, process: asyncio.subprocess.Process, received: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        assert process.stdout is not None
        strange = 0
        try:
            while line := await process.stdout.readline():
                try:
                    message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:  # no message, such as a `print`
                    strange += 1
                    if strange > _MAX_STRANGE:
                        self.why = f"it has sent {strange} lines that are no messages"
                        break
                    await asyncio.sleep(0)
                else:
                    strange = 0
                    await received.send(SessionMessage(message))
        except ValueError:  # of `readline`
            self.why = f"it has sent a line of more than {MAX_MESSAGE} bytes"
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
            pass
        finally:
            by_itself = not self._closing
            received.close()  # the SDK then fails what waits for an answer
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STATUS_SECONDS):
                    await process.wait()
            status = "its output has ended" if process.returncode is None else f"it ended with {process.returncode}"
            if by_itself and not self.why:
                self.why = f"{status}; its last line of errors: {self._last_error or '(none)'}"
            self.ended.set()

    async def _write(
        self, process: asyncio.subprocess.Process, to_send: MemoryObjectReceiveStream[SessionMessage]
    ) -> None:
        assert process.stdin is not None
        with contextlib.suppress(anyio.ClosedResourceError, ConnectionError, RuntimeError):
            async for each in to_send:
                process.stdin.write(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await process.stdin.drain()

    async def _keep_errors(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        rest = b""
        while piece := await process.stderr.read(4096):
            *lines, rest = (rest + piece).split(b"\n")
            rest = rest[:_ERROR_LINE]
            said = [line for line in lines if any(letter.isalnum() for letter in line.decode("utf-8", "replace"))]
            if said:
                self._last_error = said[-1].decode("utf-8", "replace").strip()[:_ERROR_LINE]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Its input ends, which tells it to end; then SIGTERM to all of its group."""
    if process.stdin is not None:
        process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS / 2):
                await process.wait()
                return
        _signal_group(process, number)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS / 2):
            await process.wait()


async def _drain(process: asyncio.subprocess.Process) -> None:
    """To the end of its output, which closes the pipe: one that is paused, because it was full, sees no end."""
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS / 2):
                while await stream.read(65536):
                    pass


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def bounded_client(
    headers: Mapping[str, str], transport: httpx2.AsyncBaseTransport | None = None
) -> httpx2.AsyncClient:
    """The HTTP client for one MCP server; made anew for each connection, off the event loop (certificates).

    `transport`: what makes the connections; None: the usual one.
    """
    no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return _BoundedClient(
        headers={"User-Agent": "antiphon", **headers},
        timeout=httpx2.Timeout(30.0, connect=5.0, read=_READ_SECONDS),
        cookies=no_cookies,
        transport=transport,
    )


class _BoundedClient(httpx2.AsyncClient):
    """Owned by the connection to one server, used on the event loop."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """One request, whose answer is bounded unless it is a stream of events, which the SDK bounds."""
        stream = options.pop("stream", False)
        request.headers["Accept-Encoding"] = "identity"
        answer = await super().send(request, stream=True, **options)
        try:
            if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                raise httpx2.DecodingError("the answer is compressed, which was not asked for", request=request)
            if not answer.headers.get("content-type", "").lower().startswith("text/event-stream"):
                assert isinstance(answer.stream, httpx2.AsyncByteStream)
                answer.stream = _BoundedStream(answer.stream)
            if not stream:
                await answer.aread()
        except BaseException:
            await answer.aclose()
            raise
        return answer


class _BoundedStream(httpx2.AsyncByteStream):
    """The body of one answer; owned by it."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._stream:
            read += len(piece)
            if read > MAX_MESSAGE:
                raise httpx2.ReadError(f"a message of more than {MAX_MESSAGE} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
