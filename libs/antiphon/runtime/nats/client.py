"""The NATS client of every process: nats-py's, changed so that it notices every connection that no longer works.

The changes, and what nats-py does instead:

- A PONG that comes after the time-out of its `flush` is ignored. nats-py raises, which ends its reading task.
- A message, a callback or a line of the server that raises is reported. In nats-py it ends the reading task.
- When one of the connection's own tasks has ended, the client reconnects.
- When the server does not answer for `liveness.SILENT_SECONDS`, the client reconnects, however full the send buffer
  is, and drops what is in that buffer. nats-py waits for the kernel's time-out, a quarter of an hour.
- An error that the server reports never ends the client. nats-py ends without another attempt.
- `MAX_UNSENT` bounds what is published while the server reads nothing.
- A request or a flush that waits when the connection is lost fails at once, with a time-out.
- The credential is read from its file at each connection, so a new one is used at the next.
- Where TLS is set, a server without it is refused. nats-py goes on in clear.
- What the server does not allow is kept in `refused`, with the subject as it was written.
- Messages that JetStream sends for another client are dropped, unless they come to an inbox (`is_forwarded`).
- A request whose answer would go elsewhere than to an inbox is dropped: the answer would have our rights.
- A value in a bucket that NATS wrote for another client is delivered empty, and is therefore believed by no reader.
- Tokens of inboxes are random. nats-py counts them up: one who has answered two requests could answer the next ones.

Only this file uses private names of nats-py. Clients are made by `connection.connect` and `connection.connect_once`
alone (`tests/schemas/test_architecture.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import socket
import ssl
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
from nats.nuid import NUID
from nats.protocol.parser import AUTHORIZATION_VIOLATION, AWAITING_CONTROL_LINE, STALE_CONNECTION, Parser

from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats import forwarded
from antiphon.runtime.nats.access import OPEN, Access, AccessError
from antiphon.runtime.nats.liveness import REGION_PATIENCE, TICK_SECONDS, Liveness, Patience, Verdict

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 2.0
"""Seconds for each step of connecting: the TCP connection, the server's greeting, TLS, the answer to our CONNECT."""
GREETING_SECONDS: Final = 3 * CONNECT_SECONDS
"""Seconds for all steps after the TCP connection."""
CLOSE_SECONDS: Final = 1.0
"""Seconds that a closing connection has for sending what was written."""
MAX_UNSENT: Final = 4 << 20
"""Bytes that wait for the server. Above it `publish` waits for `ROOM_SECONDS` and then raises."""
ROOM_SECONDS: Final = 0.1
MAX_LINE: Final = 64 << 10
"""Bytes of a line without its end. The longest line of a server, INFO, names the servers of its cluster."""
MAX_MESSAGE: Final = (64 << 20) + MAX_LINE
"""Octets that a message may announce; NATS itself has 64 MiB as the highest limit."""
RECHECK_SECONDS: Final = 0.1
"""From the end of one of the connection's tasks to the check whether the connection is still in use."""
CANCELLED_SECONDS: Final = 1.0
"""Likewise when the task was cancelled: the loop ends within that time, or the cancellation was a mistake."""
NO_GROUP: Final = "no-group"
"""Queue group of an endpoint that one process alone serves. In a group the server would give half of the requests to a
connection of that process that is lost, and of which the server does not know it yet."""
_PING: Final = b"PING\r\n"
MAX_REFUSED: Final = 64
"""Subjects in `BusClient.refused`; further ones are reported only."""
_REFUSED = re.compile(r"permissions violation for (subscription|publish) to \"([^\"]*)\"", re.IGNORECASE)
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: the kernel drops what it has not sent, and resets the connection."""


class SilentServerError(errors.StaleConnectionError):
    """The server, or the network on the way to it, does not answer."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def __str__(self) -> str:
        return f"nats: {self._verdict.value}, the connection is closed"


class EndedTaskError(errors.Error):
    """A task of the connection has ended although the connection is in use."""

    def __str__(self) -> str:
        return "nats: the connection is no longer read, written or watched"


class GreetingError(errors.Error):
    """The server does not greet as a NATS server does."""


class CredentialError(errors.AuthorizationError):
    """The credential can't be used, or the server refuses it; the text names the file and the way out."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return f"nats: {self._text}"


class NoTlsError(errors.Error):
    """TLS is set, and the server offers none."""

    def __str__(self) -> str:
        return "nats: the server offers no TLS, but the settings ask for it: nothing was sent"


class ServerCertificateError(errors.Error):
    """TLS with the server fails; the text names the file with the authority and the way out."""

    def __init__(self, access: Access, error: ssl.SSLError) -> None:
        self._access, self._error = access, error

    def __str__(self) -> str:
        reason = getattr(self._error, "verify_message", "") or self._error.reason or "TLS fails"
        variable = self._access.variables["tls_ca"]
        authority = f"{variable} {self._access.tls_ca}" if self._access.tls_ca else "the system's authorities"
        way_out = "name the authority of its certificate" if self._access.tls_ca else f"set {variable}"
        return f"nats: the server is not trusted: {reason.lower()}, by {authority}: {way_out}"


class RefusedError(errors.Error):
    """The server does not allow a subject."""

    def __init__(self, who: str, verb: str, subject: str) -> None:
        self.verb, self.subject = verb, subject
        """`publish` or `subscribe`."""
        self._who = who

    def __str__(self) -> str:
        return f"the credential of {self._who} may not {self.verb} {self.subject}"


class _BoundedParser(Parser):
    """nats-py's parser, which reports received bytes and limits the length of lines and messages.

    Owned by one client, called by its reading task.
    """

    nc: BusClient

    async def parse(self, data: bytes = b"") -> None:
        """As nats-py's; `ProtocolError` for a line or message above its limit."""
        if data:
            self.nc.liveness.bytes_received()
        await super().parse(data)
        if self.state == AWAITING_CONTROL_LINE:
            if len(self.buf) > MAX_LINE:
                raise errors.ProtocolError
        elif self.needed > MAX_MESSAGE:
            raise errors.ProtocolError


class BusTransport(TcpTransport):
    """A TCP or TLS connection that can be cut, whatever waits in its buffers.

    Owned by one client, which uses it for all its connections, one after the other, on its loop.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._attempts = 0
        self._cut = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:
        """Connect to one address of the name. Each attempt begins with another one: an address may never answer."""
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
        """Cut the connection now. A close would wait until the server has read what is in the buffers."""
        self._cut = True
        for writer in (self._io_writer, self._bare_io_writer):
            if writer is not None:
                with contextlib.suppress(OSError, AttributeError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    async def drain(self) -> None:
        """As nats-py's; after `abort` without an error."""
        try:
            await super().drain()  # type: ignore[no-untyped-call]
        except OSError:
            if not self._cut:
                raise

    def unsent(self) -> int:
        """Bytes that are not in the kernel's buffer yet."""
        return self._io_writer.transport.get_write_buffer_size() if self._io_writer is not None else 0


class RandomTokens(NUID):
    """What stands at the end of an inbox, and therefore who may answer there. Owned by one client."""

    def next(self) -> bytearray:
        """As long as nats-py's, 22 characters: 128 bits of the system's randomness."""
        return bytearray(secrets.token_urlsafe(16).encode())


class BusClient(Client):
    """A client of NATS, from `connect` to `close`. Owned by its process; called on the loop that made it only."""

    def __init__(self, access: Access = OPEN, patience: Patience = REGION_PATIENCE) -> None:
        super().__init__()
        self._patience = patience
        self.refused: dict[tuple[str, str], RefusedError] = {}
        """What the server did not allow on this connection, by verb and subject; `MAX_REFUSED` at most."""
        self._access = access
        self._own_inboxes = f"{access.inbox_prefix}.", f"{access.register_inbox_prefix}."
        self.liveness = Liveness(self._patience)
        self.dropped = 0
        """Messages that `publish` refused because the server did not read the earlier ones."""
        self.refused_messages = 0
        """Messages that were dropped, and values that were emptied, because another client had NATS send them to us."""
        self._refused_log = BoundedLog(log)
        self._ps = _BoundedParser(self)
        self._nuid = RandomTokens()
        self._reconnecting: set[asyncio.Task[None]] = set()

    def new_register_inbox(self) -> str:
        """A unique inbox for answers of the services register."""
        return f"{self._access.register_inbox_prefix}.{self._nuid.next().decode()}"

    # ---- the connection --------------------------------------------------------------------------------

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
            self._transport = BusTransport()
        await self._transport.connect(s.uri, MAX_LINE, CONNECT_SECONDS)

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
        """Why the server may have refused us, and the way out."""
        access = self._access
        if access.credentials is not None:
            return CredentialError(
                f"the server refuses the credential of {access.who}, {access.credentials}: it was revoked, or is of "
                "another server, or the server has not read its users anew (`antiphon agents list`)"
            )
        if self._current_server is not None and self._current_server.uri.username:
            return CredentialError(f"the server refuses the user in the address of {access.who}")
        made_by = f"antiphon agents add {access.name}" if access.role == "agent" else "antiphon credentials"
        variable = access.variables["credentials"]
        return CredentialError(
            f"the server asks for a credential, and {access.who} has none: set {variable} to its file "
            f"(`{made_by}` makes one)"
        )

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

    # ---- from the server --------------------------------------------------------------------------------

    async def _process_pong(self) -> None:
        self.liveness.pong_received()
        if self._pongs:
            future = self._pongs.pop(0)
            self._pongs_received += 1
            if not future.done():  # else its flush has timed out
                future.set_result(True)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if reply or headers or data.startswith(forwarded.ANSWERS):
            if self.is_forwarded(sid, reply, data, headers):
                return
            if headers and forwarded.is_forged_value(reply, headers):
                headers, data = forwarded.headers_of_read(reply, headers), b""
                key = forwarded.key_of_read(headers) or subject
                self._refused(f"{key.decode(errors='replace')} was written by NATS for another client: it is not read")
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception as error:  # costs this message only: the parser has left it behind
            log.error("nats: a message could not be handed on", exc_info=error)

    def is_forwarded(self, sid: int, reply: bytes, data: bytes, headers: bytes | None) -> bool:
        """Whether a message is to be dropped: NATS sends it for another client, or its answer would go to no inbox.

        A client may name any subject for the messages of its consumer, or as the reply of a read: NATS checks no
        permission there, and would publish what that client has stored. Ours come to inboxes alone. And it may name any
        reply in its requests to us, whose answer NATS would allow for our rights.
        """
        subscription = self._subs.get(sid)
        if subscription is None or subscription.subject.startswith(self._own_inboxes):
            return False
        if forwarded.is_forwarded(reply, data, headers):
            self._refused(f"a message for {subscription.subject} came from a store, not from a publisher: dropped")
        elif reply and not forwarded.is_inbox(reply):
            where = f"{reply[:80].decode(errors='replace')}, not below _INBOX"
            self._refused(f"a request on {subscription.subject} asks for an answer on {where}: dropped")
        else:
            return False
        return True

    def _refused(self, text: str) -> None:
        self.refused_messages += 1
        self._refused_log.warning(f"nats: {text}")

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
        match = _REFUSED.search(text)
        if match is None:
            return None
        return RefusedError(self._access.who, "publish" if match[1].lower() == "publish" else "subscribe", match[2])

    def _must_encrypt(self) -> bool:
        uri = self._current_server.uri if self._current_server is not None else None
        return self._access.uses_tls and (uri is None or uri.scheme not in ("ws", "wss"))

    # ---- to the server ----------------------------------------------------------------------------------

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

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """`OutboundBufferLimitError` without a connection, or while the server does not read earlier messages."""
        if self.is_connected and self.unsent() > MAX_UNSENT:
            await self._wait_for_room()
        await super().publish(subject, payload, reply, headers)

    async def _wait_for_room(self) -> None:
        deadline = time.monotonic() + ROOM_SECONDS
        while self.is_connected and self.unsent() > MAX_UNSENT:
            if time.monotonic() >= deadline:
                self.dropped += 1
                raise errors.OutboundBufferLimitError
            await asyncio.sleep(ROOM_SECONDS / 10)

    def unsent(self) -> int:
        """Bytes that were published and are not in the kernel's buffer yet."""
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
        """As nats-py's. A cancellation of what a callback waits for does not end its subscription.

        `queue` `NO_GROUP`: no queue group, where nats.micro has no way to say so.
        """
        queue = "" if queue == NO_GROUP else queue
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
