"""Which servers a stranger may name: hosts, ports, and the addresses behind their names."""

from __future__ import annotations

import pytest

from antiphon.runtime.tools.allowed_hosts import AllowedHosts

pytestmark = pytest.mark.pure


def read(text: str) -> AllowedHosts:
    return AllowedHosts.read(text, "HOSTS")


@pytest.mark.parametrize(
    ("allowed", "url", "may"),
    [
        ("", "https://tools.example.com/mcp", False),
        ("tools.example.com", "https://tools.example.com/mcp", True),
        ("tools.example.com", "https://TOOLS.example.com./mcp", True),
        ("tools.example.com", "http://tools.example.com/mcp", False),
        ("tools.example.com", "https://tools.example.com:8443/mcp", False),
        ("https://tools.example.com:8443", "https://tools.example.com:8443/mcp", True),
        ("tools.example.com", "https://tools.example.com.evil.org/mcp", False),
        ("tools.example.com", "https://evil.org/@tools.example.com", False),
        ("tools.example.com", "https://a@tools.example.com/", False),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://evilexample.com/", False),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/mcp", True),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9001/mcp", False),
        ("http://[::1]:9000", "http://[::1]:9000/mcp", True),
        ("10.0.0.0/8", "https://10.1.1.1/mcp", False),
        ("tools.example.com", "ftp://tools.example.com/", False),
        ("tools.example.com", "https://tools.example.com\\@evil.org/", False),
    ],
)
def test_a_host_stands_for_itself_on_one_port(allowed: str, url: str, may: bool) -> None:
    assert (read(allowed).refusal(url) == "") is may


def test_a_refusal_names_the_setting() -> None:
    assert "HOSTS" in read("a.example.com").refusal("https://b.example.com/")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "224.0.0.1",
    ],
)
def test_a_private_address_is_reached_only_where_it_is_named(address: str) -> None:
    assert not read("tools.example.com").allows_address(address)
    assert read("tools.example.com").allows_address("93.184.216.34")


def test_an_address_that_is_named_is_reached() -> None:
    assert read("tools.example.com, 10.0.0.0/8").allows_address("10.1.2.3")
    assert read("tools.example.com, 10.0.0.0/8").allows_address("::ffff:10.1.2.3")
    assert read("http://127.0.0.1:9000").allows_address("127.0.0.1")
    assert not read("http://127.0.0.1:9000").allows_address("127.0.0.2")


@pytest.mark.parametrize(
    "text", ["tools example", "https://a.org/path", "10.0.0.1/8", "a.org:99999", "ftp://a.org", "*"]
)
def test_an_entry_that_can_not_be_used_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="HOSTS names"):
        read(f"good.example.com,{text}")
