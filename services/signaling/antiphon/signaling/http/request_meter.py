"""Counts HTTP answers by route and status, and the time until each begins. Pure ASGI, outside of all else.

A route is named by its pattern, never by a path: paths hold ids of calls, and a client may ask for any.
"""

from __future__ import annotations

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.runtime.metrics import Metrics

NO_ROUTE: Final = "none"
"""What no route serves, and what was answered before one was looked for."""
STATIC: Final = "/static"
_CLOSED: Final = "403"
"""How a server answers a WebSocket that the application closes before it accepts."""


class RequestMeter:
    """Wraps the application. Made by `create_app`, called by uvicorn for each request and WebSocket."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._websockets = 0
        metrics.gauge("antiphon_signaling_websockets", lambda: self._websockets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), ""

        async def send_counted(message: Message) -> None:
            nonlocal status
            kind = message["type"]
            if not status and kind in _BEGINS:
                status = _BEGINS[kind] or str(message["status"])
                self._count(scope, status, time.perf_counter() - began)
            await send(message)

        websocket = scope["type"] == "websocket"
        self._websockets += websocket
        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._websockets -= websocket

    def _count(self, scope: Scope, status: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or (STATIC if scope["path"].startswith(STATIC) else NO_ROUTE)
        method = scope.get("method", "GET")
        self._metrics.add("antiphon_signaling_requests_total", route=route, method=method, status=status)
        self._metrics.observe("antiphon_signaling_request_seconds", seconds, route=route)


_BEGINS: Final = {
    "http.response.start": "",
    "websocket.http.response.start": "",
    "websocket.accept": "101",
    "websocket.close": _CLOSED,
}
"""Messages with which an answer begins, and the status of those that have none of their own."""
