"""UDP addresses as values and as text: `192.0.2.1:3478`, `[2001:db8::1]:3478`."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from antiphon.schemas.errors import MalformedError


class Address(NamedTuple):
    """An IP address and a port. A value."""

    host: str
    """An IP literal in its canonical spelling, never a name."""
    port: int
    """0 to 65535; 0 only where a free port is to be chosen."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `host:port` with a literal IP address; raise `MalformedError` for anything else."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        literal = ipaddress.ip_address(host)
        number = int(port) if port.isascii() and port.isdigit() else -1
    except ValueError:
        number = -1
    if not colon or not 0 < number < 65536 or "%" in host:
        raise MalformedError(
            f"{text!r} is not an address: expected an IP literal and a port such as 127.0.0.1:3478 or [::1]:3478"
        )
    if isinstance(literal, ipaddress.IPv6Address) != text.startswith("["):
        raise MalformedError(f"{text!r} is not an address: an IPv6 literal is written in brackets, IPv4 is not")
    return Address(str(literal), number)
