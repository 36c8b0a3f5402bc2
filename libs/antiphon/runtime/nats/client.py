"""The NATS client of every process: nats-py's, so that a connection which no longer works never looks as if it did.

What is different, and what happened without it:

- A PONG whose `flush` was given up is ignored. In nats-py it raises, and the task that reads ends for good.
- A message, a callback or a line of the server that raises is reported. In nats-py it ends the task that reads.
- When one of the connection's own tasks has ended, the connection is made anew.
- A server that does not answer is given up after `liveness.SILENT_SECONDS`, however full our send buffer is; what is
  in that buffer is thrown away. nats-py waits until the kernel gives up, a quarter of an hour later.
- An error that the server reports never ends the client. In nats-py it does, without another attempt.
- While the server takes nothing, what is published is bounded by `MAX_UNSENT`.
- A request or a flush that waits when the connection is lost fails at once, with a time-out.

`connection.connect` and `connection.connect_once` make such clients; nothing else does
(`tests/schemas/test_architecture.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import ParseResult

from nats import errors
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.aio.subscription import (
    DEFAULT_SUB_PENDING_BYTES_LIMIT,
    DEFAULT_SUB_PENDING_MSGS_LIMIT,
    Subscription,
)
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AUTHORIZATION_VIOLATION, AWAITING_CONTROL_LINE, STALE_CONNECTION, Parser

from antiphon.runtime.nats.liveness import TICK_SECONDS, Liveness, Verdict

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 2.0
"""For each step of connecting: the TCP connection, the server's greeting, TLS, the answer to our CONNECT."""
GREETING_SECONDS: Final = 3 * CONNECT_SECONDS
"""For all steps after the TCP connection."""
CLOSE_SECONDS: Final = 1.0
"""What a connection that is closed may still take to send what was written."""
MAX_UNSENT: Final = 4 << 20
"""Bytes that wait for the server to take them. More: `publish` waits `ROOM_SECONDS` and raises."""
ROOM_SECONDS: Final = 0.1
MAX_LINE: Final = 64 << 10
"""Bytes of a line that is not understood yet. The longest of a server, INFO, names its neighbours."""
MAX_MESSAGE: Final = (64 << 20) + MAX_LINE
"""Octets that a message may announce; NATS itself has 64 MiB as the highest limit."""
LOOK_AGAIN_SECONDS: Final = 0.1
ENDING_SECONDS: Final = 1.0
"""After a task of the connection was cancelled: either the loop has ended by then, or the cancelling was a mistake."""
_PING: Final = b"PING\r\n"
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: the kernel throws away what it has not sent, and resets the connection."""


class SilentServerError(errors.StaleConnectionError):
    """The server, or the way to it, does not answer."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def __str__(self) -> str:
        return f"nats: {self._verdict.value}, the connection is given up"


class EndedTaskError(errors.Error):
    """A task of the connection has ended although the connection stands."""

    def __str__(self) -> str:
        return "nats: the connection is no longer read, written or watched"


class Greeting(errors.Error):
    """The server does not talk as a NATS server does."""


class _BoundedParser(Parser):
    """nats-py's parser, which tells that bytes came and does not wait for an end that never comes."""

    nc: BusClient

    async def parse(self, data: bytes = b"") -> None:
        if data:
            self.nc.liveness.heard()
        await super().parse(data)
        if self.state == AWAITING_CONTROL_LINE:
            if len(self.buf) > MAX_LINE:
                raise errors.ProtocolError
        elif self.needed > MAX_MESSAGE:
            raise errors.ProtocolError


class BusTransport(TcpTransport):
    """A TCP or TLS connection that can be cut off, whatever waits in its buffers. Owned by one client."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._attempts = 0
        self._cut = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:
        """To one address of the name. Each attempt begins with another one: the first may be a black hole."""
        self.abort()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(connect_timeout):
            found = await loop.getaddrinfo(uri.hostname, uri.port, type=socket.SOCK_STREAM)
        first = self._attempts % len(found)
        self._attempts += 1
        failure: OSError = OSError(f"{uri.hostname} has no address")
        for family, kind, protocol, _, address in [*found[first:], *found[:first]]:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.setblocking(False)
                async with asyncio.timeout(connect_timeout / len(found)):
                    await loop.sock_connect(connection, address)
                    reader, writer = await asyncio.open_connection(sock=connection, limit=buffer_size)
            except OSError as error:  # a time-out is one
                connection.close()
                failure = error if str(error) else TimeoutError(f"no answer from {uri.hostname}")
            except BaseException:
                connection.close()
                raise
            else:
                self._bare_io_reader = self._io_reader = reader
                self._bare_io_writer = self._io_writer = writer
                self._cut = False
                return
        raise failure

    def abort(self) -> None:
        """Cut the connection now. A close would wait until the far end has taken what is in the buffers."""
        self._cut = True
        for writer in (self._io_writer, self._bare_io_writer):
            if writer is not None:
                with contextlib.suppress(OSError, AttributeError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    async def drain(self) -> None:
        try:
            await super().drain()  # type: ignore[no-untyped-call]
        except OSError:
            if not self._cut:  # else it was meant
                raise

    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._io_writer.transport.get_write_buffer_size() if self._io_writer is not None else 0


class BusClient(Client):
    """One connection, from `connect` to `close`, of the loop in which it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.liveness = Liveness()
        self.dropped = 0
        """Messages that were refused because the server did not take those before them."""
        self._ps = _BoundedParser(self)
        self._again: set[asyncio.Task[None]] = set()

    # ---- the connection --------------------------------------------------------------------------------

    async def connect(self, *arguments: Any, **options: Any) -> None:
        """As nats-py's. What is not finished, because of a failure or a cancellation, leaves no connection behind."""
        try:
            await super().connect(*arguments, **options)
        except BaseException:
            if isinstance(self._transport, BusTransport):
                self._transport.abort()
            raise

    async def _connect_to_server(self, s: Srv) -> None:
        if s.uri.scheme in ("ws", "wss"):
            await super()._connect_to_server(s)
            return
        s.last_attempt = time.monotonic()
        if not isinstance(self._transport, BusTransport):
            self._transport = BusTransport()
        await self._transport.connect(s.uri, MAX_LINE, CONNECT_SECONDS)

    async def _select_next_server(self) -> None:
        """The one that was tried longest ago first: not the one that has just been lost, where there is another."""
        if not self.options["allow_reconnect"]:  # one attempt, whose error is the answer
            self._current_server = self._server_pool[0]
            await self._connect_to_server(self._current_server)
            return
        self._server_pool.sort(key=lambda server: server.last_attempt or 0.0)
        await super()._select_next_server()

    async def _process_connect_init(self) -> None:
        self.liveness = Liveness()
        self._ps.reset()
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                await super()._process_connect_init()
        except (OSError, errors.Error):
            raise
        except Exception as error:  # a line that is too long, JSON that is no object, ...
            raise Greeting(f"nats: the server's greeting cannot be used: {error!r}") from error
        mine = [self._reading_task, self._ping_interval_task, self._flusher_task]
        if self.is_connecting:  # what came was no PONG
            if self._transport is None or self._transport.at_eof():
                for task in mine:
                    if task is not None:
                        task.cancel()
                raise errors.UnexpectedEOF
            self._status = Client.CONNECTED  # another line of the server was faster; the next ping will tell
        for task in mine:
            if task is not None:
                task.add_done_callback(self._task_ended)

    async def _ping_interval(self) -> None:
        """The connection's third task, beside the one that reads and the one that writes."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            match self.liveness.tick(loop.time()):
                case Verdict.PING:
                    await self._send_ping()
                case Verdict.SILENT | Verdict.DEAF as verdict:
                    error = SilentServerError(verdict)
                    await self._error_cb(error)
                    await self._process_op_err(error)
                    return

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        """Of the three; on purpose, or because it failed."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("nats: a task of the connection has failed", exc_info=error)
        wait = ENDING_SECONDS if task.cancelling() else LOOK_AGAIN_SECONDS
        if self._is_standing(task):
            task.get_loop().call_later(wait, self._make_anew, task)

    def _is_standing(self, task: asyncio.Task[Any]) -> bool:
        """The connection that the task belongs to is the present one, and nobody is closing or renewing it."""
        return self.is_connected and task in (self._reading_task, self._ping_interval_task, self._flusher_task)

    def _make_anew(self, ended: asyncio.Task[Any]) -> None:
        if self._is_standing(ended):
            again = ended.get_loop().create_task(self._renew())
            self._again.add(again)
            again.add_done_callback(self._again.discard)

    async def _renew(self) -> None:
        error = EndedTaskError()
        await self._error_cb(error)
        await self._process_op_err(error)

    async def _attempt_reconnect(self) -> None:
        """Until there is a connection, or the client is closed; whatever fails on the way is reported."""
        this = asyncio.current_task()
        assert this is not None
        while True:
            self._fail_waiting()
            if isinstance(self._transport, BusTransport):
                self._transport.abort()
            try:
                await super()._attempt_reconnect()
            except Exception as error:
                await self._error_cb(error)
            settled = self.is_closed or self.is_connected
            if settled or this.cancelling() or self._reconnection_task is not this:
                return
            self._status = Client.RECONNECTING
            await asyncio.sleep(self.options["reconnect_time_wait"])

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """In bounded time, also when nobody takes what was written last."""
        cut = None
        if isinstance(self._transport, BusTransport):
            cut = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)
        try:
            await super()._close(status, do_cbs)
        finally:
            if cut is not None:
                cut.cancel()
            self._fail_waiting()

    def _fail_waiting(self) -> None:
        """Who waits for an answer over this connection gets none."""
        waiting, self._pongs = [*self._pongs, *getattr(self, "_resp_map", {}).values()], []
        for future in waiting:
            if not future.done():
                future.set_exception(TimeoutError())
                future.exception()  # perhaps nobody waits: then that is no news

    # ---- what the server says --------------------------------------------------------------------------

    async def _process_pong(self) -> None:
        self.liveness.answered()
        if self._pongs:
            future = self._pongs.pop(0)
            self._pongs_received += 1
            if not future.done():  # its flush was given up meanwhile
                future.set_result(True)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception as error:  # this message only: the parser stands behind it already
            log.error("nats: a message could not be handed on", exc_info=error)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        try:
            await super()._process_info(info, initial_connection)
        except Exception as error:
            if initial_connection:
                raise
            log.error("nats: an INFO line could not be used", exc_info=error)

    async def _process_err(self, err_msg: str) -> None:
        """Reported. Where the error ends the connection the server closes it, and it is made anew."""
        if AUTHORIZATION_VIOLATION in err_msg:
            self._err = errors.AuthorizationError()
        elif STALE_CONNECTION in err_msg:
            self._err = errors.StaleConnectionError()
        else:
            self._err = errors.Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(self._err)

    # ---- what we say -----------------------------------------------------------------------------------

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        """Behind everything that was said before, and without waiting for room in the send buffer."""
        assert self._transport is not None, "Client.connect must be called first"
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        pending, self._pending, self._pending_data_size = self._pending, [], 0
        self._transport.write(b"".join([*pending, _PING]))
        if not isinstance(self._transport, BusTransport):
            await self._transport.drain()  # type: ignore[no-untyped-call]  # a WebSocket writes then only

    async def flush(self, timeout: float = 10) -> None:
        """Return when the server has all that was said before.

        `ConnectionReconnectingError` while there is no connection, `FlushTimeoutError` after `timeout` seconds or
        when the connection is lost meanwhile.
        """
        if timeout <= 0:
            raise errors.BadTimeoutError
        if self.is_closed:
            raise errors.ConnectionClosedError
        if not self.is_connected or self._reading_task is None or self._reading_task.done():
            raise errors.ConnectionReconnectingError
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            # Not by `wait_for`, which may lose a cancellation before Python 3.12.
            async with asyncio.timeout(timeout):
                await self._send_ping(answer)
                await answer
        except TimeoutError:
            raise errors.FlushTimeoutError from None

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """`OutboundBufferLimitError` while there is no connection, or the server does not take what was said before."""
        if self.is_connected and self._unsent() > MAX_UNSENT:
            await self._wait_for_room()
        await super().publish(subject, payload, reply, headers)

    async def _wait_for_room(self) -> None:
        deadline = time.monotonic() + ROOM_SECONDS
        while self.is_connected and self._unsent() > MAX_UNSENT:
            if time.monotonic() >= deadline:
                self.dropped += 1
                raise errors.OutboundBufferLimitError
            await asyncio.sleep(ROOM_SECONDS / 10)

    def _unsent(self) -> int:
        waiting = self._transport.unsent() if isinstance(self._transport, BusTransport) else 0
        return self._pending_data_size + waiting

    async def subscribe(
        self,
        subject: str,
        queue: str = "",
        cb: Callable[[Msg], Awaitable[None]] | None = None,
        future: asyncio.Future[Any] | None = None,
        max_msgs: int = 0,
        pending_msgs_limit: int = DEFAULT_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_SUB_PENDING_BYTES_LIMIT,
    ) -> Subscription:
        """A callback that ends in a cancellation of something it waited for does not end its subscription."""
        contained = None if cb is None else _contained(subject, cb)
        return await super().subscribe(
            subject, queue, contained, future, max_msgs, pending_msgs_limit, pending_bytes_limit
        )


def _contained(subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Callable[[Msg], Awaitable[None]]:
    async def call(message: Msg) -> None:
        try:
            await callback(message)
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is None or this.cancelling():
                raise
            log.error("nats: what the callback of %s waited for was cancelled", subject)

    return call


async def stop_answering(client: Client, subscription: Subscription) -> None:
    """End a subscription that answers requests: those that the server has already delivered are still answered.

    `Subscription.unsubscribe` drops them, and their senders wait for their whole time limit. Ends without an error
    in every state of the connection.
    """
    try:
        await subscription.drain()  # type: ignore[no-untyped-call]
    except (errors.Error, TimeoutError):  # no connection, or one that pauses
        client._remove_sub(subscription._id)
        subscription._stop_processing()
        with contextlib.suppress(errors.Error, OSError):
            await client._send_unsubscribe(subscription._id)
