"""What proxies say of a client counts if they are trusted, and from nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from antiphon.signaling.http.forwarded import ForwardedClient
from antiphon.signaling.trusted_proxies import TrustedProxies

pytestmark = pytest.mark.pure

PROXIES = TrustedProxies("10.0.0.0/8, 192.0.2.1, 2001:db8:5::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.2, 192.0.2.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8:9::1]:4711"], "2001:db8:9::1"),
        ("10.0.0.1", ["2001:db8:9::1"], "2001:db8:9::1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:5::7", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1\r\nX: y"], "10.0.0.1"),
        ("10.0.0.1", [", ".join(["10.0.0.2"] * 5000)], "10.0.0.2"),
    ],
)
def test_the_client_is_the_rightmost_hop_that_is_no_proxy_of_ours(peer: str, forwarded: list[str], client: str) -> None:
    assert PROXIES.client_of(peer, forwarded) == client


def test_without_the_setting_nobody_is_believed() -> None:
    assert not TrustedProxies("").has("127.0.0.1")
    assert TrustedProxies("").client_of("127.0.0.1", ["198.51.100.1"]) == "127.0.0.1"


@pytest.mark.parametrize("text", ["nowhere", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1:80"])
def test_what_is_no_network_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="ANTIPHON_TRUSTED_PROXIES"):
        TrustedProxies(text)


async def seen(kind: str, peer: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """The scope behind the wrapper."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    async def nothing(*_: object) -> Any:
        raise AssertionError

    scheme = "http" if kind == "http" else "ws"
    scope = {"type": kind, "client": (peer, 5000), "scheme": scheme, "headers": list(headers)}
    await ForwardedClient(app, PROXIES)(scope, nothing, nothing)
    return dict(scopes[0])


async def test_address_and_scheme_of_the_request_are_the_clients() -> None:
    fields = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-proto", b"https")]
    request = await seen("http", "10.0.0.1", *fields)
    assert (request["client"], request["scheme"]) == (("198.51.100.1", 0), "https")
    socket = await seen("websocket", "10.0.0.1", *fields)
    assert (socket["client"], socket["scheme"]) == (("198.51.100.1", 0), "wss")
    stranger = await seen("http", "203.0.113.9", *fields)
    assert (stranger["client"], stranger["scheme"]) == (("203.0.113.9", 5000), "http")
    odd = await seen("http", "10.0.0.1", (b"x-forwarded-proto", b"javascript"))
    assert (odd["client"], odd["scheme"]) == (("10.0.0.1", 5000), "http")
