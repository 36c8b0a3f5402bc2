"""A NATS client that notices every connection that no longer works, and makes another one: nats-py's, changed.

The changes, and what nats-py does instead:

- A PONG that comes after the time-out of its `flush` is ignored. nats-py raises, which ends its reading task.
- A callback or a line of the server that raises is reported. In nats-py it ends the reading task.
- When one of the connection's own tasks has ended, the client reconnects.
- When the server does not answer for `liveness.SILENT_SECONDS`, the client reconnects, however full the send buffer
  is, and drops what is in that buffer. nats-py waits for the kernel's time-out, a quarter of an hour.
- An error that the server reports never ends the client. nats-py ends without another attempt.
- A request or a flush that waits when the connection is lost fails at once, with a time-out.
- The credential is read from its file at each connection, so a new one is used at the next.
- Where TLS is set, a server without it is refused. nats-py goes on in clear.
- Frames are read where the socket is read, if that is asked for (`frame_reader`).
- What the server does not allow is kept in `refused`, with the subject as it was written.

What is sent and received over the connection is in `client`. Only these two files and `callbacks` use private names of
nats-py.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from typing import Any, Final

from nats import errors
from nats.aio.client import Client, Srv
from nats.protocol.parser import AUTHORIZATION_VIOLATION, STALE_CONNECTION

from antiphon.runtime.nats.access import OPEN, Access, AccessError
from antiphon.runtime.nats.bounded_parser import MAX_LINE, BoundedParser
from antiphon.runtime.nats.connection_errors import (
    CredentialError,
    EndedTaskError,
    GreetingError,
    NoTlsError,
    RefusedError,
    ServerCertificateError,
    SilentServerError,
    refusal,
    refused_subject,
)
from antiphon.runtime.nats.frame_reader import FrameReader, Handler
from antiphon.runtime.nats.liveness import TICK_SECONDS, Liveness, Patience, Verdict
from antiphon.runtime.nats.transport import CONNECT_SECONDS, BusTransport

log = logging.getLogger(__name__)

GREETING_SECONDS: Final = 3 * CONNECT_SECONDS
"""Seconds for all steps after the TCP connection."""
CLOSE_SECONDS: Final = 1.0
"""Seconds that a closing connection has for sending what was written."""
RECHECK_SECONDS: Final = 0.1
"""From the end of one of the connection's tasks to the check whether the connection is still in use."""
CANCELLED_SECONDS: Final = 1.0
"""Likewise when the task was cancelled: the loop ends within that time, or the cancellation was a mistake."""
MAX_REFUSED: Final = 64
"""Subjects in `ReconnectingClient.refused`; further ones are reported only."""
_PING: Final = b"PING\r\n"


class ReconnectingClient(Client):
    """The connection, from `connect` to `close`. Owned by its process; called on the loop that made it only."""

    def __init__(self, access: Access = OPEN, patience: Patience | None = None, reads_frames: bool = False) -> None:
        """`reads_frames`: a `FrameReader` stands before nats-py, for the handlers in `frames`."""
        super().__init__()
        self.frames: dict[bytes, Handler] | None = {} if reads_frames else None
        """By a subscription's number: what its messages go to, past nats-py; the same on each further connection."""
        self.refused: dict[tuple[str, str], RefusedError] = {}
        """What the server did not allow on this connection, by verb and subject; `MAX_REFUSED` at most."""
        self._access, self._patience = access, patience
        self.liveness = Liveness(patience)
        self._ps = BoundedParser(self)
        self._reconnecting: set[asyncio.Task[None]] = set()

    async def connect(self, *arguments: Any, **options: Any) -> None:
        """As nats-py's, as the `Access` says. A failure or cancellation leaves no connection behind."""
        options["inbox_prefix"] = self._access.inbox_prefix
        if self._access.credentials is not None:
            options["signature_cb"] = self._sign
        if (tls := self._access.tls()) is not None:
            options["tls"] = tls
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
            self._transport = BusTransport(None if self.frames is None else self._in_front)
        await self._transport.connect(s.uri, MAX_LINE, CONNECT_SECONDS)

    def _in_front(self, protocol: asyncio.Protocol) -> asyncio.BaseProtocol:
        handlers = self.frames if self.frames is not None else {}
        return FrameReader(protocol, handlers, lambda: self.liveness.bytes_received())

    async def _select_next_server(self) -> None:
        """The server whose last attempt is the oldest: not the one that was lost just now, if there is another."""
        if not self.options["allow_reconnect"]:  # one attempt, whose error is the answer
            self._current_server = self._server_pool[0]
            await self._connect_to_server(self._current_server)
            return
        self._server_pool.sort(key=lambda server: server.last_attempt or 0.0)
        await super()._select_next_server()

    def _sign(self, nonce: str) -> bytes:
        from antiphon.runtime.nats import nkeys

        credential = self._access.credential()
        self._public_nkey = nkeys.public_key(credential.seed)
        jwt = credential.jwt
        self._user_jwt_cb = (lambda: bytearray(jwt.encode())) if jwt else None
        return nkeys.signature(credential.seed, nonce)

    def _refusal(self) -> CredentialError:
        server = self._current_server
        return refusal(self._access, server is not None and bool(server.uri.username))

    async def _process_connect_init(self) -> None:
        self.liveness = Liveness(self._patience)
        self._ps.reset()
        self.refused.clear()
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                await super()._process_connect_init()
        except AccessError as error:
            raise CredentialError(str(error)) from None
        except errors.Error as error:
            if AUTHORIZATION_VIOLATION in str(error).lower():
                raise self._refusal() from None
            raise
        except ssl.SSLError as error:
            raise ServerCertificateError(self._access, error) from None
        except OSError:
            raise
        except Exception as error:  # such as a line that is too long, or JSON that is no object
            raise GreetingError(f"nats: the server's greeting cannot be used: {error!r}") from error
        mine = [self._reading_task, self._ping_interval_task, self._flusher_task]
        if self.is_connecting:  # the first line was no PONG
            if self._transport is None or self._transport.at_eof():
                for task in mine:
                    if task is not None:
                        task.cancel()
                raise errors.UnexpectedEOF
            self._status = Client.CONNECTED  # another line came before the PONG; the next ping decides
        for task in mine:
            if task is not None:
                task.add_done_callback(self._task_ended)

    async def _ping_interval(self) -> None:
        """The connection's third task, besides those that read and write."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            match self.liveness.tick(loop.time()):
                case Verdict.PING:
                    await self._send_ping()
                case Verdict.SILENT | Verdict.NO_PONG as verdict:
                    error = SilentServerError(verdict)
                    await self._error_cb(error)
                    await self._process_op_err(error)
                    return

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        """One of the connection's three tasks has ended, by a failure, by a cancellation or because it was replaced."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("nats: a task of the connection has failed", exc_info=error)
        wait = CANCELLED_SECONDS if task.cancelling() else RECHECK_SECONDS
        if self._is_current(task):
            task.get_loop().call_later(wait, self._reconnect_if_current, task)

    def _is_current(self, task: asyncio.Task[Any]) -> bool:
        """The task's connection is in use: it was neither closed nor replaced."""
        return self.is_connected and task in (self._reading_task, self._ping_interval_task, self._flusher_task)

    def _reconnect_if_current(self, ended: asyncio.Task[Any]) -> None:
        if self._is_current(ended):
            reconnecting = ended.get_loop().create_task(self._reconnect())
            self._reconnecting.add(reconnecting)
            reconnecting.add_done_callback(self._reconnecting.discard)

    async def _reconnect(self) -> None:
        error = EndedTaskError()
        await self._error_cb(error)
        await self._process_op_err(error)

    async def _attempt_reconnect(self) -> None:
        """Try until there is a connection or the client is closed; report every failure."""
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
            done = self.is_closed or self.is_connected
            if done or this.cancelling() or self._reconnection_task is not this:
                return
            self._status = Client.RECONNECTING
            await asyncio.sleep(self.options["reconnect_time_wait"])

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """As nats-py's, in bounded time, also when the server reads nothing."""
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
        """End all requests and flushes that wait for an answer over this connection, with a time-out."""
        waiting, self._pongs = [*self._pongs, *getattr(self, "_resp_map", {}).values()], []
        for future in waiting:
            if not future.done():
                future.set_exception(TimeoutError())
                future.exception()  # marks it as retrieved, if its task has gone

    # ---- what the server says about the connection ---------------------------------------------------

    async def _process_pong(self) -> None:
        self.liveness.pong_received()
        if self._pongs:
            future = self._pongs.pop(0)
            self._pongs_received += 1
            if not future.done():  # else its flush has timed out
                future.set_result(True)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and not info.get("tls_required") and self._must_encrypt():
            if not info.get("tls_available"):
                raise NoTlsError
            info["tls_required"] = True
        try:
            await super()._process_info(info, initial_connection)
        except Exception as error:
            if initial_connection:
                raise
            log.error("nats: an INFO line could not be used", exc_info=error)

    async def _process_err(self, err_msg: str) -> None:
        """Report it. If the error ends the connection, the server closes it, and the client reconnects."""
        if (refused := self._refused_by(err_msg)) is not None:
            self._err = refused
            if len(self.refused) < MAX_REFUSED:
                self.refused[refused.verb, refused.subject] = refused
        elif AUTHORIZATION_VIOLATION in err_msg or "authentication" in err_msg:
            self._err = self._refusal()
        elif STALE_CONNECTION in err_msg:
            self._err = errors.StaleConnectionError()
        else:
            self._err = errors.Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(self._err)

    def _refused_by(self, err_msg: str) -> RefusedError | None:
        """None: the error is no refusal. The parser makes small letters of it; what was received is in its buffer."""
        received = re.match(rb"-ERR\s+([^\r\n]*)", bytes(self._ps.buf[:MAX_LINE]))
        text = received[1].decode(errors="replace") if received is not None else err_msg
        return refused_subject(self._access.who, text)

    def _must_encrypt(self) -> bool:
        uri = self._current_server.uri if self._current_server is not None else None
        return self._access.uses_tls and (uri is None or uri.scheme not in ("ws", "wss"))

    # ---- asking whether it is there ----------------------------------------------------------------

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        """Write a ping behind all earlier commands, without waiting for room in the send buffer."""
        assert self._transport is not None, "Client.connect must be called first"
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        pending, self._pending, self._pending_data_size = self._pending, [], 0
        self._transport.write(b"".join([*pending, _PING]))
        if not isinstance(self._transport, BusTransport):
            await self._transport.drain()  # type: ignore[no-untyped-call]  # a WebSocket writes only then

    async def flush(self, timeout: float = 10) -> None:
        """Return when the server has all earlier commands.

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
