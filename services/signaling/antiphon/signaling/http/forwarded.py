"""Behind a proxy: the client's address, scheme and place as the proxy tells them, if it is one that is trusted.

Everything behind it (checks, limits, logs) sees the client in `request.client` and the scheme in `request.url`. From
others the fields are ignored: any client can send them.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon.signaling.placement.geography import Coordinates
from antiphon.signaling.placement.place_headers import PlaceHeaders
from antiphon.signaling.trusted_proxies import TrustedProxies

_PLACE: Final = "antiphon.proxy_place"


def proxy_place(connection: HTTPConnection) -> Coordinates | None:
    """Where a trusted proxy says that the client is."""
    found: Coordinates | None = connection.scope.get(_PLACE)
    return found


class ForwardedClient:
    """Wraps the application. Made by `create_app`, called by uvicorn for each request and WebSocket."""

    def __init__(self, app: ASGIApp, proxies: TrustedProxies, place_headers: PlaceHeaders | None = None) -> None:
        self._app, self._proxies = app, proxies
        self._place_headers = place_headers or PlaceHeaders()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if scope["type"] in ("http", "websocket") and client and self._proxies.has(client[0]):
            headers = Headers(scope=scope)
            host = self._proxies.client_of(client[0], headers.getlist("x-forwarded-for"))
            scope = {**scope, "client": (host, client[1] if host == client[0] else 0)}
            scope[_PLACE] = self._place_headers.read(headers)
            if proto := headers.getlist("x-forwarded-proto"):
                last = proto[-1].rpartition(",")[2].strip().lower()
                if last in ("http", "https", "ws", "wss"):
                    secure = last in ("https", "wss")
                    names = ("https", "http") if scope["type"] == "http" else ("wss", "ws")
                    scope["scheme"] = names[0] if secure else names[1]
        await self._app(scope, receive, send)
