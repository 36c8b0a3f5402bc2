"""Addresses of the bus: what is taken, what is refused, and what is shown of either."""

from __future__ import annotations

import pytest
from nats.aio.client import Client

from antiphon.runtime.nats import server_url
from antiphon.schemas import MalformedError

pytestmark = pytest.mark.pure

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "nats://127.0.0.1:4222",
        "nats://nats",
        "tls://user:pass@nats.example:4222",
        "nats://token@[::1]:4222",
        "wss://nats.example/path",
        "127.0.0.1:4222",
        "nats",
    ],
)
def test_what_is_taken_the_client_can_read(url: str) -> None:
    assert server_url.checked(url) == url
    assert Client._parse_server_uri(url).hostname


@pytest.mark.parametrize("rest", ["host:abc", "host:99999", "host:0", "[::1", "", ":4222", "a b", "one:1,nats://two:2"])
def test_what_is_refused_is_named_without_its_password(rest: str) -> None:
    with pytest.raises(MalformedError, match="expected one such as") as refused:
        server_url.checked(f"nats://admin:{SECRET}@{rest}")
    assert SECRET not in str(refused.value)


def test_another_protocol_is_refused() -> None:
    with pytest.raises(MalformedError):
        server_url.checked("http://127.0.0.1:4222")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"nats://admin:{SECRET}@host:4222", "nats://host:4222"),
        (f"admin:{SECRET}@host", "host"),
        (f"tls://{SECRET}@[::1]:4222", "tls://[::1]:4222"),
        (f"nats://admin:a@{SECRET}@host", "nats://host"),
        ("nats://host:4222", "nats://host:4222"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert server_url.without_password(url) == shown
