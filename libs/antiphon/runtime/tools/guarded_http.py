"""HTTP to servers that a stranger has named: each connection goes to an address that is allowed, and nowhere else.

The name is looked up here and the connection made to the address that was judged, so that a name which changes its
address between two look-ups gains nothing. Proxies of the environment are not used: they would connect for us.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpcore2
import httpx2

from antiphon.runtime.tools.allowed_hosts import AllowedHosts
from antiphon.runtime.tools.mcp_transport import bounded_client

_LOOKUP_SECONDS: Final = 5.0
_MAX_CONNECTIONS: Final = 8
"""To one server."""


def guarded_client(headers: Mapping[str, str], hosts: AllowedHosts) -> httpx2.AsyncClient:
    """As `bounded_client`, to addresses that `hosts` allows; redirects are not followed. Made off the event loop."""
    return bounded_client(headers, _GuardedTransport(hosts))


class _GuardedTransport(httpx2.AsyncHTTPTransport):
    """Owned by the client of one connection, used on the event loop."""

    def __init__(self, hosts: AllowedHosts) -> None:
        super().__init__(trust_env=False)
        self._hosts = hosts
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=_MAX_CONNECTIONS,
            network_backend=_GuardedBackend(hosts),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request; ConnectError for a URL that is not allowed, as one that a server has sent us to."""
        if why := self._hosts.refusal(str(request.url)):
            raise httpx2.ConnectError(why, request=request)
        return await super().handle_async_request(request)


class _GuardedBackend(httpcore2.AnyIOBackend):
    """Looks names up itself. Owned by its transport."""

    def __init__(self, hosts: AllowedHosts) -> None:
        self._hosts = hosts

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as error:
            raise httpcore2.ConnectError(f"{host:.80} can't be looked up") from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        allowed = [address for address in addresses if self._hosts.allows_address(address)]
        if not allowed:
            text = f"{host:.80} is at a private address, which {self._hosts.setting} does not name"
            raise httpcore2.ConnectError(text)
        failure: Exception | None = None
        for address in allowed[:4]:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.ConnectError("a socket of this machine is no server of a stranger")
