"""The outermost layer of HTTP: checks of Host and Origin, CORS and security headers, answers to unhandled errors.

Pure ASGI, no knowledge of calls. Without keys a foreign web page must not reach this service through the visitor's
browser: neither by a script of another origin (Origin), nor by a name that suddenly resolves to this machine (DNS
rebinding: Host). With keys every origin may call: the key decides, and there is no cookie that a browser would add
unasked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from antiphon.signaling.http.errors import ApiError, internal, unavailable
from antiphon.signaling.http.route_methods import RouteMethods
from antiphon.signaling.settings import is_loopback

log = logging.getLogger(__name__)

CORS_METHODS: Final = "GET, POST, PATCH, DELETE, OPTIONS"
CORS_HEADERS: Final = (
    "authorization, content-type, if-match, link, x-openai-agents-sdk, openai-beta, openai-organization, "
    "openai-project, traceparent, tracestate, antiphon-region, antiphon-place, antiphon-race, antiphon-copy"
)
EXPOSED_HEADERS: Final = (
    "Location, ETag, Link, Accept-Patch, Accept-Post, Allow, Retry-After, "
    "Antiphon-Prepared, Antiphon-Region, Antiphon-Ingress, Antiphon-Second-Ingress, Antiphon-Place-Source"
)
_OF_SDKS: Final = re.compile(r"x-stainless-[a-z0-9-]{1,32}")
"""Headers in which OpenAI's clients say what they are; a preflight that does not allow them is a call that fails."""

WHIP: Final = "/v1/whip"

SECURITY_HEADERS: Final = {
    # Everything comes from here: no inline script or style, nothing from elsewhere, no framing.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Middleware:
    """Wraps the application. Made by `create_app`, called by uvicorn for each request and WebSocket."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: bool,
        loopback_only: bool,
        extra_hosts: Iterable[str] = (),
        methods: RouteMethods | None = None,
    ) -> None:
        """`guard`: no keys are set, so Host and Origin decide. `loopback_only`: the service is bound to loopback.

        `methods`: for answers to OPTIONS; None: the application answers them.
        """
        self._app = app
        self._methods = methods or RouteMethods(())
        self._guard = guard
        self._loopback_only = loopback_only
        self._extra_hosts = frozenset(extra_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["type"] == "websocket":
            await self._websocket(headers, scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = headers.get("origin")
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                out = MutableHeaders(raw=message["headers"])
                for name, value in SECURITY_HEADERS.items():
                    out.setdefault(name, value)
                if origin is not None and self._origin_may(origin, headers.get("host", "")):
                    out["Access-Control-Allow-Origin"] = origin if self._guard else "*"
                    out["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
                    out.add_vary_header("Origin")
            await send(message)

        try:
            if refusal := self._refusal(headers.get("host", ""), origin):
                await refusal.response()(scope, receive, send_with_headers)
            elif answer := self._options(scope, headers):
                await answer(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # Only the end of the server cancels a request. uvicorn would log a cancellation as a fault.
            if not started:
                await unavailable("ending", "this server is ending: call again").response()(
                    scope, receive, send_with_headers
                )
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"][:200])
            if not started:
                await internal().response()(scope, receive, send_with_headers)

    def _options(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to OPTIONS, a preflight (Fetch section 4.8) or not; None: the application has to answer.

        What WHIP serves gets 200 (RFC 9725 section 4.2), and a preflight of anything else 204.
        """
        if scope["method"] != "OPTIONS":
            return None
        said = self._methods.headers(scope["path"])
        preflight = "access-control-request-method" in headers
        if not said and not preflight:
            return None
        if preflight:
            asked = headers.get("access-control-request-headers", "").lower().replace(" ", "").split(",")
            own = [name for name in asked[:64] if _OF_SDKS.fullmatch(name)]
            said = said | {
                "Access-Control-Allow-Methods": CORS_METHODS,
                "Access-Control-Allow-Headers": ", ".join([CORS_HEADERS, *own]),
                "Access-Control-Max-Age": "600",
            }
        plain = not preflight or scope["path"].startswith(WHIP)
        return Response(status_code=200 if plain else 204, headers=said)

    async def _websocket(self, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(headers.get("host", ""), headers.get("origin"))
        try:
            if refusal:
                await WebSocket(scope, receive, send).send_denial_response(refusal.response())
            else:
                await self._app(scope, receive, send)
        except asyncio.CancelledError:
            log.debug("a WebSocket ends with the server")
        except Exception:
            log.exception("WebSocket %s failed", scope["path"][:200])

    def _refusal(self, host: str, origin: str | None) -> ApiError | None:
        if not self._guard:
            return None
        if not self._host_may(host):
            text = (
                f"Host {host!r:.80} is not served: without API keys only {self._served()} are. "
                "Set ANTIPHON_API_KEYS, or name the host in ANTIPHON_ALLOWED_HOSTS"
            )
            return ApiError(403, "foreign_host", text)
        if origin is not None and not self._origin_may(origin, host):
            text = f"Origin {origin!r:.80} may not call: without API keys only this server's own pages may"
            return ApiError(403, "foreign_origin", text)
        return None

    def _served(self) -> str:
        return "localhost and loopback addresses" if self._loopback_only else "IP addresses and names without a dot"

    def _host_may(self, host: str) -> bool:
        """DNS rebinding needs a public name: never an IP address, localhost or a name without a dot."""
        name = _hostname(f"//{host}")
        if name is None:
            return False
        if is_loopback(name) or name in self._extra_hosts:
            return True
        return not self._loopback_only and ("." not in name or _is_ip(name))

    def _origin_may(self, origin: str, host: str) -> bool:
        if not self._guard:
            return True
        name = _hostname(origin) if origin.startswith(("http://", "https://")) else None
        return name is not None and (is_loopback(name) or urlsplit(origin).netloc.lower() == host.lower())


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
