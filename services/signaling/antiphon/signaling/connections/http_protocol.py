"""uvicorn's protocols of one connection, which report to the connection table what the connection does."""

from __future__ import annotations

import functools
from asyncio import Transport
from collections.abc import Callable
from typing import Any, Final

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from antiphon.signaling.connections.connection_table import ConnectionTable, Held
from antiphon.signaling.connections.request_framing import MAX_REQUEST_OCTETS, RequestConnection
from antiphon.signaling.http.errors import ApiError, unavailable

CLOSE_SECONDS: Final = 5.0
"""For a client to read that its WebSocket is closed, and to close it."""


class HttpProtocol(H11Protocol):
    """One connection, as uvicorn serves it, with the checks of `request_framing` and reports to the table.

    Made by the `Acceptor` for each connection; called on the event loop only.
    """

    def __init__(self, config: Config, state: ServerState, table: ConnectionTable, held: Held) -> None:
        super().__init__(config, state, {})
        self.conn = RequestConnection()
        self._table, self._held = table, held
        self._octets = 0
        """Of the request that arrives or is answered."""
        self._upgraded = False
        websocket: Any = functools.partial(WebSocketProtocol, table=table, held=held)
        self.ws_protocol_class = websocket
        if held.reserve:
            self.app = only_health(self.app)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """The TLS handshake is done, where there is one."""
        super().connection_made(transport)
        self.client = plain(self.client)
        self._table.secured(self._held)

    def data_received(self, data: bytes) -> None:
        """Count what a request takes, and tell the table how far the request is."""
        self._octets += len(data)
        if self._octets > MAX_REQUEST_OCTETS and not self._is_answering():
            self.transport.abort()
            return
        self._table.head_begins(self._held, self.loop.time())
        super().data_received(data)

    def handle_events(self) -> None:
        """As uvicorn's; then the request may be whole, or its head."""
        before = self.cycle
        super().handle_events()
        if self._upgraded or self.transport.is_closing():
            return
        if self._is_answering():
            self._table.answers(self._held, self.loop.time())
        elif self.cycle is not before and self.cycle is not None and not self.cycle.response_complete:
            self._table.body_begins(self._held, self.loop.time())

    def _is_answering(self) -> bool:
        """A whole request arrived, and its answer is not completely written."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def on_response_complete(self) -> None:
        """The next request has its own time."""
        self._octets = 0
        self._table.answered(self._held, self.loop.time())
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From now on `WebSocketProtocol` reports."""
        self._upgraded = True
        self._table.upgraded(self._held, self.loop.time())
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report it."""
        self._table.released(self._held)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say in the shape of all errors what is wrong with the request, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # The answer to this request has begun, and only then its body was wrong.
            self.transport.close()
            return
        error = ApiError(400, "bad_request", "the request is no valid HTTP/1.1: see RFC 9112")
        response = error.response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        self.transport.write(
            self.conn.send(h11.Response(status_code=error.status, headers=headers, reason=b"Bad Request"))
        )
        self.transport.write(self.conn.send(h11.Data(data=bytes(response.body))))
        self.transport.write(self.conn.send(h11.EndOfMessage()))
        self.transport.close()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A connection after its upgrade. Made by `HttpProtocol`; called on the event loop only."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        table: ConnectionTable,
        held: Held,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._table, self._held = table, held
        self._received_at = 0.0
        if held.reserve:
            self.app = only_health(self.app)

    def connection_made(self, transport: Any) -> None:
        """Know the client by its plain address."""
        super().connection_made(transport)
        self.client = plain(self.client)

    def data_received(self, data: bytes) -> None:
        """Report the traffic."""
        self._received_at = self.loop.time()
        self._table.traffic(self._held, self._received_at)
        super().data_received(data)

    async def send(self, message: Any) -> None:
        """As uvicorn's, which takes an upgrade that was refused with a body for a fault, and logs it as an error.

        A close does not wait for a client that reads nothing: its connection is cut soon after.
        """
        closes = message["type"] == "websocket.close"
        if closes:
            self.writable.set()
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        """No pong came. Other data is as good a sign of life, and none is read while the application does not read."""
        if self.read_paused or self._received_at >= self.ping_sent_at:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1011, "reason": "keepalive ping timeout"})
        super().keepalive_timeout()
        self.transport.abort()  # what waits for a client that is gone would keep the connection for minutes

    def connection_lost(self, exc: Exception | None) -> None:
        """Report it."""
        self._table.released(self._held)
        super().connection_lost(exc)


def plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """An IPv4 client of an IPv6 listener by its IPv4 address, as rate limits and lists of proxies name it."""
    if client is not None and client[0].startswith("::ffff:") and "." in client[0]:
        return client[0].removeprefix("::ffff:"), client[1]
    return client


def only_health(app: Callable[..., Any]) -> ASGIApp:
    """The application for connections of the reserve: everything but `/healthz` is refused."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/healthz":
            await app(scope, receive, send)
            return
        refusal = unavailable("overloaded", "all connections of this server are busy").response()
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})
            return
        refusal.headers["Connection"] = "close"
        await refusal(scope, receive, send)

    return serve
