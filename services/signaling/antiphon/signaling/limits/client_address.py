"""A client's address as limits count it, and its name on NATS, which does not show it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

UNKNOWN = "unknown"
"""Of a client without an address: it came by a socket of the file system."""


def bucket_of(host: str) -> str:
    """The address itself for IPv4, also mapped into IPv6; for IPv6 its /64, which one customer has to himself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return str(address)


def hidden(pepper: bytes, bucket: str) -> str:
    """The same name at every instance with the same pepper. Without the pepper nobody tries all addresses out."""
    return hmac.new(pepper, bucket.encode(), hashlib.sha256).hexdigest()[:32]
